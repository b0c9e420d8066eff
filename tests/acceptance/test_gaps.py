"""Gaps as a user meets them: what was taken away is named from the destination alone, what is whole is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sample_events
from forged import forge, manifest, part, run_path
from penstock import AnalyticsEvent, SqliteAnalyticsStorage, gaps
from penstock.errors import UsageError
from penstock_command import Run

Command = Callable[..., Run]
ADD = ("export", "events.db", "runs/", "--incremental", "--format", "ndjson")
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVENTS = [
    AnalyticsEvent("feature_used", id=sample_events.uuid_of(number + 1), timestamp=START + timedelta(minutes=number))
    for number in range(100)
]


def append(place: Path, events: list[AnalyticsEvent]) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(events)


@pytest.fixture
def runs(tmp_path: Path, penstock: Command) -> Path:
    """A lineage of six runs: 1–10, 11–20, none, 21–30, 31–40, 41–50, two parts each."""
    for start, end in ((0, 10), (10, 20), (20, 20), (20, 30), (30, 40), (40, 50)):
        append(tmp_path, EVENTS[start:end])
        assert penstock(*ADD, "--part-size", "5rows").code == 0
    (tmp_path / "events.db").unlink()
    return tmp_path / "runs"


def found(penstock: Command, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = penstock("gaps", *arguments, "--json")
    assert done.code == done.summary["exit_code"]
    return done.code, [line for line in done.lines if line["type"] == "gap"]


def spans(number: tuple[int, int] | None, seq: tuple[int | None, int] | None) -> tuple[Any, Any]:
    return (
        None if number is None else {"first": number[0], "last": number[1]},
        None if seq is None else {"after": seq[0], "upto": seq[1]},
    )


def test_a_whole_lineage_has_no_gap(runs: Path, penstock: Command) -> None:
    done = penstock("gaps", "runs")
    assert (done.code, done.stdout) == (0, b"")
    assert done.stderr == "runs: no gap in 6 runs, 10 parts, 50 rows\n"
    assert found(penstock, "runs") == (0, [])
    assert penstock("gaps", "runs", "--json").summary["runs"] == 6


Take = Callable[[Path], object]
MISSING: dict[str, tuple[Take, list[tuple[str, tuple[int, int] | None, tuple[int | None, int] | None]]]] = {
    "the first": (lambda runs: run_path(runs, 1).unlink(), [("missing_run", (1, 1), (None, 10))]),
    "one between": (lambda runs: run_path(runs, 4).unlink(), [("missing_run", (4, 4), (20, 30))]),
    "an empty one": (lambda runs: run_path(runs, 3).unlink(), [("missing_run", (3, 3), (20, 20))]),
    "several": (
        lambda runs: [run_path(runs, number).unlink() for number in (2, 3, 5)],
        [("missing_run", (2, 3), (10, 20)), ("missing_run", (5, 5), (30, 40))],
    ),
    "the last": (lambda runs: run_path(runs, 6).unlink(), [("missing_run", (6, 6), None)]),
    "the last with its parts": (
        lambda runs: [path.unlink() for path in [run_path(runs, 6), *runs.glob("data/run-000006*")]],
        [("missing_run", (6, 6), None)],
    ),
    "all manifests": (
        lambda runs: [path.unlink() for path in runs.glob("_penstock/runs/*.json")],
        [("missing_run", (1, 6), None)],
    ),
    "all but the sums": (
        lambda runs: [path.unlink() for name in ("data/*", "_penstock/runs/*.json") for path in runs.glob(name)],
        [("missing_run", (1, 6), None)],
    ),
    "the last and the sums": (
        lambda runs: [path.unlink() for path in (run_path(runs, 6), runs / "_penstock/runs/000006.sha256")],
        [("missing_run", (6, 6), None)],
    ),
    "an edited one": (
        lambda runs: run_path(runs, 4).write_bytes(run_path(runs, 4).read_bytes().replace(b'"run": 4', b'"run": 5')),
        [("bad_manifest", (4, 4), (20, 30))],
    ),
    "an empty file and its neighbour": (
        lambda runs: [run_path(runs, 4).write_bytes(b""), run_path(runs, 5).unlink()],
        [("bad_manifest", (4, 4), (20, 40)), ("missing_run", (5, 5), (20, 40))],
    ),
    "one, and the next is torn": (
        lambda runs: [run_path(runs, 4).unlink(), run_path(runs, 5).write_bytes(run_path(runs, 5).read_bytes()[:-9])],
        [("missing_run", (4, 4), (20, 40)), ("bad_manifest", (5, 5), (20, 40))],
    ),
    "a seq gap": (
        lambda runs: forge(runs, 4, lambda raw: raw["lineage"].update(after={"seq": 23})),
        [("seq_gap", (3, 4), (20, 23)), ("bad_manifest", None, None)],
    ),
    "a seq overlap": (
        lambda runs: forge(runs, 4, lambda raw: raw["lineage"].update(after={"seq": 15})),
        [("seq_overlap", (3, 4), (15, 20))],
    ),
    "an overlap across a missing run": (
        lambda runs: [forge(runs, 4, lambda raw: raw["lineage"].update(after={"seq": 5})), run_path(runs, 3).unlink()],
        [("missing_run", (3, 3), (20, 5)), ("seq_overlap", (2, 4), (5, 20))],
    ),
    "a predecessor": (
        lambda runs: forge(runs, 4, lambda raw: raw["lineage"].update(previous="0" * 64)),
        [("predecessor", (3, 4), None)],
    ),
    "a run of another store": (
        lambda runs: forge(runs, 6, lambda raw: raw["lineage"].update(store="penstock:other")),
        [("bad_manifest", (5, 6), None)],
    ),
    "a part": (lambda runs: part(runs, 5).unlink(), [("missing_part", (5, 5), (30, 35))]),
    "half a part": (
        lambda runs: part(runs, 5).write_bytes(part(runs, 5).read_bytes()[:-9]),
        [("missing_part", (5, 5), (30, 35))],
    ),
    "a run and a part": (
        lambda runs: [part(runs, 2).unlink(), run_path(runs, 5).unlink()],
        [("missing_run", (5, 5), (30, 40)), ("missing_part", (2, 2), (10, 15))],
    ),
}


@pytest.mark.parametrize(("take", "expected"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_named_with_what_it_covered(
    take: Take,
    expected: list[tuple[str, tuple[int, int] | None, tuple[int | None, int] | None]],
    runs: Path,
    tmp_path: Path,
    penstock: Command,
) -> None:
    take(runs)
    code, lines = found(penstock, "runs")
    assert code == 4
    said = [(line["kind"], line["runs"], line["seq"]) for line in lines]
    assert said == [(kind, *spans(number, seq)) for kind, number, seq in expected]
    assert not any(line["suspicious"] for line in lines)
    done = penstock("gaps", "runs")
    assert done.code == 4
    assert [line.split(": ")[:2] for line in done.stdout.decode().splitlines()] == [["missing", "runs"]] * len(expected)
    assert len(expected) == penstock("gaps", "runs", "--json").summary["missing"]
    assert not gaps(tmp_path / "runs").ok


def test_a_missing_part_says_what_it_held(runs: Path, penstock: Command) -> None:
    gone = part(runs, 5)
    gone.unlink()
    _, (line,) = found(penstock, "runs")
    assert line["part"] == f"data/{gone.name}"
    assert line["time"] == ["2026-11-01T12:30:00.000000Z", "2026-11-01T12:34:00.000000Z"]
    assert "5 rows" in line["message"]


def test_bytes_are_not_read(runs: Path, penstock: Command) -> None:
    text = part(runs, 5).read_bytes()
    part(runs, 5).write_bytes(text[:-5] + b"X" + text[-4:])
    assert found(penstock, "runs") == (0, [])
    assert penstock("verify", "runs").code == 4


def test_a_long_part_reaches_over_short_ones(tmp_path: Path, penstock: Command) -> None:
    for days in ((0, 6), (1, 2), (9, 9)):
        append(tmp_path, [AnalyticsEvent("feature_used", timestamp=START + timedelta(days=day)) for day in days])
        assert penstock(*ADD).code == 0
    (line,) = found(penstock, "runs")[1]
    assert line["time"] == ["2026-11-08T00:00:00.000000Z", "2026-11-10T00:00:00.000000Z"]


def test_an_interrupted_run_is_no_gap(runs: Path, penstock: Command) -> None:
    (runs / ".penstock").mkdir()
    (runs / ".penstock" / "data-00001").write_bytes(b"half a li")
    shutil.copy(part(runs, 6), runs / "data/run-000007-part-00000-51-60-00000000.ndjson")
    done = penstock("gaps", "runs")
    assert (done.code, done.stdout) == (0, b"")
    assert "interrupted" in done.stderr
    shutil.rmtree(runs / ".penstock")
    assert found(penstock, "runs")[1][0]["runs"] == {"first": 7, "last": 7}


def test_files_and_folders_of_others_are_no_gap(runs: Path, penstock: Command) -> None:
    (runs / "copy").mkdir()
    (runs / "copy" / "run-000009-part-00000-1-2-00000000.ndjson").write_bytes(b"")
    (runs / "_penstock/runs/7.json").write_text("{}")
    (runs / "notes.txt").write_text("mine")
    done = penstock("gaps", "runs")
    assert (done.code, done.stdout) == (0, b"")
    assert "3 files here are not of this export" in done.stderr


def test_quiet_times_are_suspicious_and_no_more(tmp_path: Path, penstock: Command) -> None:
    for days in (0, 1, 4, 4.1, 9):
        append(
            tmp_path, [AnalyticsEvent("feature_used", timestamp=START + timedelta(days=days, hours=n)) for n in (0, 3)]
        )
        assert penstock(*ADD).code == 0
    done = penstock("gaps", "runs")
    assert done.code == 0
    assert done.stdout.decode().splitlines() == [
        "quiet: runs: no row from 2026-11-03T00:00:00.000000Z to 2026-11-05T00:00:00.000000Z, 2 days",
        "quiet: runs: no row from 2026-11-06T00:00:00.000000Z to 2026-11-10T00:00:00.000000Z, 4 days",
    ]
    assert "note: nothing is missing; 2 quiet times" in done.stderr
    code, lines = found(penstock, "runs", "--window", "hour")
    assert (code, len(lines), {line["suspicious"] for line in lines}) == (0, 3, {True})
    assert lines[0]["time"] == ["2026-11-01T16:00:00.000000Z", "2026-11-02T12:00:00.000000Z"]
    run_path(tmp_path / "runs", 3).unlink()
    code, lines = found(penstock, "runs")
    assert (code, [line["kind"] for line in lines]) == (4, ["missing_run", "quiet", "quiet"])


def test_a_directory_of_several_exports(runs: Path, tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, EVENTS)
    place = tmp_path / "all"
    place.mkdir()
    shutil.copytree(runs, place / "one")
    shutil.copytree(runs, place / "other")
    (place / "else").mkdir()
    (place / "notes").write_text("mine")
    assert penstock("export", "events.db", "all/plain/", "--format", "csv", "--part-size", "10rows").code == 0
    assert found(penstock, "all") == (0, [])
    assert penstock("gaps", "all", "--json").summary["exports"] == 3
    run_path(place / "other", 2).unlink()
    next((place / "plain").glob("data/part-00003*")).unlink()
    code, lines = found(penstock, "all")
    assert code == 4
    assert [(line["kind"], Path(line["place"]).name) for line in lines] == [
        ("missing_run", "other"),
        ("missing_part", "plain"),
    ]
    (place / "plain" / "_penstock/manifest.json").unlink()
    assert [line["kind"] for line in found(penstock, "all/plain")[1]] == ["bad_manifest"]


def test_places_without_an_export(runs: Path, tmp_path: Path, penstock: Command) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, code in (
        (("missing",), 6),
        (("empty",), 6),
        (("runs/_penstock/runs/000001.sha256",), 2),
        ((), 2),
        (("runs", "--window", "week"), 2),
    ):
        done = penstock("gaps", *arguments)
        assert (done.code, done.stdout) == (code, b""), arguments
    raw = manifest(runs, 6) | {"penstock_manifest": 99}
    run_path(runs, 6).write_text(json.dumps(raw))
    assert penstock("gaps", "runs").code == 2
    with pytest.raises(UsageError, match="unknown window"):
        gaps(runs, window="week")  # type: ignore[arg-type]  # what a caller without a type checker may do
