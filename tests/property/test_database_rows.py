"""Whatever the values, a table of a database holds them as another program reads it, and gives them back the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits

import foreign_datasets
import foreign_sqlite
from foreign_datasets import Row, same
from penstock import Exporter, verify
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
            "day": None if day is None else datetime.strptime(day, "%Y-%m-%d").date(),
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


def _kept(rows: Sequence[Row]) -> list[Row]:
    """The rows, without what SQLite refuses by name."""

    def kept(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("\0", "")
        return 0.0 if isinstance(value, float) and value == 0 else value

    return [{name: kept(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize(("scheme", "read"), [("sqlite", _by_sqlite), ("duckdb", _by_duckdb)])
@limits(max_examples=40)
@given(rows=tables())
def test_rows_of_a_database_are_those_of_the_source(
    scheme: str, read: Callable[[Path], list[Row]], rows: list[Row]
) -> None:
    given_rows = _kept(rows) if scheme == "sqlite" else rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.db"
        file = Exporter(_source(given_rows)).export(Path(folder) / "out.ndjson")
        result = Exporter(_source(given_rows)).export(f"{scheme}:///{path}")
        assert result.manifest.rows_digest == file.manifest.rows_digest
        assert foreign_datasets.from_table(pa.table(result)) == _wanted(given_rows)
        assert read(path) == _wanted(given_rows)
        assert verify(f"{scheme}:///{path}").ok
        assert json.loads(result.manifest.to_bytes())["rows"] == len(rows)
