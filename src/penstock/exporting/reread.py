"""Rows that are read again after a cursor broke: those that the runs of the lineage hold already are left out.

A row is held as often as the runs have one of its content, its id included. Both sides are laid down in a scratch
database, so that memory does not follow their number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import repeat

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import Rewound
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.lineage import Lineage
from penstock.pipeline.onward import Onward
from penstock.pipeline.rowtext import RowText
from penstock.pipeline.scratch import Scratch
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Reading, Rows, Slice
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import Link
from penstock.reading.published import parts_of

_PUT = "INSERT INTO rows VALUES (?, ?, ?)"
#: Of equal rows in the store the first are held. What a run holds has no number here, and so stands before them.
_HELD = """SELECT seq, place FROM (
        SELECT seq, place, row_number() OVER (PARTITION BY hash ORDER BY seq, place) AS nth,
            count(*) OVER (PARTITION BY hash) - count(seq) OVER (PARTITION BY hash) AS held
        FROM rows)
    WHERE seq IS NOT NULL AND nth <= 2 * held ORDER BY seq, place"""
_TIED = "SELECT 1 FROM rows WHERE place > 0 LIMIT 1"


class Unheld(Onward):
    """The rows of a view without those of the numbers ``held``, which ascend; ``unread`` says how many that were.
    Where rows are ``tied``, several of one number, ``places`` says which of them in turn, from 0, each means."""

    def __init__(self, rows: Rows, number: str, held: array[int], places: array[int], *, tied: bool) -> None:
        super().__init__(rows)
        self._number = number
        self._held = held
        self._places = places
        self._tied = tied

    @property
    def unread(self) -> Mapping[str, int]:
        return {**self._rows.unread, **({"held_already": len(self._held)} if self._held else {})}

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        turns = _Turns()
        for batch in reading:
            numbers = batch[self._number].to_pylist()
            places = (place for _, place in turns(numbers)) if self._tied else repeat(0)
            kept = [not self._holds(number, place) for number, place in zip(numbers, places, strict=False)]
            if any(kept):
                yield batch.filter(pa.array(kept, pa.bool_()))

    def _holds(self, number: int, place: int) -> bool:
        at = bisect_left(self._held, number)
        while at < len(self._held) and self._held[at] == number:
            if self._places[at] == place:
                return True
            at += 1
        return False


class _Turns:
    """Numbers in order, each with how many the same stood before it."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def __call__(self, numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        for number in numbers:
            same = self._last is not None and self._last[0] == number
            self._last = (number, self._last[1] + 1 if same and self._last is not None else 0)
            yield self._last


def without_held(
    rows: Rows,
    filter: ExportFilter,
    *,
    lineage: Lineage,
    chain: Sequence[Link],
    destination: LineageDestination,
    dataset: Dataset,
    given: Dataset,
) -> Rows:
    """The rows of a view that a run is to export, from ``lineage.after`` on: what is written of them is ``dataset``,
    what the source gives ``given``.

    What the runs hold is read back and proven. Raises :class:`~penstock.errors.IntegrityError` for a part that is not
    whole, :class:`~penstock.errors.Rewound` for runs whose rows cannot be told apart.
    """
    manifests = [link.manifest for link in chain]
    parts = [
        part
        for part in parts_of(manifests)
        if dataset.order is None or (part.entry.seq_range is not None and part.entry.seq_range.last > lineage.after)
    ]
    if not parts or lineage.upto <= lineage.after:
        return rows
    number = str(dataset.number)
    lacking = [name for name in given.key if name in given.own and name not in dataset.columns]
    if lacking:
        raise Rewound(
            "the store is not as the last run left it, and what the lineage holds cannot be told: it has no column"
            f" {lacking[0]}",
            hint="begin a new lineage in another directory",
        )
    text, own = RowText(dataset.select(dataset.own)), list(dataset.own)
    table = "CREATE TABLE rows (hash BLOB NOT NULL, seq INTEGER, place INTEGER)"
    with closing(Scratch(table, purpose="compare rows")) as scratch:
        for part in parts:
            for batch in part.rows(destination):
                if dataset.order in dataset.columns:
                    batch = batch.filter(pc.greater(batch[dataset.order], lineage.after))
                scratch.put(_PUT, ((digest, None, None) for digest in text.hashes(batch.select(own))))
        turns = _Turns()
        for span in rows.plan(filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES, after=lineage.after):
            for batch in rows.read(span, filter):
                hashes = text.hashes(batch.select(own))
                numbered = zip(hashes, turns(batch[number].to_pylist()), strict=True)
                scratch.put(_PUT, ((digest, *pair) for digest, pair in numbered))
        held, places = array("q"), array("q")
        for seq, place in scratch.rows(_HELD):
            held.append(seq)
            places.append(place)
        return Unheld(rows, number, held, places, tied=any(scratch.rows(_TIED)))
