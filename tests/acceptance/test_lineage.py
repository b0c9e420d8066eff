"""Incremental export as a user meets it: runs that add up, pins that hold, and a chain that shows every damage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foreign_readers
import sample_events
from forged import forge, manifest, part, run_path
from penstock import AnalyticsEvent, DirectoryDestination, ExportFilter, SqliteAnalyticsStorage, verify
from penstock.errors import ExportError, Locked, ManifestError, NewerVersion
from penstock.model.manifest import parse_manifest
from penstock.publishing.recovery import Intent
from penstock_command import Run

Command = Callable[..., Run]
Damage = Callable[[Path], object]
EVENTS = sample_events.varied(90)
ADD = ("export", "events.db", "runs/", "--incremental", "--format", "ndjson")


def append(place: Path, events: list[AnalyticsEvent]) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(events)


def ids(runs: Path) -> list[str]:
    """The ids of every run in order, read by a library that did not write them."""
    found = []
    for path in sorted(runs.glob("_penstock/runs/*.json")):
        for entry in json.loads(path.read_bytes())["parts"]:
            found += [row["id"] for row in foreign_readers.read(runs / entry["name"])]
    return found


@pytest.fixture
def runs(tmp_path: Path, penstock: Command) -> Path:
    """A lineage of three runs of 40, 30 and 20 events."""
    for start, end in ((0, 40), (40, 70), (70, 90)):
        append(tmp_path, EVENTS[start:end])
        assert penstock(*ADD).code == 0
    return tmp_path / "runs"


def test_runs_add_up_and_an_empty_run_is_a_run(runs: Path, tmp_path: Path, penstock: Command) -> None:
    said = penstock(*ADD, "--json").summary
    assert (said["ok"], said["exit_code"], said["event_count"], said["parts"]) == (True, 0, 0, 0)
    assert manifest(runs, 4)["lineage"]["after"] == manifest(runs, 4)["lineage"]["upto"] == {"seq": 90}
    append(tmp_path, sample_events.fixed())
    assert penstock(*ADD, "--json").summary["event_count"] == 4
    assert ids(runs) == [event.id for event in (*EVENTS, *sample_events.fixed())]
    assert [manifest(runs, number)["rows"] for number in range(1, 6)] == [40, 30, 20, 0, 4]
    sums = b"".join(path.read_bytes() for path in sorted(runs.glob("_penstock/runs/*.sha256")))
    assert sums.count(b"\n") == 4
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], input=sums, cwd=runs, check=True)
    for arguments in (["runs"], ["runs/", "--quick"], ["runs", "--json"]):
        assert penstock("verify", *arguments).code == 0
    said = penstock("verify", "runs", "--json").summary
    assert (said["event_count"], said["parts"], said["problems"]) == (94, 4, 0)
    assert not (runs / ".penstock").exists()


def test_the_first_run_of_an_empty_store_and_of_one_that_was_emptied(tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, [])
    assert penstock(*ADD).code == 0
    append(tmp_path, EVENTS[:5])
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.delete(ExportFilter(limit=5))
    assert penstock(*ADD).code == 0
    append(tmp_path, EVENTS[5:8])
    assert penstock(*ADD).code == 0
    assert ids(tmp_path / "runs") == [event.id for event in EVENTS[5:8]]
    assert penstock("verify", "runs").code == 0
    assert [len(manifest(tmp_path / "runs", number)["lineage"]["anchors"]) for number in (1, 2, 3)] == [0, 0, 3]


@pytest.mark.parametrize("columns", ["id,timestamp", "id,event_type,data"])
def test_runs_of_some_columns(columns: str, tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, EVENTS)
    assert penstock(*ADD, "--columns", columns, "--part-size", "30rows").code == 0
    assert penstock("verify", "runs").code == 0
    assert ids(tmp_path / "runs") == [event.id for event in EVENTS]
    assert penstock("restore", "runs", "--into", "back.db").code == 2


def _first(edit: Callable[[dict[str, Any]], object]) -> Damage:
    return lambda runs: forge(runs, 2, edit)


def _edit(runs: Path) -> None:
    path = run_path(runs, 2)
    path.write_bytes(path.read_bytes().replace(b'"rows": 30', b'"rows": 31'))


def _swap(runs: Path) -> None:
    one, other = part(runs, 1), part(runs, 2)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _foreign(number: int, *, to: int) -> Damage:
    """A run of another lineage, of the same store and options, takes a run's place with all its parts."""

    def mix(runs: Path) -> None:
        other = runs.with_name("other")
        for path in other.glob(f"data/run-{number:06d}-part-*"):
            shutil.copy(path, runs / "data")
        shutil.copy(run_path(other, number), run_path(runs, to))

    return mix


