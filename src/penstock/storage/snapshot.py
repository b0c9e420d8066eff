"""One unchanging view of our own store, read by several threads over a connection each."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from penstock.errors import StoreBusy
from penstock.model.columns import EVENT_SCHEMA, MICROS_UTC
from penstock.model.event import PRIORITY_NAMES
from penstock.model.filter import ExportFilter
from penstock.model.storage_config import StorageConfig
from penstock.ports import SeqRange
from penstock.storage import schema
from penstock.storage.connection import Connection
from penstock.storage.predicate import predicate

#: ADBC guesses types from the first rows it sees; this row, dropped again, settles them.
_SENTINEL = (
    "SELECT '' AS id, '' AS category, '' AS event_type, 0 AS timestamp, '' AS session_id, 0 AS priority,"
    " '' AS data, '' AS metadata, 0 AS seq, 0 AS received_at UNION ALL SELECT * FROM ("
)
_COLUMNS = "id, category, event_type, timestamp, session_id, priority, data, metadata, seq, received_at"
_VIEW = """SELECT (SELECT value FROM penstock_counters WHERE name = 'changed') AS changed,
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS horizon"""
_ATTEMPTS = 50
_PRIORITIES = pa.array(PRIORITY_NAMES)


class EventsSnapshot:
    """A pinned horizon over ``readers`` connections whose snapshots are proven to agree below it.

    Each connection holds one read transaction. They may begin at different commits; but rows are only ever appended
    unless the change counter moves, so equal counters mean equal rows up to the lowest of the horizons. If the counter
    moved in between, all begin again, a bounded number of times.
    """

    def __init__(self, path: Path, config: StorageConfig, *, readers: int) -> None:
        self._name = path.name
        self._config = config
        self._connections: list[Connection] = []
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        try:
            for _ in range(readers):
                self._connections.append(Connection(path, mode="ro", busy_timeout=config.busy_timeout))
            schema.check_schema(self._connections[0])
            self.horizon = self._agree(path)
        except BaseException:
            self.close()
            raise
        for connection in self._connections:
            self._idle.put(connection)

    def _agree(self, path: Path) -> int:
        for attempt in range(_ATTEMPTS):
            views = []
            for connection in self._connections:
                connection.execute("BEGIN")
                views.append(connection.query(_VIEW)[0])
            if len({view["changed"] for view in views}) == 1:
                return min(int(view["horizon"]) for view in views)
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
            "horizon": self.horizon,
            "order": "seq",
        }

    @property
    def counts(self) -> Mapping[str, int]:
        return {}

    def ranges(self, filter: ExportFilter, *, max_rows: int, max_bytes: int) -> Iterator[SeqRange]:
        current: SeqRange | None = None
        rows, done = 0, -1
        for block in self._blocks():
            after, done = done, min(((block["block"] + 1) << schema.BLOCK_BITS) - 1, self.horizon)
            if after >= done or _outside(block, filter):
                continue
            upto = done
            joins = (
                current is not None
                and current.upto == after
                and rows + block["rows"] <= max_rows
                and current.bytes_hint + block["bytes"] <= max_bytes
            )
            if joins and current is not None:
                current = SeqRange(after=current.after, upto=upto, bytes_hint=current.bytes_hint + block["bytes"])
                rows += block["rows"]
                continue
            if current is not None:
                yield from self._split(current, rows, max_rows, max_bytes)
            current, rows = SeqRange(after=after, upto=upto, bytes_hint=block["bytes"]), block["rows"]
        if current is not None:
            yield from self._split(current, rows, max_rows, max_bytes)

    def _blocks(self) -> Iterator[dict[str, Any]]:
        """Block statistics in order. Rows that no append of ours covered are measured here, and never skipped."""
        with self._borrowed() as connection:
            covered = connection.query(
                "SELECT block, rows, bytes, first_time, last_time FROM penstock_blocks ORDER BY block"
            )
            uncovered = {row["block"]: row for row in connection.query(schema.UNCOVERED)}
        for block in covered:
            late = uncovered.pop(block["block"], None)
            if late is not None:
                block["rows"] += late["rows"]
                block["bytes"] += late["bytes"]
                block["first_time"] = min(block["first_time"], late["first_time"])
                block["last_time"] = max(block["last_time"], late["last_time"])
            yield block
        yield from (uncovered[block] for block in sorted(uncovered))

    def _split(self, span: SeqRange, rows: int, max_rows: int, max_bytes: int) -> Iterator[SeqRange]:
        """Cut a range that one block alone made too large: no piece is over a limit unless it is one row."""
        if span.bytes_hint <= max_bytes and rows <= max_rows:
            yield span
            return
        sizes = (
            f"SELECT 0 AS seq, 0 AS bytes UNION ALL SELECT * FROM (SELECT seq,"
            f" octet_length(data) + octet_length(metadata) + {schema.ROW_OVERHEAD} AS bytes"
            f" FROM events WHERE seq > {span.after} AND seq <= {span.upto} ORDER BY seq)"
        )
        with self._borrowed() as connection:
            measured = connection.query(sizes)[1:]
        after, size, count, last = span.after, 0, 0, span.after
        for row in measured:
            if count and (size + row["bytes"] > max_bytes or count == max_rows):
                yield SeqRange(after=after, upto=last, bytes_hint=size)
                after, size, count = last, 0, 0
            size += row["bytes"]
            count += 1
            last = row["seq"]
        if count:
            yield SeqRange(after=after, upto=span.upto, bytes_hint=size)

    def read(self, span: SeqRange, filter: ExportFilter) -> Iterator[pa.RecordBatch]:
        where = predicate(filter)
        limit = "" if filter.limit is None else f" LIMIT {filter.limit}"
        sql = (
            f"{_SENTINEL}SELECT {_COLUMNS} FROM events WHERE seq > {span.after} AND seq <= {span.upto}"
            f" AND {where.sql} ORDER BY seq{limit})"
        )
        with (
            self._borrowed() as connection,
            connection.stream(sql, where.parameters, batch_rows=self._config.batch_rows) as reader,
        ):
            first = True
            for batch in reader:
                rows = batch.slice(1) if first else batch
                first = False
                if rows.num_rows:
                    yield _typed(rows)

    def _borrowed(self) -> _Borrowed:
        return _Borrowed(self._idle)

    def close(self) -> None:
        while self._connections:
            self._connections.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Borrowed:
    """A connection of the pool, given back at the end; waits while all are lent."""

    def __init__(self, idle: queue.SimpleQueue[Connection]) -> None:
        self._idle = idle

    def __enter__(self) -> Connection:
        self._connection = self._idle.get()
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._idle.put(self._connection)


def _typed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch as SQLite gave it, with the event's types."""
    arrays = []
    for field in EVENT_SCHEMA:
        column = batch.column(field.name)
        if field.name == "priority":
            column = _PRIORITIES.take(column)
        elif field.type == MICROS_UTC:
            column = column.cast(MICROS_UTC)
        arrays.append(column)
    return pa.record_batch(arrays, schema=EVENT_SCHEMA)


def _outside(block: Mapping[str, Any], filter: ExportFilter) -> bool:
    return (filter.start_micros is not None and block["last_time"] < filter.start_micros) or (
        filter.end_micros is not None and block["first_time"] >= filter.end_micros
    )
