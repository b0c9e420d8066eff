"""Worker processes are killed at any time: the export is whole and the same, or it did not happen, and the next one
does. Nothing is ever short."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sample_events
from penstock import AnalyticsEvent, ExportFilter, ExportOptions, SqliteAnalyticsStorage, export, verify
from penstock.errors import WorkerLost
from penstock.runners.processes import ProcessRunner
from proof_ledger import Ledger
from proof_size import FULL, SEED, TIMES

EVENTS = sample_events.varied(16_000, seed=7, payload=400)
KILLS = max(int(220 * TIMES), 1)
#: Kills in one export: more, and every task would be given up.
AT_ONCE = 4
OPTIONS = ExportOptions(
    runner="processes", workers=2, part_rows=700, compression="gzip", compression_level=9, format="ndjson"
)


def workers() -> list[int]:
    """The processes that work for this one, alive."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                parent = (place / "stat").read_text().rpartition(") ")[2].split()
                line = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if int(parent[1]) == os.getpid() and parent[0] != "Z" and b"penstock.runners.processes" in line:
                found.append(int(place.name))
    return found


class Killer:
    """Kills random workers at random moments, as often as it may, while the block runs: some while they begin, most
    when something is staged at ``place`` already."""

    def __init__(self, chance: random.Random, most: int, place: Path) -> None:
        self.fired = 0
        self._chance = chance
        self._most = most
        self._place = place
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._kill)

    def _kill(self) -> None:
        while self.fired < self._most:
            early = self._chance.random() < 0.15
            while not early and not self._over.is_set() and not any(self._place.glob(".penstock/data-*")):
                self._over.wait(0.01)
            if self._over.wait(self._chance.expovariate(4 if early else 12)):
                return
            there = workers()
            with suppress(ProcessLookupError):  # it ended in between
                if there:
                    os.kill(self._chance.choice(there), signal.SIGKILL)
                    self.fired += 1

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why each task was begun again."""
    real, found = ProcessRunner._again, list[str]()

    def noted(self: Any, order: Any, why: str, *given: Any) -> None:
        real(self, order, why, *given)
        found.append(why)

    monkeypatch.setattr(ProcessRunner, "_again", noted)
    return found


@contextmanager
def appending(path: Path, wanted: bool) -> Iterator[None]:
    """One event after another arrives while the block runs."""
    over = threading.Event()

    def append() -> None:
        with SqliteAnalyticsStorage(path) as store:
            while not over.wait(0.02):
                store.append([AnalyticsEvent("late")])

    thread = threading.Thread(target=append)
    if wanted:
        thread.start()
    yield
    over.set()
    if wanted:
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "events.db"
    with SqliteAnalyticsStorage(path) as made:
        made.append(EVENTS[:12_000])
    return path


def stored_ids(path: Path) -> list[str]:
    with SqliteAnalyticsStorage(path, read_only=True) as store:
        return [one for batch in store.scan(ExportFilter()) for one in batch["id"].to_pylist()]


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted((place / "data").iterdir())}


def test_a_killed_worker_is_harmless(store: Path, tmp_path: Path, ledger: Ledger, again: list[str]) -> None:
    chance, planned = random.Random(SEED), KILLS // 2
    export(store, tmp_path / "threads", options=replace(OPTIONS, runner="threads"))

    fired, wrong, done, refused = 0, [], 0, 0
    while fired < planned:
        place = tmp_path / "parts"
        before = contents(place) if place.exists() else None
        with Killer(chance, min(AT_ONCE, planned - fired), place) as killer:
            try:
                export(store, place, options=OPTIONS, overwrite=True)
                done += 1
            except WorkerLost:
                refused += 1
                if (contents(place) if place.exists() else None) != before:
                    wrong.append("an export that failed left something that is not what was there before: torn")
        fired += killer.fired
        if place.exists() and (contents(place) != contents(tmp_path / "threads") or not verify(place).ok):
            wrong.append("an export by killed workers is not whole")
        assert not list(tmp_path.glob("**/.penstock*")), "what lies around an attempt goes with it"
    export(store, tmp_path / "parts", options=OPTIONS, overwrite=True)
    if contents(tmp_path / "parts") != contents(tmp_path / "threads"):
        wrong.append("the next run failed to make it whole")
    assert workers() == []
    ledger.add(
        "worker kills, a directory",
        "worker kills",
        planned=planned,
        fired=fired,
        passed=fired - len(wrong),
        wrong=wrong,
        sampled=True,
    )
    assert not wrong, (wrong, done, refused)
    assert len(again) > (planned // 4 if FULL else 0), f"{len(again)} tasks were done again, {refused} runs failed"


def test_a_killed_worker_loses_and_doubles_nothing_of_a_lineage(
    store: Path, tmp_path: Path, ledger: Ledger, again: list[str]
) -> None:
    """Events arrive meanwhile: then nobody may take the place of who was killed, and the run fails whole."""
    chance, planned = random.Random(SEED + 1), KILLS - KILLS // 2
    place = tmp_path / "runs"
    fired, wrong, done, refused = 0, [], 0, 0
    while fired < planned:
        with SqliteAnalyticsStorage(store) as filled:
            filled.append(sample_events.varied(5000, seed=100 + done + refused, payload=400))
        with (
            appending(store, wanted=chance.random() < 0.5),
            Killer(chance, min(AT_ONCE, planned - fired), place) as killer,
        ):
            try:
                export(store, place, options=OPTIONS, incremental=True)
                done += 1
            except WorkerLost:
                refused += 1
        fired += killer.fired
    last = export(store, place, options=OPTIONS, incremental=True)
    assert last.manifest.lineage is not None
    names = [one for manifest in runs(place) for one in manifest]
    if sorted(names) != sorted(stored_ids(store)):
        wrong.append(f"the runs have {len(names)} events, the store {len(stored_ids(store))}: lost or twice")
    if not verify(place).ok:
        wrong.append("the lineage does not verify")
    ledger.add(
        "worker kills, a lineage",
        "worker kills",
        planned=planned,
        fired=fired,
        passed=fired if not wrong else 0,
        wrong=wrong,
        sampled=True,
    )
    assert not wrong, (wrong, done, refused)

    if FULL:
        assert done
        assert again
        assert refused, "who was killed while the store was written was not replaced"


def runs(place: Path) -> Iterator[list[str]]:
    """The ids in each part of a lineage, as its manifests name them, read by another reader."""
    for manifest in sorted((place / "_penstock" / "runs").glob("*.json")):
        for entry in json.loads(manifest.read_bytes())["parts"]:
            text = gzip.decompress((place / entry["name"]).read_bytes())
            yield [json.loads(line)["id"] for line in text.splitlines()]