CHAIN_DAMAGE: dict[str, Damage] = {
    "the first manifest is missing": lambda runs: run_path(runs, 1).unlink(),
    "a manifest is missing": lambda runs: run_path(runs, 2).unlink(),
    "a manifest is edited": _edit,
    "a manifest is torn": lambda runs: run_path(runs, 3).write_bytes(run_path(runs, 3).read_bytes()[:-40]),
    "a manifest is empty": lambda runs: run_path(runs, 3).write_bytes(b""),
    "a manifest is another program's": lambda runs: run_path(runs, 4).write_text('{"name": "package"}'),
    "a manifest is there twice": lambda runs: shutil.copy(run_path(runs, 3), run_path(runs, 4)),
    "a manifest is renamed": lambda runs: run_path(runs, 3).rename(run_path(runs, 5)),
    "two manifests change places": lambda runs: (
        run_path(runs, 2).rename(runs / "x"),
        run_path(runs, 3).rename(run_path(runs, 2)),
        (runs / "x").rename(run_path(runs, 3)),
    ),
    "a plain export's manifest is a run's": lambda runs: shutil.copy(
        runs.parent / "plain/_penstock/manifest.json", run_path(runs, 4)
    ),
    "the last run is another lineage's": _foreign(3, to=3),
    "the first run is another lineage's": _foreign(1, to=1),
    "another lineage's first run follows": _foreign(1, to=4),
    "a gap": _first(lambda raw: raw["lineage"].update(after={"seq": 41})),
    "an overlap": _first(lambda raw: raw["lineage"].update(after={"seq": 39})),
    "a fork": _first(lambda raw: raw["lineage"].update(previous="0" * 64)),
    "another store": _first(lambda raw: raw["lineage"].update(store="penstock:0")),
    "another filter": _first(lambda raw: raw.update(filter={"categories": ["usage"]})),
    "other options": _first(lambda raw: raw["options"].update(pretty=True)),
    "other columns": _first(lambda raw: raw["schema"].pop()),
    "another run's number": _first(lambda raw: raw["lineage"].update(run=3)),
    "no place in a lineage": _first(lambda raw: raw.pop("lineage")),
    "a stretch that runs backwards": _first(lambda raw: raw["lineage"].update(upto={"seq": 20})),
    "a part outside": _first(lambda raw: raw["parts"][0].update(name="../plain/secret")),
    "a part in a directory": _first(lambda raw: raw["parts"][0].update(name="a/b")),
    "a count that is not the parts'": _first(lambda raw: raw.update(rows=29)),
}


#: What is wrong between runs that the next one does not open: it reads the last two manifests, verify reads all.
_BETWEEN_OLDER_RUNS = {"a gap", "an overlap", "a fork"}


@pytest.mark.parametrize("name", CHAIN_DAMAGE)
def test_a_damaged_chain_is_neither_verified_nor_continued_nor_restored(
    name: str, runs: Path, tmp_path: Path, penstock: Command
) -> None:
    damage = CHAIN_DAMAGE[name]
    for upto in (35, 60, 90):  # another lineage of the same store, with other stretches
        shutil.copy(tmp_path / "events.db", tmp_path / "copy.db")
        with SqliteAnalyticsStorage(tmp_path / "copy.db") as store:
            if store.count() > upto:
                store.delete(ExportFilter(limit=store.count() - upto))
        # each copy counted fewer deletions than the one before: the store was put back
        assert penstock("export", "copy.db", "other/", "--incremental", "--format", "ndjson").code in (0, 3)
    assert penstock("export", "events.db", "plain/", "--format", "ndjson").code == 0
    damage(runs)
    before = {path: path.read_bytes() for path in runs.iterdir() if path.is_file()}
    assert penstock("verify", "runs").code == 4
    assert penstock("verify", "runs", "--quick").code == 4
    if name not in _BETWEEN_OLDER_RUNS:
        assert penstock(*ADD, "--json").summary["exit_code"] == 4
    assert penstock("restore", "runs", "--into", "back.db", "--dry-run").code == 4
    assert {path: path.read_bytes() for path in runs.iterdir() if path.is_file()} == before
    with pytest.raises(ManifestError):
        verify(runs)


