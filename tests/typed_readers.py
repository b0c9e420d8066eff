"""Exports of any table read by libraries that did not write them, as rows of plain values by their columns' types.

A timestamp is a datetime in UTC, or without a zone where its type has none; JSON is a :func:`sample_events.shape`.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

from foreign_readers import content, manifest_of
from sample_events import shape

Row = dict[str, Any]
_ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp_utc": pa.timestamp("us", "UTC"),
}
#: How a text format's text of each type becomes a value, and which of them are no strings in JSON.
_VALUES: Mapping[str, Callable[[str], Any]] = {
    "bool": lambda text: {"true": True, "false": False}[text],
    "int64": int,
    "float64": float,
    "decimal": Decimal,
    "text": str,
    "json": shape,
    "binary": lambda text: base64.b64decode(text, validate=True),
    "date": date.fromisoformat,
    "timestamp": lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f"),
    "timestamp_utc": lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
}
_BARE = ("bool", "int64", "float64", "decimal", "json")


def types_of(path: Path) -> dict[str, str]:
    """The columns of an export and their types, as its manifest names them."""
    return {column["name"]: column["type"] for column in manifest_of(path)["schema"]}


def arrow_schema(types: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, _arrow_type(type)) for name, type in types.items()])


def _arrow_type(type: str) -> pa.DataType:
    digits = re.fullmatch(r"decimal\((\d+),(\d+)\)", type)
    return _ARROW[type] if digits is None else pa.decimal128(int(digits[1]), int(digits[2]))


def read(path: Path, types: Mapping[str, str]) -> list[Row]:
    """The rows of an export whose columns have these types, by every library that reads its format."""
    ending = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    first, *others = _READERS[ending](path, types)
    for other in others:
        assert other == first, path
    return first


def _typed(type: str, text: str) -> Any:
    return _VALUES[type.partition("(")[0]](text)


def _json(path: Path, types: Mapping[str, str]) -> list[list[Row]]:
    text = content(path)
    lines = text.split(b"\n")[:-1] if "ndjson" in path.name else None
    found: Any = [shape(line) for line in lines] if lines is not None else shape(text)
    plain = [json.loads(line) for line in lines] if lines is not None else json.loads(text)
    assert [list(row) for row in plain] == [list(types)] * len(plain)
    return [[{name: _member(types[name], value) for name, value in pairs} for _, pairs in found]]


def _member(type: str, value: Any) -> Any:
    if value is None or type == "json" or isinstance(value, bool):
        return value
    bare = isinstance(value, tuple)
    assert bare == (type.partition("(")[0] in _BARE), (type, value)
    return _typed(type, value[1] if bare else value)


def _csv(path: Path, types: Mapping[str, str]) -> list[list[Row]]:
    """By DuckDB, which tells null from empty text; the csv module has to find the same fields."""
    text = content(path).decode()
    header, *plain = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert header == list(types)
    names = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in types) + "}"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT * FROM read_csv(?, auto_detect=false, header=true, columns={names}, delim=',', quote='\"',"
            " escape='\"', nullstr='', allow_quoted_nulls=false, new_line='\\n', parallel=false, strict_mode=true,"
            " hive_partitioning=false)",
            [str(path)],
        ).fetchall()
    assert [["" if field is None else field for field in row] for row in found] == plain
    rows = [dict(zip(types, row, strict=True)) for row in found]
    return [
        [{name: None if value is None else _typed(types[name], value) for name, value in row.items()} for row in rows]
    ]


def _parquet(path: Path, types: Mapping[str, str]) -> list[list[Row]]:
    whole = pq.ParquetFile(path).read()
    assert _bare(whole.schema) == arrow_schema(types)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        theirs = connection.sql("FROM read_parquet(?)", params=[str(path)]).to_arrow_table()
    frame = polars.read_parquet(path, use_pyarrow=False).to_arrow()
    return [_from_table(table, types) for table in (whole, frame, theirs)]


def _arrow(path: Path, types: Mapping[str, str]) -> list[list[Row]]:
    with pa.ipc.open_file(path) as file:
        whole = file.read_all()
    assert _bare(whole.schema) == arrow_schema(types)
    return [_from_table(whole, types), _from_table(polars.read_ipc(path, use_pyarrow=False).to_arrow(), types)]


def _bare(schema: pa.Schema) -> pa.Schema:
    """Names and types alone."""
    return pa.schema([(field.name, field.type) for field in schema])


def _from_table(table: pa.Table, types: Mapping[str, str]) -> list[Row]:
    rows = table.cast(arrow_schema(types)).to_pylist()
    return [
        {name: shape(value) if types[name] == "json" and value is not None else value for name, value in row.items()}
        for row in rows
    ]


_READERS: Mapping[str, Callable[[Path, Mapping[str, str]], list[list[Row]]]] = {
    "ndjson": _json,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    "arrow": _arrow,
}
