"""Random histories of a lineage against a model that knows only which events arrived since the last committed run.

Events are appended, late ones too, and deleted; runs are added, die at any operation, fail, find the lock taken; parts
are damaged and mended. After every step the runs, read without the product, hold exactly the model's events: compared
as multisets, so that an event that is in two runs is seen. ``PENSTOCK_PROOF=full`` takes 500 histories.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import naive_format
import sample_events
from penstock import AnalyticsEvent, EventPriority, ExportFilter, ExportOptions, SqliteAnalyticsStorage, restore, verify
from penstock.destinations.lineage import LineageDirectory
from penstock.errors import ExportError, IntegrityError, Locked
from penstock.exporting.incremental import export_incremental
from penstock.model.options import ExportFormat
from penstock.testing.faults import Fail, Fault, FaultyOps, Operation
from penstock.wiring import SystemClock

HISTORIES = 500 if os.environ.get("PENSTOCK_PROOF") == "full" else 12
STEPS = 40
_FILTERS = [ExportFilter(), ExportFilter(), ExportFilter(priority="high"), ExportFilter(start="2026-11-01")]


class Dead(BaseException):
    """The process is no more: from here on it does nothing to any file."""


@dataclass(kw_only=True, slots=True)
class Death(Fault):
    """The process dies at the ``nth`` operation: before it, in the middle of a write, or right after."""

    when: Literal["before", "during", "after"] = "before"
    dead: bool = field(default=False)

    def before(self, operation: Operation) -> None:
        if self.dead or self.when == "before":
            self._die()

    def room(self, operation: Operation, size: int) -> int:
        return size // 2 if self.when == "during" else size

    def after(self, operation: Operation) -> None:
        self._die()

    def _die(self) -> None:
        self.dead = True
        raise Dead


def read_runs(place: Path) -> list[str]:
    """The canonical text of every event in every run, by gzip and json alone."""
    found = []
    for path in sorted(place.glob("run-*.manifest.json")):
        raw = json.loads(path.read_bytes())
        lines = [
            line for part in raw["parts"] for line in gzip.decompress((place / part["name"]).read_bytes()).splitlines()
        ]
        assert len(lines) == raw["event_count"]
        found += [line[: line.rindex(b',"seq":')].decode() for line in lines]
    return found


def text_of(event: AnalyticsEvent) -> str:
    """The canonical text of an event, by the second implementation of the format."""
    return naive_format.canonical(naive_format.arrived([event]).to_pylist()[0]).decode()


class Lineages(RuleBasedStateMachine):
    """One history. ``covered`` are the texts that the committed runs hold, ``fresh`` the events that none has seen."""

    seen: ClassVar[Counter[str]] = Counter()

    @initialize(
        filter=st.sampled_from(_FILTERS),
        rows=st.sampled_from([None, 1, 3]),
        strangers=st.booleans(),
        by=st.sampled_from([None, None, "day"]),
    )
    def begin(self, filter: ExportFilter, rows: int | None, strangers: bool, by: str | None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="penstock-history-"))
        self.place = self.root / "runs"
        self.store = SqliteAnalyticsStorage(self.root / "events.db")
        self.filter, self.rows, self.by = filter, rows, by
        self.covered: list[str] = []
        self.fresh: list[AnalyticsEvent] = []
        self.live: list[AnalyticsEvent] = []
        self.runs = self.number = 0
        self.strangers = {"notes.txt": b"not ours"} if strangers else {}
        if strangers:
            self.place.mkdir()
            (self.place / "notes.txt").write_bytes(b"not ours")

    def _add(self, *faults: Fault, rows: int | None = None) -> int:
        options = ExportOptions(workers=1, compression="gzip", part_rows=rows or self.rows, partition_by=self.by)
        return export_incremental(
            self.store,
            LineageDirectory(self.place, ops=FaultyOps(*faults)),
            layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
            filter=self.filter,
            options=options,
            clock=SystemClock(),
        ).manifest.event_count

    def _let_go(self) -> None:
        """Close the lock, as the end of a process does."""
        lock = str(self.place / ".penstock" / "lock")
        for name in os.listdir("/proc/self/fd"):
            if os.path.islink(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}").startswith(lock):
                os.close(int(name))

    def _committed(self) -> bool:
        """Whether a run more is there than before; the model follows what the directory says."""
        there = len(list(self.place.glob("run-*.manifest.json"))) if self.place.exists() else 0
        assert there in (self.runs, self.runs + 1)
        if there == self.runs:
            return False
        self.runs = there
        self.covered += [text_of(event) for event in self.fresh if self.filter.matches(event)]
        self.fresh = []
        return True

    @rule(
        count=st.integers(1, 5),
        late=st.booleans(),
        odd=st.sampled_from(["{}", '{"a":1.50,"a":"\\u00e9"}', '{"t":"é,\\""}']),
    )
    def append(self, count: int, late: bool, odd: str) -> None:
        begun = sample_events.START - timedelta(days=400) if late else sample_events.START
        events = []
        for _ in range(count):
            self.number += 1
            events.append(
                AnalyticsEvent(
                    "checkout",
                    id=sample_events.uuid_of(self.number),
                    timestamp=begun + timedelta(seconds=self.number),
                    priority=EventPriority(self.number % 4),
                    data=odd,
                )
            )
        assert self.store.append(events).inserted == count
        self.fresh += events
        self.live += events

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        assert self.store.append([data.draw(st.sampled_from(self.live))]).duplicates == 1

    @precondition(lambda self: self.live)
    @rule(count=st.integers(1, 6))
    def delete(self, count: int) -> None:
        gone = self.live[:count]
        assert self.store.delete(ExportFilter(limit=count)) == len(gone)
        self.live = self.live[count:]
        self.fresh = [event for event in self.fresh if event not in gone]

    @precondition(lambda self: self.live)
    @rule()
    def delete_the_newest(self) -> None:
        last = self.live.pop()
        wanted = ExportFilter(start=last.timestamp, end=last.timestamp + timedelta(microseconds=1))
        assert self.store.delete(wanted) == 1
        self.fresh = [event for event in self.fresh if event != last]

    @rule()
    def export(self) -> None:
        before = len(self.covered)
        count = self._add()
        assert self._committed()
        assert count == len(self.covered) - before
        self.seen["exports"] += 1

    @rule(nth=st.integers(1, 36), when=st.sampled_from(["before", "during", "after"]), rows=st.sampled_from([None, 1]))
    def export_and_die(self, nth: int, when: Literal["before", "during", "after"], rows: int | None) -> None:
        try:
            self._add(Death(nth=nth, when=when, lasting=True), rows=rows)
        except Dead:
            self._let_go()
            self.seen["deaths"] += 1
            self.seen["deaths after the commit"] += self._committed()
        else:
            assert self._committed()

    @rule(nth=st.integers(1, 36), late=st.booleans(), code=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EACCES]))
    def export_and_fail(self, nth: int, late: bool, code: int) -> None:
        try:
            self._add(Fail(nth=nth, code=code, late=late))
        except ExportError:
            self.seen["failures"] += 1
            self._committed()
        else:
            assert self._committed()

    @precondition(lambda self: self.runs)
    @rule()
    def find_the_lock_taken(self) -> None:
        holder = LineageDirectory(self.place).begin()
        try:
            with pytest.raises(Locked):
                self._add()
        finally:
            holder.close()
        self.seen["locked"] += 1

    @precondition(lambda self: self.covered)
    @rule(data=st.data())
    def damage_a_part(self, data: st.DataObject) -> None:
        named = {
            part["name"]
            for path in self.place.glob("run-*.manifest.json")
            for part in json.loads(path.read_bytes())["parts"]
        }
        name = data.draw(st.sampled_from(sorted(named)))
        path = self.place / name
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert [problem.part for problem in verify(self.place).problems] == [name]
        with pytest.raises(IntegrityError), SqliteAnalyticsStorage(self.root / "damaged.db") as back:
            restore(self.place, back)
        path.write_bytes(whole)
        self.seen["damages"] += 1

    @precondition(lambda self: self.runs)
    @rule()
    def restore(self) -> None:
        back_path = self.root / "back.db"
        with SqliteAnalyticsStorage(back_path) as back:
            result = restore(self.place, back)
            assert (result.inserted, result.duplicates, result.conflicts) == (len(self.covered), 0, 0)
            assert result.events_digest == naive_format.events_digest(text.encode() for text in self.covered)
            assert restore(self.place, back).duplicates == len(self.covered)
            rows = [row for batch in back.scan() for row in batch.to_pylist()]
        assert [naive_format.canonical(row).decode() for row in rows] == read_runs(self.place)
        for path in self.root.glob("back.db*"):
            path.unlink()
        self.seen["restores"] += 1

    @invariant()
    def the_union_of_the_runs_is_what_arrived(self) -> None:
        if not self.runs:
            return
        assert Counter(read_runs(self.place)) == Counter(self.covered)
        result = verify(self.place)
        assert result.problems == ()
        assert (result.event_count, result.runs) == (len(self.covered), self.runs)

    def teardown(self) -> None:
        if not hasattr(self, "root"):
            return
        try:
            self.export()
            self.the_union_of_the_runs_is_what_arrived()
            manifests = [json.loads(path.read_bytes()) for path in self.place.glob("run-*.manifest.json")]
            named = {part["name"] for raw in manifests for part in raw["parts"]}
            named |= {f"run-{raw['lineage']['run']:06d}.manifest.json" for raw in manifests}
            named |= {"SHA256SUMS", *self.strangers}
            assert {str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file()} == named
            assert {path.name for path in self.place.iterdir()} == {name.partition("/")[0] for name in named}
            self.seen["partitioned histories"] += self.by is not None
            self.seen["histories"] += 1
        finally:
            self.store.close()
            shutil.rmtree(self.root)


def test_any_history_leaves_every_event_in_exactly_one_run() -> None:
    run_state_machine_as_test(Lineages, settings=limits(max_examples=HISTORIES, stateful_step_count=STEPS))
    print(dict(Lineages.seen))
    assert Lineages.seen["histories"] >= HISTORIES
    for what in (
        "partitioned histories",
        "exports",
        "deaths",
        "deaths after the commit",
        "failures",
        "locked",
        "damages",
        "restores",
    ):
        assert Lineages.seen[what] > 0, what
