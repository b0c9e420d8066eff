"""Repair: what is missing or damaged in a lineage is made again from the store, or it is said what cannot be proven."""

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
import foreign_sqlite
import sample_events
from forged import manifest, part, run_path
from penstock import AnalyticsEvent, SqliteAnalyticsStorage, verify
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(900)
ADD = ("export", "events.db", "runs/", "--incremental", "--part-size", "150rows")
REPAIR = ("repair", "runs", "--from", "events.db", "--part-size", "150rows")


def begun(root: Path, penstock: Command, *more: str, runs: int = 3) -> Path:
    """A lineage of so many runs of 300 events, two parts each."""
    for run in range(runs):
        with SqliteAnalyticsStorage(root / "events.db") as store:
            store.append(EVENTS[300 * run : 300 * (run + 1)])
        assert penstock(*ADD, *more).code == 0
    return root / "runs"


def held(runs: Path) -> Counter[str]:
    """The ids of all rows that the manifests hold, read by libraries that did not write them."""
    manifests = [json.loads(path.read_bytes()) for path in sorted(runs.glob("_penstock/runs/*.json"))]
    gone = {one["name"] for raw in manifests for one in raw["lineage"]["removed"]}
    waived = {one["run"] for one in manifests[-1]["lineage"]["waived"]}
    names = [
        entry["name"]
        for raw in manifests
        for entry in raw["parts"]
        if entry["name"] not in gone and raw["lineage"]["run"] not in waived
    ]
    return Counter(row["id"] for name in names for row in foreign_readers.read(runs / name))


def of(events: list[AnalyticsEvent]) -> Counter[str]:
    return Counter(event.id for event in events)


def whole(runs: Path, penstock: Command, events: list[AnalyticsEvent] = EVENTS) -> None:
    """By our own verbs, by the sums of others, and by what a reader of all files finds."""
    assert penstock("verify", "runs").code == 0
    assert penstock("gaps", "runs").code == 0
    assert held(runs) == of(events)
    sums = subprocess.run("cat _penstock/runs/*.sha256 | sha256sum -c --quiet", shell=True, cwd=runs, check=False)
    assert sums.returncode == 0
    assert sum(1 for path in (runs / "data").rglob("*") if path.is_file()) == verify(runs).parts
    restored = penstock("restore", "runs", "--into", "again.db", "--json")
    assert (restored.code, restored.summary["events"]) == (0, len(events))
    os.unlink(runs.parent / "again.db")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "flipped": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("more", [("--format", "parquet"), ("--format", "ndjson", "--compression", "zstd")])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_has_its_bytes_again(
    damage: str, more: tuple[str, ...], tmp_path: Path, penstock: Command
) -> None:
    runs = begun(tmp_path, penstock, *more)
    victims = [runs / entry["name"] for run in (1, 2) for entry in manifest(runs, run)["parts"]]
    before = {path: path.read_bytes() for path in victims}
    for path in victims:
        DAMAGE[damage](path)
    assert penstock("verify", "runs").code == 4
    done = penstock(*REPAIR, "--json")
    assert (done.code, done.summary["run"], len(done.summary["restored"])) == (0, None, len(victims)), done.stderr
    assert {path: path.read_bytes() for path in victims} == before
    whole(runs, penstock)


def test_an_incremental_export_is_refused_and_names_the_command_that_helps(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)
    part(runs, 1).unlink()
    refused = penstock(*ADD)
    assert (refused.code, "penstock repair LINEAGE --from STORE" in refused.stderr) == (4, True)
    assert penstock(*REPAIR).code == 0
    assert penstock(*ADD).code == 0
    whole(runs, penstock)


