"""Whatever the values, a table of a database holds them as another program reads it, and gives them back the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import given
from hypothesis import settings as limits

import foreign_datasets
import foreign_sqlite
from foreign_datasets import Row, same
from penstock import Exporter, verify
from postgres_server import Server
from sample_events import shape

from .test_datasets import _source, _wanted, tables

_AS_TEXT = (
    "SELECT k, flag, size, price, name, facts, hex(raw), raw IS NULL, day, at, there, row FROM sizes"
    " ORDER BY _penstock_row"
)


def _by_sqlite(path: Path) -> list[Row]:
    """By the module of the standard library, in a process of its own."""
    found = []
    for k, flag, size, price, name, facts, raw, none, day, at, there, row in foreign_sqlite.execute(path, _AS_TEXT)[0]:
        values = {
            "k": k,
            "flag": None if flag is None else bool(flag),
            "size": same(size),
            "price": None if price is None else same(Decimal(price)),
            "name": name,
            "facts": None if facts is None else shape(facts),
            "raw": None if none else bytes.fromhex(raw),
            "day": None if day is None else date.fromisoformat(day),
            "at": None if at is None else datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
            "there": None if there is None else datetime.strptime(there, "%Y-%m-%dT%H:%M:%S.%f"),
            "row": row,
        }
        found.append(values)
    return found


def _by_duckdb(path: Path) -> list[Row]:
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone='UTC'")
        sql = "SELECT * EXCLUDE (_penstock_run, _penstock_row) FROM sizes ORDER BY _penstock_row"
        return foreign_datasets.from_table(connection.sql(sql).to_arrow_table())


def _by_psql(server: Server) -> list[Row]:
    moment = "to_char({}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    at, there = moment.format("at AT TIME ZONE 'UTC'"), moment.format("there")
    [[text]] = server.ask(
        "postgres",
        "SELECT coalesce(json_agg(json_build_array(k, flag, size::text, price::text, name, facts::text,"
        f" encode(raw, 'hex'), day::text, {at}, {there}, \"row\") ORDER BY _penstock_row), '[]') FROM sizes",
    )
    assert text is not None
    found = []
    for k, flag, size, price, name, facts, raw, day, at, there, row in json.loads(text):
        values = {
            "k": k,
            "flag": flag,
            "size": None if size is None else same(float(size)),
            "price": None if price is None else same(Decimal(price)),
            "name": name,
            "facts": None if facts is None else shape(facts),
            "raw": None if raw is None else bytes.fromhex(raw),
            "day": None if day is None else date.fromisoformat(day),
            "at": None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC),
            "there": None if there is None else datetime.fromisoformat(there),
            "row": row,
        }
        found.append(values)
    return found


def _kept(rows: Sequence[Row], *, zeros: bool) -> list[Row]:
    """The rows, without what SQLite refuses by name, and PostgreSQL but for the sign of ``zeros``."""

    def kept(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("\0", "")
        return 0.0 if isinstance(value, float) and value == 0 and not zeros else value

    return [{name: kept(value) for name, value in row.items()} for row in rows]


def _check(rows: list[Row], url: str, read: Callable[[], list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Exporter(_source(rows)).export(Path(folder) / "out.ndjson")
        result = Exporter(_source(rows)).export(url, overwrite=True)
    assert result.manifest.rows_digest == file.manifest.rows_digest
    assert foreign_datasets.from_table(pa.table(result)) == _wanted(rows)
    assert read() == _wanted(rows)
    assert verify(url).ok


@limits(max_examples=40)
@given(rows=tables())
def test_rows_of_sqlite_are_those_of_the_source(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.db"
        _check(_kept(rows, zeros=False), f"sqlite:///{path}", lambda: _by_sqlite(path))


@limits(max_examples=20)
@given(rows=tables())
def test_rows_of_duckdb_are_those_of_the_source(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.db"
        _check(rows, f"duckdb:///{path}", lambda: _by_duckdb(path))


@limits(max_examples=15)
@given(rows=tables())
def test_rows_of_postgresql_are_those_of_the_source(postgres: Server, rows: list[Row]) -> None:
    url = postgres.url("postgres", "?password=env:PENSTOCK_TEST_SECRET")
    _check(_kept(rows, zeros=True), url, lambda: _by_psql(postgres))
