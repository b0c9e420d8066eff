"""Exports while others write: an export is one moment of the store, and its manifest says exactly what is in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars
import pytest

from penstock import AnalyticsEvent, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, export, verify
from penstock.model.columns import batch_of
from sample_events import uuid_of

#: Appends about 5,000 events a second until its input ends, then says how many.
_APPENDER = """
import select, sys, time, uuid
import pyarrow as pa
from penstock import SqliteAnalyticsStorage
size, count, began = 250, 0, time.monotonic()
with SqliteAnalyticsStorage(sys.argv[1]) as store:
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        columns = {
            "id": pa.array([str(uuid.uuid4()) for _ in range(size)]),
            "category": pa.array(["custom"] * size),
            "event_type": pa.array(["x"] * size),
            "timestamp": pa.array(range(count, count + size), pa.int64()).cast(pa.timestamp("us", "UTC")),
            "session_id": pa.nulls(size, pa.string()),
            "priority": pa.array(["low"] * size),
            "data": pa.array(['{"n":%d}' % number for number in range(count, count + size)]),
            "metadata": pa.array(["{}"] * size),
        }
        count += store.append(pa.record_batch(columns), checked=True).inserted
        time.sleep(max(0.0, began + count / 5000 - time.monotonic()))
print(count)
"""

#: Deletes, updates and replaces rows anywhere without a pause, with a SQLite of its own.
_MEDDLER = """
import random, select, sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
chance = random.Random(6)
count = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    place = chance.randrange(1, 20_000)
    store.execute(chance.choice([
        "DELETE FROM events WHERE seq BETWEEN ? AND ? + 3",
        "UPDATE events SET timestamp = timestamp + 1000000 WHERE seq BETWEEN ? AND ? + 3",
        "INSERT OR REPLACE INTO events (id, category, event_type, timestamp, priority, data, metadata, received_at)"
        " SELECT id, category, event_type, timestamp, priority, data, metadata, 0 FROM events"
        " WHERE seq BETWEEN ? AND ?",
    ]), (place, place))
    count += 1
    time.sleep(0.002)
print(count)
"""


@contextmanager
def _working(script: str, path: Path) -> Iterator[list[int]]:
    """Another process does its work while the block runs; afterwards the list holds what it counted."""
    counted: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        try:
            yield counted
        finally:
            counted.append(int(worker.communicate("stop\n", timeout=60)[0]))
    assert worker.returncode == 0


def _ids(path: Path) -> list[tuple[int, str]]:
    """``seq`` and id of every row, by Polars."""
    if path.is_dir():
        frame = polars.read_parquet(path / "data", columns=["seq", "id"]).sort("seq")
    elif path.suffix == ".parquet":
        frame = polars.read_parquet(path, columns=["seq", "id"])
    elif path.suffix == ".ndjson":
        frame = polars.read_ndjson(path, schema={"seq": polars.Int64(), "id": polars.String()})
    else:
        frame = polars.read_csv(path, columns=["seq", "id"])
    return frame.select("seq", "id").rows()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a store of 20,000 events, which others will work on."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        events = [AnalyticsEvent("first", id=uuid_of(number), data={"n": number}) for number in range(20_000)]
        store.append(batch_of(events), checked=True)
    return tmp_path


def test_an_export_under_5000_appends_a_second_is_one_moment_of_the_store(place: Path) -> None:
    horizons = []
    with _working(_APPENDER, place / "events.db") as appended:
        for number, name in enumerate(("a.ndjson", "b.parquet", "c.csv.gz", "d")):
            result = export(place / "events.db", place / name, options=ExportOptions(workers=1 + number % 3))
            rows = _ids(place / name)
            horizon = result.manifest.source["horizon"]
            assert [seq for seq, _ in rows] == list(range(1, horizon + 1))
            assert result.manifest.rows == len({id for _, id in rows}) == horizon
            assert verify(place / name).problems == ()
            horizons.append(horizon)
        assert not appended
    assert horizons == sorted(horizons)
    assert horizons[0] >= 20_000
    assert horizons[-1] > horizons[0], "it did append meanwhile"
    with SqliteAnalyticsStorage(place / "events.db", read_only=True) as store:
        assert store.count() == store.stats().last_seq == 20_000 + appended[0]


def test_a_store_that_is_open_for_appending_is_exported_by_the_same_process(place: Path) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store, _working(_APPENDER, store.path):
        exporter = Exporter(store)
        for number in range(2):
            before = store.count()
            result = exporter.export(place / f"{number}.csv", filter=ExportFilter(event_types=["x", "first"]))
            after = store.count()
            assert before <= result.metadata.event_count <= after
            assert len(_ids(place / f"{number}.csv")) == result.metadata.event_count


def test_an_export_holds_what_it_says_whoever_deletes_updates_and_replaces(place: Path) -> None:
    with _working(_MEDDLER, place / "events.db") as meddled:
        for number in range(4):
            options = ExportOptions(workers=1 + number % 3, verify_written=True)
            result = export(place / "events.db", place / f"{number}.ndjson", options=options)
            rows = _ids(place / f"{number}.ndjson")
            assert rows == sorted(set(rows))
            assert result.metadata.event_count == len({id for _, id in rows})
            assert verify(place / f"{number}.ndjson").problems == ()
    assert meddled[0] > 20
