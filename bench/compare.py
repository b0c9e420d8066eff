"""The side-by-side benchmark: the same SQLite file exported by Penstock and by each peer in turn, several rounds.

Each export is a process of its own, measured from its start to its end plus the sync of what it wrote, and its rows are
counted afterwards: who writes too few has no time. The store lies in the page cache before the first round. In each
round the order moves on by one. A peer that takes more than ten times as long as Penstock runs one round only. Prints
the report, and writes it with a plot and all figures to a directory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import besides
import measure
import peers
from figures import FLOOR, US
from measure import WORK, Failed, Run
from peers import OUTPUTS, Job, Rows
from plot import plot
from report import render

ROOT = Path(__file__).parents[1]
_SLOW = 10
_FILTERED = ("ndjson", "ndjson.gz", "parquet")
_QUICK_OUTPUTS = ("ndjson", "ndjson.gz", "csv", "parquet")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """Something that takes jobs: the command of one, and the files it leaves that hold rows."""

    name: str
    command: Callable[[Job], list[str]]
    data: Callable[[Path], list[Path]]


def ours() -> Engine:
    return Engine(
        name=US,
        command=lambda job: measure.penstock("export", job.store, job.out, "--quiet", *job.rows.options),
        data=lambda place: [path for path in place.glob("x.*") if not path.name.endswith(".manifest.json")],
    )


def theirs(peer: peers.Peer, python: str) -> Engine:
    return Engine(
        name=peer.name,
        command=lambda job: peer.command(job, python),
        data=lambda place: sorted(path for path in place.glob(peer.data) if path.is_file()),
    )


class Contest:
    """All engines on one store."""

    def __init__(self, store: Path, engines: dict[str, tuple[str, ...]], given: argparse.Namespace) -> None:
        self._store = store
        self._outputs = engines
        self._given = given
        self._engines: dict[str, Engine] = {US: ours()}
        for name in engines:
            self._engines[name] = theirs(peers.PEERS[name], str(given.peer_python))
        self.floor: Path | None = None

    def case(self, output: str, rows: Rows, expected: int) -> dict[str, Any]:
        """One output of one choice of rows, by everyone who has it, in alternating rounds."""
        names = [US, *(name for name, outputs in self._outputs.items() if output in outputs)]
        runs: dict[str, list[Run]] = {}
        failed: dict[str, str] = {}
        for number in range(self._given.rounds):
            turn = number % len(names)
            for name in [*names[turn:], *names[:turn]]:
                if name in failed or (number and self._slow(runs, name)):
                    continue
                try:
                    found = self._run(self._engines[name], output, rows, expected)
                    runs.setdefault(name, []).append(found)
                    _say(f"  {name:14} {found.wall:8.2f} s  {found.peak_mib:6.0f} MiB  {found.bytes / 1e6:8.1f} MB")
                except Failed as error:
                    failed[name] = str(error)
                    runs.pop(name, None)
                    _say(f"  {name:14} failed: {error}")
            if self.floor is not None and rows.name == "full" and US in runs and FLOOR not in failed:
                try:
                    runs.setdefault(FLOOR, []).append(self._run_floor(output, expected, runs[US][0].bytes))
                except Failed as error:
                    failed[FLOOR] = str(error)
        return {
            "output": output,
            "rows": rows.name,
            "count": expected,
            "runs": {name: [run.to_json() for run in found] for name, found in runs.items()},
            "failed": failed,
        }

    def _slow(self, runs: dict[str, list[Run]], name: str) -> bool:
        return name in runs and US in runs and runs[name][0].wall > _SLOW * runs[US][0].wall

    def _run(self, engine: Engine, output: str, rows: Rows, expected: int) -> Run:
        place = measure.fresh(settled=not self._given.quick)
        job = Job(store=str(self._store), out=str(place / f"x.{output}"), output=output, rows=rows)
        run = measure.run(engine.command(job), synced=place, time_limit=self._given.time_limit)
        written = engine.data(place)
        measure.check_rows(output, written, expected)
        return replace(run, bytes=sum(path.stat().st_size for path in written))

    def _run_floor(self, output: str, expected: int, size: int) -> Run:
        place = measure.fresh(settled=not self._given.quick)
        log = measure.PLACE / "floor.log"
        out = place / f"x.{output}"
        run = measure.run([str(self.floor), str(self._store), str(out), str(size)], synced=place, log=log)
        if log.read_text().split() != ["rows", str(expected)]:
            raise Failed("the floor did not read every row")
        return replace(run, bytes=out.stat().st_size)


def choices(store: Path) -> list[tuple[Rows, int]]:
    """Which rows are exported, and how many each choice has, counted here."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        events = database.execute("SELECT count(*) FROM events").fetchone()[0]
        until = "SELECT max(timestamp) FROM events WHERE seq <= ?"
        start, end = (database.execute(until, (events * share // 100,)).fetchone()[0] for share in (50, 51))
        found = [
            Rows(name="full", title="all events"),
            Rows(
                name="range",
                title="a 1 % time range",
                where=f"timestamp >= {start} AND timestamp < {end}",
                options=("--start", _rfc3339(start), "--end", _rfc3339(end)),
            ),
            Rows(
                name="category",
                title="one category",
                where="category = 'error'",
                options=("--category", "error"),
            ),
        ]
        counts = [database.execute(rows.query.replace("*", "count(*)")).fetchone()[0] for rows in found]
    database.close()
    return list(zip(found, counts, strict=True))


def _rfc3339(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def generated(events: int) -> Path:
    """A generated store, made by another process so that this one stays small."""
    program = [sys.executable, str(measure.BENCH / "generate.py"), "--events", str(events)]
    _say(subprocess.run(program, check=True, capture_output=True, text=True).stdout.strip())
    return WORK / f"events-{events}.db"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, help="size of the generated store; 5,000,000 or, with --quick, 20,000")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--peers", help="comma list of peers, or 'all', or 'none'; by default those not optional")
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-bench/bin/python", help="the peers' Python")
    parser.add_argument("--outputs", help=f"comma list of {', '.join(OUTPUTS)}")
    parser.add_argument("--filtered", help=f"outputs that are also filtered; by default {','.join(_FILTERED)}")
    parser.add_argument(
        "--parts",
        default="exports,overheads,appends,incremental,flattened,startup",
        help="comma list of what is measured",
    )
    parser.add_argument("--time-limit", type=float, default=3600, help="seconds after which a process is stopped")
    parser.add_argument("--quick", action="store_true", help="only prove that it runs")
    parser.add_argument("--out", type=Path, help="where the report goes; docs/benchmarks, or with --quick bench/work")
    given = parser.parse_args(words)
    quick = given.quick
    given.events = given.events or (20_000 if quick else 5_000_000)
    given.rounds = given.rounds or (1 if quick else 3)
    given.out = given.out or (WORK / "quick" if quick else ROOT / "docs/benchmarks")
    given.outputs = _chosen(given.outputs, _QUICK_OUTPUTS if quick else OUTPUTS, OUTPUTS, parser)
    given.filtered = _chosen(given.filtered, _FILTERED[:1] if quick else _FILTERED, OUTPUTS, parser)
    default = tuple(name for name, peer in peers.PEERS.items() if not peer.optional)
    names = {"all": ",".join(peers.PEERS), "none": ""}.get(given.peers, given.peers)
    given.peers = _chosen(names, default, tuple(peers.PEERS), parser)
    given.parts = given.parts.split(",")
    return given


def _chosen(
    text: str | None, default: tuple[str, ...], known: tuple[str, ...], parser: argparse.ArgumentParser
) -> list[str]:
    if text is None:
        return list(default)
    words = [word for word in text.split(",") if word]
    if unknown := set(words) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return words


def _command(given: argparse.Namespace) -> str:
    """The command line as it goes into the report: only what changes the figures."""
    words = ["make bench", f"EVENTS={given.events}"]
    more = ["--quick"] if given.quick else []
    default = _arguments(["--quick"] if given.quick else [])
    more += [f"--rounds {given.rounds}"] if given.rounds != default.rounds else []
    for name in ("peers", "outputs", "filtered", "parts"):
        if getattr(given, name) != getattr(default, name):
            more.append(f"--{name} {','.join(getattr(given, name)) or 'none'}")
    return " ".join([*words, *([f'ARGS="{" ".join(more)}"'] if more else [])])


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, as the figures file holds it."""
    store = generated(given.events)
    found, versions, missing = peers.available(given.peers, str(given.peer_python))
    results: dict[str, Any] = {
        "command": _command(given),
        "date": datetime.now(UTC).date().isoformat(),
        "events": given.events,
        "rounds": given.rounds,
        "quick": given.quick,
        "machine": besides.machine(),
        "versions": {"ours": besides.our_versions(), "peers": versions},
        "peers": {peer.name: peer.title for peer in found},
        "missing": missing,
        "commands": {
            peer.name: {output: peers.shown(peer, output) for output in given.outputs if output in peer.outputs}
            for peer in found
        },
        "source": besides.source_digest(),
        "store_bytes": store.stat().st_size,
        "cases": [],
    }
    measure.warm(store)
    if "exports" in given.parts:
        contest = Contest(store, {peer.name: peer.outputs for peer in found}, given)
        contest.floor, results["floor"] = besides.floor()
        for rows, expected in choices(store):
            for output in given.outputs if rows.name == "full" else given.filtered:
                _say(f"{output}, {rows.title}: {expected:,} events")
                results["cases"].append(contest.case(output, rows, expected))
                _store(results, given.out)
    if "overheads" in given.parts:
        _say("proofs switched off one by one")
        outputs = given.outputs[:1] if given.quick else given.outputs
        results["overheads"] = besides.overheads(store, outputs, given.rounds, _say)
    if "appends" in given.parts:
        _say("appending")
        results["appends"] = besides.appends(store, given.events, quick=given.quick)
    if "incremental" in given.parts:
        _say("incremental export")
        results["incremental"] = besides.incremental(store, given.events, given.rounds)
    if "flattened" in given.parts:
        _say("flattened payloads")
        results["flattened"] = besides.flattened(store, given.rounds)
    if "startup" in given.parts:
        _say("start-up")
        results["startup"] = besides.startup(generated(10), 1 if given.quick else 7)
    return results


def _store(results: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    given = _arguments()
    measure.PLACE.mkdir(parents=True)
    began = time.perf_counter()
    try:
        results = measured(given)
    finally:
        shutil.rmtree(measure.PLACE, ignore_errors=True)
    results["source_changed"] = results["source"] != besides.source_digest()
    results["took_minutes"] = round((time.perf_counter() - began) / 60, 1)
    _store(results, given.out)
    text = render(results)
    (given.out / "report.md").write_text(text)
    (given.out / "report.svg").write_text(plot(results))
    print(text)
    failed = [case for case in results["cases"] if US in case["failed"]]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
