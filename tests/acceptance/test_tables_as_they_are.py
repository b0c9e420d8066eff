"""Tables, views and queries exported as they are: their own columns, typed, in their order, equal in every format."""

from __future__ import annotations

import json
import shlex
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


ODD = """CREATE TABLE "a b/.c" (id INTEGER PRIMARY KEY, "at" TEXT);
    INSERT INTO "a b/.c" VALUES (1, '2026-11-01 12:00:00'), (2, NULL);
    CREATE TABLE people (uuid TEXT PRIMARY KEY, name) WITHOUT ROWID;
    INSERT INTO people VALUES ('u2', 'Ada'), ('u1', 'Bea');
    CREATE INDEX by_name ON people (name);
    CREATE TABLE wrong (x INT);
    INSERT INTO wrong VALUES (1), ('two');
    CREATE VIEW rich AS SELECT id, price FROM orders WHERE price > 500;
    CREATE VIRTUAL TABLE words USING fts5(body);
    INSERT INTO words VALUES ('some words');"""


def test_inspect_lists_every_table_with_a_command_that_works(app: Path, penstock: Command) -> None:
    build(app, ODD)
    listed = penstock("inspect", app.name, "--json").lines
    tables = {line["name"]: line for line in listed if line["type"] == "table"}

    assert [(name, table["kind"], table["rows"]) for name, table in tables.items()] == [
        ("a b/.c", "table", 2),
        ("orders", "table", 600),
        ("people", "table", 2),
        ("rich", "view", None),
        ("words", "virtual table", None),
        ("wrong", "table", 2),
    ]
    assert {name: (table["time"], table["key"]) for name, table in tables.items() if table["key"]} == {
        "a b/.c": ("at", ["id"]),
        "orders": ("created_at", ["id"]),
        "people": (None, ["uuid"]),
    }
    said = penstock("inspect", app.name).stdout.decode()
    for name, table in tables.items():
        assert f"  {table['command']}\n" in said
        word, *line = shlex.split(table["command"])
        done = penstock(*line)
        assert (word, done.code) == ("penstock", 2 if name == "wrong" else 0), done.stderr
        assert (app.parent / line[2]).exists() == (name != "wrong")
    assert penstock("inspect", app.name, "--table", "orders", "--time", "day", "--json").summary["total_events"] == 600


def test_all_tables_are_exported_and_one_that_fails_is_named(app: Path, penstock: Command) -> None:
    build(app, ODD)
    done = penstock("export", app, "all/", "--all-tables", "--format", "ndjson", "--json")

    assert done.code == 3
    assert done.summary["tables"] == 3
    assert list(done.summary["failed"]) == ["wrong"]
    assert "'x' holds the text \"two\"" in done.summary["failed"]["wrong"]["message"]
    there = {place.name: list((place / "data").iterdir()) for place in (app.parent / "all").iterdir()}
    assert sorted(there) == ["a b%2F.c", "orders", "people"]
    assert typed_readers.read(there["orders"][0], TYPES) == [expected(number) for number in range(1, 601)]
    assert typed_readers.read(there["people"][0], {"uuid": "text", "name": "text"}) == [
        {"uuid": "u1", "name": "Bea"},
        {"uuid": "u2", "name": "Ada"},
    ]
    assert penstock("verify", "all/people").code == 0
    again = penstock("export", app, "all/", "--all-tables", "--format", "ndjson", "--misfits", "null", "--overwrite")
    assert (again.code, "wrong: coerced misfit: 1" in again.stderr) == (0, True)
    assert penstock("export", app, "all/", "--all-tables", "--columns", "id").code == 2


@pytest.mark.parametrize(("name", "folder"), [("..", "%2E."), ("/etc", "%2Fetc"), ("%", "%25")])
def test_a_table_of_any_name_has_a_folder_of_its_own(app: Path, penstock: Command, name: str, folder: str) -> None:
    build(app, f'CREATE TABLE "{name}" (a INTEGER)')
    assert penstock("export", app, "all/", "--all-tables", "--format", "ndjson").code == 0
    assert sorted(place.name for place in (app.parent / "all").iterdir()) == sorted([folder, "orders"])


