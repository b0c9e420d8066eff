"""One unchanging view of a table that is not ours: connections that see the same commit, ranges, and what was counted.

The table is described in ``adopted_table``, its mapping settled in ``adopted_mapping``, its SQL made in
``adopted_query``, its rows made events in ``adopted_events``.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.errors import InvalidMapping, UsageError
from penstock.model.filter import ExportFilter
from penstock.model.storage_config import StorageConfig
from penstock.pipeline.closing import Closing
from penstock.ports.source import Peers, Reading, Slice, Ticket
from penstock.sources.connection import Connection, check_alike
from penstock.sources.log import sync_log
from penstock.sources.pool import Pool
from penstock.sources.tables import query as adopted_query
from penstock.sources.tables.events import Converter
from penstock.sources.tables.mapping import Adoption, adopt
from penstock.sources.tables.table import describe
from penstock.sources.watch import Watch, check_one_file

#: The same for all connections that read one commit of one file.
_LIKENESS = """SELECT (SELECT page_count FROM pragma_page_count) AS pages,
    (SELECT freelist_count FROM pragma_freelist_count) AS free,
    (SELECT schema_version FROM pragma_schema_version) AS version"""
_ATTEMPTS = 20
_MEASURED = 65_536


class TableView(Closing):
    """A table of any shape as events, through ``config.table`` and ``config.mapping``; the file is never written.

    Each of ``readers`` connections holds one read transaction. A further connection asks for ``PRAGMA data_version``
    before the first of them begins and after the last has: if it did not change, nobody committed in between, so all
    see the same rows, those of ``peers`` too. If that cannot be shown in a bounded number of tries, one connection
    serves all readers in turn, and no other process can read the same.

    Raises :class:`~penstock.errors.InvalidMapping` for a table or column that is not there and for an event without
    ``timestamp`` or ``event_type``, and what opening a store raises.
    """

    streams = False

    def __init__(self, path: Path, config: StorageConfig, *, readers: int, peers: Peers | None = None) -> None:
        assert config.table is not None
        self._name = os.fsencode(path.name).decode("utf-8", "replace")
        self._file = path
        self._path = str(path.absolute())
        self._batch_rows = config.batch_rows
        self._connections: list[Connection] = []
        self._pool = Pool()
        self._watch = Watch()
        try:
            agreed = self._begin(path, config, readers, peers)
            self._adoption = adopt(describe(self._connections[0], config.table), config.mapping)
            highest = self._connections[0].query(adopted_query.last(self._adoption))
        except BaseException:
            self.close()
            raise
        self._numbered = bool(highest)
        self.upto = int(highest[0]["seq"]) if highest else 0
        file = self._connections[0].file
        self.ticket = Ticket(upto=self.upto, changes=None, file=file) if agreed else None
        self._pool.fill(self._connections)

    def _begin(self, path: Path, config: StorageConfig, readers: int, peers: Peers | None) -> bool:
        """Open the connections and begin their transactions at one and the same commit; whether all do. If not, there
        is one connection."""
        for _ in range(readers):
            self._connections.append(Connection(path, mode="ro", busy_timeout=config.busy_timeout))
        if readers == 1 and peers is None:
            _begin(self._connections[0])
            return True
        self._watch.open(path, config)
        for attempt in range(_ATTEMPTS):
            self._watch.begin()
            tickets = list(peers()) if peers is not None else []
            for connection in self._connections:
                _begin(connection)
            if self._watch.unmoved():
                mine = Ticket(upto=0, changes=None, file=self._connections[0].file)
                check_one_file(path, [*tickets, mine])
                check_alike(self._connections, _LIKENESS)
                return True
            for connection in self._connections:
                connection.execute("ROLLBACK")
            time.sleep(0.001 * attempt)
        while len(self._connections) > 1:
            self._connections.pop().close()
        self._watch.close()
        _begin(self._connections[0])
        return False

    @property
    def source(self) -> Mapping[str, Any]:
        return {"kind": "table", "name": self._name, **self._adoption.describe(), "horizon": self.upto}

    @property
    def unread(self) -> Mapping[str, int]:
        if not self._adoption.checked:
            return {}
        with self._pool.lend() as connection:
            count = int(connection.query(adopted_query.unnumbered(self._adoption))[0]["n"])
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
        if not self._adoption.shape.autoincrement or self._adoption.checked:
            return self.upto
        with self._pool.lend() as connection:
            found = connection.query(adopted_query.SEQUENCE, [self._adoption.shape.name])
        return max([self.upto, *(int(row["seq"]) for row in found)])

    @property
    def deletions(self) -> int | None:
        return None

    def first(self, after: int | None = None) -> int | None:
        with self._pool.lend() as connection:
            found = connection.query(adopted_query.first(self._adoption, after))
        return int(found[0]["seq"]) if found else None

    def numbers(self, count: int) -> pa.Array:
        sql = adopted_query.last(self._adoption, count)
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=count) as reader:
            return reader.read_all()["seq"].combine_chunks()

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        converter = Converter(self._adoption, ExportFilter())
        sql = adopted_query.rows(self._adoption, f"IN ({', '.join(map(str, numbers))})")
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=_MEASURED) as reader:
            rows = reader.read_all().combine_chunks().to_batches()[0].slice(1)
        return rows["seq"].to_pylist(), converter.convert(rows)

    def make_durable(self) -> bool:
        return sync_log(self._file)

    def plan(self, filter: ExportFilter, *, max_rows: int, max_bytes: int, after: int | None = None) -> Iterator[Slice]:
        """Slices of at most that many rows and bytes. Every row is measured, so the first one takes a pass over the
        table. Raises :class:`~penstock.errors.InvalidMapping` if a ``seq`` comes twice."""
        if not self._numbered and self.unread:
            raise InvalidMapping(
                f"the column {self._adoption.fields['seq']!r} holds no integer: it cannot be the arrival number",
                hint="map seq to a column of integers, or leave it out",
            )
        cutter = _Cutter(self._adoption, max_rows, max_bytes)
        sql = adopted_query.sizes(self._adoption, after)
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=_MEASURED) as reader:
            for number, batch in enumerate(reader):
                cutter.add(batch if number else batch.slice(1))
        return iter(cutter.finish())

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        converter = Converter(self._adoption, filter)
        return Reading(self._rows(span, converter), converter.counts)

    def _rows(self, span: Slice, converter: Converter) -> Iterator[pa.RecordBatch]:
        if converter.full:
            return
        sql = adopted_query.span(self._adoption, span.after, span.upto, places=span.places)
        with (
            self._pool.lend() as connection,
            connection.stream(sql, batch_rows=self._batch_rows) as reader,
        ):
            for number, batch in enumerate(reader):
                rows = batch if number else batch.slice(1)
                events = converter.convert(rows)
                if events.num_rows:
                    yield events
                if converter.full:
                    return

    def unmoved(self) -> bool:
        return self._watch.unmoved()

    def close(self) -> None:
        """Close every connection, once the threads that read from them gave them back, also after an interrupt."""
        self._pool.drain()
        while self._connections:
            self._connections.pop().close()
        self._watch.close()


class _Cutter:
    """Cuts measured rows, given in ``seq`` order, into slices none of which is over a limit unless it is one row."""

    def __init__(self, adoption: Adoption, max_rows: int, max_bytes: int) -> None:
        self._adoption = adoption
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._found: list[Slice] = []
        self._after: int | None = None
        self._last = 0
        self._rows = self._bytes = 0
        self._places: tuple[int, int] | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """The next rows: ``seq``, ``bytes``, ``place``."""
        seqs = batch["seq"]
        ends = list(accumulate(batch["bytes"].to_pylist()))
        places = batch["place"].to_pylist() if self._adoption.place is not None else []
        if ends and self._after is None:
            self._after = self._last = seqs[0].as_py() - 1
        if self._adoption.checked:
            _refuse_repeats([self._last, *seqs.to_pylist()], self._adoption)
        start = 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            end = min(
                bisect_right(ends, before + self._max_bytes - self._bytes, lo=start),
                start + self._max_rows - self._rows,
            )
            if end == start:
                if self._rows:
                    self._close()
                    continue
                end = start + 1
            self._take(end - start, ends[end - 1] - before, seqs[end - 1].as_py(), places[start:end])
            start = end

    def _take(self, rows: int, size: int, last: int, places: list[int]) -> None:
        if places:
            known = [*places, *(self._places or ())]
            self._places = (min(known), max(known))
        self._rows += rows
        self._bytes += size
        self._last = last

    def _close(self) -> None:
        assert self._after is not None
        self._found.append(
            Slice(after=self._after, upto=self._last, bytes_hint=self._bytes, rows=self._rows, places=self._places)
        )
        self._after, self._rows, self._bytes, self._places = self._last, 0, 0, None

    def finish(self) -> list[Slice]:
        if self._rows:
            self._close()
        return self._found


def _refuse_repeats(seqs: list[int], adoption: Adoption) -> None:
    for one, next_one in pairwise(seqs):
        if one == next_one:
            raise InvalidMapping(
                f"the column {adoption.fields['seq']!r} holds {one} twice: it cannot be the arrival number",
                hint="map seq to a column whose values are unique, or leave it out",
            )


def _begin(connection: Connection) -> None:
    """Begin a transaction and let it see the database: SQLite takes its snapshot at the first read."""
    connection.execute("BEGIN")
    connection.query("SELECT count(*) AS n FROM main.sqlite_schema")
