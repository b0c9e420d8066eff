"""Ways in which exporters are known to have lost or doubled data while they wrote, each tried on this one.

``docs/guarantees.md`` has the list; the ways that show when an export is read are in
``acceptance/test_incidents_reading.py``.
"""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import foreign_readers
import sample_events
from penstock import (
    AnalyticsEvent,
    DirectoryDestination,
    Exporter,
    ExportFilter,
    ExportOptions,
    FileDestination,
    SqliteAnalyticsStorage,
    export,
    verify,
)
from penstock.destinations import staging
from penstock.destinations.lineage import LineageDirectory
from penstock.errors import DestinationExists, ExportError, IntegrityError, IoError, Locked
from penstock.exporting import extract
from penstock.exporting.incremental import export_incremental
from penstock.model.manifest import parse_manifest
from penstock.model.options import ExportFormat
from penstock.storage.snapshot import EventsSnapshot
from penstock.testing.faults import Fail, Fault, FaultyOps, Meddle

EVENTS = sample_events.varied(300)
NAMES = ("x.ndjson", "x.json", "x.csv.gz", "x.ndjson.zst", "x.parquet", "x.arrow", "parts")


class Clock:
    """A clock that is set by hand."""

    time = datetime(2026, 11, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAnalyticsStorage]:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append(EVENTS)
        yield storage


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def add(store: SqliteAnalyticsStorage, runs: Path, *faults: Fault, rows: int = 50, clock: Clock | None = None) -> int:
    """Add a run of plain NDJSON; the number of its events."""
    options = ExportOptions(workers=1, part_rows=rows)
    result = export_incremental(
        store,
        LineageDirectory(runs, ops=FaultyOps(*faults)),
        layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
        filter=ExportFilter(),
        options=options,
        clock=clock or Clock(),
    )
    return result.manifest.event_count


def ids_in_files(place: Path) -> Counter[str]:
    """The ids in every data file of a directory, whether a manifest names it or not."""
    files = sorted(path for path in place.iterdir() if path.suffix == ".ndjson")
    return Counter(row["id"] for path in files for row in foreign_readers.read(path))


def tree(place: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in sorted(place.rglob("*"))
    }


IDS = Counter(event.id for event in EVENTS)
Read = Callable[..., Any]


