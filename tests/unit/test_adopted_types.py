"""Of which type a column is: what each declaration means, and what is stored where there is none."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adopted_tables import PLAIN, build
from penstock import AdoptedTable, StorageConfig
from penstock.model.dataset import type_name

#: Declarations, and what they mean to a column without a value: text where they say nothing.
DECLARED = {
    "bool": "bool",
    "BOOLEAN": "bool",
    "BOOLEANISH": "text",
    "DATE": "date",
    "DATES": "text",
    "DATETIME": "timestamp_utc",
    "datetime(6)": "timestamp_utc",
    "TIMESTAMP WITH TIME ZONE": "timestamp_utc",
    "JSON": "json",
    "JSONB": "json",
    "JSONLIKE": "text",
    "INT": "int64",
    "BIGINT": "int64",
    "UNSIGNED BIG INT": "int64",
    "CHARINT": "int64",
    "CHARACTER(20)": "text",
    "NATIVE CHARACTER(70)": "text",
    "CLOB": "text",
    "TINYTEXT": "text",
    "BLOB": "binary",
    "BLOBS": "text",
    "REAL": "float64",
    "DOUBLE PRECISION": "float64",
    "FLOAT": "float64",
    "DECIMAL(10,2)": "decimal(10,2)",
    "NUMERIC ( 5 , 0 )": "decimal(5,0)",
    "DEC(38,38)": "decimal(38,38)",
    "NUMBER(39,2)": "text",
    "DECIMAL(5,6)": "text",
    "DECIMAL": "text",
    "NUMERIC": "text",
}
#: Values without a declaration, and of which type that makes a column.
STORED: list[tuple[list[Any], str]] = [
    ([1, None, -(2**63), 2**63 - 1], "int64"),
    ([1.5, None], "float64"),
    ([1.5, 2**53, -(2**53)], "float64"),
    ([1.5, 2**53 + 1], "text"),
    ([1.5, -(2**53) - 1], "text"),
    ([2**53 + 1], "int64"),
    ([None], "text"),
    (["a", None], "text"),
    (["a", 1], "text"),
    ([b"\x00", None], "binary"),
    ([b"\x00", 1], "binary"),
    ([b"\x00", "a"], "binary"),
]


def types_of(path: Path, table: str) -> dict[str, str]:
    with AdoptedTable(path, StorageConfig(table=table)) as source:
        return {field.name: str(type_name(field)) for field in source.dataset.schema if field.name != "rowid"}


def test_each_declaration_means_a_type_in_a_table_and_through_a_view(tmp_path: Path) -> None:
    columns = ", ".join(f'"{declared.lower()}" {_quoted(declared)}' for declared in DECLARED)
    path = build(tmp_path / "app.db", f"CREATE TABLE t ({columns})", "CREATE VIEW v AS SELECT * FROM t")
    wanted = {declared.lower(): type for declared, type in DECLARED.items()}
    assert types_of(path, "t") == types_of(path, "v") == wanted


def _quoted(declared: str) -> str:
    """Words stand as they are, all else is a name of a type in quotes."""
    return declared if re.fullmatch(r"[\w ]+(\(\d+\))?", declared) else f'"{declared}"'


@pytest.mark.parametrize("source", ["t", "v"])
def test_what_is_stored_says_the_type_of_every_column_without_a_declaration(source: str, tmp_path: Path) -> None:
    """Of so many columns that not all are looked at in one pass."""
    many = [*STORED, *([([1], "int64")] * 330), *STORED]
    names = [f"c{number}" for number in range(len(many))]
    path = build(tmp_path / "app.db", f"CREATE TABLE t ({', '.join(names)})", "CREATE VIEW v AS SELECT * FROM t")
    longest = max(len(values) for values, _ in many)
    rows = [[values[row] if row < len(values) else None for values, _ in many] for row in range(longest)]
    build(path, rows=rows, into="t")
    assert types_of(path, source) == {name: type for name, (_, type) in zip(names, many, strict=True)}


def rows_of(path: Path, **config: Any) -> list[dict[str, Any]]:
    with AdoptedTable(path, StorageConfig(table="t", **config)) as source, source.pin() as view:
        spans = view.plan(PLAIN, max_rows=10, max_bytes=1 << 20)
        return [row for span in spans for batch in view.read(span, PLAIN) for row in batch.to_pylist()]


@pytest.mark.parametrize("asked", [{}, {"types": {"a": "binary", "b": "binary"}}], ids=["found", "asked"])
def test_bytes_of_a_column_in_which_there_is_more_are_those_of_every_value(tmp_path: Path, asked: Any) -> None:
    rows = [(b"\x00", b"x"), ("ü", 12), (None, 1.5)]
    path = build(tmp_path / "app.db", "CREATE TABLE t (a, b)", rows=rows, into="t")
    found = [(row["a"], row["b"]) for row in rows_of(path, **asked)]
    assert found == [(b"\x00", b"x"), ("ü".encode(), b"12"), (None, b"1.5")]


def test_words_for_truth_are_numbers_in_any_case_and_no_others(tmp_path: Path) -> None:
    words = {"t": True, "T": True, "true": True, "TRUE": True, "f": False, "F": False, "false": False, "False": False}
    rows = [(word,) for word in (*words, 1, 0, None, "yes", "", 2)]
    path = build(tmp_path / "app.db", "CREATE TABLE t (a BOOLEAN)", rows=rows, into="t")
    found = [row["a"] for row in rows_of(path, misfits="null")]
    assert found == [*words.values(), True, False, None, None, None, None]


def test_a_column_whose_order_nobody_knows_has_a_type_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.create_collation("own", lambda one, other: (one > other) - (one < other))
        connection.execute("CREATE TABLE t (a NUMERIC COLLATE own)")
        connection.execute("INSERT INTO t VALUES (1), (2.5)")
    assert types_of(path, "t") == {"a": "float64"}
    assert [row["a"] for row in rows_of(path)] == [1.0, 2.5]
