"""Ways in which exporters are known to have lost or doubled data when an export failed, each tried on this one.

``docs/guarantees.md`` has the list; the ways that show when an export is read are in
``acceptance/test_incidents_reading.py``.
"""

from __future__ import annotations

import errno
import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from incident_exports import EVENTS, IDS, Clock, add, ids_in_files

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
from penstock.errors import DestinationExists, ExportError, IntegrityError, IoError
from penstock.exporting import extract
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.manifest import parse_manifest
from penstock.model.options import ExportFormat
from penstock.runners.threads import ThreadRunner
from penstock.sources.sqlite.view import EventsView
from penstock.testing.faults import Fail, FaultyOps

NAMES = ("x.ndjson", "x.json", "x.csv.gz", "x.ndjson.zst", "x.parquet", "x.arrow", "parts")


Read = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAnalyticsStorage]:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append(EVENTS)
        yield storage


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def fail_after_one_batch(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The store gives a batch of rows, and then an error."""
    real: Read = EventsView._rows

    def read(self: EventsView, *given: Any) -> Iterator[Any]:
        yield next(real(self, *given)).slice(0, 20)
        raise error

    monkeypatch.setattr(EventsView, "_rows", read)


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
    assert Exporter(store).export(place / name).manifest.rows == len(EVENTS)


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
    ending = "000001.json" if name == "runs" else "manifest.json"
    fault = Fail(on=("link",), ending=ending, late=True, code=errno.EIO)
    if name == "runs":
        add(store, place / name, fault)
    else:
        make = FileDestination if "." in name else DirectoryDestination
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


def test_incident_nothing_is_acknowledged_before_it_is_durable(store: SqliteAnalyticsStorage, place: Path) -> None:
    """Writes were acknowledged minutes before they were synced: a power failure took what had been promised."""
    ops = FaultyOps()
    options = ExportOptions(workers=1, part_rows=100)
    export_incremental(
        store,
        DirectoryDestination(place / "runs", ops=ops).lineage(),
        layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
        filter=ExportFilter(),
        options=options,
        clock=Clock(),
        workers=Workers(threads=ThreadRunner(1)),
    )
    calls = [(operation.name, Path(operation.path).name) for operation in ops.log]
    commit = next(number for number, one in enumerate(ops.log) if (one.target or "").endswith("000001.json"))
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
    manifest = place / f"{name}.manifest.json" if "." in name else base / "_penstock/manifest.json"
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
        assert export(tmp_path / "night.db", place / f"{hour:02}.ndjson", filter=window).manifest.rows == 2
    assert ids_in_files(place) == Counter(event.id for event in events)
