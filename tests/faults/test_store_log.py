"""No exported row may vanish with the power: the store's log is synced before a run commits, or the run says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import foreign_sqlite
import sample_events
from forged import manifest
from penstock import Exporter, ExportOptions, ExportResult, SqliteAnalyticsStorage, StorageConfig, export


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAnalyticsStorage]:
    """A store that is open for writing, so that its events lie in its log."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append(sample_events.varied(50))
        yield storage


def run(store: SqliteAnalyticsStorage, runs: Path) -> ExportResult:
    return Exporter(store).export(runs, options=ExportOptions(format="ndjson"), incremental=True)


class Syncs:
    """Every ``fsync`` and ``link`` of this process in order; those of a name that ends so fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str | None = None) -> None:
        self.done: list[str] = []
        self.fired = 0
        sync, link = os.fsync, os.link

        def fsync(fd: int) -> None:
            name = os.readlink(f"/proc/self/fd/{fd}")
            if failing is not None and name.endswith(failing):
                self.fired += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            sync(fd)
            self.done.append(name)

        def linked(source: Path, target: Path, **more: bool) -> None:
            link(source, target, **more)
            self.done.append(f"link {os.path.basename(target)}")

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "link", linked)


def test_the_log_and_its_name_are_durable_before_the_run_counts(
    store: SqliteAnalyticsStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (tmp_path / "events.db-wal").stat().st_size > 0
    (tmp_path / "elsewhere").mkdir()
    syncs = Syncs(monkeypatch)
    result = run(store, tmp_path / "elsewhere" / "runs")
    log, name, commit = (
        syncs.done.index(wanted) for wanted in (str(tmp_path / "events.db-wal"), str(tmp_path), "link 000001.json")
    )
    assert log < commit
    assert name < commit
    assert manifest(tmp_path / "elsewhere" / "runs", 1)["guarantees"] == {"growth": "proven"}
    assert not [note for note in result.notes if "assumed" in note]


@pytest.mark.parametrize("failing", [lambda place: "events.db-wal", str], ids=["the log", "its directory"])
def test_a_log_that_cannot_be_synced_is_told(
    failing: Callable[[Path], str],
    store: SqliteAnalyticsStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    runs = tmp_path / "elsewhere" / "runs"
    with monkeypatch.context() as patched:
        syncs = Syncs(patched, failing(tmp_path))
        result = run(store, runs)
    assert syncs.fired == 1
    assert [note for note in result.notes if "assumed" in note]
    assert manifest(runs, 1)["guarantees"] == {"growth": "proven", "store_durable": "assumed"}
    assert (result.manifest.rows, run(store, runs).manifest.rows) == (50, 0)
    assert manifest(runs, 2)["guarantees"] == {"growth": "proven"}


def test_a_table_of_another_application_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "app.db"
    statements = [
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT)",
        "INSERT INTO hits VALUES (1, 1, 'a')",
    ]
    with foreign_sqlite.holding(database, "PRAGMA journal_mode=WAL", *statements, "BEGIN"):
        syncs = Syncs(monkeypatch)
        config = StorageConfig(table="hits", mapping={"timestamp": "at:s", "event_type": "name"})
        (tmp_path / "elsewhere").mkdir()
        export(database, tmp_path / "elsewhere" / "runs", config=config, incremental=True)
        assert str(tmp_path / "app.db-wal") in syncs.done


def test_syncing_the_log_lets_go_of_no_lock(store: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    """A lock that was lost would let another process cut the log that a reader still needs."""
    with store.pin() as view:
        assert view.make_durable()
        busy = foreign_sqlite.execute(
            tmp_path / "events.db", "PRAGMA busy_timeout=0", "PRAGMA wal_checkpoint(TRUNCATE)"
        )[1][0][0]
        assert busy == 1
        assert view.first() == 1
