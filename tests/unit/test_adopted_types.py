"""Of which type a column is: what each declaration means, and what is stored where there is none."""

from __future__ import annotations

import re
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


def test_bytes_of_a_column_in_which_there_is_more_are_those_of_every_value(tmp_path: Path) -> None:
    path = build(tmp_path / "app.db", "CREATE TABLE t (a, b)", rows=[(b"\x00", b"x"), ("ü", None), (12, b"")], into="t")
    with AdoptedTable(path, StorageConfig(table="t")) as source, source.pin() as view:
        spans = view.plan(PLAIN, max_rows=10, max_bytes=1 << 20)
        found = [row for span in spans for batch in view.read(span, PLAIN) for row in batch.to_pylist()]
    assert [(row["a"], row["b"]) for row in found] == [(b"\x00", b"x"), ("ü".encode(), None), (b"12", b"")]
