"""The event: categories and types, identifiers, times, and what the model refuses."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from penstock import AnalyticsEvent, EventBatch, EventCategory, EventPriority
from penstock.errors import InvalidEvent
from penstock.model import payload
from penstock.model.event import KNOWN_TYPES
from sample_events import uuid_of

PER_CATEGORY = {"usage": 10, "performance": 7, "error": 6, "business": 4, "security": 3, "system": 6}


def test_the_36_known_types_are_snake_case_and_imply_their_category() -> None:
    assert len(KNOWN_TYPES) == 36
    for name, category in KNOWN_TYPES.items():
        assert name.replace("_", "").isalpha()
        assert name == name.lower()
        assert AnalyticsEvent(name).category is category
    counted = {str(category): list(KNOWN_TYPES.values()).count(category) for category in set(KNOWN_TYPES.values())}
    assert counted == PER_CATEGORY


def test_a_custom_type_is_kept_verbatim_and_is_custom_unless_a_category_is_given() -> None:
    event = AnalyticsEvent("  Été – 100 %\u2028")
    assert event.event_type == "  Été – 100 %\u2028"
    assert event.category is EventCategory.CUSTOM
    assert AnalyticsEvent("checkout", category=EventCategory.BUSINESS).category is EventCategory.BUSINESS


def test_a_known_type_cannot_be_given_another_category() -> None:
    with pytest.raises(InvalidEvent, match="feature_used is of category usage, not error"):
        AnalyticsEvent("feature_used", category=EventCategory.ERROR)


@pytest.mark.parametrize(
    "name", ["", "x" * 201, "a\nb", "a\x00", "\x7f", "\x85", "\x9f", "a\ud800", None, 5, b"x", ["x"]]
)
def test_an_event_type_that_is_no_plain_text_of_1_to_200_characters_is_refused(name: Any) -> None:
    with pytest.raises(InvalidEvent, match="event_type"):
        AnalyticsEvent(name)


@pytest.mark.parametrize("name", ["x", "x" * 200, "😀" * 200, "\u00a0"])
def test_an_event_type_of_1_to_200_characters_is_taken(name: str) -> None:
    assert AnalyticsEvent(name).event_type == name


@pytest.mark.parametrize("text", ["s42", "192.0.2.7", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "été 😀", "x" * 1024])
def test_ids_and_sessions_are_kept_as_they_are_written(text: str) -> None:
    event = AnalyticsEvent("x", id=text, session_id=text)
    assert event.id == event.session_id == text


def test_a_uuid_value_is_its_text() -> None:
    value = uuid.UUID("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")
    assert AnalyticsEvent("x", id=value).id == str(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "x" * 1025, "a\x00b", "a\n", "a\x85b", "\ud800", 7, b"x"])
def test_what_is_no_id_is_refused_as_a_session_too(text: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"^id "):
        AnalyticsEvent("x", id=text)
    with pytest.raises(InvalidEvent, match=r"^session_id "):
        AnalyticsEvent("x", session_id=text)


def test_an_id_that_is_not_given_is_made() -> None:
    first, second = AnalyticsEvent("x"), AnalyticsEvent("x")
    assert uuid.UUID(first.id).version == 7
    assert first.id < second.id


def test_priorities_are_ordered_and_read_from_name_and_rank() -> None:
    assert list(EventPriority) == sorted(EventPriority)
    assert [str(priority) for priority in EventPriority] == ["low", "normal", "high", "critical"]
    assert EventPriority.parse("HIGH") is EventPriority.parse(2) is EventPriority.HIGH
    assert AnalyticsEvent("x").priority is EventPriority.NORMAL
    for wrong in ("urgent", "", 4, -1):
        with pytest.raises(InvalidEvent, match="unknown priority"):
            AnalyticsEvent("x", priority=wrong)  # type: ignore[arg-type]  # that is the point


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="unknown category 'nope'"):
        AnalyticsEvent("x", category="nope")  # type: ignore[arg-type]  # that is the point


def test_a_timestamp_of_any_offset_is_kept_as_utc_and_one_without_is_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert AnalyticsEvent("x", timestamp=datetime(2026, 11, 1, 2, tzinfo=east)).timestamp == datetime(
        2026, 11, 1, tzinfo=UTC
    )
    assert AnalyticsEvent("x", timestamp=datetime(2026, 11, 1)).timestamp == datetime(2026, 11, 1, tzinfo=UTC)
    text: Any = "2026-11-01T00:00:00+02:00"
    assert AnalyticsEvent("x", timestamp=text).timestamp == datetime(2026, 10, 31, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1))),
        1_700_000_000,
        "yesterday",
        b"2026-11-01",
    ],
)
def test_a_timestamp_outside_the_years_or_of_another_kind_is_refused(moment: Any) -> None:
    with pytest.raises(InvalidEvent):
        AnalyticsEvent("x", timestamp=moment)


def test_an_event_does_not_change() -> None:
    event = AnalyticsEvent("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.event_type = "y"  # type: ignore[misc]  # that is the point


def test_payload_gives_values_back_with_integers_exact() -> None:
    assert AnalyticsEvent("x", data='{"n":123456789012345678901234567890}').payload() == {
        "n": 123456789012345678901234567890
    }
    assert AnalyticsEvent("x", data={"a": [1]}).payload() == {"a": [1]}


def test_a_batch_is_sized_ordered_and_iterated_again() -> None:
    events = [AnalyticsEvent("x", id=uuid_of(number)) for number in range(3)]
    batch = EventBatch(iter(events))
    assert len(batch) == 3
    assert list(batch) == list(batch) == events


def test_typed_payloads_are_plain_mappings_without_what_was_not_given() -> None:
    assert payload.usage("search", "open", success=True, duration_ms=5, extra="kept") == {
        "feature": "search",
        "action": "open",
        "duration_ms": 5,
        "success": True,
        "extra": "kept",
    }
    assert payload.performance("cpu_usage", 0.5, "ratio") == {
        "metric": "cpu_usage",
        "value": 0.5,
        "unit": "ratio",
        "tags": {},
    }
    assert payload.error("E1", "it broke", component="db") == {
        "code": "E1",
        "message": "it broke",
        "severity": "error",
        "component": "db",
        "recovered": False,
    }
    assert payload.business("cost_usd", 1.5, "usd", model="m") == {
        "metric_type": "cost_usd",
        "value": 1.5,
        "unit": "usd",
        "model": "m",
    }
    for data in (payload.usage("f", "a", success=False), payload.error("c", "m", component="x")):
        assert AnalyticsEvent("x", data=data).payload() == data
