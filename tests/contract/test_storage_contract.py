"""What every event store promises, and that an export needs nothing beyond it."""

from __future__ import annotations

from collections.abc import Iterator
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
from penstock.pipeline.summary import count, scan
from plain_filter import matches
from sample_events import uuid_of

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
    assert count(storage, ExportFilter()) == len(EVENTS)


def test_a_conflict_is_skipped_refused_or_replaced_as_was_asked(storage: AnalyticsStorage) -> None:
    storage.append(EVENTS[:5])
    changed = [AnalyticsEvent("changed", id=EVENTS[1].id), AnalyticsEvent("new", id=uuid_of(500)), EVENTS[2]]
    with pytest.raises(UsageError):
        storage.append(changed, on_conflict="fail")
    assert _ids(scan(storage, ExportFilter())) == [event.id for event in EVENTS[:5]], "nothing of it was stored"
    counted = AppendResult(inserted=1, duplicates=1, conflicts=1)
    assert storage.append(changed, on_conflict="replace") == counted
    found = [row for batch in scan(storage, ExportFilter()) for row in batch.to_pylist()]
    assert {row["id"]: row["event_type"] for row in found}[EVENTS[1].id] == "changed"
    assert {row["id"] for row in found} == {*(event.id for event in EVENTS[:5]), uuid_of(500)}
    numbers = [row["seq"] for row in found]
    assert numbers == sorted(numbers)
    assert next(row["seq"] for row in found if row["id"] == EVENTS[1].id) > 5, "it arrived anew"
    assert storage.append(changed, on_conflict="fail") == AppendResult(duplicates=3)
    assert storage.append([EVENTS[1]]) == AppendResult(conflicts=1)


def test_a_store_is_known_again_and_so_are_its_rows(storage: AnalyticsStorage) -> None:
    with storage.pin() as empty:
        assert (empty.upto, empty.given, empty.first()) == (0, 0, None)
        assert list(empty.newest(9)) == []
        assert empty.rows_at([1, 2])[0] == []
    storage.append(EVENTS[:5])
    with storage.pin() as view:
        storage.append(EVENTS[5:7])
        assert (view.upto, view.first(), view.first(3), view.first(5)) == (5, 1, 4, None)
        assert 5 <= view.given <= 7
        assert list(view.newest(3)) == [5, 4, 3]
        assert list(view.newest(9)) == [5, 4, 3, 2, 1]
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


@pytest.mark.parametrize("name", ["a.ndjson.gz", "a.json", "a.csv", "a.parquet", "a.arrow", "parts"])
def test_an_export_needs_nothing_beyond_the_port(storage: AnalyticsStorage, tmp_path: Path, name: str) -> None:
    storage.append(EVENTS)
    wanted = ExportFilter(priority="normal", limit=60)
    expected = [event for event in EVENTS if matches(wanted, event)][:60]
    options = ExportOptions(workers=2, part_rows=None if "." in name else 13, memory_limit=64 << 20)
    result = Exporter(storage).export(tmp_path / name, filter=wanted, options=options)
    assert verify(tmp_path / name).problems == ()
    files = [tmp_path / name] if "." in name else [tmp_path / name / entry.name for entry in result.manifest.parts]
    rows = [row for file in files for row in foreign_readers.read(file)]
    assert foreign_readers.without_arrival(rows) == foreign_readers.rows_of(expected)