FORGED: dict[str, Damage] = {
    "two runs name one part": lambda runs: forge(
        runs, 2, lambda raw: raw.update({name: manifest(runs, 1)[name] for name in TOTALS})
    ),
    "events outside the stretch": lambda runs: forge(runs, 2, lambda raw: raw["seq_range"].update(first=12)),
    "another digest of events": lambda runs: forge(runs, 3, lambda raw: raw["rows_digest"].update(value="0" * 32)),
    "another checksum": lambda runs: forge(runs, 3, lambda raw: raw.update(checksum="0" * 64)),
}
TOTALS = ("parts", "rows", "rows_digest", "checksum", "seq_range", "time_range")


@pytest.mark.parametrize("damage", FORGED.values(), ids=FORGED.keys())
def test_manifests_that_contradict_themselves(damage: Damage, runs: Path, penstock: Command) -> None:
    damage(runs)
    assert verify(runs).problems
    assert penstock("verify", "runs").code == 4
    assert penstock("restore", "runs", "--into", "back.db").code == 4


def test_a_folder_where_the_next_manifest_belongs_is_no_run_and_is_left_alone(runs: Path, penstock: Command) -> None:
    run_path(runs, 4).mkdir()
    before = sorted(path for path in runs.rglob("*"))
    assert penstock("verify", "runs").code == 0
    assert penstock(*ADD).code == 2
    assert sorted(path for path in runs.rglob("*")) == before


def test_a_newer_format_is_told_from_damage(runs: Path, tmp_path: Path, penstock: Command) -> None:
    forge(runs, 3, lambda raw: raw.update(penstock_manifest=2))
    assert penstock("verify", "runs").code == 2
    assert penstock(*ADD).code == 2
    assert penstock("restore", "runs", "--into", "back.db", "--dry-run").code == 2
    with pytest.raises(NewerVersion):
        verify(runs)


PART_DAMAGE: dict[str, tuple[bool, Damage]] = {
    "a part is missing": (True, lambda runs: part(runs, 2).unlink()),
    "a part is renamed": (True, lambda runs: part(runs, 2).rename(runs / "part.ndjson")),
    "a part is truncated": (True, lambda runs: os.truncate(part(runs, 2), 100)),
    "a part is longer": (True, lambda runs: part(runs, 2).write_bytes(part(runs, 2).read_bytes() + b"\n")),
    "two parts are swapped": (True, _swap),
    "a byte is another": (False, lambda runs: part(runs, 2).write_bytes(b"[" + part(runs, 2).read_bytes()[1:])),
}


@pytest.mark.parametrize(("quick", "damage"), PART_DAMAGE.values(), ids=PART_DAMAGE.keys())
def test_a_damaged_part_is_named(quick: bool, damage: Damage, runs: Path, penstock: Command) -> None:
    name = str(part(runs, 2).relative_to(runs))
    damage(runs)
    said = penstock("verify", "runs")
    assert said.code == 4
    assert name in said.stderr
    assert penstock("verify", "runs", "--quick").code == (4 if quick else 0)
    problems = [line["part"] for line in penstock("verify", "runs", "--json").lines if line["type"] == "problem"]
    assert name in problems
    assert penstock("restore", "runs", "--into", "back.db").code == 4


def test_other_peoples_files_are_left_alone_and_mentioned(runs: Path, penstock: Command) -> None:
    strangers = {
        "notes.txt": b"mine",
        "_penstock/runs/1.json": b"not a run's name",
        "data/run-000009-part-00000-1-2-00000000.ndjson": b"{}",
    }
    for name, text in strangers.items():
        (runs / name).write_bytes(text)
    assert penstock(*ADD).code == 0
    said = penstock("verify", "runs")
    assert said.code == 0
    assert "3 files here are not of this export" in said.stderr
    assert {name: (runs / name).read_bytes() for name in strangers} == strangers


def test_sums_that_are_gone_are_written_by_the_next_run_and_wrong_ones_stay_a_problem(
    runs: Path, penstock: Command
) -> None:
    sums = runs / "_penstock/runs/000002.sha256"
    before = sums.read_bytes()
    sums.unlink()
    assert penstock("verify", "runs").code == 4
    said = penstock(*ADD)
    assert said.code == 0
    assert "_penstock/runs/000002.sha256 was missing and was written" in said.stderr
    assert sums.read_bytes() == before
    assert penstock("verify", "runs").code == 0
    for damage in (lambda: sums.write_text("0  x\n"), lambda: (sums.unlink(), sums.mkdir())):
        damage()
        assert penstock("verify", "runs").code == 4
        assert penstock(*ADD).code == (0 if sums.is_file() else 2)
        assert penstock("verify", "runs").code == 4


