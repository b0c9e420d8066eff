"""What every source of events promises, as checks that any source's tests run: ``for check in CHECKS: check(place)``.

Each check wants an empty :class:`Place` of its own, and fails with ``AssertionError``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from penstock.model.columns import EVENTS, batch_of
from penstock.model.event import AnalyticsEvent, EventPriority
from penstock.model.filter import ExportFilter
from penstock.pipeline.matching import Matcher
from penstock.pipeline.summary import count, scan, survey
from penstock.ports.source import Slice, Source, View

_START = datetime(2026, 11, 1, tzinfo=UTC)
_TYPES = ("page_view", "checkout", "custom_metric", "exception", "slow_query")
#: No limit that any of the events here reaches.
MANY = 1 << 40
LIMITS = [(MANY, MANY), (1, MANY), (10, MANY), (MANY, 1), (MANY, 3_000), (10, 3_000)]


class Place(Protocol):
    """A source that holds nothing yet, and whoever else adds to it: another process, or the source's own appending."""

    def connect(self) -> Source: ...

    def add(self, events: Sequence[AnalyticsEvent]) -> None: ...


def events(number: int, *, begin: int = 0) -> list[AnalyticsEvent]:
    """Events that differ in all that a filter looks at, in no order of time."""
    return [
        AnalyticsEvent(
            _TYPES[one % len(_TYPES)],
            id=f"e-{one:05d}",
            timestamp=_START + timedelta(hours=one * 37 % 400),
            session_id=None if one % 4 == 0 else f"s-{one % 9}",
            priority=tuple(EventPriority)[one % 4],
            data={"number": one, "text": "ü" * (one % 50)},
        )
        for one in range(begin, begin + number)
    ]


FILTERS = [
    ExportFilter(),
    ExportFilter(limit=0),
    ExportFilter(limit=7),
    ExportFilter(event_types=["checkout"], limit=3),
    ExportFilter(session_id="s-5"),
    ExportFilter(priority="high"),
    ExportFilter(start=_START + timedelta(hours=90), end=_START + timedelta(hours=120)),
    ExportFilter(event_types=["never"]),
]


def _ids(batches: Iterator[pa.RecordBatch], source: Source) -> list[str]:
    found: list[str] = []
    for batch in batches:
        assert batch.schema == source.dataset.schema
        assert batch.num_rows, "a batch is never empty"
        batch.validate(full=True)
        found += batch["id"].to_pylist()
    return found


def _matching(given: Sequence[AnalyticsEvent], filter: ExportFilter) -> list[str]:
    batch = batch_of(given)
    return list(Matcher(filter, EVENTS).rows(batch)["id"].to_pylist())


def _read(view: View, spans: Sequence[Slice], source: Source, filter: ExportFilter = FILTERS[0]) -> list[str]:
    return [one for span in spans for one in _ids(iter(view.read(span, filter)), source)]


def _batches(view: View) -> Iterator[pa.RecordBatch]:
    for span in view.plan(ExportFilter(), max_rows=40, max_bytes=MANY):
        yield from view.read(span, ExportFilter())


def it_is_a_source(place: Place) -> None:
    source = place.connect()
    assert isinstance(source, Source)
    assert list(scan(source, ExportFilter())) == []
    assert survey(source, ExportFilter(), buckets=7)[0].total_events == 0
    source.close()
    source.close()


def slices_hold_every_match_once_and_obey_both_limits(place: Place) -> None:
    given = events(150)
    place.add(given)
    source = place.connect()
    with source.pin() as view:
        for most_rows, most_bytes in LIMITS:
            for filter in FILTERS:
                spans = list(view.plan(filter, max_rows=most_rows, max_bytes=most_bytes))
                assert spans == list(view.plan(filter, max_rows=most_rows, max_bytes=most_bytes)), "a plan is repeated"
                assert all(one.after < one.upto <= other.after for one, other in pairwise(spans))
                assert all(span.upto <= view.upto for span in spans)
                pieces = [_read(view, [span], source, filter) for span in spans]
                assert all(len(piece) <= most_rows for piece in pieces)
                assert all(span.bytes_hint <= most_bytes or span.rows <= 1 for span in spans)
                if filter.limit is None:
                    assert [one for piece in pieces for one in piece] == _matching(given, filter)
                else:
                    assert all(len(piece) <= filter.limit for piece in pieces)


def sampled_slices_and_their_rests_hold_every_match_once(place: Place) -> None:
    given = events(150)
    place.add(given)
    source = place.connect()
    with source.pin() as view:
        for most_rows, most_bytes in LIMITS:
            for filter in (one for one in FILTERS if one.limit is None):
                spans = list(view.plan(filter, max_rows=most_rows, max_bytes=most_bytes, sampled=True))
                assert spans == list(view.plan(filter, max_rows=most_rows, max_bytes=most_bytes, sampled=True))
                assert all(one.after < one.upto <= other.after for one, other in pairwise(spans))
                pieces = [piece for span in spans for piece in _pieces(view, span, source, filter)]
                assert all(len(piece) <= most_rows for piece in pieces)
                assert [one for piece in pieces for one in piece] == _matching(given, filter)


def _pieces(view: View, span: Slice, source: Source, filter: ExportFilter) -> Iterator[list[str]]:
    rest: Slice | None = span
    while rest is not None:
        assert span.after <= rest.after < rest.upto == span.upto
        reading = view.read(rest, filter)
        yield _ids(iter(reading), source)
        rest = reading.rest()


