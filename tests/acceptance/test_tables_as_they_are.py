"""Tables, views and queries exported as they are: their own columns, typed, in their order, equal in every format."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import typed_readers
from foreign_readers import manifest_of
from penstock_command import Run
from sample_events import shape

Command = Callable[..., Run]
ENDINGS = ("parquet", "ndjson", "csv", "json", "arrow", "ndjson.gz")
ORDERS = """CREATE TABLE orders (id INTEGER PRIMARY KEY, customer VARCHAR(40), price DECIMAL(10,2), qty INT,
    ratio DOUBLE, paid BOOLEAN, created_at DATETIME, day DATE, extra JSON, raw BLOB, loose)"""
TYPES = {
    "id": "int64",
    "customer": "text",
    "price": "decimal(10,2)",
    "qty": "int64",
    "ratio": "float64",
    "paid": "bool",
    "created_at": "timestamp_utc",
    "day": "date",
    "extra": "json",
    "raw": "binary",
    "loose": "text",
}


def build(path: Path, script: str, rows: dict[str, list[tuple[Any, ...]]] | None = None) -> None:
    """A database that another SQLite has made and closed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
        for table, values in (rows or {}).items():
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)


def order(number: int) -> tuple[Any, ...]:
    odd = number % 2
    return (
        number,
        ('Ada, "A"', "", None, "été\n")[number % 4],
        number + 0.25 if odd else str(number),
        None if number % 5 == 0 else -number,
        number / 3,
        odd,
        f"2026-11-{number % 28 + 1:02} 12:00:00.5" if odd else 1793536215123 + number,
        f"2026-11-{number % 28 + 1:02}",
        f'{{"n": {number}.50, "t": [1, "ü"]}}' if odd else str(number),
        bytes([number % 256, 0]) if odd else None,
        number if odd else f"text {number}",
    )


def expected(number: int) -> dict[str, Any]:
    """What readers have to find of an order."""
    given = order(number)
    odd = number % 2
    at = datetime(2026, 11, number % 28 + 1, 12, 0, 0, 500_000, UTC)
    return {
        "id": number,
        "customer": given[1],
        "price": Decimal(number) + (Decimal("0.25") if odd else 0),
        "qty": given[3],
        "ratio": given[4],
        "paid": bool(odd),
        "created_at": at if odd else datetime.fromtimestamp((1793536215123 + number) / 1000, UTC),
        "day": date(2026, 11, number % 28 + 1),
        "extra": shape(given[8].replace(" ", "") if odd else given[8]),
        "raw": given[9],
        "loose": str(given[10]),
    }


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """600 orders with every type that a declaration means."""
    build(tmp_path / "app.db", ORDERS, {"orders": [order(number) for number in range(1, 601)]})
    return tmp_path / "app.db"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_comes_in_its_own_columns_typed_and_in_order(app: Path, penstock: Command, ending: str) -> None:
    done = penstock("export", app, f"out.{ending}", "--table", "orders")
    path = app.parent / f"out.{ending}"

    assert (done.code, "600 rows" in done.stderr) == (0, True)
    assert typed_readers.types_of(path) == TYPES
    assert typed_readers.read(path, TYPES) == [expected(number) for number in range(1, 601)]
    assert penstock("verify", path.name).code == 0


def test_all_formats_have_one_digest_and_a_repeated_export_the_same_bytes(app: Path, penstock: Command) -> None:
    for number, ending in enumerate((*ENDINGS, "parquet")):
        given = ("--table", "orders", "--workers", number % 3 + 1)
        assert penstock("export", app, f"{number}.{ending}", *given).code == 0
    digests = {
        path.name: manifest_of(path)["rows_digest"]["value"]
        for path in app.parent.glob("*.*")
        if path != app and not path.name.endswith(".manifest.json")
    }
    assert len(digests) == 7
    assert len(set(digests.values())) == 1
    assert (app.parent / "0.parquet").read_bytes() == (app.parent / "6.parquet").read_bytes()


def test_columns_come_in_the_order_that_is_asked_for_and_under_other_names(app: Path, penstock: Command) -> None:
    assert (
        penstock(
            "export",
            app,
            "out.csv",
            "--table",
            "orders",
            "--rename",
            "created_at=at,price=cost",
            "--columns",
            "at,id,cost",
        ).code
        == 0
    )
    types = {"at": "timestamp_utc", "id": "int64", "cost": "decimal(10,2)"}
    found = typed_readers.read(app.parent / "out.csv", types)
    wanted = [expected(number) for number in range(1, 601)]
    assert found == [{"at": row["created_at"], "id": row["id"], "cost": row["price"]} for row in wanted]


def test_a_time_gives_windows_and_partitions(app: Path, penstock: Command) -> None:
    given = ("--table", "orders", "--time", "created_at")
    window = ("--start", "2026-11-03", "--end", "2026-11-05")
    assert penstock("export", app, "out.parquet", *given, *window).code == 0
    assert penstock("export", app, "days/", *given, "--partition-by", "day", "--format", "ndjson").code == 0
    rows = [expected(number) for number in range(1, 601)]
    day = datetime(2026, 11, 3, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)
    assert typed_readers.read(app.parent / "out.parquet", TYPES) == [
        row for row in rows if day[0] <= row["created_at"] < day[1]
    ]
    for folder in (app.parent / "days" / "data").iterdir():
        found = [row for path in sorted(folder.iterdir()) for row in typed_readers.read(path, TYPES)]
        assert found == [row for row in rows if f"date={row['created_at']:%Y-%m-%d}" == folder.name]
    assert penstock("verify", "days").code == 0


def test_what_was_mixed_is_text_and_counted(app: Path, penstock: Command) -> None:
    done = penstock("export", app, "out.csv", "--table", "orders")
    assert manifest_of(app.parent / "out.csv")["counts"] == {"coerced_number_to_text": 300}
    assert "note: coerced number to text: 300" in done.stderr
