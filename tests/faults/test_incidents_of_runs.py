"""Ways in which exporters are known to have lost or doubled data from one run to the next, each tried on this one.

``docs/guarantees.md`` has the list; the ways that show when an export is read are in
``acceptance/test_incidents_reading.py``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from incident_exports import EVENTS, IDS, Clock, add, attempt, ids_in_files, tree

import sample_events
from penstock import (
    AnalyticsEvent,
    Exporter,
    ExportOptions,
    SqliteAnalyticsStorage,
    verify,
)
from penstock.backends.local import attempts
from penstock.errors import ExportError, Locked
from penstock.testing.faults import Fail, Meddle


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAnalyticsStorage]:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append(EVENTS)
        yield storage


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


_SLOW = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO events (id, category, event_type, timestamp, session_id, priority, data, metadata,"
    " received_at) VALUES ('00000000-0000-4000-8000-0000000000ff', 'custom', 'slow', 0, NULL, 1, '{}', '{}', 0)")
print("begun", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


def test_incident_a_transaction_that_commits_late_is_not_passed_by(store: SqliteAnalyticsStorage, place: Path) -> None:
    """A number was given out in one transaction and committed after a higher one was exported: it was never read."""
    assert add(store, place / "runs") == len(EVENTS)
    database = place.parent / "events.db"
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "begun\n"
        assert add(store, place / "runs") == 0
        slow.communicate("now\n")
    store.append(sample_events.fixed())
    assert add(store, place / "runs") == 5
    expected = IDS + Counter(event.id for event in sample_events.fixed()) + Counter([sample_events.uuid_of(0xFF)])
    assert ids_in_files(place / "runs") == expected


def test_incident_the_end_and_the_rows_are_of_one_moment(store: SqliteAnalyticsStorage, place: Path) -> None:
    """The highest number was asked for in one snapshot, the rows were read in another: what came between was lost."""
    fault = Meddle(on=("write",), action=lambda _: store.append(sample_events.fixed()))
    assert add(store, place / "runs", fault) == len(EVENTS)
    assert fault.fired == 1
    assert add(store, place / "runs") == len(sample_events.fixed())
    assert ids_in_files(place / "runs") == IDS + Counter(event.id for event in sample_events.fixed())


def test_incident_events_of_one_instant_are_neither_lost_nor_repeated(place: Path, tmp_path: Path) -> None:
    """A cursor on a time lost the rows that shared its value, or read them again; the list of them then grew."""
    sizes = []
    with SqliteAnalyticsStorage(tmp_path / "ties.db") as store:
        for start in range(0, 400, 100):
            store.append(
                AnalyticsEvent("tie", id=sample_events.uuid_of(number), timestamp=sample_events.START)
                for number in range(start, start + 100)
            )
            assert add(store, place / "runs", rows=30) == 100
            run = place / "runs" / f"_penstock/runs/{start // 100 + 1:06d}.json"
            sizes.append(len(json.dumps(json.loads(run.read_bytes())["lineage"])))
    assert ids_in_files(place / "runs") == Counter(sample_events.uuid_of(number) for number in range(400))
    assert max(sizes) < 2_500  # 16 rows at most are named, however many share the time


def test_incident_progress_is_the_committed_data_itself(store: SqliteAnalyticsStorage, place: Path) -> None:
    """The data was appended, the record of it was not written, and the next run appended it again."""
    fault = Fail(nth=1, ending=".sha256", lasting=True, code=errno.EIO)
    add(store, place / "runs", fault)
    assert fault.fired > 0
    shutil.rmtree(place / "runs" / ".penstock", ignore_errors=True)
    assert add(store, place / "runs") == 0
    assert ids_in_files(place / "runs") == IDS


def test_incident_a_run_is_done_again_and_not_resumed_from_a_saved_position(
    store: SqliteAnalyticsStorage, place: Path
) -> None:
    """An attempt went on where the one before said that it had been, and what lay between was lost or came twice."""
    attempt(store, place / "runs", nth=14, rows=30)
    assert (place / "runs" / ".penstock").exists()
    assert add(store, place / "runs", rows=70) == len(EVENTS)
    assert ids_in_files(place / "runs") == IDS


def test_incident_attempts_that_died_do_not_add_up(store: SqliteAnalyticsStorage, place: Path) -> None:
    """Each failed attempt left its files: whoever loaded the directory had the data several times."""
    for turn, nth in enumerate((20, 26, 32, 38, 44)):
        attempt(store, place / "runs", nth=nth, rows=40 + turn)
    assert add(store, place / "runs") == len(EVENTS)
    assert ids_in_files(place / "runs") == IDS


def test_incident_the_clock_decides_nothing(store: SqliteAnalyticsStorage, place: Path) -> None:
    """Files were cut by the time of day, so that a repeated attempt wrote other files than the first."""
    clock = Clock()
    for name, hours in (("now", 0), ("later", 90_000), ("before", -90_000)):
        clock.time = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=hours)
        assert add(store, place / name, clock=clock) == len(EVENTS)
    data = [
        {path.name: path.read_bytes() for path in (place / name).rglob("*.ndjson")}
        for name in ("now", "later", "before")
    ]
    assert data[0] == data[1] == data[2]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPIPE, errno.ENOSPC], ids=errno.errorcode.__getitem__)
def test_incident_an_error_of_the_destination_drops_no_event(
    code: int, store: SqliteAnalyticsStorage, place: Path
) -> None:
    """Events that met a permission error or a broken pipe were counted as done and dropped."""
    for nth in range(1, 30, 3):
        with pytest.raises(ExportError):
            add(store, place / "runs", Fail(nth=nth, on=("create", "write", "fsync", "link"), lasting=True, code=code))
    assert add(store, place / "runs") == len(EVENTS)
    assert ids_in_files(place / "runs") == IDS


def test_incident_two_writers_commit_one_run_under_one_number(
    store: SqliteAnalyticsStorage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers put the same version, because the store ignored the request to create only what is not there."""

    def rival(_: object) -> None:
        monkeypatch.undo()
        other = place / "other"
        add(store, other)
        shutil.copytree(other, place / "runs", dirs_exist_ok=True)

    monkeypatch.setattr(attempts.fcntl, "flock", lambda *_: None)
    store_then = tree(place)
    fault = Meddle(on=("link",), ending="/000001.json", action=rival)
    clock = Clock()
    clock.time += timedelta(days=1)
    with pytest.raises(Locked, match="superseded"):
        add(store, place / "runs", fault, clock=clock)
    assert fault.fired == 1
    assert store_then == {}
    assert json.loads((place / "runs/_penstock/runs/000001.json").read_bytes())["exported_at"].startswith("2026-11-01")
    assert add(store, place / "runs") == 0
    assert ids_in_files(place / "runs") == IDS


