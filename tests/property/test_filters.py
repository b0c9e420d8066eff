"""The two forms of a filter agree: one event in Python, and SQL over a store, whatever the events and conditions."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from penstock import AnalyticsEvent, EventCategory, EventPriority, Exporter, ExportFilter, SqliteAnalyticsStorage
from sample_events import START, uuid_of

SESSIONS = [uuid_of(number) for number in range(3)]
TYPES = ["feature_used", "error_occurred", "Feature_Used", "été", "a'b", "%", "feature_used "]
MOMENTS = st.integers(-3, 3).map(lambda micros: START + timedelta(microseconds=micros))


@st.composite
def event_lists(draw: st.DrawFn) -> list[AnalyticsEvent]:
    """Events that are close to each other in every respect, so that conditions hit some and not others."""
    count = draw(st.integers(0, 25))
    return [
        AnalyticsEvent(
            draw(st.sampled_from(TYPES)),
            id=uuid_of(number + 100),
            timestamp=draw(MOMENTS),
            session_id=draw(st.sampled_from([None, *SESSIONS])),
            priority=draw(st.sampled_from(EventPriority)),
        )
        for number in range(count)
    ]


@st.composite
def filters(draw: st.DrawFn) -> ExportFilter:
    """Any filter that makes sense."""
    given_: dict[str, Any] = {
        "start": draw(st.none() | MOMENTS),
        "end": draw(st.none() | MOMENTS),
        "categories": draw(st.none() | st.lists(st.sampled_from(EventCategory), min_size=1, max_size=3)),
        "event_types": draw(st.none() | st.lists(st.sampled_from([*TYPES, "never"]), min_size=1, max_size=3)),
        "session_id": draw(st.sampled_from([None, None, *SESSIONS, SESSIONS[0].upper(), "x"])),
        "priority": draw(st.none() | st.sampled_from(EventPriority)),
        "limit": draw(st.none() | st.integers(0, 12)),
    }
    if given_["start"] is not None and given_["end"] is not None and given_["start"] >= given_["end"]:
        given_["end"] = None
    return ExportFilter(**given_)


@limits(max_examples=40)
@given(event_lists(), st.lists(filters(), min_size=1, max_size=8))
def test_sql_and_python_take_the_same_events_and_the_limit_is_in_order_of_arrival(
    events: list[AnalyticsEvent], conditions: list[ExportFilter]
) -> None:
    with tempfile.TemporaryDirectory() as name, SqliteAnalyticsStorage(Path(name, "events.db")) as store:
        store.append(events)
        for wanted in conditions:
            expected = [event.id for event in events if wanted.matches(event)][: wanted.limit]
            found = [id for batch in store.scan(wanted) for id in batch["id"].to_pylist()]
            assert found == expected, wanted
            assert store.count(wanted) == len(expected), wanted
        last = conditions[-1]
        result = Exporter(store).export(Path(name, "out.ndjson"), filter=last)
        assert result.metadata.event_count == store.count(last)
        assert result.metadata.filters == last.to_json()


@limits(max_examples=25)
@given(event_lists(), filters())
def test_deleting_takes_exactly_what_the_filter_finds(events: list[AnalyticsEvent], wanted: ExportFilter) -> None:
    if wanted == ExportFilter():
        return
    with tempfile.TemporaryDirectory() as name, SqliteAnalyticsStorage(Path(name, "events.db")) as store:
        store.append(events)
        doomed = [event.id for event in events if wanted.matches(event)][: wanted.limit]
        assert store.delete(wanted) == len(doomed)
        left = [id for batch in store.scan() for id in batch["id"].to_pylist()]
        assert left == [event.id for event in events if event.id not in doomed]
