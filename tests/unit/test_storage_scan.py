"""Scanning: filters, limits, ranges that are cut by rows and bytes, and snapshots that nothing disturbs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import foreign_sqlite
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, StorageConfig
from penstock.errors import StoreBusy, UsageError
from penstock.model import times
from penstock.model.columns import EVENT_SCHEMA, batch_of
from penstock.sources.connection import Connection
from penstock.sources.sqlite.schema import BLOCK_ROWS
from sample_events import uuid_of

NO_LIMIT = 1 << 40


def ids(store: SqliteAnalyticsStorage, filter: ExportFilter | None = None) -> list[str]:
    return [name for batch in store.scan(filter) for name in batch["id"].to_pylist()]


@pytest.mark.parametrize("limit", [0, 1, 4095, 4096, 4097, 8999, 9000, 9001, (1 << 63) - 1])
def test_the_limit_counts_matching_rows_in_order_of_arrival(tmp_path: Path, limit: int) -> None:
    with SqliteAnalyticsStorage(tmp_path / "a.db", StorageConfig(batch_rows=1000)) as store:
        events = sample_events.varied(9000, payload=2)
        store.append(batch_of(events), checked=True)
        assert ids(store, ExportFilter(limit=limit)) == [event.id for event in events[:limit]]
        wanted = ExportFilter(priority="high", limit=limit // 4)
        matching = [event.id for event in events if event.priority >= 2][: limit // 4]
        assert ids(store, wanted) == matching
        assert store.count(wanted) == len(matching)


def test_batches_have_the_schema_and_at_most_the_configured_rows(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "a.db", StorageConfig(batch_rows=64)) as store:
        store.append(sample_events.varied(500))
        batches = list(store.scan())
        assert max(batch.num_rows for batch in batches) <= 64
        assert all(batch.schema == EVENT_SCHEMA for batch in batches)
        assert sum(batch.num_rows for batch in batches) == 500


@pytest.mark.parametrize(
    ("rows", "size"), [(1, NO_LIMIT), (100, NO_LIMIT), (NO_LIMIT, 1), (NO_LIMIT, 50_000), (700, 90_000)]
)
def test_ranges_hold_every_row_once_and_obey_both_limits(tmp_path: Path, rows: int, size: int) -> None:
    events = [
        *sample_events.varied(5000, payload=2),
        AnalyticsEvent("x", data={"t": "x" * 200_000}),
        *sample_events.varied(200, seed=2),
    ]
    with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        store.append(batch_of(events))
        store.delete(ExportFilter(event_types=["feature_used", "checkout"]))
        everything = ids(store)
        with store.pin() as view:
            ranges = list(view.plan(ExportFilter(), max_rows=rows, max_bytes=size))
            assert ranges == list(view.plan(ExportFilter(), max_rows=rows, max_bytes=size))
            found: list[str] = []
            for before, span in zip([None, *ranges], ranges, strict=False):
                assert span.after < span.upto <= view.upto
                assert before is None or before.upto <= span.after
                batches = list(view.read(span, ExportFilter()))
                count = sum(batch.num_rows for batch in batches)
                stored = sum(
                    len(text.encode())
                    for batch in batches
                    for name in ("data", "metadata")
                    for text in batch[name].to_pylist()
                )
                assert count <= max(rows, 1)
                assert stored <= max(size, span.bytes_hint)
                assert span.bytes_hint <= size or count <= 1
                found += [name for batch in batches for name in batch["id"].to_pylist()]
    assert found == everything


def test_large_rows_come_in_ranges_and_batches_of_bounded_size(tmp_path: Path) -> None:
    """Sixty rows of a megabyte in one block: no range holds more than was asked for."""
    large = '{"t":"' + "x" * 1_000_000 + '"}'
    with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        store.append(AnalyticsEvent("x", id=uuid_of(number), data=large) for number in range(60))
        with store.pin(readers=2) as view:
            ranges = list(view.plan(ExportFilter(), max_rows=32_768, max_bytes=8 << 20))
            assert len(ranges) == 8
            for span in ranges:
                assert sum(batch.nbytes for batch in view.read(span, ExportFilter())) < 9 << 20
        assert max(batch.nbytes for batch in store.scan()) < 9 << 20
        assert store.count() == sum(batch.num_rows for batch in store.scan()) == 60


@pytest.mark.parametrize("late", [False, True], ids=["covered", "not covered yet"])
@pytest.mark.parametrize("column", ["id", "event_type", "session_id", "data", "metadata"])
def test_every_column_counts_for_the_size_of_a_range(column: str, late: bool, tmp_path: Path) -> None:
    """Rows that are large by another column than their data: a range of them is as small, whoever inserted them."""
    large = "'x' || n || printf('%.*c', 1000, 'x')"
    values = dict.fromkeys(("id", "event_type", "session_id"), "'x' || n") | dict.fromkeys(("data", "metadata"), "'{}'")
    values[column] = f"'{{\"t\":\"' || {large} || '\"}}'" if column in ("data", "metadata") else large
    insert = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 9000) INSERT INTO events"
        " (id, category, event_type, session_id, data, metadata, timestamp, priority, received_at)"
        f" SELECT {values['id']}, 'custom', {values['event_type']}, {values['session_id']}, {values['data']},"
        f" {values['metadata']}, n, 1, 0 FROM c"
    )
    with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        foreign_sqlite.execute(store.path, insert)
        if not late:
            store.append([AnalyticsEvent("x")])
        for change in ("SELECT 1", f"UPDATE events SET {column} = {column} || ' ' WHERE seq < 2000"):
            foreign_sqlite.execute(store.path, change)
            with store.pin() as view:
                ranges = list(view.plan(ExportFilter(), max_rows=NO_LIMIT, max_bytes=1 << 20))
                sizes = [sum(batch.nbytes for batch in view.read(span, ExportFilter())) for span in ranges]
            assert max(sizes) < 9 << 17, "a range is larger than was asked for"
        store.delete(ExportFilter(start=times.from_micros(0), end=times.from_micros(8000)))
        with store.pin() as view:
            left = list(view.plan(ExportFilter(), max_rows=NO_LIMIT, max_bytes=NO_LIMIT))
        assert sum(span.bytes_hint for span in left) < 4 << 20, "what was deleted still counts"


def test_time_pruning_reads_less_and_misses_nothing(tmp_path: Path) -> None:
    step = timedelta(seconds=1)
    events = [
        AnalyticsEvent("x", id=uuid_of(number), timestamp=sample_events.START + number * step)
        for number in range(20_000)
    ]
    with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        store.append(batch_of(events), checked=True)
        wanted = ExportFilter(start=sample_events.START + 9_000 * step, end=sample_events.START + 9_010 * step)
        assert ids(store, wanted) == [uuid_of(number) for number in range(9_000, 9_010)]
        for number in (0, BLOCK_ROWS - 2, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS - 1, 19_999):
            moment = sample_events.START + number * step
            only = ExportFilter(start=moment, end=moment + timedelta(microseconds=1))
            assert ids(store, only) == [uuid_of(number)], "also the first and the last of a block"
        with store.pin() as view:
            ranges = list(view.plan(wanted, max_rows=NO_LIMIT, max_bytes=NO_LIMIT))
            assert sum(span.upto - span.after for span in ranges) <= 4096
            late = ExportFilter(start=sample_events.START + timedelta(days=30))
            assert list(view.plan(late, max_rows=NO_LIMIT, max_bytes=NO_LIMIT)) == []


def test_what_is_planned_for_shrinks_with_what_is_deleted(tmp_path: Path) -> None:
    """Free space is checked against the plan: events that are gone must not count."""
    with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        store.append(batch_of(sample_events.varied(9000)), checked=True)
        foreign_sqlite.execute(store.path, (foreign_sqlite.INSERT, ["later", "t", 0, "{}"]))
        foreign_sqlite.execute(
            store.path, "DELETE FROM events WHERE seq > 20 AND seq % 2", "DELETE FROM events WHERE id = 'later'"
        )
        store.delete(ExportFilter(start=sample_events.START + timedelta(days=1)))
        left = list(store.scan())
        stored = sum(len(text) for batch in left for name in ("data", "metadata") for text in batch[name].to_pylist())
        with store.pin() as view:
            planned = sum(span.bytes_hint for span in view.plan(ExportFilter(), max_rows=1 << 40, max_bytes=1 << 40))
        assert stored <= planned <= 3 * stored + 160 * store.count()


def test_a_snapshot_does_not_see_what_comes_after_it(filled: SqliteAnalyticsStorage) -> None:
    with filled.pin(readers=3) as view:
        assert view.upto == 500
        filled.append(sample_events.varied(100, seed=9))
        foreign_sqlite.execute(filled.path, (foreign_sqlite.INSERT, ["z", "t", 5, "{}"]))
        filled.delete(ExportFilter(categories=["error", "system"]))
        foreign_sqlite.execute(filled.path, "UPDATE events SET priority = 0", "DELETE FROM events WHERE seq < 100")
        ranges = list(view.plan(ExportFilter(), max_rows=50, max_bytes=NO_LIMIT))
        seen = [pa.Table.from_batches(view.read(span, ExportFilter())) for span in ranges]
        assert pa.concat_tables(seen)["seq"].to_pylist() == list(range(1, 501))
        assert set(pa.concat_tables(seen)["priority"].to_pylist()) == {"low", "normal", "high", "critical"}
    assert filled.count() < 501


def test_threads_read_one_snapshot_at_once(filled: SqliteAnalyticsStorage) -> None:
    with filled.pin(readers=2) as view:
        ranges = list(view.plan(ExportFilter(), max_rows=20, max_bytes=NO_LIMIT))
        found: dict[int, list[int]] = {}

        def read(number: int) -> None:
            found[number] = [
                seq for batch in view.read(ranges[number], ExportFilter()) for seq in batch["seq"].to_pylist()
            ]

        threads = [threading.Thread(target=read, args=[number]) for number in range(len(ranges))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [seq for number in sorted(found) for seq in found[number]] == list(range(1, 501))


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], int], list[int]]:
    """Do something right after a connection has begun its view, as another process may, at most so many times."""

    def arrange(act: Callable[[], object], times: int) -> list[int]:
        done: list[int] = []
        original = Connection.query

        def query(self: Connection, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
            rows = original(self, sql, parameters)
            if "AS horizon" in sql and len(done) < times:
                done.append(1)
                act()
            return rows

        monkeypatch.setattr(Connection, "query", query)
        return done

    return arrange


def test_readers_agree_although_rows_come_go_and_are_replaced_while_they_begin(
    filled: SqliteAnalyticsStorage, between: Callable[[Callable[[], object], int], list[int]]
) -> None:
    replace = (
        "INSERT OR REPLACE INTO events (id, category, event_type, timestamp, priority, data, metadata, received_at)"
        " SELECT id, category, event_type, timestamp, priority, data, metadata, 0 FROM events ORDER BY seq LIMIT 1"
    )
    for act in (
        lambda: filled.append([AnalyticsEvent("x")]),
        lambda: filled.delete(ExportFilter(limit=1)),
        lambda: foreign_sqlite.execute(filled.path, "UPDATE events SET priority = 3 WHERE seq < 300"),
        lambda: foreign_sqlite.execute(filled.path, replace),
    ):
        done = between(act, 1)
        with filled.pin(readers=2) as view:
            assert done == [1]
            pieces = [
                pa.Table.from_batches(view.read(span, ExportFilter()), EVENT_SCHEMA)
                for span in view.plan(ExportFilter(), max_rows=100, max_bytes=NO_LIMIT)
                for _ in range(2)
            ]
        assert all(first == second for first, second in zip(pieces[::2], pieces[1::2], strict=True))
        whole = pa.concat_tables(pieces[::2])
        assert whole == pa.Table.from_batches(filled.scan())


def test_a_store_that_is_deleted_from_without_a_pause_is_busy(
    filled: SqliteAnalyticsStorage, between: Callable[[Callable[[], object], int], list[int]]
) -> None:
    between(lambda: filled.delete(ExportFilter(limit=1)), 10_000)
    with pytest.raises(StoreBusy, match="no common snapshot"):
        filled.pin(readers=2)


def test_an_appender_without_a_pause_is_no_obstacle(
    filled: SqliteAnalyticsStorage, between: Callable[[Callable[[], object], int], list[int]]
) -> None:
    done = between(lambda: filled.append([AnalyticsEvent("x")]), 10_000)
    with filled.pin(readers=2) as view:
        assert len(done) >= 2
        assert view.upto >= 500
        ranges = list(view.plan(ExportFilter(), max_rows=100, max_bytes=NO_LIMIT))
        found = [
            seq for span in ranges for batch in view.read(span, ExportFilter()) for seq in batch["seq"].to_pylist()
        ]
        assert found == list(range(1, view.upto + 1))


def test_deleting_during_a_scan_does_not_disturb_it(filled: SqliteAnalyticsStorage) -> None:
    scan = filled.scan(ExportFilter(limit=450))
    first = next(scan)
    assert filled.delete(ExportFilter(limit=400)) == 400
    assert first.num_rows + sum(batch.num_rows for batch in scan) == 450


def test_several_exports_of_one_store_run_at_once(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    exporter = Exporter(filled)
    failures: list[BaseException] = []

    def export(number: int) -> None:
        try:
            exporter.export(tmp_path / f"{number}.ndjson", options=ExportOptions(workers=2))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=export, args=[number]) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({(tmp_path / f"{number}.ndjson").read_bytes() for number in range(5)}) == 1


def test_stats_count_what_is_there(filled: SqliteAnalyticsStorage) -> None:
    events = sample_events.varied()
    stats = filled.stats()
    assert stats.total_events == 500
    assert stats.last_seq == 500
    assert stats.events_by_category == Counter(str(event.category) for event in events)
    assert stats.events_by_type == Counter(event.event_type for event in events)
    assert list(stats.events_by_type.values()) == sorted(stats.events_by_type.values(), reverse=True)
    assert stats.oldest_event == min(event.timestamp for event in events)
    assert stats.newest_event == max(event.timestamp for event in events)
    assert stats.database_size_bytes == filled.path.stat().st_size


def test_an_empty_store_has_empty_stats(store: SqliteAnalyticsStorage) -> None:
    stats = store.stats()
    assert (stats.total_events, stats.oldest_event, stats.last_seq, dict(stats.events_by_type)) == (0, None, 0, {})
    assert store.histogram() == []
    assert ids(store) == []


@pytest.mark.parametrize("buckets", [1, 2, 7, 48, 1000])
def test_a_histogram_has_equal_half_open_buckets_that_hold_every_event(
    filled: SqliteAnalyticsStorage, buckets: int
) -> None:
    moments = [event.timestamp for event in sample_events.varied()]
    found = filled.histogram(buckets=buckets)
    assert len(found) == buckets
    assert found[0][0] == min(moments)
    assert found[-1][1] > max(moments)
    for (_, end, _), (start, _, _) in pairwise(found):
        assert end == start
    for start, end, count in found:
        assert count == sum(start <= moment < end for moment in moments)


@pytest.mark.parametrize(
    "moments",
    [
        [datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
        [datetime(1, 1, 1, tzinfo=UTC)],
        [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
        [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
    ],
)
def test_a_histogram_at_the_ends_of_time_counts_every_event(
    store: SqliteAnalyticsStorage, moments: list[datetime]
) -> None:
    store.append(AnalyticsEvent("x", timestamp=moment) for moment in moments)
    assert sum(count for _, _, count in store.histogram(buckets=48)) == len(moments)
    assert store.stats().oldest_event == times.from_micros(times.to_micros(min(moments)))
    for wrong in (0, -1):
        with pytest.raises(UsageError):
            store.histogram(buckets=wrong)
