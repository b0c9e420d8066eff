"""One unchanging view of a table that is not ours, read in slices of its arrival number by several threads.

The table is described in ``table``, its mapping settled in ``mapping``, its SQL made in ``query`` and ``numbering``,
its rows made events in ``events``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.errors import InvalidMapping, UsageError
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.filter import ExportFilter
from penstock.model.roll import Growth
from penstock.model.storage_config import StorageConfig
from penstock.pipeline.closing import Closing
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Peers, Reading, Slice
from penstock.sources.tables import query
from penstock.sources.tables.events import Converter
from penstock.sources.tables.mapping import adopt
from penstock.sources.tables.numbering import SEQUENCE
from penstock.sources.tables.pinned import Pinned
from penstock.sources.tables.slices import slices
from penstock.sources.tables.table import describe

#: More bytes than any rows have.
_WHOLE = 1 << 62


class TableView(Closing):
    """A table of any shape as events, through ``config.table`` and ``config.mapping``; the file is never written.

    Raises :class:`~penstock.errors.InvalidMapping` for a table or column that is not there and for an event without
    ``timestamp`` or ``event_type``, and what opening a store raises.
    """

    streams = False

    def __init__(self, path: Path, config: StorageConfig, *, readers: int, peers: Peers | None = None) -> None:
        assert config.table is not None
        self._name = os.fsencode(path.name).decode("utf-8", "replace")
        self._path = str(path.absolute())
        self._batch_rows = config.batch_rows
        self._pinned = Pinned(path, config, readers=readers, peers=peers)
        self._pool = self._pinned.pool
        try:
            with self._pool.lend() as connection:
                self._adoption = adopt(describe(connection, config.table), config.mapping)
                self._numbering = self._adoption.numbering
                self._columns = query.columns(self._adoption)
                highest = connection.query(self._numbering.last())
        except BaseException:
            self.close()
            raise
        self._numbered = bool(highest)
        self.upto = int(highest[0]["seq"]) if highest else 0
        self.ticket = self._pinned.ticket(self.upto)

    @property
    def source(self) -> Mapping[str, Any]:
        return {"kind": "table", "name": self._name, **self._adoption.describe(), "horizon": self.upto}

    @property
    def unread(self) -> Mapping[str, int]:
        if not self._numbering.checked:
            return {}
        with self._pool.lend() as connection:
            count = int(connection.query(self._numbering.unnumbered())[0]["n"])
        return {"skipped_bad_seq": count} if count else {}

    @property
    def identity(self) -> str:
        """A digest of where the table lies and how it is defined. Raises :class:`~penstock.errors.UsageError` for a
        table whose rows have no arrival number that lasts."""
        if "seq" not in self._adoption.fields:
            raise UsageError(
                f"the table {self._adoption.shape.name} has no integer key: nothing tells new rows from old ones",
                hint="map seq to a column that only grows, or export it whole",
            )
        # What of the path is not UTF-8 stands in it as lone surrogates, which json.dumps escapes one by one.
        facts = json.dumps([self._path, self._adoption.shape.name, self._adoption.shape.sha256])
        return f"table:{hashlib.sha256(facts.encode()).hexdigest()}"

    @property
    def given(self) -> int:
        """As far as the table is AUTOINCREMENT, also what is not in it any more."""
        if self._numbering.given is None:
            return self.upto
        with self._pool.lend() as connection:
            found = connection.query(SEQUENCE, [self._numbering.given])
        return max([self.upto, *(int(row["seq"]) for row in found)])

    @property
    def deletions(self) -> int | None:
        return None

    def first(self, after: int | None = None) -> int | None:
        with self._pool.lend() as connection:
            found = connection.query(self._numbering.first(after))
        return int(found[0]["seq"]) if found else None

    @property
    def growth(self) -> Growth:
        """Checked where an index, or the table's own order, finds the rows at or below a number."""
        with self._pool.lend() as connection:
            steps = connection.query(f"EXPLAIN QUERY PLAN {self._numbering.arrivals(None, self.upto)}")
        served = all(str(step["detail"]).startswith("SEARCH") for step in steps)
        return Growth.CHECKED if served else Growth.ASSUMED

    def arrivals(self, after: int | None, upto: int) -> Iterator[pa.Array]:
        sql = self._numbering.arrivals(after, upto)
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=RANGE_ROWS) as reader:
            for batch in reader:
                yield batch["seq"].cast(pa.int64())

    def numbers(self, count: int) -> pa.Array:
        sql = self._numbering.last(count)
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=count) as reader:
            return reader.read_all()["seq"].combine_chunks()

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        sql = query.rows(self._adoption, self._numbering.among(numbers))
        converter, found, events = Converter(self._adoption, ExportFilter()), [], []
        with self._pool.lend() as connection, connection.cursor(sql, columns=self._columns) as cursor:
            while (rows := cursor.take(len(numbers), _WHOLE)) is not None:
                found += rows.batch["seq"].to_pylist()
                events.append(converter.convert(rows))
        return found, pa.concat_batches([*events, pa.RecordBatch.from_pylist([], EVENT_SCHEMA)])

    def make_durable(self) -> bool:
        return self._pinned.make_durable()

    def plan(self, filter: ExportFilter, *, max_rows: int, max_bytes: int, after: int | None = None) -> Iterator[Slice]:
        """Slices of at most that many rows and bytes, as they are measured. Raises
        :class:`~penstock.errors.InvalidMapping` if a ``seq`` comes twice."""
        if not self._numbered and self.unread:
            raise InvalidMapping(
                f"the column {self._numbering.column!r} holds no integer: it cannot be the arrival number",
                hint="map seq to a column of integers, or leave it out",
            )
        return slices(self._pool, self._numbering, max_rows=max_rows, max_bytes=max_bytes, after=after)

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        converter = Converter(self._adoption, filter)
        most = RANGE_ROWS if filter.limit is None else self._batch_rows  # rows behind a limit are not looked at
        return Reading(self._rows(span, converter, most), converter.counts)

    def _rows(self, span: Slice, converter: Converter, most: int) -> Iterator[pa.RecordBatch]:
        if converter.full:
            return
        sql = query.rows(self._adoption, self._numbering.within(span.after, span.upto, span.places))
        with self._pool.lend() as connection, connection.cursor(sql, columns=self._columns) as cursor:
            while not converter.full and (rows := cursor.take(most, RANGE_BYTES)) is not None:
                events = converter.convert(rows)
                for start in range(0, events.num_rows, self._batch_rows):
                    yield events.slice(start, self._batch_rows)

    def unmoved(self) -> bool:
        return self._pinned.unmoved()

    def close(self) -> None:
        """Close every connection, once the threads that read from them gave them back, also after an interrupt."""
        self._pinned.close()