def columns_that_are_asked_for_hold_what_all_of_them_hold(place: Place) -> None:
    place.add(events(150))
    source = place.connect()
    asked = ["data", "event_type"]
    narrowed = source.narrowed(asked)
    with narrowed.pin() as one, source.pin() as view:
        assert [batch.select(asked) for batch in _batches(one)] == [batch.select(asked) for batch in _batches(view)]
        for filter in FILTERS:
            for span in view.plan(filter, max_rows=40, max_bytes=1 << 20):
                some, rows = list(view.read_columns(span, filter, asked)), list(view.read(span, filter))
                found = [batch.select(asked).to_pylist() for batch in some]
                assert found == [batch.select(asked).to_pylist() for batch in rows]


def slices_are_plain_data(place: Place) -> None:
    place.add(events(60))
    source = place.connect()
    with source.pin() as one:
        spans = list(one.plan(ExportFilter(), max_rows=7, max_bytes=MANY))
        with source.pin() as other:
            sent = pickle.loads(pickle.dumps(spans))  # noqa: S301  # made in this line
            assert sent == spans
            assert _read(other, sent, source) == _read(one, spans, source), "another view of the same reads the same"


def a_plan_may_begin_after_what_was_read_before(place: Place) -> None:
    place.add(events(90))
    source = place.connect()
    with source.pin() as view:
        whole = [(batch["seq"].to_pylist(), batch["id"].to_pylist()) for batch in scan(source, ExportFilter())]
        numbers = [number for some, _ in whole for number in some]
        names = [name for _, some in whole for name in some]
        assert numbers == sorted({*numbers})
        for place_of in (0, 1, 44, 88, 89):
            for most_rows, most_bytes in LIMITS:
                after = numbers[place_of]
                spans = list(view.plan(ExportFilter(), max_rows=most_rows, max_bytes=most_bytes, after=after))
                assert all(after <= span.after for span in spans)
                assert _read(view, spans, source) == names[place_of + 1 :]


def a_view_never_changes(place: Place) -> None:
    before = events(40)
    place.add(before)
    source = place.connect()
    with source.pin(readers=2) as view:
        spans = list(view.plan(ExportFilter(), max_rows=9, max_bytes=MANY))
        place.add(events(40, begin=40))
        assert _read(view, spans, source) == _matching(before, ExportFilter())
        again = list(view.plan(ExportFilter(), max_rows=9, max_bytes=MANY))
        assert again == spans
    with source.pin() as later:
        assert later.upto > view.upto
    assert len(list(_ids(scan(source, ExportFilter()), source))) == 80


def threads_read_one_view_at_once(place: Place) -> None:
    given = events(200)
    place.add(given)
    source = place.connect()
    with source.pin(readers=3) as view, ThreadPoolExecutor(3) as threads:
        spans = list(view.plan(ExportFilter(), max_rows=5, max_bytes=MANY))
        found = list(threads.map(lambda span: _read(view, [span], source), spans * 3))
    assert [one for piece in found for one in piece] == _matching(given, ExportFilter()) * 3


def readings_count_nothing_where_every_row_is_an_event(place: Place) -> None:
    place.add(events(30))
    source = place.connect()
    with source.pin() as view:
        reading = view.read(next(view.plan(ExportFilter(), max_rows=MANY, max_bytes=MANY)), ExportFilter())
        assert len(_ids(iter(reading), source)) == 30
        assert (dict(reading.counts), dict(view.unread)) == ({}, {})
        assert view.source["kind"]


def scan_and_count_follow_the_filter_in_order_of_arrival(place: Place) -> None:
    given = events(150)
    place.add(given)
    source = place.connect()
    for filter in FILTERS:
        expected = _matching(given, filter)[: filter.limit]
        assert _ids(scan(source, filter), source) == expected
        assert count(source, filter) == len(expected)


def a_survey_counts_every_event(place: Place) -> None:
    given = events(150)
    place.add(given)
    source = place.connect()
    stats, histogram = survey(source, ExportFilter(), buckets=9)
    moments = [event.timestamp for event in given]
    assert stats.total_events == sum(stats.events_by_category.values()) == sum(stats.events_by_type.values()) == 150
    assert (stats.oldest_event, stats.newest_event) == (min(moments), max(moments))
    assert [number for _, _, number in histogram] == [
        sum(begin <= moment < end for moment in moments) for begin, end, _ in histogram
    ]
    assert (histogram[0][0], sum(number for _, _, number in histogram)) == (min(moments), 150)
    assert survey(source, ExportFilter(event_types=["never"]), buckets=9)[1] == []


def a_source_is_known_again(place: Place) -> None:
    place.add(events(3))
    source = place.connect()
    with source.pin() as one, source.pin() as other:
        assert one.identity
        assert one.identity == other.identity


#: All of the above.
CHECKS: Sequence[Callable[[Place], None]] = (
    it_is_a_source,
    slices_hold_every_match_once_and_obey_both_limits,
    sampled_slices_and_their_rests_hold_every_match_once,
    columns_that_are_asked_for_hold_what_all_of_them_hold,
    slices_are_plain_data,
    a_plan_may_begin_after_what_was_read_before,
    a_view_never_changes,
    threads_read_one_view_at_once,
    readings_count_nothing_where_every_row_is_an_event,
    scan_and_count_follow_the_filter_in_order_of_arrival,
    a_survey_counts_every_event,
    a_source_is_known_again,
)