def test_a_table_without_a_name_keeps_no_other_from_being_exported(app: Path, penstock: Command) -> None:
    build(app, 'CREATE TABLE "" (a INTEGER)')
    done = penstock("export", app, "all/", "--all-tables", "--format", "ndjson", "--json")
    assert (done.code, list(done.summary["failed"]), [place.name for place in (app.parent / "all").iterdir()]) == (
        3,
        [""],
        ["orders"],
    )


@pytest.mark.parametrize("width", [1_999, 2_000])
def test_the_widest_tables_are_exported_though_their_row_number_finds_no_room(
    app: Path, penstock: Command, width: int
) -> None:
    names = [f"c{number}" for number in range(width)]
    build(app, f"CREATE TABLE wide ({', '.join(names)}); INSERT INTO wide VALUES ({', '.join(map(str, range(width)))})")
    assert penstock("export", app, "wide.ndjson", "--table", "wide").code == 0
    assert json.loads((app.parent / "wide.ndjson").read_text()) == dict(zip(names, range(width), strict=True))


def test_runs_of_a_table_as_it_is_add_what_is_new(app: Path, penstock: Command) -> None:
    build(app, "CREATE TABLE lines (line TEXT); INSERT INTO lines VALUES ('a'), ('b')")
    for table, types, new in (
        ("orders", TYPES, "INSERT INTO orders (customer, qty) VALUES ('new', 7)"),
        ("lines", {"line": "text"}, "INSERT INTO lines VALUES ('c')"),
    ):
        given = ("export", app, f"{table}/", "--table", table, "--incremental", "--format", "ndjson")
        assert penstock(*given).code == 0
        assert penstock(*given).code == 0
        build(app, new)
        assert penstock(*given).code == 0
        assert penstock("resume", app, table).code == 0
        parts = sorted((app.parent / table / "data").iterdir())
        assert [len(typed_readers.read(part, types)) for part in parts] == [600 if table == "orders" else 2, 1]
        assert penstock("verify", table).code == 0
    build(app, "UPDATE lines SET line = 'x' WHERE line = 'c'")
    done = penstock("export", app, "lines/", "--table", "lines", "--incremental", "--format", "ndjson")
    assert done.code in (2, 3), "a row that changed under its number is told"


def test_types_that_the_first_run_found_bind_the_later_ones(app: Path, penstock: Command) -> None:
    build(app, "CREATE TABLE loose (id INTEGER PRIMARY KEY, x, y); INSERT INTO loose (x) VALUES (1), (2)")
    given = ("export", app, "runs/", "--table", "loose", "--incremental", "--format", "ndjson")
    assert penstock(*given).code == 0
    build(app, "INSERT INTO loose (x, y) VALUES (3, 7)")
    assert penstock(*given).code == 0
    types = {"id": "int64", "x": "int64", "y": "text"}
    second = sorted((app.parent / "runs" / "data").iterdir())[1]
    assert typed_readers.read(second, types) == [{"id": 3, "x": 3, "y": "7"}]
    build(app, "INSERT INTO loose (x) VALUES ('four')")
    done = penstock(*given)
    assert (done.code, "loose, id 4: the column 'x' holds the text \"four\"" in done.stderr) == (2, True)
    assert penstock(*given, "--types", "x:text").code == 2
    assert penstock("verify", "runs").code == 0


def test_processes_make_the_bytes_that_threads_make(app: Path, penstock_process: Command) -> None:
    for runner in ("threads", "processes"):
        given = ("--table", "orders", "--part-size", "100rows", "--runner", runner, "--workers", 2)
        done = penstock_process("export", app, f"{runner}/", *given, "--format", "ndjson")
        assert done.code == 0, done.stderr
    made = [
        {path.name: path.read_bytes() for path in (app.parent / runner / "data").iterdir()}
        for runner in ("threads", "processes")
    ]
    assert len(made[0]) == 6
    assert made[0] == made[1]
    for kind in ("threads", "processes"):
        assert manifest_of(app.parent / kind)["counts"] == {"coerced_number_to_text": 300}