def test_incident_nothing_is_deleted_by_its_age_or_by_its_look(store: SqliteAnalyticsStorage, place: Path) -> None:
    """A purge walked over the wrong directory, or matched files by age or pattern, and took what was not its own."""
    strangers = (
        "diary.txt",
        "part-00000-1-9-deadbeef.ndjson.bak",
        "run-000001-part-00009-1-2-00000000.ndjson",
        "data-00000",
    )
    for name in ("runs", "parts"):
        (place / name).mkdir()
        for stranger in strangers:
            (place / name / stranger).write_bytes(b"not yours\n")
            os.utime(place / name / stranger, (0, 0))
    attempt(store, place / "runs", nth=30, rows=50)
    add(store, place / "runs")
    for _ in range(2):
        Exporter(store).export(place / "parts", options=ExportOptions(format="ndjson"), overwrite=True)
        store.append(sample_events.fixed())
        add(store, place / "runs")
    for name in ("runs", "parts"):
        assert {(place / name / stranger).read_bytes() for stranger in strangers} == {b"not yours\n"}
        assert {(place / name / stranger).stat().st_mtime for stranger in strangers} == {0.0}


def test_incident_a_replacement_removes_the_parts_of_its_own_export_only(
    store: SqliteAnalyticsStorage, place: Path
) -> None:
    """Replacing one partition removed the files of others, and a pruner removed what it had not made."""
    options = ExportOptions(format="ndjson", part_rows=100)
    Exporter(store).export(place / "one", options=options)
    Exporter(store).export(place / "two", options=ExportOptions(format="ndjson", part_rows=30))
    guests = [path for path in (place / "two").iterdir() if path.name.startswith("part-")]
    for path in guests:
        shutil.copy(path, place / "one")
    store.append(sample_events.fixed())
    Exporter(store).export(place / "one", options=options, overwrite=True)
    assert all((place / "one" / path.name).read_bytes() == path.read_bytes() for path in guests)
    assert verify(place / "one").ok
    assert verify(place / "two").ok


def test_incident_the_work_of_a_paused_writer_is_not_cleared(store: SqliteAnalyticsStorage, place: Path) -> None:
    """A process slept, its lease ran out, another cleared what looked abandoned, and the first published a ruin."""

    def meanwhile(_: object) -> None:
        for path in (place / "runs").rglob("*"):
            os.utime(path, (0, 0))
        with pytest.raises(Locked):
            add(store, place / "runs")

    fault = Meddle(on=("fsync",), nth=3, action=meanwhile)
    assert add(store, place / "runs", fault) == len(EVENTS)
    assert fault.fired == 1
    assert ids_in_files(place / "runs") == IDS