@pytest.mark.parametrize("removed", [1, 2])
def test_an_interrupted_export_excuses_no_sums_of_runs_that_are_gone(
    removed: int, runs: Path, tmp_path: Path, penstock: Command
) -> None:
    """What was interrupted explains sums that are missing, never sums of runs that are not there."""
    for number in range(3, 3 - removed, -1):
        run = json.loads(run_path(runs, number).read_bytes())
        for entry in run["parts"]:
            (runs / entry["name"]).unlink()
        run_path(runs, number).unlink()
    (runs / ".run-000009").mkdir()
    (runs / ".run-000009" / "lock").touch()
    said = penstock("verify", "runs")
    assert (said.code, ".sha256" in said.stderr) == (4, True), said.stderr


def test_a_run_that_is_added_while_others_look_is_no_damage(runs: Path, tmp_path: Path, penstock: Command) -> None:
    """The manifests were read before it was committed, the sums afterwards."""
    lineage = DirectoryDestination(runs).lineage()
    before = [parse_manifest(text, where=name) for name, text in lineage.runs()]
    append(tmp_path, sample_events.varied(5, seed=77))
    assert penstock(*ADD).code == 0
    problems, _ = lineage.inspect(before)
    assert problems == []


def test_a_second_exporter_is_told_so(runs: Path, penstock: Command) -> None:
    publication = DirectoryDestination(runs).lineage().begin()
    publication.stage().finish()
    try:
        said = penstock(*ADD, "--json")
        assert (said.code, said.summary["exit_code"]) == (11, 11)
        with pytest.raises(Locked):
            DirectoryDestination(runs).lineage().begin()
        assert "running or interrupted" in penstock("verify", "runs").stderr
    finally:
        publication.close()
    assert penstock(*ADD).code == 0


def test_a_run_that_fails_after_it_wrote_leaves_the_lineage_as_it_was(runs: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(runs))
    destination = DirectoryDestination(runs).lineage()
    publication = destination.begin()
    staged = publication.stage()
    staged.write(b"half an event")
    publication.close()
    assert sorted(os.listdir(runs)) == before
    with pytest.raises(ExportError):
        DirectoryDestination(tmp_path / "nowhere" / "runs").lineage().begin()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "other",
    [
        ("--category", "usage"),
        ("--start", "2026-11-02"),
        ("--format", "csv"),
        ("--compression", "gzip"),
        ("--columns", "id,timestamp,seq"),
    ],
    ids=" ".join,
)
def test_what_a_lineage_was_begun_with_it_keeps(other: tuple[str, str], runs: Path, penstock: Command) -> None:
    before = sorted(os.listdir(runs))
    said = penstock("export", "events.db", "runs/", "--incremental", "--format", "ndjson", *other)
    assert said.code == 2
    assert "the lineage was begun with another" in said.stderr
    assert sorted(os.listdir(runs)) == before


@pytest.mark.parametrize(
    "refused",
    [
        ("--limit", "5"),
        ("--max-bytes", "1MB"),
        ("--max-duration", "60"),
        ("--fail-on-empty",),
        ("--overwrite",),
        ("--manifest", "m.json"),
    ],
    ids=" ".join,
)
def test_what_would_cut_a_run_short_is_refused(refused: tuple[str, ...], runs: Path, penstock: Command) -> None:
    assert penstock(*ADD, *refused).code == 2
    assert penstock("export", "events.db", "new/", "--incremental", *refused).code == 2
    assert not (runs.parent / "new").exists()
    assert len(list(runs.glob("_penstock/runs/*.json"))) == 3


