"""What every event store promises, and that an export needs nothing beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from memory_store import MemoryStorage

import foreign_readers
import sample_events
from penstock import (
    AnalyticsEvent,
    AnalyticsStorage,
    Exporter,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
    verify,
)
from penstock.errors import UsageError
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.result import AppendResult
from sample_events import uuid_of

FILTERS = [
    ExportFilter(),
    ExportFilter(limit=0),
    ExportFilter(limit=7),
    ExportFilter(categories=["error", "custom"]),
    ExportFilter(event_types=["checkout"], limit=3),
    ExportFilter(session_id=uuid_of(1)),
    ExportFilter(priority="high"),
    ExportFilter(start=sample_events.START + timedelta(days=3), end=sample_events.START + timedelta(days=9)),
    ExportFilter(event_types=["never"]),
]
EVENTS = [*sample_events.fixed(), *sample_events.varied(150)]


@pytest.fixture(params=["sqlite", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnalyticsStorage]:
    made: AnalyticsStorage = SqliteAnalyticsStorage(tmp_path / "a.db") if request.param == "sqlite" else MemoryStorage()
    yield made
    made.close()
    made.close()


def _ids(batches: Iterator[pa.RecordBatch]) -> list[str]:
    found = []
    for batch in batches:
        assert batch.schema == EVENT_SCHEMA
        assert batch.num_rows
        batch.validate(full=True)
        found += batch["id"].to_pylist()
    return found


def test_it_is_a_storage(storage: AnalyticsStorage) -> None:
    assert isinstance(storage, AnalyticsStorage)


def test_appending_is_idempotent_and_counted(storage: AnalyticsStorage) -> None:
    assert storage.append(EVENTS) == AppendResult(inserted=len(EVENTS))
    changed = AnalyticsEvent("x", id=EVENTS[0].id)
    assert storage.append([*EVENTS[:3], changed]) == AppendResult(duplicates=3, conflicts=1)
    assert storage.count() == len(EVENTS)


def test_a_conflict_is_skipped_refused_or_replaced_as_was_asked(storage: AnalyticsStorage) -> None:
    storage.append(EVENTS[:5])
    changed = [AnalyticsEvent("changed", id=EVENTS[1].id), AnalyticsEvent("new", id=uuid_of(500)), EVENTS[2]]
    with pytest.raises(UsageError):
        storage.append(changed, on_conflict="fail")
    assert _ids(storage.scan()) == [event.id for event in EVENTS[:5]], "nothing of it was stored"
    counted = AppendResult(inserted=1, duplicates=1, conflicts=1)
    assert storage.append(changed, on_conflict="replace") == counted
    found = [row for batch in storage.scan() for row in batch.to_pylist()]
    assert {row["id"]: row["event_type"] for row in found}[EVENTS[1].id] == "changed"
    assert {row["id"] for row in found} == {*(event.id for event in EVENTS[:5]), uuid_of(500)}
    numbers = [row["seq"] for row in found]
    assert numbers == sorted(numbers)
    assert next(row["seq"] for row in found if row["id"] == EVENTS[1].id) > 5, "it arrived anew"
    assert storage.append(changed, on_conflict="fail") == AppendResult(duplicates=3)
    assert storage.append([EVENTS[1]]) == AppendResult(conflicts=1)


@pytest.mark.parametrize("wanted", FILTERS, ids=lambda wanted: str(wanted.to_json()))
def test_scan_and_count_follow_the_filter_in_order_of_arrival(storage: AnalyticsStorage, wanted: ExportFilter) -> None:
    storage.append(EVENTS)
    expected = [event.id for event in EVENTS if wanted.matches(event)][: wanted.limit]
    assert _ids(storage.scan(wanted)) == expected
    assert storage.count(wanted) == len(expected)


@pytest.mark.parametrize("rows", [1, 10, 1 << 40])
@pytest.mark.parametrize("size", [1, 500, 1 << 40])
def test_a_snapshot_is_pinned_and_its_ranges_hold_every_match_once(
    storage: AnalyticsStorage, rows: int, size: int
) -> None:
    storage.append(EVENTS)
    with storage.pin(readers=2) as view:
        storage.append([AnalyticsEvent("late")])
        assert view.upto == len(EVENTS)
        for wanted in FILTERS:
            unlimited = [event.id for event in EVENTS if wanted.matches(event)]
            ranges = list(view.plan(wanted, max_rows=rows, max_bytes=size))
            assert ranges == sorted(ranges, key=lambda span: span.after)
            counts = [_ids(view.read(span, wanted)) for span in ranges]
            assert all(len(found) <= rows for found in counts)
            if wanted.limit is None:
                assert [name for found in counts for name in found] == unlimited
            else:
                assert all(len(found) <= wanted.limit for found in counts)


@pytest.mark.parametrize("after", [0, 1, 77, 153, 154, 1000])
def test_ranges_may_begin_after_what_was_read_before(storage: AnalyticsStorage, after: int) -> None:
    storage.append(EVENTS)
    with storage.pin() as view:
        for rows, size in ((1 << 40, 1 << 40), (10, 1 << 40), (1 << 40, 500)):
            ranges = list(view.plan(ExportFilter(), max_rows=rows, max_bytes=size, after=after))
            assert all(after <= span.after < span.upto for span in ranges)
            found = [name for span in ranges for name in _ids(view.read(span, ExportFilter()))]
            assert found == [event.id for event in EVENTS[after:]]


def test_a_store_is_known_again_and_so_are_its_rows(storage: AnalyticsStorage) -> None:
    with storage.pin() as empty:
        assert (empty.upto, empty.given, empty.first()) == (0, 0, None)
        assert empty.numbers(9).to_pylist() == []
        assert empty.rows_at([1, 2])[0] == []
    storage.append(EVENTS[:5])
    with storage.pin() as view:
        storage.append(EVENTS[5:7])
        assert (view.upto, view.first(), view.first(3), view.first(5)) == (5, 1, 4, None)
        assert 5 <= view.given <= 7
        assert view.numbers(3).to_pylist() == [5, 4, 3]
        assert view.numbers(9).to_pylist() == [5, 4, 3, 2, 1]
        numbers, events = view.rows_at([4, 2, 99, -7])
        assert (list(numbers), events["id"].to_pylist()) == ([2, 4], [EVENTS[1].id, EVENTS[3].id])
        assert events.schema.equals(EVENT_SCHEMA)
        assert view.make_durable() in (True, False)
        assert view.identity
        with storage.pin() as again:
            assert again.identity == view.identity


def test_two_stores_are_told_apart(tmp_path: Path) -> None:
    identities = set()
    for name in ("a.db", "b.db"):
        with SqliteAnalyticsStorage(tmp_path / name) as store, store.pin() as view:
            identities.add(view.identity)
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.db").rename(tmp_path / "moved" / "c.db")
    with SqliteAnalyticsStorage(tmp_path / "moved" / "c.db") as store, store.pin() as view:
        assert view.identity in identities
    assert len(identities) == 2


def test_stats_and_histogram_count_every_event(storage: AnalyticsStorage) -> None:
    storage.append(EVENTS)
    stats = storage.stats()
    assert stats.total_events == sum(stats.events_by_category.values()) == sum(stats.events_by_type.values()) == 154
    assert stats.oldest_event == min(event.timestamp for event in EVENTS)
    wanted = ExportFilter(categories=["error"])
    assert sum(count for _, _, count in storage.histogram(wanted, buckets=9)) == storage.count(wanted)
    assert storage.histogram(ExportFilter(event_types=["never"])) == []


@pytest.mark.parametrize("name", ["a.ndjson.gz", "a.json", "a.csv", "a.parquet", "a.arrow", "parts"])
def test_an_export_needs_nothing_beyond_the_port(storage: AnalyticsStorage, tmp_path: Path, name: str) -> None:
    storage.append(EVENTS)
    wanted = ExportFilter(priority="normal", limit=60)
    expected = [event for event in EVENTS if wanted.matches(event)][:60]
    options = ExportOptions(workers=2, part_rows=None if "." in name else 13, memory_limit=64 << 20)
    result = Exporter(storage).export(tmp_path / name, filter=wanted, options=options)
    assert verify(tmp_path / name).problems == ()
    files = [tmp_path / name] if "." in name else [tmp_path / name / entry.name for entry in result.manifest.parts]
    rows = [row for file in files for row in foreign_readers.read(file)]
    assert foreign_readers.without_arrival(rows) == foreign_readers.rows_of(expected)
