"""The embedded event store: one SQLite file that an application writes while the exporter reads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pyarrow as pa

from penstock.errors import AccessDenied, LimitReached, UsageError
from penstock.model.columns import EVENT_FIELDS, checked_batch
from penstock.model.event import AnalyticsEvent
from penstock.model.filter import ExportFilter
from penstock.model.result import AppendResult
from penstock.model.storage_config import StorageConfig
from penstock.ports.source import OnConflict, Peers, View
from penstock.sources.connection import Connection
from penstock.sources.file import SqliteFile
from penstock.sources.sqlite import schema
from penstock.sources.sqlite.binding import INSERT, bound_batch, bound_events
from penstock.sources.sqlite.conflicts import conflicting, remove
from penstock.sources.sqlite.predicate import predicate
from penstock.sources.sqlite.view import EventsView

_SLICE = 65_536
#: Ids arrive in no order, so every append touches pages all over their index: 64 MiB of them are kept.
_WRITER_CACHE_KIB = 65_536


class SqliteAnalyticsStorage(SqliteFile):
    """An event store in one SQLite file; safe while other processes read and append.

    ``path`` is created if it is missing and ``create`` is true. ``read_only`` opens without ever writing.

    Nothing else in this process may open the same file with another SQLite (the ``sqlite3`` module, DuckDB) while this
    store is open: closing that handle drops the locks of this one. Other processes may do as they like.

    Raises :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.NotAStore`,
    :class:`~penstock.errors.NewerVersion`, :class:`~penstock.errors.AccessDenied`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: StorageConfig | None = None,
        *,
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        super().__init__(path, config)
        if self.config.table is not None:
            raise UsageError("a table is no event store", hint="open it as AdoptedTable")
        self.read_only = read_only
        self._lock = threading.Lock()
        self._writer: Connection | None = None
        if read_only:
            with self._reading() as connection:
                schema.check_schema(connection)
        else:
            self._writer = self._open_writer("rwc" if create else "rw")

    def _open_writer(self, mode: Any) -> Connection:
        connection = Connection(self.path, mode=mode, busy_timeout=self.config.busy_timeout)
        try:
            connection.execute(f"PRAGMA synchronous={self.config.synchronous.upper()}")
            connection.execute(f"PRAGMA cache_size=-{_WRITER_CACHE_KIB}")
            schema.ensure_schema(connection)
            if self.config.wal:  # only now: a file that is not ours has been refused by here, unchanged
                connection.execute("PRAGMA journal_mode=WAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def append(
        self,
        events: Iterable[AnalyticsEvent] | pa.RecordBatch,
        *,
        checked: bool = False,
        on_conflict: OnConflict = "skip",
    ) -> AppendResult:
        """Store events in order, all or none; storing an id again changes nothing and is counted.

        ``events`` are :class:`AnalyticsEvent` values, or a batch with the columns of ``APPEND_SCHEMA``, which is
        checked row by row unless ``checked`` says that it was. An event whose id is stored with other content is left
        out (``skip``), refuses the whole batch (``fail``), or takes the stored one's place (``replace``), arriving
        anew: it gets a new ``seq``. Durable when it returns, as far as ``synchronous``
        says. Raises :class:`~penstock.errors.InvalidEvent`, :class:`~penstock.errors.StoreBusy`,
        :class:`~penstock.errors.LimitReached` for a full store, :class:`~penstock.errors.NoSpace`.
        """
        if isinstance(events, pa.RecordBatch):
            bound = bound_batch(events if checked else checked_batch(events))
        else:
            bound = bound_events(events)
        writer = self._require_writer()
        with self._lock, writer.transaction():
            self._check_size(writer)
            writer.run(schema.KEEP_NUMBERING)
            result = AppendResult()
            for start in range(0, bound.num_rows, _SLICE):
                result += _insert(writer, bound.slice(start, _SLICE), on_conflict)
            writer.run(schema.COVER)
        return result

    def _check_size(self, writer: Connection) -> None:
        limit = self.config.max_size_bytes
        if limit is None:
            return
        size = writer.query(
            "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) AS bytes"
        )[0]["bytes"]
        if size >= limit:
            raise LimitReached(
                f"{self.path} has {size} bytes, its limit is {limit}; nothing was stored",
                hint="export and delete events, or raise max_size_bytes",
            )

    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> View:
        return EventsView(self.path, self.config, readers=readers, peers=peers)

    def delete(self, filter: ExportFilter) -> int:
        """Delete matching events, ``limit`` in ``seq`` order included; returns how many.

        The file does not shrink. Running exports notice, and read on from their own snapshot. A filter without any
        condition is refused: :class:`~penstock.errors.UsageError`.
        """
        if filter == ExportFilter():
            raise UsageError("this filter would delete every event", hint="give at least one condition")
        where = predicate(filter)
        limit = "" if filter.limit is None else f" ORDER BY seq LIMIT {filter.limit}"
        writer = self._require_writer()
        writer.load()
        with self._lock, writer.transaction():
            before = schema.changes(writer)
            if where.rest is None:
                doomed = f"SELECT seq FROM events WHERE {where.sql}{limit}"
                writer.query(f"DELETE FROM events WHERE seq IN ({doomed}) RETURNING 1 AS gone", where.parameters)
            else:
                for batch in [found.select(["seq"]) for found in self.scan(filter)]:
                    writer.run("DELETE FROM events WHERE seq = ?", batch)
            return schema.changes(writer) - before

    def _require_writer(self) -> Connection:
        if self._writer is None:
            raise AccessDenied(f"{self.path} is open for reading only", hint="open it without read_only")
        return self._writer

    def _reading(self) -> closing[Connection]:
        """A connection for one question."""
        return closing(Connection(self.path, mode="ro", busy_timeout=self.config.busy_timeout))

    def close(self) -> None:
        """Close the store. Safe to call twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _insert(writer: Connection, bound: pa.RecordBatch, on_conflict: OnConflict) -> AppendResult:
    inserted = writer.run(INSERT, bound)
    already = bound.num_rows - inserted
    if not already:
        return AppendResult(inserted=inserted)
    rows = conflicting(writer, bound.select(list(EVENT_FIELDS)))
    if rows and on_conflict == "fail":
        raise UsageError(
            f"{len(rows)} events have the id of a stored event and other content, as {bound['id'][rows[0]]};"
            " nothing of this batch was stored",
            hint="choose whether to skip or to replace such events",
        )
    if rows and on_conflict == "replace":
        replaced = bound.take(rows)
        remove(writer, replaced["id"])
        writer.run(INSERT, replaced)
    return AppendResult(inserted=inserted, duplicates=already - len(rows), conflicts=len(rows))