@pytest.mark.parametrize(("dest", "code"), [("out.ndjson", 2), ("events.db", 2), ("nowhere/runs/", 6)])
def test_a_lineage_needs_a_directory(dest: str, code: int, runs: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", dest, "--incremental").code == code


def test_another_store_is_refused_and_a_copy_goes_on(runs: Path, tmp_path: Path, penstock: Command) -> None:
    shutil.copy(tmp_path / "events.db", tmp_path / "older.db")
    assert (
        penstock("export", "older.db", "runs/", "--incremental", "--format", "ndjson").code == 0
    )  # moved, not another
    append(tmp_path, sample_events.varied(10, seed=2))
    assert penstock(*ADD).code == 0
    with SqliteAnalyticsStorage(tmp_path / "other.db") as store:
        store.append(sample_events.varied(200, seed=5))
    said = penstock("export", "other.db", "runs/", "--incremental", "--format", "ndjson")
    assert said.code == 2
    assert "not the store" in said.stderr
    assert penstock(*ADD).code == 0
    assert len(ids(runs)) == 100


def test_two_copies_of_a_store_in_turn_lose_nothing_and_double_nothing(
    runs: Path, tmp_path: Path, penstock: Command
) -> None:
    """Whatever copy comes next, it is seen that the store is not as the last run left it, and said."""
    shutil.copy(tmp_path / "events.db", tmp_path / "older.db")
    newer, grown = sample_events.varied(10, seed=2), sample_events.varied(30, seed=7)
    append(tmp_path, newer)
    assert penstock(*ADD).code == 0
    older = ("export", "older.db", *ADD[2:])
    said = penstock(*older)
    assert said.code == 3
    assert "the store goes on after 90" in said.stderr
    assert manifest(runs, 5)["lineage"]["broken"]["cursor"] == {"seq": 100}
    assert penstock(*older).code == 0  # it was said once
    said = penstock(*ADD)
    assert said.code == 0
    assert "held already: 10" in said.stderr
    with SqliteAnalyticsStorage(tmp_path / "older.db") as store:
        store.append(grown)
    assert penstock(*older).code == 3
    assert penstock(*ADD).code == 3
    assert Counter(ids(runs)) == Counter(event.id for event in (*EVENTS, *newer, *grown))
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0
    assert penstock("restore", "runs", "--into", "back.db", "--json").summary["inserted"] == 130


def test_an_anchor_that_was_deleted_is_let_pass(runs: Path, tmp_path: Path, penstock: Command) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        assert store.delete(ExportFilter(session_id=EVENTS[-1].session_id)) > 0
    append(tmp_path, sample_events.fixed())
    assert penstock(*ADD).code == 0
    assert ids(runs) == [event.id for event in (*EVENTS, *sample_events.fixed())]


def test_plain_and_incremental_exports_do_not_mix(runs: Path, tmp_path: Path, penstock: Command) -> None:
    before = sorted(os.listdir(runs))
    for more in ((), ("--overwrite",), ("--format", "ndjson")):
        assert penstock("export", "events.db", "runs/", *more).code == 2
    assert sorted(os.listdir(runs)) == before
    assert penstock("export", "events.db", "plain/").code == 0
    before = sorted(os.listdir(tmp_path / "plain"))
    assert penstock("export", "events.db", "plain/", "--incremental").code == 2
    assert sorted(os.listdir(tmp_path / "plain")) == before


def test_a_plain_export_takes_nothing_from_a_run_that_was_killed_after_its_commit(
    tmp_path: Path, penstock: Command
) -> None:
    append(tmp_path, EVENTS)
    assert penstock(*ADD).code == 0
    runs = tmp_path / "runs"
    (runs / ".penstock").mkdir()
    (runs / ".penstock" / "intent").write_bytes(Intent(manifest=run_path(runs, 1).read_bytes()).to_bytes())
    (runs / "_penstock/runs/000001.sha256").unlink()
    assert penstock("export", "events.db", "runs/").code == 2
    assert penstock(*ADD).code == 0
    assert penstock("verify", "runs").code == 0
    assert ids(runs) == [event.id for event in EVENTS]


def test_what_an_interrupted_plain_export_left_is_cleared_first(runs: Path, tmp_path: Path, penstock: Command) -> None:
    place = tmp_path / "begun"
    assert penstock("export", "events.db", "begun/").code == 0
    (place / ".penstock").mkdir()
    text = (place / "_penstock/manifest.json").read_bytes()
    (place / ".penstock" / "intent").write_bytes(Intent(manifest=text).to_bytes())
    (place / "_penstock/manifest.json").unlink()
    (place / "_penstock/SHA256SUMS").unlink()
    assert penstock("export", "events.db", "begun/", "--incremental").code == 0
    assert [path.name for path in place.glob("data/*part-*")] == [part(place, 1).name]
    assert penstock("verify", "begun").stderr.count("note") == 0
