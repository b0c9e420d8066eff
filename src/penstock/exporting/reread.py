"""Rows that are read again after a cursor broke: those that the runs of the lineage hold already are left out.

A row is held as often as the runs have one of its content, its id included. Both sides are laid down in a scratch
database, so that memory does not follow their number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import Rewound
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.lineage import Lineage
from penstock.pipeline.rowtext import RowText
from penstock.pipeline.scratch import Scratch
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Reading, Rows, Slice
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import Link
from penstock.reading.published import parts_of

_PUT = "INSERT INTO rows VALUES (?, ?)"
#: Of equal rows in the store the first are held. What a run holds has no number here, and so stands before them.
_HELD = """SELECT seq FROM (
        SELECT seq, row_number() OVER (PARTITION BY hash ORDER BY seq) AS nth,
            count(*) OVER (PARTITION BY hash) - count(seq) OVER (PARTITION BY hash) AS held
        FROM rows)
    WHERE seq IS NOT NULL AND nth <= 2 * held ORDER BY seq"""


class Unheld:
    """The rows of a view without those at the numbers ``held``, which are in order; ``unread`` says how many that
    were."""

    def __init__(self, rows: Rows, order: str, held: array[int]) -> None:
        self._rows = rows
        self._order = order
        self._held = held

    @property
    def streams(self) -> bool:
        return self._rows.streams

    @property
    def source(self) -> Mapping[str, Any]:
        return self._rows.source

    @property
    def unread(self) -> Mapping[str, int]:
        return {**self._rows.unread, **({"held_already": len(self._held)} if self._held else {})}

    def plan(self, filter: ExportFilter, *, max_rows: int, max_bytes: int, after: int | None = None) -> Iterator[Slice]:
        return self._rows.plan(filter, max_rows=max_rows, max_bytes=max_bytes, after=after)

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        reading = self._rows.read(span, filter)
        return Reading(self._unheld(span, reading), reading.counts)

    def _unheld(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        held = self._held[bisect_left(self._held, span.after + 1) : bisect_left(self._held, span.upto + 1)]
        known = pa.array(held, pa.int64())
        for batch in reading:
            left = batch.filter(pc.invert(pc.is_in(batch[self._order], value_set=known))) if held else batch
            if left.num_rows:
                yield left


def without_held(
    rows: Rows,
    filter: ExportFilter,
    *,
    lineage: Lineage,
    chain: Sequence[Link],
    destination: LineageDestination,
    dataset: Dataset,
) -> Rows:
    """The rows of a view that a run is to export, from ``lineage.after`` on.

    What the runs hold is read back and proven. Raises :class:`~penstock.errors.IntegrityError` for a part that is not
    whole, :class:`~penstock.errors.Rewound` for runs whose rows cannot be told apart.
    """
    manifests = [link.manifest for link in chain]
    parts = [
        part
        for part in parts_of(manifests)
        if part.entry.seq_range is not None and part.entry.seq_range.last > lineage.after
    ]
    if not parts or lineage.upto <= lineage.after:
        return rows
    order, lacking = str(dataset.order), [name for name in dataset.key if name not in dataset.columns]
    if lacking:
        raise Rewound(
            "the store is not as the last run left it, and what the lineage holds cannot be told: it has no column"
            f" {lacking[0]}",
            hint="begin a new lineage in another directory",
        )
    text, own = RowText(dataset.select(dataset.own)), list(dataset.own)
    with closing(Scratch("CREATE TABLE rows (hash BLOB NOT NULL, seq INTEGER)", purpose="compare rows")) as scratch:
        for part in parts:
            for batch in part.rows(destination):
                if order in dataset.columns:
                    batch = batch.filter(pc.greater(batch[order], lineage.after))
                scratch.put(_PUT, ((digest, None) for digest in text.hashes(batch.select(own))))
        for span in rows.plan(filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES, after=lineage.after):
            for batch in rows.read(span, filter):
                scratch.put(_PUT, zip(text.hashes(batch.select(own)), batch[order].to_pylist(), strict=True))
        return Unheld(rows, order, array("q", (seq for (seq,) in scratch.rows(_HELD))))