def fail_after_one_batch(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The store gives a batch of rows, and then an error."""
    real: Read = EventsSnapshot.read

    def read(self: EventsSnapshot, *given: Any) -> Iterator[Any]:
        yield next(real(self, *given)).slice(0, 20)
        raise error

    monkeypatch.setattr(EventsSnapshot, "read", read)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [RuntimeError("no more rows"), MemoryError(), KeyboardInterrupt()], ids=repr)
def test_incident_an_exception_while_writing_commits_nothing(
    name: str, error: BaseException, store: SqliteAnalyticsStorage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that was closed by an exception published the part of the data that it had."""
    with monkeypatch.context() as broken:
        fail_after_one_batch(broken, error)
        with pytest.raises(type(error)):
            Exporter(store).export(place / name)
    assert list(place.iterdir()) == []
    assert Exporter(store).export(place / name).manifest.event_count == len(EVENTS)


def test_incident_an_exception_while_a_run_is_written_commits_nothing(
    store: SqliteAnalyticsStorage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that was closed by an exception published the part of the data that it had."""
    with monkeypatch.context() as broken:
        fail_after_one_batch(broken, RuntimeError("no more rows"))
        with pytest.raises(RuntimeError):
            add(store, place / "runs")
    assert list(place.iterdir()) == []
    assert add(store, place / "runs") == len(EVENTS)


@pytest.mark.parametrize("name", ["x.ndjson", "parts"])
def test_incident_a_writer_that_is_dropped_commits_nothing(name: str, place: Path) -> None:
    """An object was created when its unfinished writer was collected."""
    destination = FileDestination(place / name) if "." in name else DirectoryDestination(place / name)
    publication = destination.begin()
    staged = publication.stage()
    staged.write(b"half an event")
    del staged, publication
    gc.collect()
    assert [path for path in place.rglob("*") if path.is_file() and "penstock" not in path.parent.name] == []


def test_incident_a_part_that_fails_leaves_no_staged_data(store: SqliteAnalyticsStorage, place: Path) -> None:
    """The parts that were written before one failed stayed where they were, unseen and paid for."""
    fault = Fail(nth=3, on=("create",), code=errno.EIO)
    with pytest.raises(IoError):
        add(store, place / "runs", fault)
    assert fault.fired == 1
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["x.ndjson", "parts", "runs"])
def test_incident_a_commit_whose_answer_is_lost_is_not_cleaned_up(
    name: str, store: SqliteAnalyticsStorage, place: Path
) -> None:
    """A commit that had happened was taken for a failure, and the files that it had made live were deleted."""
    fault = Fail(on=("link",), ending="manifest.json", late=True, code=errno.EIO)
    if name == "runs":
        with pytest.raises(IoError, match="is committed"):
            add(store, place / name, fault)
    else:
        make = FileDestination if "." in name else DirectoryDestination
        with pytest.raises(IoError, match="is published"):
            Exporter(store).export(make(place / name, ops=FaultyOps(fault)))
    assert fault.fired == 1
    result = verify(place / name)
    assert (result.problems, result.event_count) == ((), len(EVENTS))


def test_incident_a_failed_teardown_does_not_let_a_retry_replace_more_by_less(
    store: SqliteAnalyticsStorage, place: Path
) -> None:
    """After the data was in, the end of the attempt failed; the retry put a smaller extract in its place."""
    fault = Fail(on=("unlink", "rmdir"), lasting=True, code=errno.EIO)
    assert add(store, place / "runs", fault) == len(EVENTS)
    Exporter(store).export(FileDestination(place / "x.ndjson", ops=FaultyOps(fault)))
    assert fault.fired > 1
    store.delete(ExportFilter(limit=200))
    assert add(store, place / "runs") == 0
    with pytest.raises(DestinationExists):
        Exporter(store).export(place / "x.ndjson")
    assert ids_in_files(place / "runs") == IDS
    assert verify(place / "x.ndjson").event_count == len(EVENTS)


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
            run = place / "runs" / f"run-{start // 100 + 1:06d}.manifest.json"
            sizes.append(len(json.dumps(json.loads(run.read_bytes())["lineage"])))
    assert ids_in_files(place / "runs") == Counter(sample_events.uuid_of(number) for number in range(400))
    assert max(sizes) - min(sizes) < 100


def test_incident_progress_is_the_committed_data_itself(store: SqliteAnalyticsStorage, place: Path) -> None:
    """The data was appended, the record of it was not written, and the next run appended it again."""
    fault = Fail(nth=1, ending="SHA256SUMS", lasting=True, code=errno.EIO)
    add(store, place / "runs", fault)
    assert fault.fired > 0
    shutil.rmtree(place / "runs" / ".penstock", ignore_errors=True)
    assert add(store, place / "runs") == 0
    assert ids_in_files(place / "runs") == IDS


class Dead(BaseException):
    """The process ends here."""


def die(*_: object) -> None:
    raise Dead


def attempt(store: SqliteAnalyticsStorage, runs: Path, nth: int, rows: int) -> None:
    """A run that ends like a killed process: nothing is done to any file from the ``nth`` operation on."""
    with pytest.raises(Dead):
        add(store, runs, Meddle(nth=nth, lasting=True, action=die), rows=rows)
    lock = str(runs / ".penstock" / "lock")
    for name in os.listdir("/proc/self/fd"):
        if os.path.islink(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}") == lock:
            os.close(int(name))


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
        {path.name: path.read_bytes() for path in (place / name).iterdir() if path.suffix == ".ndjson"}
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
        for path in other.iterdir():
            shutil.copy(path, place / "runs")

    monkeypatch.setattr(staging.fcntl, "flock", lambda *_: None)
    store_then = tree(place)
    fault = Meddle(on=("link",), ending="run-000001.manifest.json", action=rival)
    clock = Clock()
    clock.time += timedelta(days=1)
    with pytest.raises(Locked, match="superseded"):
        add(store, place / "runs", fault, clock=clock)
    assert fault.fired == 1
    assert store_then == {}
    assert json.loads((place / "runs" / "run-000001.manifest.json").read_bytes())["exported_at"].startswith(
        "2026-11-01"
    )
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


def test_incident_nothing_is_acknowledged_before_it_is_durable(store: SqliteAnalyticsStorage, place: Path) -> None:
    """Writes were acknowledged minutes before they were synced: a power failure took what had been promised."""
    ops = FaultyOps()
    options = ExportOptions(workers=1, part_rows=100)
    export_incremental(
        store,
        LineageDirectory(place / "runs", ops=ops),
        layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
        filter=ExportFilter(),
        options=options,
        clock=Clock(),
    )
    calls = [(operation.name, Path(operation.path).name) for operation in ops.log]
    commit = next(number for number, one in enumerate(ops.log) if (one.target or "").endswith("000001.manifest.json"))
    written = {name for call, name in calls[:commit] if call == "write"}
    assert written == {name for call, name in calls[:commit] if call == "fsync"} != set()
    assert ("fsync_directory", "runs") in calls[commit:]


def test_incident_an_fsync_that_failed_is_never_repeated(store: SqliteAnalyticsStorage, place: Path) -> None:
    """After an fsync failed the kernel had dropped the pages; trying again succeeded, and the data was gone."""
    ops = FaultyOps(Fail(on=("fsync",), nth=2, code=errno.EIO))
    with pytest.raises(IoError):
        Exporter(store).export(
            DirectoryDestination(place / "parts", ops=ops), options=ExportOptions(format="ndjson", part_rows=100)
        )
    assert max(Counter(one.path for one in ops.log if one.name == "fsync").values()) == 1
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["x.ndjson.gz", "x.csv.zst"])
def test_incident_an_encoder_that_errs_is_seen_before_it_is_published(
    name: str, store: SqliteAnalyticsStorage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressor wrote bytes that do not unpack, and a page was bad before its file was renamed into place."""
    real: Callable[..., list[bytes]] = extract.compress

    def compress(*given: Any) -> list[bytes]:
        whole = b"".join(real(*given))
        return [whole[: len(whole) // 2], bytes([whole[len(whole) // 2] ^ 255]), whole[len(whole) // 2 + 1 :]]

    monkeypatch.setattr(extract, "compress", compress)
    with pytest.raises((IntegrityError, ExportError)):
        Exporter(store).export(place / name, options=ExportOptions(verify_written=True))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_incident_the_manifest_is_of_the_bytes_that_are_stored(
    name: str, store: SqliteAnalyticsStorage, place: Path
) -> None:
    """A manifest said what the archive should have held, from the plan, and nobody compared it with the archive."""
    Exporter(store).export(place / name)
    base = place if "." in name else place / name
    manifest = place / f"{name}.manifest.json" if "." in name else base / "manifest.json"
    for entry in parse_manifest(manifest.read_bytes(), where=name).parts:
        stored = (base / entry.name).read_bytes()
        assert (len(stored), hashlib.sha256(stored).hexdigest()) == (entry.bytes, entry.sha256)


def test_incident_a_failed_export_never_ends_like_a_good_one(store: SqliteAnalyticsStorage, place: Path) -> None:
    """Backups had failed without a word for months, until one was needed."""
    for code in (errno.EIO, errno.ENOSPC, errno.EACCES):
        for nth in range(1, 12):
            fault = Fail(on=("create", "write", "fsync", "link"), nth=nth, code=code)
            raised = _raised(store, FileDestination(place / "x.ndjson", ops=FaultyOps(fault)))
            assert (raised is not None) is (fault.fired == 1)
            assert raised is None or raised.exit_code in (5, 7)
            for path in place.iterdir():
                assert raised is None
                path.unlink()


def _raised(store: SqliteAnalyticsStorage, destination: FileDestination) -> ExportError | None:
    try:
        Exporter(store).export(destination)
    except ExportError as error:
        return error
    return None


def test_incident_an_event_keeps_its_place_in_the_windows_at_a_change_of_clocks(place: Path, tmp_path: Path) -> None:
    """An hour was missing, or came twice, where the local clock was changed."""
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)  # in Berlin the night has 25 hours
    events = [
        AnalyticsEvent("tick", id=sample_events.uuid_of(number), timestamp=begin + timedelta(minutes=30 * number))
        for number in range(60)
    ]
    with SqliteAnalyticsStorage(tmp_path / "night.db") as store:
        store.append(events)
    for hour in range(30):
        window = ExportFilter(start=begin + timedelta(hours=hour), end=begin + timedelta(hours=hour + 1))
        assert export(tmp_path / "night.db", place / f"{hour:02}.ndjson", filter=window).manifest.event_count == 2
    assert ids_in_files(place) == Counter(event.id for event in events)
