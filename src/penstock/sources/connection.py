"""One connection to a SQLite file, through ADBC, with the driver's errors translated.

The SQLite inside ``adbc-driver-sqlite`` is the only one that may touch an event store in this process: two copies of
SQLite on one file drop each other's POSIX locks. For the same reason nothing here opens and closes the file itself
while a connection is open: the header is looked at before the first one.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import adbc_driver_manager as adbc
import adbc_driver_sqlite
import pyarrow as pa

from penstock.errors import (
    AccessDenied,
    ExportError,
    NotAStore,
    NotFound,
    StoreBusy,
    UsageError,
    from_os_error,
)
from penstock.model.spelling import Spelling
from penstock.pipeline import native
from penstock.pipeline.cursor import CursorFault, NativeCursor, loaded
from penstock.pipeline.gathering import Gather
from penstock.sources.complaints import of_cursor, of_driver
from penstock.sources.cursor import Cursor

_HEADER = b"SQLite format 3\x00"
#: How many facts of a file tell which it is, and how many whether it was written.
_IDENTITY, _CONTENT = 2, 4

_open_files: dict[tuple[int, int], int] = {}
_open_files_lock = threading.Lock()


class Connection:
    """One connection. Not safe for two threads at once; transactions are begun and ended by SQL.

    ``mode`` is ``ro`` (read, the file is never written), ``rw`` or ``rwc`` (create). A guarded cursor that is not
    through by ``until`` (``time.monotonic``) raises :class:`~penstock.errors.LimitReached`. Raises
    :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.NotAStore`, :class:`~penstock.errors.AccessDenied`.
    """

    def __init__(
        self, path: Path, *, mode: Literal["ro", "rw", "rwc"], busy_timeout: float, until: float | None = None
    ) -> None:
        self.path = path
        self._until = until
        check_file(path, create=mode == "rwc")
        frozen = mode == "ro" and _frozen(path)
        #: What of the file must go on looking as it does: all, where it is read without locks, or which file it is.
        self._looking = (_CONTENT if frozen else _IDENTITY) if mode == "ro" else 0
        self._looked = self._look()
        flags = f"mode={mode}" + ("&immutable=1" if frozen else "")
        uri = f"file:{quote(os.fsencode(path.absolute()))}?{flags}"
        try:
            self._database = adbc.AdbcDatabase(driver=adbc_driver_sqlite._driver_path(), uri=uri)
            self._connection = adbc.AdbcConnection(self._database)
        except adbc.Error as error:
            raise of_driver(error, path) from None
        #: Device and inode.
        self.file = _note_open(path)
        self._prepared: dict[str, adbc.AdbcStatement] = {}
        #: What the native library knows the connection by, once it was loaded into it.
        self._handle: int | None = None
        self._cursors: set[Cursor] = set()
        self.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
        self.execute("PRAGMA trusted_schema=OFF")
        if mode == "ro":
            self.execute("PRAGMA query_only=ON")

    @property
    def keeps_writers_out(self) -> bool:
        """Whether nobody can commit while this connection reads: there is no write-ahead log."""
        return bool(self.query("PRAGMA journal_mode")[0]["journal_mode"] != "wal")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """All rows of a small result."""
        with self.stream(sql, parameters, batch_rows=4096) as reader:
            rows: list[dict[str, Any]] = reader.read_all().to_pylist()
        return rows

    @contextmanager
    def stream(self, sql: str, parameters: Sequence[Any] = (), *, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """A result as Arrow batches of at most ``batch_rows`` rows."""
        statement = adbc.AdbcStatement(self._connection)
        try:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(batch_rows)})
            statement.set_sql_query(sql)
            if parameters:
                statement.bind_stream(_bound(parameters))
            handle, _ = statement.execute_query()
            reader = pa.RecordBatchReader.from_stream(handle)
            try:
                yield reader
            finally:
                reader.close()
            self.check_unchanged()
        except (adbc.Error, pa.ArrowException, OSError) as error:
            self.check_unchanged()
            raise of_driver(error, self.path) from None
        finally:
            statement.close()

    def scan(
        self,
        source: str,
        parameters: Sequence[Any] = (),
        *,
        columns: Spelling,
        order: str,
        where: str = "1",
        bytes_hint: int,
    ) -> tuple[pa.RecordBatch, int]:
        """Gather ``columns`` from ``source``, what stands behind FROM, which gives them in ascending ``order``, as far
        as they meet ``where``. Also gives how many rows ``source`` had.

        SQLite hands each row to ``penstock_scan`` (``native/scan.c``), which puts it into column buffers: the driver's
        own way to Arrow takes more than twice as long. ``bytes_hint`` is about how long all verbatim texts are.
        """
        self.load()
        sink = native.Sink(columns, order, bytes_hint)
        only = "" if where == "1" else f" FILTER (WHERE {where})"
        call = f"penstock_scan({sink.number}, {', '.join(map(quote_name, columns.names))}){only}"
        try:
            seen = int(self.query(f"SELECT {call} AS rows, count(*) AS seen FROM {source}", parameters)[0]["seen"])
            return sink.take(), seen
        finally:
            sink.close()

    @contextmanager
    def cursor(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        columns: Sequence[Gather] = (),
        guarded: bool = False,
        watched: bool = False,
    ) -> Iterator[Cursor]:
        """A query whose values go into ``columns`` in turn (``native/gather.h``), each by how it is stored. Without
        them it can be described and cut only.

        ``guarded`` is for SQL of somebody else: one statement that reads, of this file alone, and that can be ended
        whatever it does (:class:`~penstock.sources.cursor.Cursor`); ``watched`` is for what takes long. Raises
        :class:`~penstock.errors.InvalidQuery` for any other, and what :meth:`query` raises.
        """
        try:
            native_cursor = NativeCursor(self.load(), sql, parameters, columns, guarded=guarded)
        except CursorFault as fault:
            raise of_cursor(fault, self.path, guarded=guarded) from None
        cursor = Cursor(native_cursor, self.path, guarded=guarded, watched=watched, until=self._until)
        self._cursors.add(cursor)
        try:
            yield cursor
            self.check_unchanged()
        except ExportError:
            self.check_unchanged()  # a file that was replaced or written explains more than what was read of it
            raise
        finally:
            self._cursors.discard(cursor)
            cursor.close()

    def interrupt(self) -> None:
        """End the cursors that are open, whoever reads from them: they raise. Safe from any thread."""
        for cursor in tuple(self._cursors):
            cursor.interrupt()

    def load(self) -> int:
        """The connection as the native library knows it, which is loaded into it now if it is not yet; nothing else may
        be, neither before nor after."""
        if self._handle is None:
            try:
                self._connection.set_options(**{"adbc.sqlite.load_extension.enabled": "true"})
                self._connection.set_options(**{"adbc.sqlite.load_extension.path": str(native.PATH)})
                self._connection.set_options(**{"adbc.sqlite.load_extension.entrypoint": "penstock_scan_init"})
                self._connection.set_options(**{"adbc.sqlite.load_extension.enabled": "false"})
            except adbc.Error as error:
                raise of_driver(error, self.path) from None
            self._handle = loaded()
        return self._handle

    def _look(self) -> tuple[int, ...] | None:
        return None if self._looking == 0 else _facts(self.path, self._looking)

    def check_unchanged(self) -> None:
        """See that what is read is still what the path names: several connections may have opened different files.

        Pages that were written while they were read without locks are of no one moment. Raises
        :class:`~penstock.errors.StoreBusy`.
        """
        if self._look() == self._looked:
            return
        if self._looking == _IDENTITY:
            raise replaced(self.path)
        raise StoreBusy(
            f"{self.path} was written while it was read, and cannot be locked where it lies",
            hint="read again when it is not written, or from a directory that may be written",
        )

    def execute(self, sql: str, batch: pa.RecordBatch | None = None) -> int:
        """Run a statement once, or once a row of ``batch``; returns how many rows it changed."""
        statement = adbc.AdbcStatement(self._connection)
        try:
            statement.set_sql_query(sql)
            if batch is not None:
                statement.bind_stream(pa.RecordBatchReader.from_batches(batch.schema, [batch]))
                return int(statement.execute_update())
            handle, changed = statement.execute_query()
            pa.RecordBatchReader.from_stream(handle).read_all()
            return int(changed)
        except (adbc.Error, pa.ArrowException, OSError) as error:
            raise of_driver(error, self.path) from None
        finally:
            statement.close()

    def run(self, sql: str, batch: pa.RecordBatch | None = None) -> int:
        """Like ``execute`` for a statement without a result that comes again and again: it is prepared once."""
        statement = self._prepared.get(sql)
        try:
            if statement is None:
                statement = adbc.AdbcStatement(self._connection)
                self._prepared[sql] = statement
                statement.set_sql_query(sql)
                statement.prepare()
            if batch is not None:
                statement.bind(*batch.__arrow_c_array__()[::-1])
            return int(statement.execute_update())
        except (adbc.Error, pa.ArrowException, OSError) as error:
            if sql in self._prepared:
                self._prepared.pop(sql).close()
            raise of_driver(error, self.path) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """``BEGIN IMMEDIATE`` … ``COMMIT``; any exception rolls back."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            with suppress(ExportError):  # SQLite rolls back by itself in some cases, as when the disk is full
                self.run("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        if self._connection is not None:
            self._handle = None
            for cursor in tuple(self._cursors):
                cursor.close()
            while self._prepared:
                self._prepared.popitem()[1].close()
            self._connection.close()
            self._database.close()
            self._connection = None  # type: ignore[assignment]  # closed: any further use is a bug that should show
            _note_closed(self.file)


def check_file(path: Path, *, create: bool) -> None:
    """See, before any connection, that ``path`` is a SQLite file or may become one."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        if not create:
            raise NotFound(
                f"there is no store at {path}", hint="check the path; 'penstock ingest' creates one"
            ) from None
        if not path.absolute().parent.is_dir():
            raise NotFound(f"there is no directory {path.absolute().parent}", hint="create it first") from None
        if not os.access(path.absolute().parent, os.W_OK):
            raise AccessDenied(f"no permission to create {path}", hint="check the mode of its directory") from None
        return
    except OSError as error:
        raise from_os_error(error, f"cannot look at {path}") from None
    if path.is_dir():
        raise UsageError(f"{path} is a directory, not a store", hint="give the path of a SQLite file")
    if not stat.S_ISREG(facts.st_mode):
        raise UsageError(f"{path} is not a regular file", hint="give the path of a SQLite file")
    with _open_files_lock:
        if _open_files.get((facts.st_dev, facts.st_ino)) or facts.st_size == 0:
            return
        try:
            with path.open("rb") as file:
                header = file.read(len(_HEADER))
        except OSError as error:
            raise from_os_error(error, f"cannot read {path}") from None
    if header != _HEADER:
        raise NotAStore(f"{path} is not a SQLite database", hint="give the path of a SQLite file")


def is_open(path: Path) -> bool:
    """Whether this process has connections to a file: then nothing else may open it and close it again."""
    try:
        facts = os.stat(path)
    except OSError:
        return False
    with _open_files_lock:
        return bool(_open_files.get((facts.st_dev, facts.st_ino)))


def _frozen(path: Path) -> bool:
    """Whether the file lies where nothing can be written and has no log that must be read with it."""
    real = os.path.realpath(path)  # beside the file itself, not beside a link to it
    if os.access(os.path.dirname(real), os.W_OK):
        return False
    return not any(_size(f"{real}{log}") for log in ("-wal", "-journal"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _facts(path: Path, how_many: int) -> tuple[int, ...] | None:
    """What changes when the file is replaced, and after that what also changes when it is written."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)[:how_many]


def check_alike(connections: Sequence[Connection], facts: str) -> None:
    """See that connections that were opened one after the other read one file: that nobody put another in its place,
    and took it away again, in between. ``facts`` is SQL for a row that each of them has to give.

    Raises :class:`~penstock.errors.StoreBusy`.
    """
    found = [connection.query(facts) for connection in connections]
    if any(one != found[0] for one in found):
        raise replaced(connections[0].path)


def replaced(path: Path) -> StoreBusy:
    """What is said when two connections to one path did not open one file."""
    return StoreBusy(
        f"{path} was replaced by another file while it was opened or read", hint="read again when it stays in its place"
    )


def _note_open(path: Path) -> tuple[int, int]:
    facts = os.stat(path)
    key = (facts.st_dev, facts.st_ino)
    with _open_files_lock:
        _open_files[key] = _open_files.get(key, 0) + 1
    return key


def _note_closed(key: tuple[int, int]) -> None:
    with _open_files_lock:
        _open_files[key] -= 1


def _bound(parameters: Sequence[Any]) -> pa.RecordBatchReader:
    batch = pa.record_batch([pa.array([value]) for value in parameters], names=[str(i) for i in range(len(parameters))])
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


def quote_name(name: str) -> str:
    """A table or column name as an SQL identifier: one that is not there, in double quotes, SQLite takes for text."""
    return "`" + name.replace("`", "``") + "`"
