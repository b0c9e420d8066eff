"""Filters: half-open time, lists of names, and what is refused because it would match nothing or mean nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from penstock import AnalyticsEvent, EventCategory, EventPriority, ExportFilter
from penstock.errors import InvalidFilter
from penstock.model.columns import EVENTS, batch_of
from penstock.pipeline.matching import Matcher
from sample_events import START, uuid_of

EVENT = AnalyticsEvent(
    "feature_used", timestamp=START, session_id=uuid_of(1), priority=EventPriority.HIGH, id=uuid_of(9)
)


def matches(filter: ExportFilter, event: AnalyticsEvent) -> bool:
    return bool(Matcher(filter, EVENTS).mask(batch_of([event]))[0].as_py())


def test_no_condition_matches_everything_and_there_is_no_hidden_window() -> None:
    assert ExportFilter().to_json() == {}
    for moment in (datetime.min, datetime.max, START):
        assert matches(ExportFilter(), AnalyticsEvent("x", timestamp=moment))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"start": START}, True),
        ({"start": START + timedelta(microseconds=1)}, False),
        ({"end": START}, False),
        ({"end": START + timedelta(microseconds=1)}, True),
        ({"categories": ["usage"]}, True),
        ({"categories": [EventCategory.ERROR, "usage"]}, True),
        ({"categories": ["error"]}, False),
        ({"event_types": ["feature_used", "x"]}, True),
        ({"event_types": ["Feature_used"]}, False),
        ({"session_id": uuid_of(1)}, True),
        ({"session_id": uuid_of(2)}, False),
        ({"priority": "high"}, True),
        ({"priority": "normal"}, True),
        ({"priority": EventPriority.CRITICAL}, False),
        ({"limit": 0}, True),
    ],
)
def test_each_condition_by_itself(conditions: dict[str, Any], expected: bool) -> None:
    assert matches(ExportFilter(**conditions), EVENT) is expected


def test_an_event_without_a_session_is_in_no_session() -> None:
    assert not matches(ExportFilter(session_id=uuid_of(1)), AnalyticsEvent("x"))


@pytest.mark.parametrize(
    "conditions",
    [
        {"start": "2026-11-01", "end": "2026-11-01"},
        {"start": "2026-11-02", "end": "2026-11-01"},
        {"start": "2026-11-01T01:00:00+01:00", "end": "2026-11-01"},
        {"start": "nonsense"},
        {"end": "999999w ago"},
        {"categories": []},
        {"categories": ()},
        {"categories": "usage"},
        {"categories": ["nope"]},
        {"categories": [None]},
        {"event_types": []},
        {"event_types": "feature_used"},
        {"event_types": [""]},
        {"event_types": ["a\nb"]},
        {"event_types": ["\udcff"]},
        {"session_id": ""},
        {"session_id": "\udcff"},
        {"priority": "urgent"},
        {"priority": ""},
        {"limit": -1},
        {"limit": True},
        {"limit": 1.5},
        {"limit": 1 << 63},
    ],
)
def test_conditions_that_make_no_sense_are_refused(conditions: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilter):
        ExportFilter(**conditions)


def test_what_is_recorded_is_what_was_understood() -> None:
    wanted = ExportFilter(
        start="2026-11-01T01:00:00+01:00",
        end=datetime(2026, 12, 1, tzinfo=UTC),
        categories=["usage", "error", "usage"],
        event_types=["b", "a"],
        session_id=uuid_of(1),
        priority="HIGH",
        limit=5,
    )
    assert wanted.to_json() == {
        "start": "2026-11-01T00:00:00.000000Z",
        "end": "2026-12-01T00:00:00.000000Z",
        "categories": ["error", "usage"],
        "event_types": ["a", "b"],
        "session_id": uuid_of(1),
        "priority": "high",
        "limit": 5,
    }
    assert wanted == ExportFilter(**wanted.to_json())