def test_other_bytes_with_the_same_rows_take_a_run_of_maintenance(tmp_path: Path, penstock: Command) -> None:
    """Whoever wrote the runs compressed otherwise: here by cutting the parts elsewhere."""
    runs = begun(tmp_path, penstock, "--format", "ndjson", "--compression", "gzip")
    lost = part(runs, 2)
    name = str(lost.relative_to(runs))
    was = manifest(runs, 2)["parts"][0]
    kept = {path: path.read_bytes() for path in runs.glob("_penstock/runs/*.json")}
    flip(lost)
    done = penstock("repair", "runs", "--from", "events.db", "--part-size", "70rows", "--json")
    assert (done.code, done.summary["run"], done.summary["replaced"]) == (0, 4, [name])
    raw = manifest(runs, 4)
    assert raw["kind"] == "maintenance"
    assert raw["lineage"]["after"] == raw["lineage"]["upto"] == manifest(runs, 3)["lineage"]["upto"]
    (removed,) = raw["lineage"]["removed"]
    assert {key: removed[key] for key in ("name", "rows", "bytes", "sha256", "rows_digest")} == {
        key: was[key] for key in ("name", "rows", "bytes", "sha256", "rows_digest")
    }
    assert raw["rows_digest"]["value"] == was["rows_digest"]
    assert not lost.exists()
    assert {path: path.read_bytes() for path in kept} == kept
    whole(runs, penstock)
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(sample_events.varied(950)[900:])
    assert penstock(*ADD, "--format", "ndjson", "--compression", "gzip").code == 0
    whole(runs, penstock, sample_events.varied(950))
    assert penstock("resume", "events.db", "runs").code == 0


def test_what_the_store_does_not_hold_any_more_is_named_and_left(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)
    first, other = part(runs, 1), part(runs, 3)
    first.unlink()
    other.unlink()
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM events WHERE seq = 7")
    done = penstock(*REPAIR, "--json")
    assert (done.code, done.summary["left"], len(done.summary["restored"])) == (4, 1, 1)
    told = [line for line in done.lines if line["type"] == "problem"]
    assert told[0]["part"] == str(first.relative_to(runs))
    assert "150 rows, the store has 149 rows in its place: not proven" in told[0]["message"]
    assert (first.exists(), other.exists()) == (False, True)


def test_a_row_that_was_changed_is_not_taken_for_the_one_that_was_exported(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock, runs=1)
    lost = part(runs, 1)
    lost.unlink()
    foreign_sqlite.execute(tmp_path / "events.db", "UPDATE events SET session_id = 'other' WHERE seq = 5")
    done = penstock(*REPAIR)
    assert (done.code, lost.exists()) == (4, False)
    assert "as many rows, of other content" in done.stderr


@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.parametrize("gone", [[1], [2], [1, 2], [2, 3]])
def test_a_lost_manifest_is_waived_by_name(gone: list[int], format: str, tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock, "--format", format)
    assert penstock(*ADD, "--format", format).code == 0
    digests = {run: manifest(runs, run)["manifest_sha256"] for run in gone}
    for run in gone:
        run_path(runs, run).unlink()
    assert penstock("verify", "runs").code == 4
    assert penstock(*ADD, "--format", format).code == 4
    done = penstock(*REPAIR, "--json")
    assert (done.code, done.summary["waived"], done.summary["run"]) == (0, gone, 5), done.stderr
    waived = manifest(runs, 5)["lineage"]["waived"]
    assert [one["run"] for one in waived] == gone
    assert waived[-1]["manifest_sha256"] == digests[gone[-1]]
    if len(gone) == 1:
        assert "the very same parts" in waived[0]["why"]
        assert manifest(runs, 5)["guarantees"] == {}
    else:
        assert manifest(runs, 5)["guarantees"] == {"waived": "counted"}
    if len(gone) == 1 or format == "csv":
        whole(runs, penstock)
    assert held(runs) == of(EVENTS)
    assert penstock(*ADD, "--format", format).code == 0
    assert manifest(runs, 6)["lineage"]["waived"] == waived
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0
    assert penstock("diff", "runs", "events.db").code == 0


