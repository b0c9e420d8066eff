"""Scans of any columns out of SQLite: what is gathered is what is stored, and what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from penstock.errors import StorageError
from penstock.model.spelling import Kind, Spelled, Spelling
from penstock.sources.connection import Connection

COLUMNS = Spelling(
    (
        Spelled("n", Kind.INT64),
        Spelled("key", Kind.INT64, nullable=False),
        Spelled("word", Kind.TEXT),
        Spelled("json", Kind.VERBATIM),
    )
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Connection]:
    connection = Connection(tmp_path / "any.db", mode="rwc", busy_timeout=1)
    connection.execute("CREATE TABLE t (key, n, word, json)")
    yield connection
    connection.close()


def scan(store: Connection, columns: Spelling = COLUMNS, order: str = "key") -> pa.RecordBatch:
    return store.scan("t", columns=columns, order=order, bytes_hint=100)[0]


def test_what_is_gathered_is_what_is_stored(store: Connection) -> None:
    assert scan(store).equals(pa.RecordBatch.from_pylist([], COLUMNS.schema))
    rows = [
        {"n": None if row % 3 else row - 50, "key": row, "word": None if row % 5 else "é" * row, "json": f"[{row}]"}
        for row in range(100)
    ]
    values = [
        f"({row['key']}, {'NULL' if row['n'] is None else row['n']},"
        f" {'NULL' if row['word'] is None else repr(row['word'])}, '{row['json']}')"
        for row in rows
    ]
    store.execute("INSERT INTO t VALUES " + ", ".join(values))
    assert scan(store).to_pylist() == rows
    narrow = Spelling((Spelled("json", Kind.TEXT), Spelled("key", Kind.INT64, nullable=False)))
    assert scan(store, narrow).to_pylist() == [{"json": row["json"], "key": row["key"]} for row in rows]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("(7, 'x', 'w', '1')", "n of key 7 is no integer"),
        ("(7, 1.0, 'w', '1')", "n of key 7 is no integer"),
        ("(7, 1, 5, '1')", "word of key 7 is no text"),
        ("(7, 1, CAST(x'ff' AS TEXT), '1')", "word of key 7 is not UTF-8"),
        ("(7, 1, 'w', '1' || char(10))", "json of key 7 is not compact JSON"),
        ("(NULL, 1, 'w', '1')", "key of key 0 is no integer"),
        ("(5, 1, 'w', '1')", "key of key 5 is not ascending"),
    ],
)
def test_what_does_not_fit_is_refused_by_column_and_row(store: Connection, row: str, complaint: str) -> None:
    store.execute(f"INSERT INTO t VALUES (5, 1, 'w', '1'), {row}")
    with pytest.raises(StorageError, match=complaint):
        scan(store)
    store.execute("DELETE FROM t WHERE rowid = 2")
    assert scan(store).num_rows == 1


def test_a_long_name_is_cut_between_characters_in_a_complaint(store: Connection) -> None:
    long = "é" * 100
    store.execute(f"CREATE TABLE wide (key, {long})")
    store.execute("INSERT INTO wide VALUES (1, 'x')")
    columns = Spelling((Spelled("key", Kind.INT64, nullable=False), Spelled(long, Kind.INT64)))
    with pytest.raises(StorageError, match=f" {'é' * 30} of key 1 is no integer"):
        store.scan("wide", columns=columns, order="key", bytes_hint=0)


def test_a_column_is_found_whatever_it_is_called(store: Connection) -> None:
    store.execute('CREATE TABLE odd ("select ""a"", [b]" INTEGER)')
    store.execute("INSERT INTO odd VALUES (7)")
    columns = Spelling((Spelled('select "a", [b]', Kind.INT64, nullable=False),))
    found, _ = store.scan("odd", columns=columns, order=columns.names[0], bytes_hint=0)
    assert found.to_pylist() == [{'select "a", [b]': 7}]


def test_a_scan_has_as_many_columns_as_sqlite_gives_a_function_less_one(store: Connection) -> None:
    names = [f"c{number}" for number in range(1000)]
    store.execute(f"CREATE TABLE wide ({', '.join(names)})")
    store.execute(f"INSERT INTO wide VALUES ({', '.join(map(str, range(1000)))})")
    columns = [Spelled(name, Kind.INT64, nullable=False) for name in names]
    found, _ = store.scan("wide", columns=Spelling(tuple(columns[:999])), order="c0", bytes_hint=0)
    assert found.to_pylist() == [{name: number for number, name in enumerate(names[:999])}]
    with pytest.raises(StorageError, match="too many arguments"):
        store.scan("wide", columns=Spelling(tuple(columns)), order="c0", bytes_hint=0)


@pytest.mark.parametrize("order", [Spelled("key", Kind.TEXT), Spelled("key", Kind.INT64), Spelled("key", Kind.TIME)])
def test_rows_are_ordered_by_integers_that_are_never_null(store: Connection, order: Spelled) -> None:
    with pytest.raises(ValueError, match="ordered by key"):
        scan(store, Spelling((order,)))
