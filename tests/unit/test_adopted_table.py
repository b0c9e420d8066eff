"""What SQLite says of foreign tables: keys, indexes, odd names, and the tables that are refused."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock import SqliteAnalyticsStorage
from penstock.errors import InvalidMapping
from penstock.sources.connection import Connection
from penstock.sources.tables.table import Shape, describe

Describe = Callable[..., Shape]


@pytest.fixture
def shape_of(tmp_path: Path) -> Iterator[Describe]:
    """``shape_of(sql, ..., table="t")``: the shape of a table that these statements make."""
    path = tmp_path / "app.db"

    def make(*statements: str, table: str = "t") -> Shape:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        opened = Connection(path, mode="ro", busy_timeout=1)
        try:
            return describe(opened, table)
        finally:
            opened.close()

    return make


def test_a_plain_table(shape_of: Describe) -> None:
    sql = "CREATE TABLE T (id integer PRIMARY KEY, a TEXT UNIQUE, b, c, d, UNIQUE (b, c))"
    shape = shape_of(sql, "CREATE INDEX i ON T (d)", "CREATE UNIQUE INDEX e ON T (lower(a))")

    assert shape == Shape(
        name="T",
        columns=("id", "a", "b", "c", "d"),
        rowid="rowid",
        key="id",
        autoincrement=False,
        indexed=frozenset({"a", "b", "d"}),
        uniques=frozenset({frozenset({"a"}), frozenset({"b", "c"})}),
        sha256=hashlib.sha256(sql.encode()).hexdigest(),
        kind="table",
        primary=("id",),
        types={"id": "INTEGER", "a": "TEXT"},
        utf8=True,
    )


def test_a_view_and_a_virtual_table_have_columns_and_no_row_number(shape_of: Describe) -> None:
    given = (
        "CREATE TABLE clicks (a INTEGER PRIMARY KEY, b DATE)",
        "CREATE VIEW seen AS SELECT a, b AS day, a + 1 AS more FROM clicks",
        "CREATE VIRTUAL TABLE boxes USING rtree(i, low, high)",
    )
    view = shape_of(*given, table="SEEN")
    assert (view.name, view.kind, view.columns) == ("seen", "view", ("a", "day", "more"))
    assert (view.rowid, view.key, view.primary, view.types) == (None, None, (), {"a": "INTEGER", "day": "DATE"})
    assert view.guarded
    boxes = shape_of(table="boxes")
    assert (boxes.kind, boxes.columns, boxes.rowid) == ("virtual table", ("i", "low", "high"), None)


def test_a_view_of_what_is_gone_is_refused_by_its_name(shape_of: Describe) -> None:
    with pytest.raises(InvalidMapping, match=r"the view 'seen' cannot be read: .*no such table: main\.gone"):
        shape_of("CREATE TABLE gone (a)", "CREATE VIEW seen AS SELECT * FROM gone", "DROP TABLE gone", table="seen")


def test_a_partial_index_proves_nothing(shape_of: Describe) -> None:
    shape = shape_of("CREATE TABLE t (a, b)", "CREATE UNIQUE INDEX i ON t (a) WHERE b > 0")

    assert (shape.indexed, shape.unique) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("columns", "key", "autoincrement"),
    [
        ("id INTEGER PRIMARY KEY", "id", False),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", "id", True),
        ("id INTEGER PRIMARY KEY autoincrement", "id", True),
        ("id INTEGER /* no AUTOINCREMENT */ PRIMARY KEY, x DEFAULT 'AUTOINCREMENT' -- AUTOINCREMENT\n", "id", False),
        ('id INTEGER PRIMARY KEY, "AUTOINCREMENT", [a AUTOINCREMENT], `AUTOINCREMENT b`', "id", False),
        ("x, id INTEGER, PRIMARY KEY (id)", "id", False),
        ("id INT PRIMARY KEY", None, False),
        ("id BIGINT PRIMARY KEY", None, False),
        ("id INTEGER PRIMARY KEY DESC", None, False),
        ("id TEXT PRIMARY KEY", None, False),
        ("a INTEGER, b INTEGER, PRIMARY KEY (a, b)", None, False),
        ("id INTEGER UNIQUE", None, False),
        ("id", None, False),
    ],
)
def test_only_the_row_number_is_a_key(shape_of: Describe, columns: str, key: str | None, autoincrement: bool) -> None:
    shape = shape_of(f"CREATE TABLE t ({columns})")

    assert (shape.key, shape.autoincrement) == (key, autoincrement)


def test_tables_without_rowid(shape_of: Describe) -> None:
    one = shape_of("CREATE TABLE t (id INTEGER PRIMARY KEY, x) WITHOUT ROWID")
    two = shape_of("CREATE TABLE u (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID", table="u")

    assert (one.key, one.rowid, one.indexed, one.unique) == ("id", None, frozenset({"id"}), frozenset({"id"}))
    assert (two.key, two.rowid) == (None, None)


@pytest.mark.parametrize(
    ("columns", "rowid"),
    [("a", "rowid"), ("rowid", "_rowid_"), ("RowId, _rowid_", "oid"), ("rowid, _rowid_, oid", None)],
)
def test_a_column_may_take_the_row_numbers_name_away(shape_of: Describe, columns: str, rowid: str | None) -> None:
    assert shape_of(f"CREATE TABLE t ({columns})").rowid == rowid


def test_generated_columns_are_columns(shape_of: Describe) -> None:
    shape = shape_of("CREATE TABLE t (a INTEGER PRIMARY KEY, b AS (a + 1), c AS (a * 2) STORED)")

    assert shape.columns == ("a", "b", "c")


@pytest.mark.parametrize("name", ['we"ird', "a b", "x;--", "é", "`[", "a\nb", "'", "sqlitex", "100%_"])
def test_any_name(shape_of: Describe, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    shape = shape_of(f'CREATE TABLE {quoted} ({quoted} INTEGER PRIMARY KEY, {quoted[:-1]}2")', table=name)

    assert (shape.name, shape.columns, shape.key) == (name, (name, f"{name}2"), name)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("pageview", "did you mean 'pageviews'? its tables are clicks, pageviews, view, words"),
        ("zzz", "its tables are clicks, pageviews, view, words"),
        ("", "its tables are"),
        ("sqlite_schema", "its tables are"),
        ("sqlite_master", "its tables are"),
        ("pageviews; DROP TABLE clicks", "its tables are"),
        ("words_node", "is a shadow table"),
        ("\ud800", "has no table"),
    ],
)
def test_what_is_no_table_is_refused(shape_of: Describe, table: str, said: str) -> None:
    with pytest.raises(InvalidMapping) as caught:
        shape_of(
            "CREATE TABLE pageviews (a)",
            "CREATE TABLE clicks (a)",
            'CREATE VIEW "view" AS SELECT * FROM clicks',
            "CREATE VIRTUAL TABLE words USING rtree(i, a, b)",
            table=table,
        )

    assert said in str(caught.value)


def test_an_empty_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    connection = Connection(tmp_path / "empty.db", mode="ro", busy_timeout=1)
    with pytest.raises(InvalidMapping, match="no table at all"):
        describe(connection, "t")
    connection.close()


@pytest.mark.parametrize("table", ["events", "EVENTS", "penstock_blocks"])
def test_an_event_store_is_not_adopted(store: SqliteAnalyticsStorage, table: str) -> None:
    store.close()
    connection = Connection(store.path, mode="ro", busy_timeout=1)
    with pytest.raises(InvalidMapping, match="is an event store"):
        describe(connection, table)
    connection.close()


def test_a_foreign_table_called_events_is_adopted(shape_of: Describe) -> None:
    assert shape_of("CREATE TABLE Events (a)", table="events").name == "Events"


def test_names_that_are_not_utf8_hurt_nobody(shape_of: Describe, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("CREATE TABLE bad (b)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET name = CAST(x'62ff64' AS TEXT), tbl_name = CAST(x'62ff64' AS TEXT),"
            " sql = CAST(x'435245415445205441424c45202262ff6422202862ff29' AS TEXT) WHERE name = 'bad'"
        )

    assert shape_of().name == "t"
    with pytest.raises(InvalidMapping, match="has no table"):
        shape_of(table="b\udcffd")
