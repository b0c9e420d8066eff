"""Conditions made up by chance say the same in Arrow as in plain Python, and SQL never takes away what matches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from penstock import AnalyticsEvent, ExportFilter, SqliteAnalyticsStorage
from penstock.errors import InvalidFilter
from penstock.model.checking import check
from penstock.model.columns import EVENTS
from penstock.model.dataset import MICROS, MICROS_UTC, Dataset, instants, json_field, type_name
from penstock.model.event import KNOWN_TYPES
from penstock.model.expression import Expression, text_of
from penstock.model.times import from_micros
from penstock.model.where import parse
from penstock.pipeline.matching import truth
from penstock.sources.connection import Connection, quote_name
from penstock.sources.pushdown import Pushed, pushed
from penstock.sources.sqlite.predicate import predicate
from proof_size import SEED, TIMES
from where_oracle import Chance, holds

#: Conditions of each kind in a full proof: 100,000 in all.
ANY, EVENT, STORED = round(50_000 * TIMES), round(25_000 * TIMES), round(25_000 * TIMES)
ROWS = 24
MOST = (1 << 63) - 1
INTEGERS = [None, 0, 1, -1, 2, 7, 400, 2**53, 2**53 + 1, -(2**53) - 1, MOST, -MOST - 1, 10**9]
FLOATS = [None, 0.0, -0.0, 0.5, 1.5, 0.1, -0.25, 2.0**53, 2.0**53 + 2, 2.0**63, -(2.0**63), 1e300, 1e308, 5e-324, 400.0]
TEXTS = [
    None,
    "",
    "a",
    "b",
    "A",
    "é",
    "日本",
    "😀",
    "a'b",
    "/docs/",
    "/docs/x",
    "/docs/%",
    "_",
    "1",
    "\n",
    "a\0b",
    "\\",
    "%",
]
JSONS = [
    None,
    "{}",
    '{"status":400}',
    '{"status":404.5}',
    '{"status":"400"}',
    '{"status":null}',
    '{"status":true,"flag":false}',
    '{"status":[],"path":{}}',
    '{"path":"/docs/x","status":9007199254740993}',
    '{"path":"a\\u0000b","status":9223372036854775808}',
    '{"path":"\\u00e9","st\\u0061tus":-9223372036854775808}',
    '{"path":"\\ud800","status":1e400}',
    '{"status":1,"status":2,"path":"a","path":"b"}',
    '{"items":[{"x":1},{"x":"\\ud83d\\ude00"},[1,2.50,-0]],"":"a"}',
    '{"items":[],"status":1e2,"flag":true}',
    '{"status":0.1,"path":"日本"}',
]
PATHS: list[tuple[str | int, ...]] = [
    ("status",),
    ("path",),
    ("flag",),
    ("items", 0, "x"),
    ("items", 1, "x"),
    ("items", 2, 1),
    ("items",),
    ("",),
    ("no",),
]
DAY = 86_400_000_000
TIMES_OF = [None, 0, 1_793_491_200_000_000, 1_793_491_200_000_001, 1_793_577_600_000_000, -62_135_596_800_000_000]
SCHEMA = pa.schema(
    [
        pa.field("n", pa.int64()),
        pa.field("m", pa.int64()),
        pa.field("size", pa.float64()),
        pa.field("price", pa.decimal128(10, 2)),
        pa.field("wide", pa.decimal256(50, 10)),
        pa.field("name", pa.string()),
        pa.field("a b", pa.string()),
        pa.field("ok", pa.bool_()),
        pa.field("at", MICROS_UTC),
        pa.field("local", MICROS),
        pa.field("day", pa.date32()),
        pa.field("raw", pa.binary()),
        json_field("data"),
    ]
)
ALL = Dataset("all", SCHEMA, own=tuple(SCHEMA.names), time="at")
VALUES: Mapping[str, Sequence[Any]] = {
    "n": INTEGERS,
    "m": INTEGERS,
    "size": FLOATS,
    "price": [None, Decimal("0.00"), Decimal("19.99"), Decimal("-0.25"), Decimal("99999999.99"), Decimal(400)],
    "wide": [None, Decimal(0), Decimal("19.99"), Decimal(2**63), Decimal("0.1"), Decimal(10) ** 39],
    "name": TEXTS,
    "a b": TEXTS,
    "ok": [None, True, False],
    "at": TIMES_OF,
    "local": TIMES_OF,
    "day": [None if one is None else one // DAY for one in TIMES_OF],
    "raw": [None, b"", b"\xff"],
    "data": JSONS,
}


def kinds_of(dataset: Dataset) -> dict[str, str]:
    return {field.name: str(type_name(field)) for field in dataset.schema}


def plain_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Values as the oracle takes them: times in microseconds."""
    columns = {}
    for field in batch.schema:
        column = batch[field.name]
        columns[field.name] = (instants(column) if pa.types.is_temporal(field.type) else column).to_pylist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def conditions(count: int, dataset: Dataset, seed: str, json: str = "data") -> Iterator[tuple[Expression, Any]]:
    """So many conditions, with what they are on the dataset."""
    source = random.Random(f"{SEED} {seed}")
    chance = Chance(source, kinds_of(dataset), [(json, path) for path in PATHS])
    refused = 0
    for _ in range(count):
        expression = chance.condition(source.randint(0, 4))
        try:
            yield expression, check(expression, dataset)
        except InvalidFilter as error:  # what has no column in it
            refused += _without_columns(error)
    assert refused < count / 20 + 5