def test_a_manifest_that_cannot_be_read_is_waived_and_kept(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)
    flip(run_path(runs, 2))
    damaged = run_path(runs, 2).read_bytes()
    assert penstock("verify", "runs").code == 4
    assert penstock(*REPAIR, "--json").summary["waived"] == [2]
    assert run_path(runs, 2).read_bytes() == damaged
    whole_by_verbs = [penstock(verb, "runs").code for verb in ("verify", "gaps")]
    assert whole_by_verbs == [0, 0]
    assert penstock(*ADD).code == 0
    assert penstock("diff", "runs", "events.db").code == 0


def test_a_manifest_that_comes_back_counts_nothing_twice(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)
    text = run_path(runs, 2).read_bytes()
    run_path(runs, 2).unlink()
    assert penstock(*REPAIR, "--json").summary["waived"] == [2]
    run_path(runs, 2).write_bytes(text)
    assert penstock("verify", "runs").code == 0
    assert penstock("restore", "runs", "--into", "again.db", "--json").summary["events"] == 900


def test_the_last_manifest_is_lost_and_its_stretch_comes_with_the_next_run(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)
    run_path(runs, 3).unlink()
    refused = penstock(*ADD)
    assert (refused.code, "penstock repair LINEAGE --from STORE" in refused.stderr) == (4, True)
    done = penstock(*REPAIR, "--json")
    assert (done.code, done.summary["waived"], done.summary["run"]) == (0, [3], 4)
    assert penstock(*ADD, "--json").summary["event_count"] == 300
    whole(runs, penstock)


def test_a_run_whose_rows_are_gone_from_the_store_is_not_waived(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)
    run_path(runs, 2).unlink()
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM events WHERE seq = 400")
    before = sorted(os.listdir(runs / "_penstock/runs"))
    done = penstock(*REPAIR)
    assert done.code == 4
    assert "was lost with 300 rows; the store has 299 in their place: not proven" in done.stderr
    assert sorted(os.listdir(runs / "_penstock/runs")) == before


def test_a_run_of_which_the_store_has_another_row_is_not_waived(tmp_path: Path, penstock: Command) -> None:
    """As a store that was put back and went on otherwise: as many rows, and the run behind names one of them."""
    runs = begun(tmp_path, penstock)
    (named,) = [each["seq"] for each in manifest(runs, 3)["lineage"]["anchors"] if 300 < each["seq"] <= 600]
    run_path(runs, 2).unlink()
    foreign_sqlite.execute(tmp_path / "events.db", f"UPDATE events SET data = '{{}}' WHERE seq = {named}")
    before = sorted(os.listdir(runs / "_penstock/runs"))
    done = penstock(*REPAIR)
    assert done.code == 4
    assert f"the store has as many, but another one at arrival number {named}: not proven" in done.stderr
    assert sorted(os.listdir(runs / "_penstock/runs")) == before


def test_parts_in_partitions(tmp_path: Path, penstock: Command) -> None:
    more = ("--partition-by", "day", "--format", "ndjson")
    runs = begun(tmp_path, penstock, *more, runs=2)
    victims = [runs / entry["name"] for run in (1, 2) for entry in manifest(runs, run)["parts"]][::3]
    assert len(victims) > 2
    for path in victims:
        path.unlink()
    done = penstock(*REPAIR, "--json")
    assert (done.code, done.summary["left"]) == (0, 0), done.stderr
    whole(runs, penstock, EVENTS[:600])


