"""What a dataset may be, how a manifest tells of it, and what other Arrow types become."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from penstock.errors import UsageError
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset, bound, is_json, json_field, parse_dataset, type_name

SCHEMA = pa.schema(
    [
        pa.field("n", pa.int64(), nullable=False),
        pa.field("flag", pa.bool_()),
        pa.field("size", pa.float64()),
        pa.field("price", pa.decimal128(10, 2)),
        pa.field("large", pa.decimal256(76, 40)),
        pa.field("name", pa.string()),
        json_field("facts"),
        pa.field("raw", pa.binary()),
        pa.field("day", pa.date32()),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("there", pa.timestamp("us")),
        pa.field("row", pa.int64()),
    ]
)
ORDERS = Dataset("orders", SCHEMA, own=tuple(SCHEMA.names[:-1]), time="at", key=("n", "name"), order="row")


def test_every_type_has_a_name() -> None:
    assert [type_name(field) for field in SCHEMA] == [
        "int64",
        "bool",
        "float64",
        "decimal(10,2)",
        "decimal(76,40)",
        "text",
        "json",
        "binary",
        "date",
        "timestamp_utc",
        "timestamp",
        "int64",
    ]


@pytest.mark.parametrize("dataset", [ORDERS, EVENTS, ORDERS.select(["price", "n"])])
def test_a_dataset_comes_back_from_a_manifest(dataset: Dataset) -> None:
    found = parse_dataset(json.loads(json.dumps(dataset.to_json())))
    assert found == dataset
    assert found.schema.equals(dataset.schema, check_metadata=True)


def test_a_choice_of_columns_has_the_order_in_which_it_was_made_and_keeps_what_is_own() -> None:
    some = ORDERS.select(["row", "facts", "n"])
    assert some.columns == ("row", "facts", "n")
    assert some.own == ("facts", "n")
    assert (some.key, some.time, some.order) == (("n", "name"), "at", "row")
    assert is_json(some.schema.field("facts"))
    assert ORDERS.select(None) is ORDERS


def test_a_hidden_column_is_written_only_when_it_is_asked_for() -> None:
    numbered = replace(ORDERS, hidden=("row",))
    assert numbered.select(None).columns == ORDERS.columns[:-1]
    assert (numbered.select(None).order, numbered.select(None).hidden) == ("row", ())
    assert numbered.select(["row", "n"]).columns == ("row", "n")


@pytest.mark.parametrize("wrong", [[], ["n", "n"], ["none"], ["N"], [" n"], "n"])
def test_a_choice_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        ORDERS.select(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": []},
        {"schema": [{"name": "n", "type": "interval", "nullable": True}]},
        {"schema": [{"name": "n", "type": "decimal(77,2)", "nullable": True}]},
        {"schema": [{"name": "n", "type": "decimal(2,3)", "nullable": True}]},
        {"schema": [{"name": "n", "type": "decimal(0,0)", "nullable": True}]},
        {"schema": [{"name": "n", "type": "int64", "nullable": 1}]},
        {"schema": [{"name": "n", "type": ["int64"], "nullable": True}]},
        {"schema": [{"name": "n", "type": "int64"}]},
        {"schema": ["n"]},
        {"schema": {"n": "int64"}},
        {"schema": [{"name": "", "type": "int64", "nullable": True}]},
        {"schema": [{"name": "a\nb", "type": "int64", "nullable": True}]},
        {"schema": [{"name": "\ud800", "type": "int64", "nullable": True}]},
        {"own": ["flag", "n"]},
        {"own": ["none"]},
        {"own": "n"},
        {"own": [1]},
        {"time": "name"},
        {"time": 5},
        {"key": "n"},
        {"key": [None]},
        {"order": "name"},
        {"order": 0},
        {"dataset": None},
        {"dataset": ""},
    ],
)
def test_a_manifest_that_tells_of_no_dataset_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((UsageError, ValueError, TypeError, KeyError)):
        parse_dataset({**ORDERS.to_json(), **change})


BECOMES = [
    *((type, "int64") for type in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32())),
    (pa.uint64(), "decimal(20,0)"),
    (pa.float16(), "float64"),
    (pa.float32(), "float64"),
    (pa.large_string(), "text"),
    (pa.string_view(), "text"),
    (pa.null(), "text"),
    (pa.dictionary(pa.int8(), pa.string()), "text"),
    (pa.dictionary(pa.int32(), pa.int16()), "int64"),
    (pa.json_(pa.large_string()), "json"),
    (pa.large_binary(), "binary"),
    (pa.binary(16), "binary"),
    (pa.binary_view(), "binary"),
    (pa.decimal32(5, 2), "decimal(5,2)"),
    (pa.decimal64(18, 0), "decimal(18,0)"),
    (pa.decimal128(5, -2), "decimal(7,0)"),
    (pa.decimal256(20, 3), "decimal(20,3)"),
    (pa.decimal256(50, 3), "decimal(50,3)"),
    (pa.date64(), "date"),
    (pa.timestamp("s"), "timestamp"),
    (pa.timestamp("ns"), "timestamp"),
    (pa.timestamp("ms", "Europe/Berlin"), "timestamp_utc"),
    *((field.type, type_name(field)) for field in SCHEMA if not is_json(field)),
]


@pytest.mark.parametrize(("type", "name"), BECOMES)
def test_another_type_is_bound_to_one_of_these(type: pa.DataType, name: str) -> None:
    nullable = type == pa.null()
    (field,) = bound(pa.schema([pa.field("x", type, nullable=nullable)]))
    assert type_name(field) == name
    assert field.nullable == nullable or name.startswith(("float", "date", "timestamp", "json"))


def test_text_that_is_said_to_be_json_is_json() -> None:
    found = bound(pa.schema([pa.field("a", pa.large_string()), pa.field("b", pa.string())]), json=["a"])
    assert [type_name(field) for field in found] == ["json", "text"]


@pytest.mark.parametrize(
    "type",
    [
        pa.list_(pa.int64()),
        pa.struct([pa.field("a", pa.int64())]),
        pa.map_(pa.string(), pa.string()),
        pa.duration("s"),
        pa.time64("us"),
        pa.month_day_nano_interval(),
        pa.decimal256(76, -1),
        pa.dictionary(pa.int8(), pa.duration("s")),
        pa.uuid(),
    ],
)
def test_a_type_that_no_export_has_is_refused_by_column_and_type(type: pa.DataType) -> None:
    with pytest.raises(UsageError, match="'odd' has the type"):
        bound(pa.schema([pa.field("fine", pa.int64()), pa.field("odd", type)]))


def test_json_in_a_column_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="'a' has the type int64"):
        bound(pa.schema([pa.field("a", pa.int64())]), json=["a"])
