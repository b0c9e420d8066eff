"""Ways in which exporters are known to have lost or doubled data that showed when an export was read or put back, each
tried on this one. ``docs/guarantees.md`` has the list; ``faults/test_incidents.py`` has the ways of writing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import foreign_readers
import sample_events
from penstock import (
    AnalyticsEvent,
    ExportError,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
    export,
    restore,
    verify,
)
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(200)
NAMES = ("x.ndjson", "x.json.gz", "x.csv", "x.parquet", "x.arrow")


def stored(path: Path, events: list[AnalyticsEvent]) -> Path:
    with SqliteAnalyticsStorage(path) as store:
        store.append(events)
    return path


def ids(path: Path) -> list[str]:
    with SqliteAnalyticsStorage(path) as store:
        return [one for batch in store.scan() for one in batch["id"].to_pylist()]


def tree(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A lineage of three runs."""
    for start, end in ((0, 80), (80, 150), (150, 200)):
        stored(tmp_path / "events.db", EVENTS[start:end])
        export(tmp_path / "events.db", tmp_path / "runs", options=ExportOptions(format="ndjson"), incremental=True)
    return tmp_path / "runs"


def test_incident_there_is_no_hidden_limit_of_rows_or_time(tmp_path: Path, penstock: Command) -> None:
    """An export ended at a number of rows, or at a default window, and said nothing."""
    moments = [datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1969, 2001, 2199, 9999)]
    many = [
        AnalyticsEvent("e", id=sample_events.uuid_of(number), timestamp=moments[number % 5])
        for number in range(120_000)
    ]
    stored(tmp_path / "many.db", many)
    assert penstock("export", "many.db", "all.csv", "--columns", "id", "--json").summary["event_count"] == 120_000
    assert (tmp_path / "all.csv").read_bytes().count(b"\n") == 120_001
    assert penstock("export", "many.db", "runs/", "--incremental", "--json").summary["event_count"] == 120_000


@pytest.mark.parametrize("name", NAMES)
def test_incident_a_field_that_appears_late_is_kept(name: str, tmp_path: Path) -> None:
    """The columns were settled by the first rows: fields that came later were dropped."""
    events = [AnalyticsEvent("e", id=sample_events.uuid_of(number), data={"a": number}) for number in range(5000)]
    events.append(
        AnalyticsEvent("e", id=sample_events.uuid_of(5000), data={"a": 1, "late": "here", "deep": {"er": [1]}})
    )
    stored(tmp_path / "events.db", events)
    options = ExportOptions(row_group_rows=100) if name == "x.parquet" else ExportOptions()
    export(tmp_path / "events.db", tmp_path / name, options=options)
    last = foreign_readers.read(tmp_path / name)[-1]
    assert last["data"] == sample_events.shape('{"a":1,"late":"here","deep":{"er":[1]}}')
    restore(tmp_path / name, tmp_path / "back.db")
    with SqliteAnalyticsStorage(tmp_path / "back.db") as back:
        again = [row["data"] for batch in back.scan() for row in batch.to_pylist()]
    assert [json.loads(text) for text in again[-2:]] == [{"a": 4999}, {"a": 1, "late": "here", "deep": {"er": [1]}}]


@pytest.mark.parametrize("name", NAMES)
def test_incident_a_missing_value_stays_in_its_row(name: str, tmp_path: Path) -> None:
    """Nulls in a column that was declared without them shifted the values behind them to other rows."""
    events = [
        AnalyticsEvent(
            "e",
            id=sample_events.uuid_of(number),
            session_id=None if number % 3 else sample_events.uuid_of(number + 1000),
        )
        for number in range(300)
    ]
    stored(tmp_path / "events.db", events)
    export(tmp_path / "events.db", tmp_path / name)
    rows = foreign_readers.read(tmp_path / name)
    assert [(row["id"], row["session_id"]) for row in rows] == [(event.id, event.session_id) for event in events]


def test_incident_windows_that_meet_share_no_event_and_miss_none(tmp_path: Path) -> None:
    """A live export and a backfill met at a time, and the events of that very time were in both."""
    at = sample_events.START
    times = [at + timedelta(seconds=seconds) for seconds in (-1, 0, 0, 0, 1)] + [at + timedelta(microseconds=-1)]
    events = [AnalyticsEvent("e", id=sample_events.uuid_of(n), timestamp=time) for n, time in enumerate(times)]
    stored(tmp_path / "events.db", events)
    for name, wanted in (("before", ExportFilter(end=at)), ("after", ExportFilter(start=at))):
        export(tmp_path / "events.db", tmp_path / f"{name}.ndjson", filter=wanted)
    found = [row["id"] for name in ("before", "after") for row in foreign_readers.read(tmp_path / f"{name}.ndjson")]
    assert Counter(found) == Counter(event.id for event in events)