def test_parts_of_runs_that_read_rows_again_hold_none_that_was_held(tmp_path: Path, penstock: Command) -> None:
    """Two copies of a store in turn, with rows in common among their own: the second run reads again what the first
    has, and the fourth, without a break, what the second has, since that went further."""

    def grown(name: str, *pieces: list[AnalyticsEvent]) -> int:
        with SqliteAnalyticsStorage(tmp_path / name) as store:
            for piece in pieces:
                store.append(piece)
        return int(penstock("export", name, "runs/", "--incremental", "--json").summary["event_count"])

    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(EVENTS[:40])
    shutil.copy(tmp_path / "events.db", tmp_path / "other.db")
    assert grown("events.db", EVENTS[40:60]) == 60
    assert grown("other.db", EVENTS[60:65], EVENTS[45:55], EVENTS[65:85]) == 25
    assert grown("events.db", EVENTS[85:87]) == 2
    assert grown("events.db", EVENTS[87:90], EVENTS[75:80], EVENTS[90:95]) == 8
    runs = tmp_path / "runs"
    assert [manifest(runs, run)["lineage"]["broken"] is None for run in (1, 2, 3, 4)] == [True, False, False, True]
    for run, store_of in ((2, "other.db"), (4, "events.db")):
        lost = part(runs, run)
        before = lost.read_bytes()
        lost.unlink()
        done = penstock("repair", "runs", "--from", store_of, "--json")
        assert (done.code, done.summary["restored"]) == (0, [str(lost.relative_to(runs))]), done.stderr
        assert lost.read_bytes() == before
    assert held(runs) == of(EVENTS[:95])


def test_a_table_is_found_again_by_what_the_manifests_say(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "app.db"
    foreign_sqlite.execute(
        database,
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT)",
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500)"
        " INSERT INTO hits SELECT i, 1790000000 + i, 'hit' FROM c",
    )
    mapping = ("--table", "hits", "--map", "timestamp=at:s,event_type=name")
    assert penstock("export", "app.db", "runs/", "--incremental", *mapping).code == 0
    part(tmp_path / "runs", 1).unlink()
    done = penstock("repair", "runs", "--from", "app.db")
    assert (done.code, verify(tmp_path / "runs").ok) == (0, True), done.stderr


def table(root: Path, penstock: Command) -> tuple[Path, Command]:
    """A lineage of a table with late and changed rows in its second run, and rows that came late since."""
    database = root / "app.db"
    foreign_sqlite.execute(
        database,
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT)",
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500)"
        " INSERT INTO hits SELECT 10 * i, 1790000000 + i, 'hit' FROM c",
    )

    def add(*more: str) -> Run:
        mapping = ("--table", "hits", "--map", "timestamp=at:s,event_type=name")
        return penstock("export", "app.db", "runs/", "--incremental", *mapping, *more, "--json")

    assert add().code == 0
    foreign_sqlite.execute(
        database,
        "INSERT INTO hits VALUES (15, 1790000001, 'late'), (25, 1790000002, 'late'), (6000, 1790000600, 'new')",
        "UPDATE hits SET name = 'changed' WHERE n = 4000",
    )
    assert add("--overlap", "1000", "--updates").summary["counts"] == {"late": 2, "changed": 1}
    names = [entry["name"].partition("-part-")[2] for entry in manifest(root / "runs", 2)["parts"]]
    assert [name[:5] for name in names] == ["00000", "00001", "00002"]
    foreign_sqlite.execute(database, "INSERT INTO hits VALUES (16, 1790000001, 'later'), (6010, 1790000601, 'new')")
    return root / "runs", add


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_part_of_a_table_is_made_again_of_the_rows_that_its_run_found(
    place: int, tmp_path: Path, penstock: Command
) -> None:
    runs, add = table(tmp_path, penstock)
    entry = manifest(runs, 2)["parts"][place]
    assert entry.get("mark") == [None, "late", "changed"][place]
    (runs / entry["name"]).unlink()
    done = penstock("repair", "runs", "--from", "app.db", "--json")
    assert (done.code, done.summary["left"]) == (0, 0), done.stderr
    assert penstock("verify", "runs").code == 0
    assert add().summary["counts"] == {"late": 1}


