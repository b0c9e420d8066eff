"""One unchanging view of our own store, read by several threads over a connection each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import StorageError, StoreBusy
from penstock.model import times
from penstock.model.columns import COLUMNS, EVENT_SCHEMA, EVENT_SPELLING
from penstock.model.dataset import MICROS_UTC
from penstock.model.event import PRIORITY_NAMES
from penstock.model.filter import ExportFilter
from penstock.model.roll import Growth
from penstock.model.spelling import Kind, Spelling
from penstock.model.storage_config import StorageConfig
from penstock.pipeline.closing import Closing
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Peers, Reading, Slice, Ticket
from penstock.sources.connection import Connection, check_alike
from penstock.sources.log import sync_log
from penstock.sources.pool import Pool
from penstock.sources.sqlite import schema
from penstock.sources.sqlite.predicate import predicate
from penstock.sources.watch import Watch, check_one_file

_VIEW = """SELECT (SELECT sum(value) FROM penstock_counters) AS changed,
    coalesce((SELECT max(seq) FROM events), 0) AS horizon"""
_FACTS = """SELECT (SELECT value FROM penstock_counters WHERE name = 'deleted') AS deletions, coalesce(
    (SELECT max(seq) FROM sqlite_sequence WHERE name = 'events' AND typeof(seq) = 'integer'), 0) AS given"""
#: The same for all connections that read one file, as far as they agree.
_LIKENESS = """SELECT (SELECT value FROM penstock_facts WHERE name = 'store_id') AS store,
    (SELECT seq || ' ' || id FROM events WHERE seq <= {horizon} ORDER BY seq DESC LIMIT 1) AS last"""
#: Changes for a connection when any other one has committed.
_VERSION = "PRAGMA data_version"
_ATTEMPTS = 50
#: So often no commit at all is hoped for, before equal change counters are enough.
_PATIENCE = 10
_PRIORITIES = pa.array(PRIORITY_NAMES)
#: Events as the store keeps them: priorities and times are numbers.
_STORED = Spelling(
    tuple(
        replace(each, kind=Kind.INT64) if each.kind is Kind.TIME or each.name == "priority" else each
        for each in EVENT_SPELLING.columns
    )
)


class EventsView(Closing):
    """A pinned horizon over ``readers`` connections whose snapshots are proven to agree below it.

    Each connection holds one read transaction. If nothing was committed while they began, they see the same. Under a
    writer that never pauses they begin at different commits; but rows are only ever appended unless the change counter
    moves, so equal counters mean equal rows up to the lowest of the horizons. A horizon is the last row's number and
    never the sequence's, which another program may delete, and whose numbers may be given again. (``INSERT OR REPLACE``
    of another program moves no counter, hence the first way is tried first.) Else all begin again, a bounded number of
    times. Without a write-ahead log transactions would keep writers out: they end once all agree, and begin anew for
    each slice (:class:`~penstock.sources.pool.Pool`).
    """

    streams = False

    def __init__(self, path: Path, config: StorageConfig, *, readers: int, peers: Peers | None = None) -> None:
        self._name = os.fsencode(path.name).decode("utf-8", "replace")
        self._config = config
        self._connections: list[Connection] = []
        self._pool = Pool()
        self._path = path
        self._watch = Watch()
        self._counted = threading.Lock()
        #: Whether the rows were counted, and are as many as the index of their ids knows of.
        self._whole = False
        self._told: Mapping[str, int] | None = None
        try:
            for _ in range(readers):
                self._connections.append(Connection(path, mode="ro", busy_timeout=config.busy_timeout))
            schema.check_schema(self._connections[0])
            if peers is not None:
                self._watch.open(path, config)
            self.ticket = self._agree(path, peers)
            self.upto = self.ticket.upto
        except BaseException:
            self.close()
            raise
        turns = self._connections[0].keeps_writers_out and not config.one_moment
        if turns:  # nobody is let in between these and the horizon
            self._told = _numbers(path, self._connections[0].query(_FACTS)[0])
        self._pool.fill(self._connections, turns=turns)

    def _agree(self, path: Path, peers: Peers | None) -> Ticket:
        first = self._connections[0]
        for attempt in range(_ATTEMPTS):
            self._watch.begin()
            version = first.query(_VERSION)
            tickets = list(peers()) if peers is not None else []
            for connection in reversed(self._connections):
                connection.execute("BEGIN")
                view = _numbers(path, connection.query(_VIEW)[0])
                tickets.append(Ticket(upto=view["horizon"], changes=view["changed"], file=connection.file))
            unmoved = first.query(_VERSION) == version
            if unmoved or (attempt >= _PATIENCE and len({ticket.changes for ticket in tickets}) == 1):
                check_one_file(path, tickets)
                agreed = min(tickets, key=lambda ticket: ticket.upto)
                check_alike(self._connections, _LIKENESS.format(horizon=agreed.upto))
                return agreed
            for connection in self._connections:
                connection.execute("ROLLBACK")
            time.sleep(0.001 * attempt)
        raise StoreBusy(
            f"{path}: events are being deleted or updated without a pause, no common snapshot could be taken",
            hint="try again when the deletion is over, or use one worker",
        )

    @property
    def source(self) -> Mapping[str, Any]:
        return {
            "kind": "penstock",
            "name": self._name,
            "schema_version": schema.SCHEMA_VERSION,
            "horizon": self.upto,
            "order": "seq",
        }

    @property
    def identity(self) -> str:
        with self._pool.lend() as connection:
            rows = connection.query("SELECT value FROM penstock_facts WHERE name = 'store_id' AND value <> ''")
        if not rows:
            raise schema.changed(self._path, "the id of the store is gone")
        return f"penstock:{rows[0]['value']}"

    def _facts(self) -> Mapping[str, int]:
        if self._told is not None:
            return self._told
        with self._pool.lend() as connection:
            return _numbers(self._path, connection.query(_FACTS)[0])

    @property
    def given(self) -> int:
        return max(int(self._facts()["given"]), int(self.upto))

    @property
    def deletions(self) -> int | None:
        return self._facts()["deletions"]

    def first(self, after: int | None = None) -> int | None:
        with self._pool.lend() as connection:
            found = connection.query(f"SELECT min(seq) AS seq FROM events WHERE seq > {after or 0}")[0]["seq"]
        return None if found is None else int(found)

    @property
    def growth(self) -> Growth:
        return Growth.PROVEN

    def arrivals(self, after: int | None, upto: int) -> Iterator[pa.Array]:
        sql = f"SELECT seq FROM events WHERE seq > {after or 0} AND seq <= {upto} ORDER BY seq"
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=RANGE_ROWS) as reader:
            for batch in reader:
                yield batch["seq"]

    def around(self, after: int | None, upto: int, wanted: Callable[[pa.Array], Container[int]]) -> Iterator[Slice]:
        return self.plan(ExportFilter(), max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES, after=after)

    def back(self, upto: int, rows: int) -> int | None:
        return next(iter(self._last(upto, 1, skip=rows)), None)

    def newest(self, count: int) -> Sequence[int]:
        return self._last(self.upto, count)

    def _last(self, upto: int, count: int, *, skip: int = 0) -> Sequence[int]:
        sql = f"SELECT seq FROM events WHERE seq <= {upto} ORDER BY seq DESC LIMIT {count} OFFSET {skip}"
        with self._pool.lend() as connection, connection.stream(sql, batch_rows=count) as reader:
            found: list[int] = reader.read_all()["seq"].to_pylist()
        return found

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        wanted = ", ".join(str(number) for number in numbers if number <= self.upto)
        source = f"(SELECT {', '.join(COLUMNS)} FROM events WHERE seq IN ({wanted}) ORDER BY seq)"
        with self._pool.lend() as connection:
            stored, _ = connection.scan(source, columns=_STORED, order="seq", bytes_hint=0)
        batch = _events(stored, self._name)
        return batch["seq"].to_pylist(), batch

    def moved_up(self, numbers: Sequence[int], above: int) -> Collection[int]:
        return ()

    def make_durable(self) -> bool:
        return sync_log(self._path)

    @property
    def unread(self) -> Mapping[str, int]:
        return {}

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: int | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        current: Slice | None = None
        rows, done = 0, -1 if after is None else after
        first_time, last_time = predicate(filter).times
        for block in self._blocks(done):
            after, done = done, min(((block["block"] + 1) << schema.BLOCK_BITS) - 1, self.upto)
            if after >= done or block["last_time"] < first_time or block["first_time"] > last_time:
                continue
            upto, told = done, block["rows"]
            if after >= block["block"] << schema.BLOCK_BITS:
                told = 0  # some of its rows lie before this range
                self._look_at(block)
            elif block["last_seq"] > self.upto:
                told = 0  # some of its rows lie behind it
            joins = (
                current is not None
                and current.upto == after
                and rows + block["rows"] <= max_rows
                and current.bytes_hint + block["bytes"] <= max_bytes
            )
            if joins and current is not None:
                size = current.bytes_hint + block["bytes"]
                current = Slice(after=current.after, upto=upto, bytes_hint=size, rows=current.rows + told)
                rows += block["rows"]
                continue
            if current is not None:
                yield from self._split(current, rows, max_rows, max_bytes)
            current = Slice(after=after, upto=upto, bytes_hint=block["bytes"], rows=told)
            rows = block["rows"]
        if current is not None:
            yield from self._split(current, rows, max_rows, max_bytes)

    def _blocks(self, after: int) -> Iterator[dict[str, Any]]:
        """Statistics of the blocks that reach beyond ``after``, in order. Rows that no append of ours covered are
        measured here, and never skipped."""
        first = (after + 1) >> schema.BLOCK_BITS
        with self._pool.lend() as connection:
            covered = connection.query(
                "SELECT block, rows, bytes, first_time, last_time, last_seq FROM penstock_blocks"
                f" WHERE block >= {first} ORDER BY block"
            )
            uncovered = {row["block"]: row for row in connection.query(schema.UNCOVERED) if row["block"] >= first}
        for block in covered:
            block |= {"rows": max(_numbers(self._path, block)["rows"], 0), "bytes": max(block["bytes"], 0)}
            late = uncovered.pop(block["block"], None)
            if late is not None:
                block["rows"] += late["rows"]
                block["bytes"] += late["bytes"]
                block["first_time"] = min(block["first_time"], late["first_time"])
                block["last_time"] = max(block["last_time"], late["last_time"])
                block["last_seq"] = late["last_seq"]
            yield block
        yield from (uncovered[block] for block in sorted(uncovered))

    def _split(self, span: Slice, rows: int, max_rows: int, max_bytes: int) -> Iterator[Slice]:
        """Cut a range that one block alone made too large: no piece is over a limit unless it is one row."""
        if span.bytes_hint <= max_bytes and rows <= max_rows:
            yield span
            return
        sizes = (
            f"SELECT 0 AS seq, 0 AS bytes UNION ALL SELECT * FROM (SELECT seq,"
            f" {schema.ROW_BYTES} AS bytes FROM events WHERE seq > {span.after} AND seq <= {span.upto} ORDER BY seq)"
        )
        with self._pool.lend() as connection:
            measured = connection.query(sizes)[1:]
            self._check_rows(connection, span, len(measured))
        after, size, count, last = span.after, 0, 0, span.after
        for row in measured:
            if count and (size + row["bytes"] > max_bytes or count == max_rows):
                yield Slice(after=after, upto=last, bytes_hint=size, rows=count)
                after, size, count = last, 0, 0
            size += row["bytes"]
            count += 1
            last = row["seq"]
        if count:
            yield Slice(after=after, upto=span.upto, bytes_hint=size, rows=count)

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        return Reading(self._rows(span, filter, COLUMNS))

    def read_columns(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Reading:
        return Reading(self._rows(span, filter, [name for name in COLUMNS if name in names or name == "seq"]))

    def _rows(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        where = predicate(filter)
        stored_as = _STORED if where.rest is not None or filter.limit is not None else _STORED.select(names)
        # Without another index the rows come by seq, which the scan checks; ORDER BY in a subquery copies every row.
        source = f"events NOT INDEXED WHERE seq > {span.after} AND seq <= {span.upto}"
        scanned: dict[str, Any] = {"columns": stored_as, "order": "seq", "bytes_hint": span.bytes_hint}
        with self._pool.lend() as connection:
            if filter.limit is None or where.rest is not None:
                stored, seen = connection.scan(source, where.parameters, where=where.sql, **scanned)
            else:
                few = f"(SELECT {', '.join(COLUMNS)} FROM {source} AND {where.sql} ORDER BY seq LIMIT {filter.limit})"
                stored, _ = connection.scan(few, where.parameters, **scanned)
                seen = int(connection.query(f"SELECT count(*) AS seen FROM {source}")[0]["seen"])
            self._check_rows(connection, span, seen)
        batch = _events(stored, self._name)
        if where.rest is not None:
            batch = where.rest.rows(batch).slice(0, filter.limit)
        for start in range(0, batch.num_rows, self._config.batch_rows):
            yield batch.slice(start, self._config.batch_rows)

    def _look_at(self, block: Mapping[str, Any]) -> None:
        """See that the rows of a block are there, of which a range covers but some."""
        first = block["block"] << schema.BLOCK_BITS
        span = Slice(after=first - 1, upto=first + schema.BLOCK_ROWS - 1, bytes_hint=0, rows=block["rows"])
        with self._pool.lend() as connection:
            sql = f"SELECT count(*) AS seen FROM events NOT INDEXED WHERE seq > {span.after} AND seq <= {span.upto}"
            self._check_rows(connection, span, int(connection.query(sql)[0]["seen"]))

    def _check_rows(self, connection: Connection, span: Slice, seen: int) -> None:
        """Whether rows are missing that a damaged page hides: SQLite does not notice.

        What a block counts may be too many: ``INSERT OR REPLACE`` of another program takes rows away unseen, but out
        of the index of ids as well. Raises :class:`~penstock.errors.StorageError`.
        """
        if seen >= span.rows:
            return
        with self._counted:
            if not self._whole:
                counted = connection.query(schema.COUNTED)[0]
                if counted["rows"] != counted["named"]:
                    raise schema.changed(
                        self._path,
                        f"rows are missing: {seen} of {span.rows} were found from seq {span.after + 1} to {span.upto}",
                    )
                self._whole = True

    def unmoved(self) -> bool:
        return self._watch.unmoved()

    @property
    def moved(self) -> bool:
        return self._pool.moved

    def close(self) -> None:
        """Close every connection, once the threads that read from them gave them back, also after an interrupt."""
        self._pool.drain()
        while self._connections:
            self._connections.pop().close()
        self._watch.close()


def _events(stored: pa.RecordBatch, store: str) -> pa.RecordBatch:
    """What a scan gathered, as a batch with the event's types.

    Raises :class:`~penstock.errors.StorageError` for values that no event has: they would break the files they go into.
    """
    try:
        fields = [EVENT_SCHEMA.field(name) for name in stored.schema.names]
        columns = [_column(array, field) for field, array in zip(fields, stored.columns, strict=True)]
    except pa.ArrowException as error:
        raise StorageError(
            f"{store}: what is stored from seq {stored['seq'][0]} on is no event: {error}",
            hint="the file is damaged, or another program wrote to it",
        ) from None
    return pa.record_batch(columns, schema=pa.schema(fields))


def _column(column: pa.Array, field: pa.Field) -> pa.Array:
    if field.name == "priority":
        return _PRIORITIES.take(column)
    if field.type == MICROS_UTC:
        extremes = pc.min_max(column).as_py() if len(column) else {"min": 0, "max": 0}
        if extremes["min"] < times.MIN_MICROS or extremes["max"] > times.MAX_MICROS:
            raise pa.ArrowInvalid(f"{field.name} is outside the years 0001 to 9999")
        return column.cast(MICROS_UTC)
    return column


def _numbers(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The row, all of whose values have to be integers. Raises :class:`~penstock.errors.StorageError`."""
    for name, value in row.items():
        if not isinstance(value, int):
            raise schema.changed(path, f"{name} is {value!r}, a number is meant")
    return row