def _without_columns(error: InvalidFilter) -> bool:
    if any(told in str(error) for told in ("never null", "no column", "this is none")):
        return True
    raise error


def test_any_dataset_is_matched_as_plain_python_does() -> None:
    source = random.Random(f"{SEED} rows")
    agreed = {True: 0, False: 0, None: 0}
    for number, (expression, condition) in enumerate(conditions(ANY, ALL, "all")):
        if number % 50 == 0:
            rows = {name: [source.choice(values) for _ in range(ROWS)] for name, values in VALUES.items()}
            batch = pa.record_batch([pa.array(rows[field.name], field.type) for field in SCHEMA], schema=SCHEMA).slice(
                source.randint(0, 3)
            )
            plain = plain_rows(batch)
        assert parse(text_of(expression)) == expression
        found = truth(batch, condition).to_pylist()
        expected = [holds(expression, row, kinds_of(ALL)) for row in plain]
        pairs = zip(plain, found, expected, strict=True)
        assert found == expected, (text_of(expression), [each for each in pairs if each[1] != each[2]])
        for one in found:
            agreed[one] += 1
    assert min(agreed.values()) > sum(agreed.values()) / 50, "conditions that all say the same prove nothing"


def agree(connection: Connection, select: str, said: Any, expected: Sequence[bool | None], told: str) -> bool:
    """SQL that is exact says the same in every row, other SQL holds wherever the condition does."""
    found = [row["met"] for row in connection.query(select.format(said.sql), said.parameters)][1:]
    found = [None if one is None else bool(one) for one in found]
    if said.exact:
        assert found == expected, (told, said)
    else:
        assert all(sql for sql, condition in zip(found, expected, strict=True) if condition), (told, said)
    return said.exact and said.sql != "1"


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    connection = Connection(path, mode="ro", busy_timeout=1)
    connection.load()
    try:
        yield connection
    finally:
        connection.close()


def test_events_of_our_own_store_are_matched_by_sql_as_by_arrow(tmp_path: Path) -> None:
    source = random.Random(f"{SEED} events")
    types = [*list(KNOWN_TYPES)[:3], "a", "é", "/docs/x", "a'b", "%"]
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(
            AnalyticsEvent(
                source.choice(types),
                timestamp=from_micros(source.choice([one for one in TIMES_OF if one is not None])),
                session_id=source.choice([None, "a", "A", "/docs/x"]),
                priority=source.choice(["low", "normal", "high", "critical"]),  # type: ignore[arg-type]
                data=source.choice([text for text in JSONS if text is not None and "ud800" not in text]),
            )
            for _ in range(150)
        )
        batch = pa.Table.from_batches(store.scan()).combine_chunks().to_batches()[0]
    plain, kinds, exact = plain_rows(batch), kinds_of(EVENTS), 0
    select = "SELECT 0 AS met UNION ALL SELECT * FROM (SELECT ({}) FROM events ORDER BY seq)"
    with reading(tmp_path / "events.db") as connection:
        for expression, _ in conditions(EVENT, EVENTS, "events"):
            filter = ExportFilter(where=text_of(expression))
            found = predicate(filter)
            condition = filter.condition(EVENTS)
            assert condition is not None
            expected = truth(batch, condition).to_pylist()
            assert expected[:5] == [holds(expression, row, kinds) for row in plain[:5]], filter.where
            said = pushed(condition, {})
            said = type(said)(found.sql, found.parameters, found.rest is None)
            exact += agree(connection, select, said, expected, str(filter.where))
    assert exact > EVENT / 4, "what is never said in SQL is not compared"


