"""Random histories of a lineage against a model that knows only which events arrived since the last committed run.

Events are appended, late ones too and some in the middle of an export, loaded again, and deleted; the store is put back
from a backup and grows again, another program deletes its numbering; runs are added, die at any operation, die again
while they recover, fail and are tried again, find the lock taken; the clock jumps; parts are damaged and mended. After
every step the runs, read without the product, hold exactly the model's events: compared as multisets, so that an event
that is in two runs is seen.
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
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import seed
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
from foreign_sqlite import Program
from penstock import (
    AnalyticsEvent,
    DirectoryDestination,
    EventPriority,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
    restore,
    verify,
)
from penstock.errors import ExportError, IntegrityError, Locked, Rewound
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.options import ExportFormat
from penstock.runners.threads import ThreadRunner
from penstock.testing.faults import Fail, Fault, FaultyOps, Meddle, Operation
from plain_filter import matches
from proof_ledger import Ledger
from proof_size import SEED, TIMES

HISTORIES = round(500 * TIMES)
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
    for path in sorted(place.glob("_penstock/runs/*.json")):
        raw = json.loads(path.read_bytes())
        lines = [
            line for part in raw["parts"] for line in gzip.decompress((place / part["name"]).read_bytes()).splitlines()
        ]
        assert len(lines) == raw["rows"]
        found += [line[: line.rindex(b',"seq":')].decode() for line in lines]
    return found


def text_of(event: AnalyticsEvent) -> str:
    """The canonical text of an event, by the second implementation of the format."""
    return naive_format.canonical(naive_format.arrived([event]).to_pylist()[0]).decode()


class Lineages(RuleBasedStateMachine):
    """One history. ``covered`` are the texts that the committed runs hold, ``fresh`` the events that none has seen.

    ``dropped`` were deleted before a run saw them, and may be exported once a backup brings them back, or not.
    """

    seen: ClassVar[Counter[str]] = Counter()
    program: ClassVar[Program]

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
        self.dropped: list[AnalyticsEvent] = []
        self.kept: list[AnalyticsEvent] | None = None
        self.runs = self.number = self.before = 0
        self.steps = -1
        self.died = False
        self.time = sample_events.START
        self.strangers = {"notes.txt": b"not ours"} if strangers else {}
        if strangers:
            self.place.mkdir()
            (self.place / "notes.txt").write_bytes(b"not ours")

    def now(self) -> datetime:
        """The clock of the exports."""
        return self.time

    def _add(self, *faults: Fault, rows: int | None = None) -> int:
        """Add a run. Where the store proves nothing any more it is refused, and a new lineage is begun instead."""
        try:
            return self._try(*faults, rows=rows)
        except Rewound:
            self.seen["stores that proved nothing"] += 1
            last = json.loads(max(self.place.glob("_penstock/runs/*.json")).read_bytes())
            assert not {anchor["key"] for anchor in last["lineage"]["anchors"]} & {event.id for event in self.live}
            shutil.rmtree(self.place)
            self.place.mkdir()
            for name, text in self.strangers.items():
                (self.place / name).write_bytes(text)
            self.runs, self.covered, self.fresh, self.dropped = 0, [], list(self.live), []
            return self._try(*faults, rows=rows)

    def _try(self, *faults: Fault, rows: int | None = None) -> int:
        self.before = len(self.covered)
        options = ExportOptions(workers=1, compression="gzip", part_rows=rows or self.rows, partition_by=self.by)
        result = export_incremental(
            self.store,
            DirectoryDestination(self.place, ops=FaultyOps(*faults)).lineage(),
            layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
            filter=self.filter,
            options=options,
            clock=self,
            workers=Workers(threads=ThreadRunner(1)),
        )
        self.seen["broken cursors"] += result.partial
        return result.manifest.rows

    def _let_go(self) -> None:
        """Close the lock, as the end of a process does."""
        lock = str(self.place / ".penstock" / "lock")
        for name in os.listdir("/proc/self/fd"):
            if os.path.islink(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}").startswith(lock):
                os.close(int(name))

    def _committed(self) -> bool:
        """Whether a run more is there than before; the model follows what the directory says."""
        there = len(list(self.place.glob("_penstock/runs/*.json"))) if self.place.exists() else 0
        assert there in (self.runs, self.runs + 1)
        if there == self.runs:
            return False
        self.runs, self.died = there, False
        self.covered += [text_of(event) for event in self.fresh if matches(self.filter, event)]
        self.fresh = []
        surplus = Counter(read_runs(self.place)) - Counter(self.covered)
        back = [event for event in self.dropped if text_of(event) in surplus]
        self.covered += [text_of(event) for event in back]
        self.dropped = [event for event in self.dropped if event not in back]
        return True

    @rule(
        count=st.integers(1, 5),
        late=st.booleans(),
        odd=st.sampled_from(["{}", '{"a":1.50,"a":"\\u00e9"}', '{"t":"é,\\""}']),
    )
    def append(self, count: int, late: bool, odd: str) -> None:
        events = self._some(count, late, odd)
        assert self.store.append(events).inserted == count
        self.fresh += events
        self.live += events

    def _some(self, count: int, late: bool, odd: str) -> list[AnalyticsEvent]:
        """New events."""
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
        return events

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        assert self.store.append([data.draw(st.sampled_from(self.live))]).duplicates == 1

    @rule()
    def load_everything_again(self) -> None:
        assert self.store.append(self.live).duplicates == len(self.live)
        self.seen["repeated loads"] += 1

    @rule()
    def delete_the_numbering(self) -> None:
        self.program.execute(self.root / "events.db", "DELETE FROM sqlite_sequence")
        self.seen["deleted numberings"] += 1

    @rule()
    def back_up(self) -> None:
        self.store.close()
        shutil.copy(self.root / "events.db", self.root / "backup.db")
        self.store = SqliteAnalyticsStorage(self.root / "events.db")
        self.kept = list(self.live)

    @precondition(lambda self: self.kept is not None)
    @rule(count=st.integers(0, 9))
    def put_back_and_grow(self, count: int) -> None:
        assert self.kept is not None
        self.store.close()
        shutil.copy(self.root / "backup.db", self.root / "events.db")
        self.store = SqliteAnalyticsStorage(self.root / "events.db")
        covered = set(self.covered)
        self.live = list(self.kept)
        self.fresh = [event for event in self.live if text_of(event) not in covered and event not in self.dropped]
        if count:
            self.append(count, False, "{}")
        self.seen["stores put back"] += 1

    @rule(lost=st.integers(1, 6), count=st.integers(0, 9))
    def lose_what_was_exported(self, lost: int, count: int) -> None:
        """Right after a run the store is put back to before what it exported, and grows otherwise."""
        self.back_up()
        self.append(lost, False, "{}")
        self.export()
        self.put_back_and_grow(count)

    @precondition(lambda self: self.live)
    @rule(count=st.integers(1, 6))
    def delete(self, count: int) -> None:
        gone = self.live[:count]
        assert self.store.delete(ExportFilter(limit=count)) == len(gone)
        self.live = self.live[count:]
        self._drop(gone)

    def _drop(self, gone: list[AnalyticsEvent]) -> None:
        self.dropped += [event for event in self.fresh if event in gone]
        self.fresh = [event for event in self.fresh if event not in gone]

    @precondition(lambda self: self.live)
    @rule()
    def delete_the_newest(self) -> None:
        last = self.live.pop()
        wanted = ExportFilter(start=last.timestamp, end=last.timestamp + timedelta(microseconds=1))
        assert self.store.delete(wanted) == 1
        self._drop([last])

    @rule()
    def export(self) -> None:
        count = self._add()
        assert self._committed()
        assert count == len(self.covered) - self.before
        self.seen["exports"] += 1

    @rule(nth=st.integers(1, 4), count=st.integers(1, 3))
    def export_while_events_arrive(self, nth: int, count: int) -> None:
        """They arrive when the run writes already: it must not hold them, nor claim their stretch."""
        arriving = self._some(count, False, "{}")
        fault = Meddle(
            on=("create", "write", "fsync"), nth=nth, ending="data-00000", action=lambda _: self.store.append(arriving)
        )
        count = self._add(fault)
        assert self._committed()
        assert count == len(self.covered) - self.before
        if fault.fired:
            self.fresh += arriving
            self.live += arriving
            self.seen["arrivals during an export"] += 1

    @rule(hours=st.integers(-100_000, 100_000))
    def jump(self, hours: int) -> None:
        self.time = sample_events.START + timedelta(hours=hours)
        self.seen["clock jumps"] += 1

    @rule(nth=st.integers(1, 36), when=st.sampled_from(["before", "during", "after"]), rows=st.sampled_from([None, 1]))
    def export_and_die(self, nth: int, when: Literal["before", "during", "after"], rows: int | None) -> None:
        try:
            self._add(Death(nth=nth, when=when, lasting=True), rows=rows)
        except Dead:
            self._let_go()
            self.seen["deaths"] += 1
            self.seen["deaths of a recovery"] += self.died
            self.died = True
            self.seen["deaths after the commit"] += self._committed()
        else:
            assert self._committed()

    @rule(nths=st.lists(st.integers(1, 36), min_size=2, max_size=3))
    def die_again_and_again(self, nths: list[int]) -> None:
        for nth in nths:
            self.export_and_die(nth, "after", 1)

    @rule(
        nth=st.integers(1, 36),
        late=st.booleans(),
        code=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EACCES]),
        again=st.booleans(),
    )
    def export_and_fail(self, nth: int, late: bool, code: int, again: bool) -> None:
        try:
            self._add(Fail(nth=nth, code=code, late=late))
        except ExportError:
            self.seen["failures"] += 1
            self._committed()
        else:
            assert self._committed()
        if again:
            self.export()
            self.seen["retries"] += 1

    @precondition(lambda self: self.runs)
    @rule()
    def find_the_lock_taken(self) -> None:
        holder = DirectoryDestination(self.place).lineage().begin()
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
            for path in self.place.glob("_penstock/runs/*.json")
            for part in json.loads(path.read_bytes())["parts"]
        }
        name = data.draw(st.sampled_from(sorted(named)))
        path = self.place / name
        whole = path.read_bytes()
        place = len(whole) * data.draw(st.integers(0, 999)) // 1000  # sizes vary with the time of day, draws may not
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
    def another_step(self) -> None:
        """Counts the steps: it is asked after each, and once before the first."""
        self.steps += 1

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
            manifests = [json.loads(path.read_bytes()) for path in self.place.glob("_penstock/runs/*.json")]
            named = {part["name"] for raw in manifests for part in raw["parts"]}
            named |= {f"_penstock/runs/{raw['lineage']['run']:06d}.json" for raw in manifests}
            named |= {f"_penstock/runs/{raw['lineage']['run']:06d}.sha256" for raw in manifests} | set(self.strangers)
            assert {str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file()} == named
            filled = {path.name for path in self.place.iterdir() if path.is_file() or any(path.iterdir())}
            assert filled == {name.partition("/")[0] for name in named}
            if self.steps >= STEPS:
                self.seen["partitioned histories"] += self.by is not None
                self.seen["whole histories"] += 1
                self.seen["steps"] += self.steps
        finally:
            self.store.close()
            shutil.rmtree(self.root)


_HAPPENED = (
    "partitioned histories",
    "exports",
    "arrivals during an export",
    "deaths",
    "deaths after the commit",
    "deaths of a recovery",
    "failures",
    "retries",
    "locked",
    "repeated loads",
    "deleted numberings",
    "stores put back",
    "broken cursors",
    "clock jumps",
    "damages",
    "restores",
)


def _run() -> None:
    seen, turn = Lineages.seen, 0
    while seen["whole histories"] < HISTORIES and turn < 10:  # a history may end early, and does then not count
        seed(SEED + turn)(Lineages)
        missing = HISTORIES - seen["whole histories"]
        run_state_machine_as_test(
            Lineages,
            settings=limits(max_examples=missing, stateful_step_count=STEPS + 1, derandomize=False, database=None),
        )
        turn += 1


def test_any_history_leaves_every_event_in_exactly_one_run(ledger: Ledger) -> None:
    seen = Lineages.seen
    seen.clear()
    Lineages.program = Program()
    try:
        _run()
    finally:
        Lineages.program.close()
    done = min(seen["whole histories"], HISTORIES)
    name = "histories of a lineage against the model"
    ledger.add(name, "histories", planned=HISTORIES, fired=done, passed=done, sampled=True)
    steps = min(seen["steps"], HISTORIES * STEPS)
    ledger.add(name, "steps", planned=HISTORIES * STEPS, fired=steps, passed=steps, sampled=True)
    for what in _HAPPENED:
        assert seen[what] > 0, what
        count = seen[what]
        ledger.add(f"  {what} in them", "of these", planned=count, fired=count, passed=count, sampled=True)
    assert done == HISTORIES
