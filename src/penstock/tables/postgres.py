"""PostgreSQL databases as destinations, through ADBC: rows go in by binary COPY, of their own types."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import adbc_driver_manager as adbc
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
)
from penstock.model.dataset import Dataset, type_name
from penstock.model.table_url import TableUrl
from penstock.pipeline.rowtext import RowText
from penstock.tables.sql import SqlTable, check_no_nul, quote_name

try:
    import adbc_driver_postgresql
except ImportError:
    raise UsageError("postgresql:// needs its driver", hint="pip install 'penstock[postgres]'") from None

_TYPES: Mapping[str, str] = {
    "bool": "boolean",
    "int64": "bigint",
    "float64": "double precision",
    "text": "text",
    "json": "json",  # keeps the text as it is, which jsonb does not
    "binary": "bytea",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "timestamp_utc": "timestamp with time zone",
}
_AGAIN = "run it again to add what is left"
_RULE = "a rule of the table refuses a row: drop it, or name another table with ?table=NAME"
_WHO = "set PGPASSWORD, write ~/.pgpass, or add ?password=env:NAME; ask for CREATE and INSERT in the schema"
#: What a SQLSTATE begins with, or the words of an error without one, and what that is in our tree.
_TRANSLATIONS: Sequence[tuple[str, type[ExportError], str]] = (
    ("55P03", Locked, "another export loads the table: try again later"),
    ("42P07", Locked, _AGAIN),
    ("40", Locked, _AGAIN),
    ("42501", AccessDenied, _WHO),
    ("23", UsageError, _RULE),
    ("53", NoSpace, "free some space; nothing was loaded"),
    ("42", UsageError, "rename what is named, or leave it out with --columns"),
    ("lock timeout", Locked, "another export loads the table: try again later"),
    ("already exists", Locked, _AGAIN),
    ("violates", UsageError, _RULE),
    ("No space left", NoSpace, "free some space; nothing was loaded"),
    ("permission denied", AccessDenied, _WHO),
    ("authentication failed", AccessDenied, _WHO),
    ("no password supplied", AccessDenied, _WHO),
    ("does not exist", NotFound, "create it first, or check the URL"),
    ("libpq", IoError, "check that the server runs there; nothing was loaded"),
)


def postgres_table(url: TableUrl, name: str | None, *, patience: float = 10.0) -> SqlTable:
    """A table of a PostgreSQL database, in the first schema of the search path; ``patience`` is how many seconds it
    waits for another load. Raises :class:`~penstock.errors.UsageError` for a password that is not where it is said to
    be."""
    given = {**url.options, **({} if url.password is None else {"password": _secret(url.password)})}
    uri = f"{url.location}{'?' if given else ''}{urlencode(given)}"
    return SqlTable(url.location, name, lambda _: PostgresDatabase(uri, str(url.location), patience))


def _secret(name: str) -> str:
    """What a variable of the environment holds."""
    found = os.environ.get(name)
    if found is None:
        raise UsageError(f"the environment has no {name}", hint=f"export {name}=… first")
    return found


class PostgresDatabase:
    """See :class:`penstock.tables.sql.Database`. ``uri`` may hold a password, ``where`` is said in errors."""

    indexed = True
    kept = True
    folds = False
    longest = 63
    text = "text"
    number = "bigint"
    binary = "bytea"

    def __init__(self, uri: str, where: str, patience: float) -> None:
        self._where = where
        self._patience = patience
        self._open = False
        with self._translated():
            self._database = adbc.AdbcDatabase(driver=adbc_driver_postgresql._driver_path(), uri=uri)
            self._connection = adbc.AdbcConnection(self._database)
            self._open = True
        try:
            [(encoding,)] = self.query("SELECT current_setting('server_encoding')")
            if encoding != "UTF8":
                raise UsageError(f"{where} is encoded in {encoding}", hint="export to a database of UTF8")
            self.query("SELECT set_config('standard_conforming_strings', 'on', false)")
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (adbc.Error, pa.ArrowException, OSError) as error:
            text = str(error).partition("\n")[0]  # what follows is the statement, with its values
            state = getattr(error, "sqlstate", None) or ""
            for sign, kind, hint in _TRANSLATIONS:
                if state.startswith(sign) if state else not sign[0].isdigit() and sign in text:  # a port has digits too
                    raise kind(f"{self._where}: {text}", hint=hint) from None
            raise StorageError(f"{self._where}: {text}") from None

    def type(self, field: pa.Field) -> str:
        if pa.types.is_decimal(field.type):
            return f"numeric({field.type.precision},{field.type.scale})"
        return _TYPES[str(type_name(field))]

    def kind(self, name: str) -> str | None:
        found = self.query("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(?)", (quote_name(name),))
        if not found:
            return None
        return {"r": "table", "p": "table", "v": "view"}.get(str(found[0][0]), "thing of another kind")

    def columns(self, table: str) -> Sequence[tuple[str, str]]:
        sql = (
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attnum > 0 AND NOT attisdropped AND attrelid = to_regclass(?) ORDER BY attnum"
        )
        return [(name, type) for name, type in self.query(sql, (quote_name(table),))]

    def triggers(self, table: str) -> Sequence[str]:
        name = quote_name(table)
        sql = (
            "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = to_regclass(?)"
            " UNION ALL SELECT rulename::text FROM pg_rewrite WHERE ev_class = to_regclass(?)"
        )
        return [trigger for (trigger,) in self.query(sql, (name, name))]

    def begin(self, table: str) -> None:
        with self._translated():
            self._connection.set_autocommit(False)
        self.execute("SET LOCAL synchronous_commit = on")
        self.execute(f"SET LOCAL lock_timeout = {int(self._patience * 1000)}")
        self.query("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))::text", (f"penstock {table}",))

    def commit(self) -> None:
        with self._translated():
            self._connection.commit()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        self._run(sql, values)

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self._run(sql, values).to_pylist()]

    def _run(self, sql: str, values: Sequence[Any]) -> pa.Table:
        with self._translated():
            statement = adbc.AdbcStatement(self._connection)
            try:
                statement.set_sql_query(_inlined(sql, values))
                handle, _ = statement.execute_query()
                return pa.RecordBatchReader.from_stream(handle).read_all()
            finally:
                statement.close()

    def insert(self, table: str, dataset: Dataset, batch: pa.RecordBatch) -> None:
        for field in dataset.schema:
            check_no_nul(batch[field.name], field, "PostgreSQL has none of it")
        plain = pa.schema([pa.field(field.name, field.type) for field in batch.schema])
        rows = pa.RecordBatchReader.from_batches(plain, [pa.record_batch(batch.columns, schema=plain)])
        with self._translated():
            statement = adbc.AdbcStatement(self._connection)
            try:
                target = {"adbc.ingest.target_table": table, "adbc.ingest.mode": "adbc.ingest.mode.append"}
                statement.set_options(**target)
                statement.bind_stream(rows)
                statement.execute_update()
            finally:
                statement.close()

    def select(self, dataset: Dataset, sql: str, values: Sequence[int]) -> Iterator[pa.RecordBatch]:
        spelled = [self.type(field).startswith(("numeric", "json")) for field in dataset.schema]
        columns = zip(map(quote_name, dataset.columns), spelled, strict=True)
        names = [f"{name}::text" if text else name for name, text in columns]
        found = self._run(f"SELECT {', '.join(names)} {sql}", values)
        try:
            for batch in found.to_batches():
                yield RowText(dataset).typed(batch.columns)
        except pa.ArrowInvalid as error:
            raise IntegrityError(f"a value is none of its column's type: {error}") from None

    def close(self) -> None:
        if self._open:
            self._open = False
            with self._translated():
                self._connection.close()  # the server rolls back what is open
                self._database.close()


def _inlined(sql: str, values: Sequence[Any]) -> str:
    """The statement with each value in its place: names, which may hold ``?`` too, stand before all of them."""
    pieces = sql.rsplit("?", len(values)) if values else [sql]
    return pieces[0] + "".join(_literal(value) + piece for value, piece in zip(values, pieces[1:], strict=True))


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'::bytea"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
