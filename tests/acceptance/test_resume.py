"""Resume as a user meets it: the lineage goes on as it was begun, a crash is cleared up and told, damage stops it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adopted_tables
import foreign_readers
import sample_events
from forged import forge, manifest, part, run_path
from penstock import AnalyticsEvent, ExportOptions, SqliteAnalyticsStorage, StorageConfig, resume
from penstock.errors import UsageError
from penstock.publishing.recovery import Intent
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(90)
ADD = ("export", "events.db", "runs/", "--incremental")


def append(place: Path, events: list[AnalyticsEvent]) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(events)


def tree(runs: Path) -> dict[str, bytes]:
    """Every file of a lineage, without what tells when a manifest was written."""
    found = {}
    for path in sorted(path for path in runs.rglob("*") if path.is_file()):
        text = path.read_bytes()
        if path.name.endswith(".json"):
            raw = json.loads(text)
            del raw["exported_at"], raw["manifest_sha256"], raw["lineage"]["previous"]
            text = json.dumps(raw).encode()
        found[str(path.relative_to(runs))] = text
    return found


@pytest.fixture
def runs(tmp_path: Path, penstock: Command) -> Path:
    """A lineage of two runs of 30 events, and 30 more in the store."""
    for start, end in ((0, 30), (30, 60)):
        append(tmp_path, EVENTS[start:end])
        assert penstock(*ADD, "--format", "ndjson").code == 0
    append(tmp_path, EVENTS[60:])
    return tmp_path / "runs"


def ids(runs: Path) -> list[str]:
    paths = sorted(runs.glob("_penstock/runs/*.json"))
    named = [part["name"] for path in paths for part in json.loads(path.read_bytes())["parts"]]
    return [row["id"] for name in named for row in foreign_readers.read(runs / name)]


SETTINGS: list[tuple[str, ...]] = [
    (),
    ("--format", "csv", "--csv-null", "NULL", "--compression", "gzip", "--level", "9"),
    ("--format", "json", "--pretty", "--compression", "zstd"),
    ("--format", "arrow", "--compression", "lz4", "--columns", "seq,id,data"),
    ("--compression", "zstd", "--level", "1", "--columns", "id,timestamp"),
    ("--format", "ndjson", "--start", "2026-11-05", "--end", "2026-11-25T12:00:00.5Z", "--priority", "high"),
    ("--format", "ndjson", "--category", "usage", "--category", "error", "--event-type", EVENTS[1].event_type),
    ("--format", "csv", "--session", sample_events.uuid_of(1)),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
def test_a_lineage_goes_on_as_it_was_begun(settings: tuple[str, ...], tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, EVENTS[:50])
    assert penstock(*ADD, *settings).code == 0
    shutil.copytree(tmp_path / "runs", tmp_path / "same")
    append(tmp_path, EVENTS[50:])
    for part_size in ((), ("--part-size", "7rows")):
        assert penstock("export", "events.db", "same/", "--incremental", *settings, *part_size).code == 0
        assert penstock("resume", "events.db", "runs", *part_size).code == 0
        assert tree(tmp_path / "runs") == tree(tmp_path / "same")
    assert penstock("verify", "runs").code == 0
    assert run_path(tmp_path / "runs", 3).exists()


def test_a_table_and_its_mapping_need_no_repeating(tmp_path: Path, penstock: Command) -> None:
    table = "CREATE TABLE hits (number INTEGER PRIMARY KEY, name TEXT, created INTEGER, category TEXT, id TEXT)"
    rows = [(number, "page", 1_793_536_215_000 + number, "error", f"x{number}") for number in range(1, 9)]
    adopted_tables.build(tmp_path / "events.db", table, rows=rows[:5])
    given = ("--table", "hits", "--map", "timestamp=created:ms,event_type=name,category=:none,session_id=id,id=:none")
    assert penstock(*ADD, "--format", "ndjson", *given).code == 0
    adopted_tables.elsewhere(tmp_path / "events.db", *(f"INSERT INTO hits VALUES {row!r}" for row in rows[5:]))
    shutil.copytree(tmp_path / "runs", tmp_path / "same")
    assert penstock("export", "events.db", "same/", "--incremental", "--format", "ndjson", *given).code == 0
    assert penstock("resume", "events.db", "runs").code == 0
    assert tree(tmp_path / "runs") == tree(tmp_path / "same")
    last = foreign_readers.read(part(tmp_path / "runs", 2))
    assert [(row["id"], row["session_id"], row["category"]) for row in last] == [
        (f"hits:{number}", f"x{number}", "custom") for number in (6, 7, 8)
    ]
    with pytest.raises(UsageError, match="says which table"):
        resume(tmp_path / "events.db", tmp_path / "runs", config=StorageConfig(table="hits"))


def begun(runs: Path, penstock: Command) -> bytes:
    """Lay out what a run leaves that is killed before its commit: its parts, and its manifest where it was staged."""
    whole = runs.with_name("whole")
    shutil.copytree(runs, whole)
    assert penstock("export", "events.db", "whole/", "--incremental", "--format", "ndjson").code == 0
    (runs / ".penstock").mkdir()
    shutil.copy(part(whole, 3), runs / "data")
    (runs / ".penstock" / "intent").write_bytes(Intent(manifest=run_path(whole, 3).read_bytes()).to_bytes())
    return run_path(whole, 3).read_bytes()


def only_data(runs: Path) -> None:
    (runs / ".penstock").mkdir()
    (runs / ".penstock" / "data-00000").write_bytes(b"half a li")


def committed(runs: Path, penstock: Command) -> None:
    text = begun(runs, penstock)
    run_path(runs, 3).write_bytes(text)


LEFT: list[tuple[str, Callable[[Path, Command], object], list[str], int]] = [
    ("nothing", lambda runs, penstock: None, [], 3),
    ("data", lambda runs, penstock: only_data(runs), ["an interrupted run was cleared up first"], 3),
    ("parts", begun, ["an interrupted run was cleared up first"], 3),
    (
        "a commit",
        committed,
        [
            "the interrupted run of _penstock/runs/000003.json was committed already",
        ],
        4,
    ),
    (
        "sums",
        lambda runs, penstock: (runs / "_penstock/runs/000002.sha256").unlink(),
        ["_penstock/runs/000002.sha256 was missing and was written"],
        3,
    ),
]


@pytest.mark.parametrize(("leave", "said", "run"), [one[1:] for one in LEFT], ids=[one[0] for one in LEFT])
def test_what_a_crash_left_is_cleared_and_told(
    leave: Callable[[Path, Command], object], said: list[str], run: int, runs: Path, penstock: Command
) -> None:
    leave(runs, penstock)
    shutil.copytree(runs, runs.with_name("same"))
    done = penstock("resume", "events.db", "runs", "--json")
    summary = done.summary
    assert done.code == 0
    assert (summary["recovered"], summary["run"], summary["runs_before"]) == (said, run, run - 1)
    assert [line["message"] for line in done.lines if line["type"] == "recovered"] == said
    assert (summary["events_before"], summary["event_count"]) == ((90, 0) if run == 4 else (60, 30))
    assert ids(runs) == [event.id for event in EVENTS]
    assert penstock("verify", "runs").code == 0
    assert not (runs / ".penstock").exists()
    again = penstock("export", "events.db", "same/", "--incremental", "--format", "ndjson")
    assert again.code == 0
    assert all(f"note: {note}" in again.stderr for note in said)
    assert tree(runs) == tree(runs.with_name("same"))


def test_people_are_told_too(runs: Path, penstock: Command) -> None:
    only_data(runs)
    done = penstock("resume", "events.db", "runs")
    assert (done.code, done.stdout) == (0, b"")
    assert "recovered: an interrupted run was cleared up first" in done.stderr
    assert "there already: 60 events up to run 2, every part of the size it should have" in done.stderr
    assert "30 events" in done.stderr


def test_nothing_is_added_to_what_is_not_whole(runs: Path, penstock: Command) -> None:
    kept = part(runs, 1).read_bytes()
    before = sorted(os.listdir(runs))
    part(runs, 1).write_bytes(kept[:-2] + b"X\n")
    done = penstock("resume", "events.db", "runs", "--verify-full")
    assert (done.code, sorted(os.listdir(runs))) == (4, before)
    assert part(runs, 1).name in done.stderr
    for damage in (kept[:-1], None):
        part(runs, 1).unlink()
        if damage is not None:
            part(runs, 1).write_bytes(damage)
        done = penstock("resume", "events.db", "runs")
        assert done.code == 4
        assert "no run was added" in done.stderr
        assert not run_path(runs, 3).exists()
    part(runs, 1).write_bytes(kept)
    assert penstock("resume", "events.db", "runs", "--verify-full").code == 0


def test_a_damaged_chain_is_not_continued(runs: Path, penstock: Command) -> None:
    kept = run_path(runs, 1).read_bytes()
    run_path(runs, 1).unlink()
    assert penstock("resume", "events.db", "runs").code == 4
    run_path(runs, 1).write_bytes(kept)

    def unknown(raw: dict[str, Any]) -> None:
        raw["filter"] = {"moon": "full"}

    for number in (1, 2):
        forge(runs, number, unknown)
    done = penstock("resume", "events.db", "runs")
    assert done.code == 4
    assert "does not say how to go on" in done.stderr
    assert not run_path(runs, 3).exists()


def test_places_that_hold_no_lineage(runs: Path, tmp_path: Path, penstock: Command) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / ".penstock").mkdir(parents=True)
    assert penstock("export", "events.db", "plain/").code == 0
    for place in ("missing", "missing/", "empty", "begun", "plain"):
        done = penstock("resume", "events.db", place)
        assert (done.code, done.stdout) == (6, b""), place
        assert "penstock export STORE DIR --incremental" in done.stderr
    assert not (tmp_path / "missing").exists()
    assert penstock("resume", "events.db", "runs/_penstock/runs/000001.sha256").code == 2
    assert penstock("resume", "missing.db", "runs").code == 6
    assert not (tmp_path / "missing.db").exists()


def test_another_store_and_another_writer(runs: Path, tmp_path: Path, penstock: Command) -> None:
    with SqliteAnalyticsStorage(tmp_path / "other.db") as store:
        store.append(EVENTS)
    done = penstock("resume", "other.db", "runs")
    assert done.code == 2
    assert "not the store of the lineage" in done.stderr
    (runs / ".penstock").mkdir()
    with open(runs / ".penstock" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert penstock("resume", "events.db", "runs").code == 11
    assert not run_path(runs, 3).exists()


def test_open_stores_and_options_in_python(runs: Path) -> None:
    with SqliteAnalyticsStorage(runs.with_name("events.db")) as store:
        for options in (ExportOptions(format="csv"), ExportOptions(compression="gzip"), ExportOptions(columns=["id"])):
            with pytest.raises(UsageError, match="the lineage was begun with"):
                resume(store, runs, options=options)
        result = resume(store, runs, options=ExportOptions(format="ndjson", part_rows=10, verify_written=True))
    assert result.verified.ok
    assert result.recovered == ()
    assert len(result.export.manifest.parts) == len(manifest(runs, 3)["parts"]) > 1
    assert ids(runs) == [event.id for event in EVENTS]
