"""Resume after a death at every file operation of a run: nothing lost, nothing twice, and the same as running again."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

import sample_events
from penstock import DirectoryDestination, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, resume, verify
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.options import ExportFormat
from penstock.runners.threads import ThreadRunner
from penstock.testing.faults import Fault, FaultyOps, Operation
from penstock.wiring import SystemClock
from proof_ledger import Ledger

OPTIONS = ExportOptions(format="ndjson", part_rows=8, workers=1)
EVENTS = sample_events.varied(40)


class Dead(BaseException):
    """The process is no more: from here on it does nothing to any file."""


@dataclass(kw_only=True, slots=True)
class Death(Fault):
    """The process dies before or after the ``nth`` operation."""

    when: Literal["before", "after"] = "before"
    dead: bool = field(default=False)

    def before(self, operation: Operation) -> None:
        if self.dead or self.when == "before":
            self._die()

    def after(self, operation: Operation) -> None:
        self._die()

    def _die(self) -> None:
        self.dead = True
        raise Dead


def add_run(store: SqliteAnalyticsStorage, place: Path, *faults: Fault) -> FaultyOps:
    ops = FaultyOps(*faults)
    export_incremental(
        store,
        DirectoryDestination(place, ops=ops).lineage(),
        layout=OPTIONS.resolve(format=ExportFormat.NDJSON, codec=None),
        filter=ExportFilter(),
        options=OPTIONS,
        clock=SystemClock(),
        workers=Workers(threads=ThreadRunner(1)),
    )
    return ops


def contents(place: Path) -> dict[str, object]:
    """Names and bytes of all files; of manifests what does not tell when they were written."""
    found: dict[str, object] = {}
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        if path.name.endswith(".json"):
            raw = json.loads(path.read_bytes())
            found[path.name] = (raw["parts"], raw["lineage"]["after"], raw["lineage"]["upto"], raw["rows_digest"])
        else:
            found[path.name] = path.read_bytes()
    return found


def ids(place: Path) -> list[str]:
    return [
        json.loads(line)["id"]
        for path in sorted(place.glob("_penstock/runs/*.json"))
        for part in json.loads(path.read_bytes())["parts"]
        for line in (place / part["name"]).read_bytes().splitlines()
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_death_is_recovered_from(when: Literal["before", "after"], tmp_path: Path, ledger: Ledger) -> None:
    planned = fired = passed = told = 0
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(EVENTS[:20])
        Exporter(store).export(tmp_path / "base", incremental=True, options=OPTIONS)
        store.append(EVENTS[20:])
        shutil.copytree(tmp_path / "base", tmp_path / "count")
        planned = len(add_run(store, tmp_path / "count").log)
        for nth in range(1, planned + 1):
            died, again, resumed = (tmp_path / f"{name}-{nth}" for name in ("died", "again", "resumed"))
            shutil.copytree(tmp_path / "base", died)
            try:
                add_run(store, died, Death(nth=nth, when=when, lasting=True))
            except Dead:
                fired += 1
            for copy in (again, resumed):  # a copy that no dead process holds a lock on
                shutil.copytree(died, copy)
            Exporter(store).export(again, incremental=True, options=OPTIONS)
            result = resume(store, resumed, options=ExportOptions(part_rows=8, workers=1))
            assert contents(resumed) == contents(again), nth
            assert sorted(ids(resumed)) == sorted(event.id for event in EVENTS), nth
            assert verify(resumed).ok, nth
            told += bool(result.recovered)
            passed += 1

    name = f"resume after a death {when} every operation"
    ledger.add(name, "deaths resumed", planned=planned, fired=fired, passed=passed)
    assert planned == fired == passed > 20
    assert told > planned // 2
