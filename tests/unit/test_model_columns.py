"""Events as Arrow batches: the columns, and the row by row check of a batch that comes from outside."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import sample_events
from penstock.errors import InvalidEvent
from penstock.model.columns import (
    APPEND_SCHEMA,
    COLUMNS,
    EVENT_FIELDS,
    batch_of,
    checked_batch,
)
from penstock.model.dataset import MICROS_UTC
from sample_events import uuid_of

BATCH = batch_of(sample_events.fixed())


def _with(name: str, values: Any) -> pa.RecordBatch:
    """The fixed events with one column replaced; a scalar stands in every row."""
    column = values if isinstance(values, pa.Array) else pa.array([values] * BATCH.num_rows)
    return BATCH.set_column(BATCH.schema.get_field_index(name), name, column)


def test_the_store_adds_two_columns_behind_the_events_own_eight() -> None:
    assert COLUMNS[:8] == EVENT_FIELDS
    assert COLUMNS[8:] == ("seq", "received_at")
    assert APPEND_SCHEMA.names == list(EVENT_FIELDS)


def test_a_batch_has_what_the_events_have() -> None:
    assert BATCH.schema == APPEND_SCHEMA
    assert BATCH["priority"].to_pylist() == ["normal", "critical", "low", "high"]
    assert BATCH["timestamp"].cast(pa.int64()).to_pylist()[1:3] == [-62_135_596_800_000_000, 253_402_300_799_999_999]
    assert BATCH["data"].to_pylist()[1] == '{"n":1.50,"t":"é\\u0000"}'
    assert batch_of([]).num_rows == 0


def test_a_batch_that_obeys_comes_back_equal() -> None:
    assert checked_batch(BATCH).equals(BATCH)
    assert checked_batch(BATCH.slice(1, 2)).equals(BATCH.slice(1, 2))
    assert checked_batch(BATCH.slice(0, 0)).num_rows == 0
    extra = BATCH.append_column("more", pa.array([1, 2, 3, 4])).select(["more", *reversed(EVENT_FIELDS)])
    assert checked_batch(extra).equals(BATCH)


def test_types_that_lose_nothing_are_cast() -> None:
    naive = BATCH["timestamp"].cast(pa.int64()).cast(pa.timestamp("us"))
    for column in (naive, BATCH["timestamp"].cast(pa.int64())):
        assert checked_batch(_with("timestamp", column)).equals(BATCH)
    for kind in (pa.large_string(), pa.string_view(), pa.binary()):
        assert checked_batch(_with("event_type", BATCH["event_type"].cast(kind))).equals(BATCH)
    assert checked_batch(_with("event_type", BATCH["event_type"].dictionary_encode())).equals(BATCH)
    assert checked_batch(_with("session_id", pa.nulls(4)))["session_id"].null_count == 4


def test_payloads_are_made_compact() -> None:
    assert checked_batch(_with("data", ' { "a" : 1.50 } '))["data"].to_pylist() == ['{"a":1.50}'] * 4


@pytest.mark.parametrize(
    ("name", "values", "complaint"),
    [
        ("id", None, "null"),
        ("id", "", "row 0: id is empty"),
        ("id", "x" * 1025, "row 0: id has 1,025 bytes, more than 1,024"),
        ("session_id", "a\x85b", "row 0: session_id holds a control character"),
        ("id", uuid_of(1) + "\n", "control character"),
        ("id", pa.array([uuid_of(1), "S42", "", uuid_of(4)]), "row 2"),
        ("session_id", pa.array([None, uuid_of(2), None, "é" * 513]), "row 3: session_id has 1,026 bytes"),
        ("category", "nope", "unknown category"),
        ("category", "error", "known type feature_used"),
        ("event_type", "", "event_type"),
        ("event_type", "a\x00", "control"),
        ("event_type", pa.array([b"\xff"] * 4), "types"),
        ("priority", "urgent", "is not a priority"),
        ("priority", 1, "is not a priority"),
        ("timestamp", pa.array([1, None, 3, 4]), "row 1: timestamp is null"),
        ("timestamp", pa.array([1001] * 4, pa.timestamp("ns")), "types"),
        ("timestamp", pa.array([0, 0, 0, 253_402_300_800_000_000], MICROS_UTC), "row 3: timestamp"),
        ("timestamp", pa.array([-62_135_596_800_000_001, 0, 0, 0], MICROS_UTC), "row 0: timestamp"),
        ("data", "[]", "row 0: data must be a JSON object"),
        ("data", pa.array(["{}", "{}", '{"a":NaN}', "{}"]), "row 2: data"),
        ("metadata", pa.array(["{}", "", "{}", "{}"]), "row 1: metadata"),
    ],
)
def test_a_batch_that_breaks_the_model_is_refused_and_the_row_named(name: str, values: Any, complaint: str) -> None:
    with pytest.raises(InvalidEvent, match=complaint):
        checked_batch(_with(name, values))


def test_a_batch_needs_every_column_once() -> None:
    for name in EVENT_FIELDS:
        with pytest.raises(InvalidEvent, match=f"needs the column '{name}' once"):
            checked_batch(BATCH.drop_columns([name]))
        with pytest.raises(InvalidEvent, match=f"needs the column '{name}' once"):
            checked_batch(BATCH.append_column(name, BATCH[name]))
