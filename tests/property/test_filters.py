"""All forms of a filter agree: one event in Python, SQL over a store, masks over batches and over the rows of a table,
whatever the events and conditions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from adopted_oracle import write_table
from penstock import (
    AdoptedTable,
    AnalyticsEvent,
    EventCategory,
    EventPriority,
    Exporter,
    ExportFilter,
    SqliteAnalyticsStorage,
    StorageConfig,
)
from penstock.model.columns import EVENTS
from penstock.pipeline.matching import Matcher
from plain_filter import matches
from sample_events import START, uuid_of

SESSIONS = [uuid_of(number) for number in range(3)]
TYPES = ["feature_used", "error_occurred", "Feature_Used", "été", "a'b", "%", "feature_used "]
TABLE = "CREATE TABLE hits (id TEXT, at INTEGER, event_type TEXT, category TEXT, session_id TEXT, priority TEXT)"
MAPPING = {"timestamp": "at:us"}
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


def _ids(batches: Iterable[pa.RecordBatch]) -> list[str]:
    return [id for batch in batches for id in batch["id"].to_pylist()]


@limits(max_examples=40)
@given(event_lists(), st.lists(filters(), min_size=1, max_size=8))
def test_every_form_takes_the_same_events_and_the_limit_is_in_order_of_arrival(
    events: list[AnalyticsEvent], conditions: list[ExportFilter]
) -> None:
    with tempfile.TemporaryDirectory() as name, SqliteAnalyticsStorage(Path(name, "events.db")) as store:
        store.append(events)
        rows = [
            (at.id, at.timestamp_micros, at.event_type, at.category, at.session_id, str(at.priority)) for at in events
        ]
        write_table(Path(name, "app.db"), TABLE, "hits", rows)
        table = AdoptedTable(Path(name, "app.db"), StorageConfig(table="hits", mapping=MAPPING))
        for wanted in conditions:
            expected = [event.id for event in events if matches(wanted, event)][: wanted.limit]
            assert _ids(store.scan(wanted)) == expected, wanted
            assert _ids(table.scan(wanted)) == expected, wanted
            assert _ids(Matcher(wanted, EVENTS).rows(batch) for batch in store.scan())[: wanted.limit] == expected, (
                wanted
            )
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
        doomed = [event.id for event in events if matches(wanted, event)][: wanted.limit]
        assert store.delete(wanted) == len(doomed)
        left = [id for batch in store.scan() for id in batch["id"].to_pylist()]
        assert left == [event.id for event in events if event.id not in doomed]