def typed(column: str, type: str) -> str:
    """SQL for the value of a column that may hold anything, as a dataset has it that gives it this type, or null."""
    whole = f"typeof({column}) = 'integer'"
    match type:
        case "int64":
            return f"CASE WHEN {whole} THEN {column} END"
        case "float64":
            exact = f"{whole} AND CAST({column} AS REAL) = {column}"
            finite = f"typeof({column}) = 'real' AND {column} > -9e999 AND {column} < 9e999"
            return f"CASE WHEN {exact} THEN CAST({column} AS REAL) WHEN {finite} THEN {column} END"
        case "bool":
            return f"CASE WHEN {whole} AND {column} IN (0, 1) THEN {column} END"
        case "text" | "json":
            return f"CASE WHEN typeof({column}) = 'text' THEN {column} END"
    raise AssertionError(type)


def test_columns_that_hold_anything_are_matched_by_sql_as_by_arrow(tmp_path: Path) -> None:
    source = random.Random(f"{SEED} stored")
    given = [*INTEGERS, *FLOATS, float("inf"), *TEXTS, *JSONS, b"a", 2**53 + 1]
    types = {"n": "int64", "m": "int64", "size": "float64", "name": "text", "a b": "text", "ok": "bool", "data": "json"}
    schema = pa.schema([SCHEMA.field(name) for name in (*types, "at")])
    dataset = Dataset("stored", schema, own=tuple(schema.names))
    rows = [[source.choice(given) for _ in types] for _ in range(400)]
    with SqliteAnalyticsStorage(tmp_path / "a.db"):
        pass
    writer = Connection(tmp_path / "a.db", mode="rw", busy_timeout=1)
    names = ", ".join(map(quote_name, types))
    writer.execute(f"CREATE TABLE t (k INTEGER PRIMARY KEY, {names})")
    for row in rows:
        writer.query(f"INSERT INTO t ({names}) VALUES ({', '.join('?' * len(row))}) RETURNING 1", row)
    writer.close()
    batch = pa.record_batch(
        [
            *(
                pa.array([_fitting(type, row[place]) for row in rows], schema.field(name).type)
                for place, (name, type) in enumerate(types.items())
            ),
            pa.nulls(len(rows), MICROS_UTC),
        ],
        schema=schema,
    )
    columns = {name: Pushed(typed(quote_name(name), type)) for name, type in types.items()}
    select = "SELECT 0 AS met UNION ALL SELECT * FROM (SELECT ({}) FROM t ORDER BY k)"
    exact = 0
    with reading(tmp_path / "a.db") as connection:
        for expression, condition in conditions(STORED, dataset, "stored"):
            expected = truth(batch, condition).to_pylist()
            exact += agree(connection, select, pushed(condition, columns), expected, text_of(expression))
    assert exact > STORED / 4


def _fitting(type: str, value: Any) -> Any:
    """The value as a dataset has it whose column is of this type; what does not fit is null."""
    match type, value:
        case "int64", int():
            return value
        case "float64", float():
            return value if abs(value) < float("inf") else None
        case "float64", int():
            return float(value) if float(value) == value else None
        case "bool", int() if value in (0, 1):
            return bool(value)
        case (("text" | "json"), str()):
            return value
    return None


def test_days_and_times_are_moments() -> None:
    batch = pa.record_batch([pa.array([date(2026, 11, 1)])], schema=pa.schema([pa.field("day", pa.date32())]))
    dataset = Dataset("days", batch.schema, own=("day",))
    for text in ("day = '2026-11-01'", "day < '2026-11-01T00:00:01+00:00'", "not day > '2026-11-01'"):
        assert truth(batch, check(parse(text), dataset)).to_pylist() == [True]


@pytest.mark.parametrize("text", ["-9223372036854775808", "9223372036854775807"])
def test_the_ends_of_the_integers_are_integers(text: str) -> None:
    batch = pa.record_batch([pa.array([int(text)])], schema=pa.schema([pa.field("n", pa.int64())]))
    dataset = Dataset("ends", batch.schema, own=("n",))
    assert truth(batch, check(parse(f"n = {text}"), dataset)).to_pylist() == [True]