def test_incident_every_run_is_restored_and_not_only_the_first(runs: Path, tmp_path: Path) -> None:
    """The loader took the first run's folder, and the events of the others were never missed."""
    result = restore(runs, tmp_path / "back.db")
    assert (result.inserted, result.duplicates) == (200, 0)
    assert ids(tmp_path / "back.db") == [event.id for event in EVENTS]


def test_incident_what_verifies_can_be_restored_and_what_cannot_does_not(runs: Path, tmp_path: Path) -> None:
    """A backup verified clean, and restoring it failed at a file that was missing."""
    files = sorted(path for path in runs.rglob("*") if path.is_file())
    assert len(files) > 6
    for path in files:
        text = path.read_bytes()
        path.unlink()
        healthy = _verifies(runs)
        restored = _restores(runs, tmp_path / f"{path.name}.db")
        assert not healthy
        assert restored is (path.suffix == ".sha256"), path.name
        path.write_bytes(text)
    assert _verifies(runs)
    assert _restores(runs, tmp_path / "back.db")


def _verifies(place: Path) -> bool:
    try:
        return verify(place).ok
    except ExportError:
        return False


def _restores(place: Path, into: Path) -> bool:
    try:
        restore(place, into)
    except ExportError:
        return False
    return Counter(ids(into)) == Counter(event.id for event in EVENTS)


def test_incident_a_mismatch_never_ends_like_a_success(runs: Path, penstock: Command) -> None:
    """The comparison with the manifest found a difference, logged it, and returned success."""
    part = sorted(runs.glob("data/run-000002-part-*"))[0]
    whole = part.read_bytes()
    for damaged in (whole[:-1], whole + b"\n", whole.replace(b'"n":', b'"m":', 1), b""):
        part.write_bytes(damaged)
        assert penstock("verify", "runs").code == 4
        assert penstock("verify", "runs", "-q").code == 4
        assert penstock("verify", "runs", "--json").summary["ok"] is False
        assert penstock("restore", "runs", "--into", "back.db").code == 4


def test_incident_reading_changes_nothing_where_it_reads(runs: Path, tmp_path: Path, penstock: Command) -> None:
    """A restore began with a backup, whose pruning removed the backups; a repair destroyed the archive."""
    part = sorted(runs.glob("data/run-000002-part-*"))[0]
    for text in (part.read_bytes(), part.read_bytes()[:-9]):
        part.write_bytes(text)
        before = tree(runs)
        for arguments in (
            ("verify", "runs"),
            ("verify", "runs", "--quick"),
            ("restore", "runs", "--into", "back.db", "--dry-run"),
            ("restore", "runs", "--into", "back.db"),
        ):
            penstock(*arguments)
        assert tree(runs) == before


def test_incident_a_run_that_was_removed_leaves_a_gap_that_is_seen(runs: Path, penstock: Command) -> None:
    """Retention removed the first segment of a chain, and the rest looked healthy until it was restored."""
    for path in [*runs.glob("data/run-000001*"), *runs.glob("_penstock/runs/000001*")]:
        path.unlink()
    assert penstock("verify", "runs").code == 4
    assert penstock("verify", "runs", "--quick").code == 4
    assert penstock("restore", "runs", "--into", "back.db").code == 4
    assert not (runs.parent / "back.db").exists()


def test_incident_a_restore_that_is_repeated_doubles_nothing(runs: Path, tmp_path: Path) -> None:
    """A loader that was run again loaded again: most of the events of the second run were duplicates."""
    first = restore(runs, tmp_path / "back.db", filter=ExportFilter(limit=120))
    again = restore(runs, tmp_path / "back.db")
    assert (first.inserted, again.inserted, again.duplicates) == (120, 80, 120)
    assert Counter(ids(tmp_path / "back.db")) == Counter(event.id for event in EVENTS)


def test_incident_the_sqlite_that_is_used_is_a_mended_one_and_named(penstock: Command) -> None:
    """Several writers of one write-ahead log could lose commits with most versions of SQLite."""
    said = penstock("doctor")
    bundled = re.search(r"sqlite of penstock: (\d+)\.(\d+)\.(\d+)", said.stdout.decode() + said.stderr)
    assert bundled is not None
    assert tuple(map(int, bundled.groups())) >= (3, 51, 3)  # the first that is right
