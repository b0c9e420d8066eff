"""SQLite files as destinations, through the one SQLite of the process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import IntegrityError, Locked, StorageError, StoreBusy, UnfitValue, UsageError
from penstock.model.dataset import Dataset, type_name
from penstock.model.location import Location
from penstock.pipeline.gathering import Gather, GatherKind, Note
from penstock.pipeline.rowtext import RowText, spell
from penstock.sources.connection import Connection
from penstock.sources.file import is_ours
from penstock.tables.sql import SqlTable, check_no_nul, quote_name

#: Types that SQLite has no storage of its own for are the text that a line spells, under a declaration that says so.
_TYPES: Mapping[str, str] = {
    "bool": "BOOLEAN",
    "int64": "INTEGER",
    "float64": "REAL",
    "text": "TEXT",
    "json": "TEXT",
    "decimal": "TEXT",  # any other declaration makes a real of it
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_utc": "TIMESTAMP",
}
_KINDS: Mapping[str, GatherKind] = {
    "bool": GatherKind.BOOL,
    "int64": GatherKind.INT64,
    "float64": GatherKind.FLOAT64,
    "binary": GatherKind.BINARY,
}
_READ_ROWS, _READ_BYTES = 8192, 8 << 20


def sqlite_table(path: Path, name: str | None, *, patience: float = 10.0) -> SqlTable:
    """A table of a SQLite file, which is made if it is missing; ``patience`` is how many seconds it waits for locks."""

    def connect(make: bool) -> SqliteDatabase:
        return SqliteDatabase(path, make=make, patience=patience)

    return SqlTable(Location("sqlite", f"/{path}"), name, connect, [path])


class SqliteDatabase:
    """See :class:`penstock.tables.sql.Database`. Raises :class:`~penstock.errors.UsageError` for an event store."""

    indexed = True
    kept = False
    folds = True
    longest = 1024
    text = "TEXT"
    number = "INTEGER"
    binary = "BLOB"

    def __init__(self, path: Path, *, make: bool, patience: float) -> None:
        # what a killed load left is rolled back by whoever comes next, for which it has to be written
        read: Literal["ro", "rw"] = "rw" if os.access(path, os.W_OK) else "ro"
        self._connection = Connection(path, mode="rwc" if make else read, busy_timeout=patience)
        try:
            if is_ours(self._connection):
                raise UsageError(f"{path} is an event store, not a database for exports", hint="name another file")
            self._connection.execute("PRAGMA synchronous=FULL" if make else "PRAGMA query_only=ON")
        except BaseException:
            self._connection.close()
            raise

    def type(self, field: pa.Field) -> str:
        return _TYPES[_name(field)]

    def kind(self, name: str) -> str | None:
        found = self.query("SELECT type FROM sqlite_master WHERE lower(name) = lower(?)", (name,))
        return str(found[0][0]) if found else None

    def columns(self, table: str) -> Sequence[tuple[str, str]]:
        found = self.query("SELECT name, type FROM pragma_table_xinfo(?)", (table,))
        return [(name, type.upper()) for name, type in found]

    def triggers(self, table: str) -> Sequence[str]:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?)"
        return [name for (name,) in self.query(sql, (table,))]

    def begin(self, table: str) -> None:
        try:
            self._connection.run("BEGIN IMMEDIATE")
        except StoreBusy as error:
            raise Locked(f"{self._connection.path} is written by another process", hint="try again later") from error

    def commit(self) -> None:
        self._connection.run("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        batch = pa.record_batch([pa.array([value]) for value in values], [str(i) for i in range(len(values))])
        self._connection.run(sql, batch if values else None)

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self._connection.query(sql, values)]

    def insert(self, table: str, dataset: Dataset, batch: pa.RecordBatch) -> None:
        names = ", ".join(map(quote_name, batch.schema.names))
        marks = ", ".join("?" * batch.num_columns)
        columns = [_stored(batch[field.name], field) for field in dataset.schema]
        columns += batch.columns[len(columns) :]
        bound = pa.record_batch(columns, names=[str(place) for place in range(len(columns))])
        try:
            self._connection.run(f"INSERT INTO {quote_name(table)} ({names}) VALUES ({marks})", bound)
        except StorageError as error:
            if "constraint failed" not in error.message:
                raise
            hint = "a rule of the table refuses a row: drop it, or name another table with ?table=NAME"
            raise UsageError(error.message, hint=hint) from None

    def select(self, dataset: Dataset, sql: str, values: Sequence[int]) -> Iterator[pa.RecordBatch]:
        columns = [Gather(field.name, _KINDS.get(_name(field), GatherKind.TEXT)) for field in dataset.schema]
        text = RowText(dataset)
        names = ", ".join(quote_name(name) for name in dataset.columns)
        with self._connection.cursor(f"SELECT {names} {sql}", values, columns=columns) as cursor:
            while (found := cursor.take(_READ_ROWS, _READ_BYTES)) is not None:
                for (column, what), count in found.notes.counts().items():
                    if what is Note.MISFIT and count:
                        field = dataset.schema[column]
                        raise IntegrityError(f"{field.name} holds a value that is no {type_name(field)}")
                try:
                    yield text.typed(found.batch.columns)
                except pa.ArrowInvalid as error:
                    raise IntegrityError(f"a value is none of its column's type: {error}") from None

    def close(self) -> None:
        self._connection.close()


def _name(field: pa.Field) -> str:
    return str(type_name(field)).partition("(")[0]


def _stored(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column as SQLite stores it. Raises :class:`UnfitValue` for what it would change."""
    name = _name(field)
    check_no_nul(column, field, "programs of SQLite take it for its end")
    if name == "float64" and pc.any(pc.less(pc.divide(1.0, column.filter(pc.equal(column, 0.0))), 0.0)).as_py():
        raise UnfitValue(
            f"{field.name} holds the real -0.0, of which SQLite drops the sign",
            hint="leave the column out with --columns, or add 0.0 to it with --query",
        )
    if name == "bool":
        return column.cast(pa.int64())
    if name in ("date", "decimal", "timestamp"):
        return spell(column, name)
    if name == "timestamp_utc":
        return pc.binary_replace_slice(column.cast(pa.string()), 10, 11, "T")
    return column
