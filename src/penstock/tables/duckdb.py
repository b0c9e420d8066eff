"""DuckDB files as destinations."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.errors import (
    AccessDenied,
    ExportError,
    IntegrityError,
    IoError,
    Locked,
    NoSpace,
    NotFound,
    StorageError,
    UsageError,
    from_os_error,
)
from penstock.model.dataset import Dataset, type_name
from penstock.model.location import Location
from penstock.pipeline.rowtext import RowText, spell
from penstock.sources.connection import is_open
from penstock.tables.sql import SqlTable, quote_name

try:
    import duckdb
except ImportError:
    raise UsageError("duckdb:// needs the duckdb package", hint="pip install 'penstock[duckdb]'") from None

_TYPES: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "text": "VARCHAR",
    "json": "VARCHAR",  # the type JSON is that, and has rules of its own for what it takes
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_utc": "TIMESTAMP WITH TIME ZONE",
}
#: Digits of the widest decimal; a wider one is text.
_MOST_DIGITS = 38
#: What DuckDB says, and what that is in our tree. Looked for in this order.
_TRANSLATIONS: Sequence[tuple[str, type[ExportError], str]] = (
    ("Could not set lock", Locked, "another process has the file open: try again later"),
    ("different configuration", Locked, "close the connection of this process to it first"),
    ("onflict on", Locked, "run it again to add what is left"),
    ("onstraint", UsageError, "a rule of the table refuses a row: drop it, or name another table with ?table=NAME"),
    ("No space left", NoSpace, "free some space; nothing was loaded"),
    ("Permission denied", AccessDenied, "check the owner and the mode of the file and of its directory"),
    ("No such file or directory", NotFound, "check the path"),
    ("not a valid DuckDB database", UsageError, "give the path of a DuckDB file, or of none"),
    ("xtension", UsageError, "give the path of a DuckDB file, or of none"),
    ("IO Error", IoError, "check the path and the disk; nothing was loaded"),
)
#: No file of another kind is opened by whatever can be loaded for it, and memory is bounded whatever the machine has.
_SETTINGS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "512MiB",
}
_BATCH = "_penstock_batch"
#: The files that this process loads: DuckDB itself keeps other processes out alone.
_loading: set[Path] = set()
_loading_lock = threading.Lock()


def duckdb_table(path: Path, name: str | None) -> SqlTable:
    """A table of a DuckDB file, which is made if it is missing."""
    return SqlTable(Location("duckdb", f"/{path}"), name, lambda make: DuckDatabase(path, make=make), [path])


class DuckDatabase:
    """See :class:`penstock.tables.sql.Database`. The rows of a run lie beside each other, and no index is needed."""

    indexed = False
    kept = False
    folds = True
    longest = 1024
    text = "VARCHAR"
    number = "BIGINT"
    binary = "BLOB"

    def __init__(self, path: Path, *, make: bool) -> None:
        self._path = path
        self._file = path.resolve()
        self._holds = False
        if not make and not path.exists():
            raise NotFound(f"there is no database {path}", hint="check the path")
        if is_open(path):
            raise UsageError(f"{path} is a store that is open", hint="give the path of a DuckDB file")
        if not path.exists():
            self._make()
        with self._translated():
            self._connection = duckdb.connect(str(path), read_only=not make, config=dict(_SETTINGS))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            text = str(error).partition("\n")[0]
            for sign, kind, hint in _TRANSLATIONS:
                if sign in text:
                    raise kind(f"{self._path}: {text}", hint=hint) from None
            raise StorageError(f"{self._path}: {text}") from None

    def _make(self) -> None:
        """Make the file under another name first: DuckDB, killed while it makes one, leaves what it does not open."""
        made = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        with self._translated():
            duckdb.connect(str(made), config=dict(_SETTINGS)).close()
        try:
            with suppress(FileExistsError):  # then somebody else was first
                os.link(made, self._path)
        except OSError as error:
            raise from_os_error(error, f"cannot create {self._path}") from None
        finally:
            made.unlink(missing_ok=True)

    def type(self, field: pa.Field) -> str:
        if pa.types.is_decimal(field.type):
            digits, scale = field.type.precision, field.type.scale
            return f"DECIMAL({digits},{scale})" if digits <= _MOST_DIGITS else "VARCHAR"
        return _TYPES[str(type_name(field))]

    def kind(self, name: str) -> str | None:
        sql = "SELECT table_type FROM information_schema.tables WHERE table_schema = 'main' AND lower(table_name) = "
        found = self.query(f"{sql}lower(?)", (name,))
        return None if not found else "table" if found[0][0] == "BASE TABLE" else str(found[0][0]).lower()

    def columns(self, table: str) -> Sequence[tuple[str, str]]:
        sql = "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'main' AND "
        return [(name, type) for name, type in self.query(f"{sql}lower(table_name) = lower(?)", (table,))]

    def triggers(self, table: str) -> Sequence[str]:
        return []

    def begin(self, table: str) -> None:
        with _loading_lock:
            if self._file in _loading:
                raise Locked(f"{self._path} is loaded by this process already", hint="try again later")
            _loading.add(self._file)
            self._holds = True
        with self._translated():
            self._connection.execute("BEGIN")

    def commit(self) -> None:
        with self._translated():
            self._connection.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        with self._translated():
            self._connection.execute(sql, list(values))

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._translated():
            return self._connection.execute(sql, list(values)).fetchall()

    def insert(self, table: str, dataset: Dataset, batch: pa.RecordBatch) -> None:
        decimals = [field for field in dataset.schema if pa.types.is_decimal(field.type)]
        wide = [field.name for field in decimals if self.type(field) == "VARCHAR"]
        columns = [spell(batch[name], "decimal") if name in wide else batch[name] for name in dataset.columns]
        columns += batch.columns[len(columns) :]
        rows = pa.table(columns, names=[f"c{place}" for place in range(len(columns))])
        names = ", ".join(map(quote_name, batch.schema.names))
        with self._translated():
            self._connection.register(_BATCH, rows)
            self._connection.execute(f"INSERT INTO {quote_name(table)} ({names}) SELECT * FROM {_BATCH}")
            self._connection.unregister(_BATCH)

    def select(self, dataset: Dataset, sql: str, values: Sequence[int]) -> Iterator[pa.RecordBatch]:
        names = ", ".join(quote_name(name) for name in dataset.columns)
        with self._translated():
            found = self._connection.sql(f"SELECT {names} {sql}", params=list(values)).to_arrow_table()
        try:
            for batch in found.to_batches():
                yield RowText(dataset).typed(batch.columns)
        except pa.ArrowInvalid as error:
            raise IntegrityError(f"a value is none of its column's type: {error}") from None

    def close(self) -> None:
        with _loading_lock:
            if self._holds:
                _loading.discard(self._file)
            self._holds = False
        with self._translated():
            self._connection.close()
