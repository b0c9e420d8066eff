"""Appending: all or none, once and no more, in order, whoever else appends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import sample_events
from penstock import AnalyticsEvent, EventBatch, EventPriority, ExportFilter, SqliteAnalyticsStorage, StorageConfig
from penstock.errors import AccessDenied, InvalidEvent, LimitReached, StorageError, UsageError
from penstock.model.columns import EVENT_FIELDS, EVENT_SCHEMA, batch_of
from penstock.model.result import AppendResult
from sample_events import uuid_of


def table(store: SqliteAnalyticsStorage, filter: ExportFilter | None = None) -> pa.Table:
    """All that a scan gives."""
    return pa.Table.from_batches(store.scan(filter), EVENT_SCHEMA)


def test_what_was_appended_is_scanned_in_order_of_arrival(store: SqliteAnalyticsStorage) -> None:
    before = datetime.now(UTC)
    events = [*sample_events.fixed(), *sample_events.varied(300)]
    assert store.append(events) == AppendResult(inserted=304)
    found = table(store)
    assert found.select(list(EVENT_FIELDS)) == pa.Table.from_batches([batch_of(events)])
    assert found["seq"].to_pylist() == list(range(1, 305))
    assert all(before <= moment <= datetime.now(UTC) for moment in found["received_at"].to_pylist())


def test_events_may_come_as_a_list_a_generator_an_event_batch_or_a_record_batch(store: SqliteAnalyticsStorage) -> None:
    events = sample_events.fixed()
    assert store.append(event for event in events[:1]).inserted == 1
    assert store.append(EventBatch(events[:2])) == AppendResult(inserted=1, duplicates=1)
    assert store.append(batch_of(events).slice(1)) == AppendResult(inserted=2, duplicates=1)
    assert store.append([]) == AppendResult()
    assert store.append(batch_of([])) == AppendResult()
    assert store.count() == 4


def test_storing_an_id_again_changes_nothing_and_is_counted(store: SqliteAnalyticsStorage) -> None:
    events = sample_events.varied(50)
    store.append(events)
    first = table(store)
    assert store.append(events) == AppendResult(duplicates=50)
    assert store.append(reversed(events)) == AppendResult(duplicates=50)
    assert table(store) == first


def test_the_same_id_with_other_content_is_a_conflict_and_the_first_stays(store: SqliteAnalyticsStorage) -> None:
    first = AnalyticsEvent("feature_used", id=uuid_of(1), data='{"n":1.50}', timestamp=sample_events.START)
    store.append([first])
    others = [
        AnalyticsEvent("feature_used", id=uuid_of(1), data='{"n":1.5}', timestamp=sample_events.START),
        AnalyticsEvent("tool_invoked", id=uuid_of(1), data='{"n":1.50}', timestamp=sample_events.START),
        AnalyticsEvent("feature_used", id=uuid_of(1), data='{"n":1.50}', timestamp=datetime(2026, 11, 2)),
        AnalyticsEvent(
            "feature_used", id=uuid_of(1), data='{"n":1.50}', timestamp=sample_events.START, session_id=uuid_of(2)
        ),
        AnalyticsEvent(
            "feature_used",
            id=uuid_of(1),
            data='{"n":1.50}',
            timestamp=sample_events.START,
            priority=EventPriority.LOW,
        ),
        AnalyticsEvent(
            "feature_used", id=uuid_of(1), data='{"n":1.50}', timestamp=sample_events.START, metadata={"a": 1}
        ),
    ]
    for other in others:
        assert store.append([other]) == AppendResult(conflicts=1)
    assert store.append([first, *others, first]) == AppendResult(duplicates=2, conflicts=6)
    assert table(store)["data"].to_pylist() == ['{"n":1.50}']


def test_an_id_that_is_repeated_in_one_append_is_stored_once(store: SqliteAnalyticsStorage) -> None:
    first = AnalyticsEvent("x", id=uuid_of(1), data={"n": 1})
    other = AnalyticsEvent("x", id=uuid_of(1), data={"n": 2})
    assert store.append([first, other, first]) == AppendResult(inserted=1, duplicates=1, conflicts=1)
    assert table(store)["data"].to_pylist() == ['{"n":1}']


def test_many_duplicates_are_compared_in_slices(store: SqliteAnalyticsStorage) -> None:
    batch = batch_of(sample_events.varied(6000))
    store.append(batch)
    changed = batch.set_column(6, "data", pa.array(['{"n":0}'] * 10 + batch["data"].to_pylist()[10:]))
    assert store.append(changed) == AppendResult(duplicates=5990, conflicts=10)


def test_a_bad_row_in_the_middle_leaves_nothing(store: SqliteAnalyticsStorage) -> None:
    events = sample_events.varied(20)
    batch = batch_of(events)
    broken = batch.set_column(6, "data", pa.array(["{}"] * 13 + ["{"] + ["{}"] * 6))
    with pytest.raises(InvalidEvent, match="row 13"):
        store.append(broken)

    def failing() -> Iterator[AnalyticsEvent]:
        yield from events
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        store.append(failing())
    assert store.count() == 0


def test_a_row_that_the_database_refuses_takes_the_whole_append_back(store: SqliteAnalyticsStorage) -> None:
    """Even if it comes in a later slice of a large append, behind the check that was switched off."""
    store.append(sample_events.fixed())
    count = 70_000
    ids = pa.array([uuid_of(number + 100) for number in range(count)])
    columns = {
        "id": ids,
        "category": pa.array(["custom"] * (count - 1) + ["nonsense"]),
        "event_type": pa.array(["x"] * count),
        "timestamp": pa.array(range(count), pa.int64()).cast(pa.timestamp("us", "UTC")),
        "session_id": pa.nulls(count, pa.string()),
        "priority": pa.array(["low"] * count),
        "data": pa.array(["{}"] * count),
        "metadata": pa.array(["{}"] * count),
    }
    with pytest.raises(StorageError, match="CHECK"):
        store.append(pa.record_batch(columns), checked=True)
    assert store.count() == 4
    assert store.append([AnalyticsEvent("x")]) == AppendResult(inserted=1)
    assert table(store)["seq"].to_pylist()[:4] == [1, 2, 3, 4]


def test_numbers_are_never_used_again(store: SqliteAnalyticsStorage) -> None:
    store.append(sample_events.varied(10))
    assert store.delete(ExportFilter(limit=100)) == 10
    store.append([AnalyticsEvent("x")])
    assert table(store)["seq"].to_pylist() == [11]


def test_a_full_store_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    config = StorageConfig(max_size_bytes=200_000)
    with SqliteAnalyticsStorage(tmp_path / "small.db", config) as store:
        stored = 0
        for seed in range(3):
            stored += store.append(sample_events.varied(100, seed=seed)).inserted
        stored += store.append(sample_events.varied(1000, seed=3)).inserted
        with pytest.raises(LimitReached, match="nothing was stored"):
            store.append([AnalyticsEvent("x")])
        assert store.count() == stored == 1300


def test_a_store_that_is_open_for_reading_takes_nothing(filled: SqliteAnalyticsStorage) -> None:
    with SqliteAnalyticsStorage(filled.path, read_only=True) as reader:
        with pytest.raises(AccessDenied):
            reader.append([AnalyticsEvent("x")])
        with pytest.raises(AccessDenied):
            reader.delete(ExportFilter(limit=1))
        assert reader.count() == 500


def test_deleting_needs_a_condition_and_counts(filled: SqliteAnalyticsStorage) -> None:
    with pytest.raises(UsageError, match="every event"):
        filled.delete(ExportFilter())
    wanted = ExportFilter(categories=["error"], limit=7)
    before = table(filled)
    doomed = table(filled, wanted)["seq"].to_pylist()
    assert filled.delete(wanted) == len(doomed) == 7
    assert table(filled)["seq"].to_pylist() == [seq for seq in before["seq"].to_pylist() if seq not in doomed]
    assert filled.delete(ExportFilter(limit=0)) == 0
    assert filled.delete(ExportFilter(event_types=["never seen"])) == 0


def test_threads_may_append_at_once(store: SqliteAnalyticsStorage) -> None:
    batches = [sample_events.varied(50, seed=seed) for seed in range(8)]
    threads = [threading.Thread(target=store.append, args=[batch]) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = table(store)
    assert sorted(found["id"].to_pylist()) == sorted(event.id for batch in batches for event in batch)
    assert found["seq"].to_pylist() == list(range(1, 401))


_APPENDER = """
import sys
sys.path.insert(0, sys.argv[3])
import sample_events
from penstock import SqliteAnalyticsStorage
inserted = 0
with SqliteAnalyticsStorage(sys.argv[1]) as store:
    for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 12):
        inserted += store.append(sample_events.varied(40, seed=seed)).inserted
print(inserted)
"""


def test_processes_that_create_a_store_and_append_at_once_lose_nothing_and_store_nothing_twice(tmp_path: Path) -> None:
    """Three processes append the events of overlapping seeds; what all inserted is what is there."""
    here = str(Path(sample_events.__file__).parent)
    path = tmp_path / "events.db"
    appenders = [
        subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(path), str(first), here], stdout=subprocess.PIPE, text=True
        )
        for first in (0, 6, 12)
    ]
    inserted = [int(appender.communicate(timeout=60)[0]) for appender in appenders]
    wanted = {event.id for seed in range(24) for event in sample_events.varied(40, seed=seed)}
    with SqliteAnalyticsStorage(path, read_only=True) as store:
        found = table(store)
    assert set(found["id"].to_pylist()) == wanted
    assert sum(inserted) == found.num_rows == len(wanted)