def test_the_row_number_is_a_column_only_where_it_is_asked_for(app: Path, penstock: Command) -> None:
    build(app, "CREATE TABLE lines (line TEXT); INSERT INTO lines (rowid, line) VALUES (7, 'a'), (3, 'b')")
    assert penstock("export", app, "a.csv", "--table", "lines", "--csv-null", "NULL").code == 0
    assert penstock("export", app, "b.csv", "--table", "lines", "--columns", "line,rowid").code == 0
    assert (app.parent / "a.csv").read_text() == "line\nb\na\n"
    assert (app.parent / "b.csv").read_text() == "line,rowid\nb,3\na,7\n"


def test_diff_of_a_table_and_its_export_names_rows_by_their_key(app: Path, penstock: Command) -> None:
    assert penstock("export", app, "orders.parquet", "--table", "orders").code == 0
    assert penstock("diff", app, "orders.parquet", "--table", "orders").code == 0
    build(app, "UPDATE orders SET qty = 0 WHERE id = 5; DELETE FROM orders WHERE id = 6")
    done = penstock("diff", app, "orders.parquet", "--table", "orders")
    assert (done.code, done.stdout.decode()) == (4, "~ 5\n+ 6\n")


def test_rows_without_a_time_match_no_window_and_have_a_partition_of_their_own(app: Path, penstock: Command) -> None:
    build(app, "INSERT INTO orders (id, customer) VALUES (1000, 'no time')")
    given = ("--table", "orders", "--time", "created_at", "--format", "ndjson")
    assert penstock("export", app, "all.ndjson", *given[:-2], "--start", "2000-01-01").code == 0
    assert len(typed_readers.read(app.parent / "all.ndjson", TYPES)) == 600
    assert penstock("export", app, "days/", *given, "--partition-by", "day").code == 0
    folder = app.parent / "days" / "data" / "date=__HIVE_DEFAULT_PARTITION__"
    assert [row["id"] for path in folder.iterdir() for row in typed_readers.read(path, TYPES)] == [1000]
    assert manifest_of(app.parent / "days")["counts"]["without_time"] == 1


def test_what_no_text_can_spell_is_null_and_counted(app: Path, penstock: Command) -> None:
    build(app, "CREATE TABLE odd (id INTEGER PRIMARY KEY, r REAL, j JSON, at DATETIME)")
    build(app, "INSERT INTO odd VALUES (1, 9e999, ' null ', '2026-11-01T00:00:00.1234567Z'), (2, -9e999, '[]', NULL)")
    assert penstock("export", app, "out.csv", "--table", "odd").code == 0
    assert manifest_of(app.parent / "out.csv")["counts"] == {
        "coerced_json_null": 1,
        "coerced_not_finite": 2,
        "coerced_time_precision": 1,
    }
    assert (app.parent / "out.csv").read_text() == "id,r,j,at\n1,,,2026-11-01T00:00:00.123456Z\n2,,[],\n"


def test_runs_of_a_view_with_a_key_add_what_is_new(app: Path, penstock: Command) -> None:
    build(app, "CREATE VIEW big AS SELECT id, qty FROM orders WHERE id > 10")
    given = ("export", app, "runs/", "--table", "big", "--key", "id", "--incremental", "--format", "ndjson")
    small = (*given, "--part-size", "100rows")
    assert penstock(*small).code == 0
    build(app, "INSERT INTO orders (id, qty) VALUES (601, 1), (602, 2)")
    assert penstock(*small).code == 0
    parts = sorted((app.parent / "runs" / "data").iterdir())
    types = {"id": "int64", "qty": "int64"}
    found = [row["id"] for part in parts for row in typed_readers.read(part, types)]
    assert found == list(range(11, 603))
    spans = [(part["seq_range"]["first"], part["seq_range"]["last"]) for part in parts_of(app.parent / "runs")]
    assert spans[0] == (11, 110)
    assert spans[-1] == (601, 602)
    assert penstock("verify", "runs").code == 0


def parts_of(lineage: Path) -> list[dict[str, Any]]:
    """The parts that the manifests of a lineage's runs name."""
    runs = sorted((lineage / "_penstock" / "runs").glob("*.json"))
    return [part for run in runs for part in json.loads(run.read_text())["parts"]]
