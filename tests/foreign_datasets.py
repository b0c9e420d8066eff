"""Exports of the test dataset, which is no event, read by libraries that did not write them, as rows of plain values.

JSON text is a :func:`sample_events.shape`, so that it keeps the spelling of its numbers.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq

from foreign_readers import content
from sample_events import shape

Row = dict[str, Any]
#: The columns of the test dataset as its source has them, of which some are cast on the way.
GIVEN = pa.schema(
    [
        pa.field("k", pa.int64(), nullable=False),
        pa.field("flag", pa.bool_()),
        pa.field("size", pa.float64()),
        pa.field("price", pa.decimal128(38, 10)),
        pa.field("name", pa.large_string()),
        pa.field("facts", pa.string()),
        pa.field("raw", pa.large_binary()),
        pa.field("day", pa.date32()),
        pa.field("at", pa.timestamp("us", "Europe/Berlin")),
        pa.field("there", pa.timestamp("us")),
    ]
)
#: What every columnar file has to have, to the last type.
STORED = pa.schema(
    [
        GIVEN.field("k"),
        GIVEN.field("flag"),
        GIVEN.field("size"),
        GIVEN.field("price"),
        pa.field("name", pa.string()),
        pa.field("facts", pa.string()),
        pa.field("raw", pa.binary()),
        GIVEN.field("day"),
        pa.field("at", pa.timestamp("us", "UTC")),
        GIVEN.field("there"),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
#: How a text format's text of each column becomes a value again.
_VALUES: dict[str, Callable[[str], Any]] = {
    "k": int,
    "flag": lambda text: {"true": True, "false": False}[text],
    "size": float,
    "price": lambda text: Decimal(re.fullmatch(r"-?(?:0|[1-9]\d*)\.\d{10}", text)[0]),  # type: ignore[index]  # or fail
    "name": str,
    "facts": shape,
    "raw": lambda text: base64.b64decode(text, validate=True),
    "day": date.fromisoformat,
    "at": lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
    "there": lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f"),
    "row": int,
}


def same(value: Any) -> Any:
    """A value in a form in which equal means the same: digits of decimals, sign of zero."""
    if isinstance(value, Decimal):
        return value.as_tuple()
    return repr(value) if isinstance(value, float) else value


def read(path: Path) -> list[Row]:
    """The rows of one part, in order, by every library that reads its format; all have to find the same."""
    ending = path.name.rpartition(".")[2]
    first, *others = _READERS[ending](path)
    for other in others:
        assert other == first, path
    return first


def _json(path: Path) -> Iterable[list[Row]]:
    text = content(path)
    lines = text.split(b"\n")[:-1] if path.suffix == ".ndjson" else None
    rows = [shape(line) for line in lines] if lines is not None else shape(text)
    yield [_from_shape(row) for row in rows]  # type: ignore[attr-defined]  # a list, or the next line says so
    plain = [json.loads(line) for line in lines] if lines is not None else json.loads(text)
    assert [list(row) for row in plain] == [STORED.names] * len(plain)


def _from_shape(row: Any) -> Row:
    kind, pairs = row
    assert kind == "object"
    assert len(dict(pairs)) == len(pairs), "a member is repeated"
    return {name: _from_member(name, value) for name, value in pairs}


def _from_member(name: str, value: Any) -> Any:
    if value is None or name == "facts" or isinstance(value, bool):
        return value
    text = value[1] if isinstance(value, tuple) else value
    assert isinstance(value, tuple) == (name in ("k", "size", "price", "row")), (name, value)
    return same(_VALUES[name](text))


def _csv(path: Path) -> Iterable[list[Row]]:
    """By DuckDB, which tells null from empty text; the csv module has to find the same fields."""
    text = content(path).decode()
    assert text.startswith(",".join(STORED.names) + "\n")
    names = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in STORED.names) + "}"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT * FROM read_csv(?, auto_detect=false, header=true, columns={names}, delim=',', quote='\"',"
            " escape='\"', nullstr='', allow_quoted_nulls=false, new_line='\\n', parallel=false, strict_mode=true,"
            " hive_partitioning=false)",
            [str(path)],
        ).fetchall()
    plain = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    assert [["" if field is None else field for field in row] for row in found] == plain
    yield [
        {
            name: None if field is None else same(_VALUES[name](field))
            for name, field in zip(STORED.names, row, strict=True)
        }
        for row in found
    ]


def _parquet(path: Path) -> Iterable[list[Row]]:
    whole = pq.ParquetFile(path).read()
    assert whole.schema.remove_metadata().equals(STORED)
    yield from_table(whole)
    yield from_table(polars.read_parquet(path, use_pyarrow=False).to_arrow())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        yield from_table(connection.sql("FROM read_parquet(?)", params=[str(path)]).to_arrow_table())


def _arrow(path: Path) -> Iterable[list[Row]]:
    with pa.ipc.open_file(path) as file:
        assert file.schema.remove_metadata().equals(STORED)
        yield from_table(file.read_all())
    yield from_table(polars.read_ipc(path, use_pyarrow=False).to_arrow())


def from_table(table: pa.Table) -> list[Row]:
    rows = table.cast(STORED).to_pylist()
    return [
        {name: shape(value) if name == "facts" and value is not None else same(value) for name, value in row.items()}
        for row in rows
    ]


_READERS: dict[str, Callable[[Path], Iterable[list[Row]]]] = {
    "ndjson": _json,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
    "arrow": _arrow,
}