@pytest.mark.parametrize(
    "given",
    [
        ("--table", "hits", "--key", "at,n"),
        ("--table", "hits", "--key", "at", "--where", "n % 2 = 1", "--part-size", "100rows"),
        ("--table", "hits", "--key", "at", "--time", "at", "--partition-by", "hour", "--partition-name", "on"),
        ("--query", "SELECT n, at FROM hits", "--key", "n", "--format", "ndjson", "--part-size", "100rows"),
    ],
)
def test_parts_of_rows_that_no_index_finds_are_made_again(
    given: tuple[str, ...], tmp_path: Path, penstock: Command
) -> None:
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at DATETIME, name TEXT)",
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500)"
        " INSERT INTO hits SELECT i, datetime(1790000000 + i % 50 * 300, 'unixepoch'), 'hit' || i FROM c",
    )
    assert penstock("export", "app.db", "runs/", "--incremental", *given).code == 0
    foreign_sqlite.execute(tmp_path / "app.db", "INSERT INTO hits VALUES (601, '2026-12-01 00:00:00', 'new')")
    assert penstock("resume", "app.db", "runs").code == 0
    runs = tmp_path / "runs"
    lost = [runs / entry["name"] for run in (1, 2) for entry in manifest(runs, run)["parts"][-2:]]
    before = [file.read_bytes() for file in lost]
    for file in lost:
        file.unlink()
    done = penstock("repair", "runs", "--from", "app.db")
    assert (done.code, [file.read_bytes() for file in lost]) == (0, before), done.stderr


def test_a_lost_run_of_rows_that_come_by_once_is_named_and_nothing_false_is_said_of_the_store(
    tmp_path: Path, penstock: Command
) -> None:
    foreign_sqlite.execute(
        tmp_path / "app.db", "CREATE TABLE hits (n INTEGER PRIMARY KEY, at REAL)", "INSERT INTO hits VALUES (1, 0.5)"
    )
    for number in (2, 3):
        assert penstock("export", "app.db", "runs/", "--incremental", "--table", "hits", "--key", "at").code == 0
        foreign_sqlite.execute(tmp_path / "app.db", f"INSERT INTO hits VALUES ({number}, {number}.5)")
    run_path(tmp_path / "runs", 1).unlink()
    done = penstock("repair", "runs", "--from", "app.db")
    assert done.code == 4
    assert "1 rows; rows that come by once are not counted" in done.stderr + done.stdout.decode()


def test_a_lost_run_of_a_table_is_not_exported_a_second_time(tmp_path: Path, penstock: Command) -> None:
    runs, add = table(tmp_path, penstock)
    part(runs, 1).unlink()
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET name = 'hit' WHERE n = 4000")
    foreign_sqlite.execute(tmp_path / "app.db", "DELETE FROM hits WHERE n IN (15, 16, 25)")
    run_path(runs, 1).unlink()
    done = penstock("repair", "runs", "--from", "app.db", "--json")
    assert (done.code, done.summary["waived"]) == (0, [1]), done.stderr
    assert add("--overlap", "1000").summary["event_count"] == 1
    assert penstock("verify", "runs").code == 0


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        (("one.ndjson",), 2, "is an export that is not incremental"),
        (("plain/",), 2, "is an export that is not incremental"),
        (("nowhere/",), 6, "there is no lineage"),
    ],
)
def test_what_is_no_lineage_is_refused(
    what: tuple[str, ...], code: int, said: str, tmp_path: Path, penstock: Command
) -> None:
    begun(tmp_path, penstock, runs=1)
    for dest in ("one.ndjson", "plain/"):
        assert penstock("export", "events.db", dest).code == 0
    done = penstock("repair", *what, "--from", "events.db")
    assert (done.code, said in done.stderr) == (code, True), done.stderr
    assert penstock("repair", "runs", "--from", "missing.db").code == 6
    assert penstock("repair", "runs").code == 2


def test_nothing_is_done_to_a_lineage_that_is_whole(tmp_path: Path, penstock: Command) -> None:
    runs = begun(tmp_path, penstock)

    def lies_there() -> dict[Path, Any]:
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in runs.rglob("*") if path.is_file()}

    before = lies_there()
    done = penstock(*REPAIR)
    assert (done.code, lies_there()) == (0, before)
    assert "nothing had to be done" in done.stderr
