"""The commit protocol over a backend that dies, fails, loses its answers or its locks at every call, in memory as on
the local file system.

What a reader finds afterwards is judged by the bytes alone, and the next attempt has to end everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from penstock.backends.local.backend import LocalBackend
from penstock.backends.memory import MemoryBackend
from penstock.errors import (
    DestinationExists,
    ExportError,
    IoError,
    Locked,
    NoSpace,
    NotDurable,
    NotFound,
    Unconfirmed,
    Unknown,
)
from penstock.ports.backend import Backend, Expect
from penstock.publishing.attempt import Attempt
from penstock.publishing.shapes import Directory, OneFile, Run, Shape
from penstock.testing.destination_contract import manifest_of, staged
from penstock.testing.faults import Fault, Meddle, Operation
from penstock.testing.faulty import BackendFault, Die, Died, FaultyBackend, LoseAnswer, LoseLocks, Refuse
from proof_ledger import Kind, Ledger
from proof_size import share

Connect = Callable[[], Backend]
_STRANGERS = {"data/theirs.txt": b"a stranger", "neighbour.ndjson": b"another"}
#: What changes something, in one way or another.
_CHANGES = frozenset({"put", "place", "delete"})
#: What holds or lets go a lock: a release never fails, and who holds a lock and does not know it is gone soon.
_HELD = frozenset({"lock", "release"})
_NAMES = itertools.count()
#: What dies leaves files open: the process is only said to be gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An export of ``new`` parts at a place where ``old`` ones, or a bare file, may be."""

    shape: Shape
    new: tuple[bytes, ...]
    old: tuple[bytes, ...] | None = None
    bare: bytes | None = None

    @property
    def overwrite(self) -> bool:
        return self.old is not None or self.bare is not None


SCENARIOS = {
    "file": Scenario(shape=OneFile("out.ndjson"), new=(b"new\n",)),
    "file-overwrite": Scenario(shape=OneFile("out.ndjson"), new=(b"new\n",), old=(b"old, longer\n",)),
    "file-bare": Scenario(shape=OneFile("out.ndjson"), new=(b"new\n",), bare=b"somebody's\n"),
    "directory": Scenario(shape=Directory(), new=(b"1\n", b"2\n", b"3\n")),
    "directory-overwrite": Scenario(shape=Directory(), new=(b"1\n", b"2\n"), old=(b"1\n", b"old\n", b"older\n")),
    "run": Scenario(shape=Run(1), new=(b"1\n", b"2\n")),
    "empty-run": Scenario(shape=Run(1), new=()),
}
KINDS = ("memory", "local")


def _export(backend: Backend, scenario: Scenario, texts: tuple[bytes, ...], *, overwrite: bool, at: int) -> None:
    """Publish, as the product does: whatever happens, the attempt is closed."""
    attempt = Attempt(backend, scenario.shape)
    try:
        attempt.aim(scenario.shape, overwrite=overwrite)
        attempt.publish(staged(attempt, scenario.shape, *texts, at=at))
    finally:
        attempt.close()


class Stage:
    """A place as it was before the export, and what it holds after the old and after the new one."""

    def __init__(self, connect: Connect, scenario: Scenario) -> None:
        self.connect = connect
        self.scenario = scenario
        backend = connect()
        for key, text in _STRANGERS.items():
            backend.put(key, text, expect=Expect.ANY, attempt="x")
        if scenario.bare is not None:
            backend.put("out.ndjson", scenario.bare, expect=Expect.ANY, attempt="x")
        if scenario.old is not None:
            _export(backend, scenario, scenario.old, overwrite=False, at=1)
        self.old = self.keys()

    def keys(self) -> dict[str, bytes]:
        backend = self.connect()
        found = {}
        for stat in backend.list(""):
            with backend.open(stat.key) as file:
                found[stat.key] = file.read()
        return found

    def export(self, *faults: Fault) -> list[Operation]:
        client = FaultyBackend(self.connect(), *faults)
        self.log = client.log
        _export(client, self.scenario, self.scenario.new, overwrite=self.scenario.overwrite, at=2)
        return client.log

    def judge(self, new: dict[str, bytes]) -> str:
        """Which export a reader finds, who begins with the manifest: ``old``, ``none`` or ``new``."""
        there = self.keys()
        assert _STRANGERS.items() <= there.items(), "the foreign file was changed"
        shape = self.scenario.shape
        if shape.manifest not in there:
            assert shape.single or self.scenario.old is None, "there is no manifest, although a directory is replaced"
            if shape.data is not None:
                allowed = (self.old.get(shape.data), new[shape.data])
                assert there.get(shape.data) in allowed, "the file is neither the old file nor the new one"
            return "none"
        state = "new" if there[shape.manifest] == new[shape.manifest] else "old"
        expected = {"new": new, "old": self.old}[state]
        assert there[shape.manifest] == expected.get(shape.manifest), "the manifest is neither the old nor the new one"
        for name, text in expected.items():
            if name.startswith("data/") or name == shape.data:
                assert there.get(name) == text, f"{name} is not what the manifest names"
        return state

    def settle(self, state: str, new: dict[str, bytes]) -> None:
        """The next run, in whatever state, brings the place to its end."""
        try:
            self.export()
        except DestinationExists:
            assert not self.scenario.overwrite, "the next run refused"
            assert state == "new", "the next run refused"
        keys = self.keys()
        assert keys == new, f"was left behind or is gone: {sorted(keys.keys() ^ new.keys())}"
        assert not list(self.connect().staged(self.scenario.shape.attempt)), "was left behind, staged"


@cache
def _undisturbed(name: str) -> tuple[dict[str, bytes], list[Operation]]:
    """What a place holds after the export, and the operations of it; on any backend."""
    stage = Stage(partial(MemoryBackend, f"undisturbed-{next(_NAMES)}"), SCENARIOS[name])
    log = stage.export()
    return stage.keys(), log


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Stage]:
    """Makes the stage of a scenario, as often as one is wanted."""

    def make(name: str) -> Stage:
        number = next(_NAMES)
        if request.node.callspec.params["kind"] == "memory":
            return Stage(partial(MemoryBackend, f"stage-{number}"), SCENARIOS[name])
        (tmp_path / str(number)).mkdir()
        return Stage(partial(LocalBackend, tmp_path / str(number)), SCENARIOS[name])

    return make


class Tally:
    """Counts the faults of one sweep into the table."""

    def __init__(self, ledger: Ledger, suite: str, kind: Kind) -> None:
        self._ledger, self._suite, self._kind = ledger, suite, kind
        self.planned = self.fired = 0

    def met(self, fault: Fault) -> None:
        self.planned += 1
        self.fired += fault.fired > 0
        assert fault.fired

    def end(self) -> None:
        self._ledger.add(
            self._suite, self._kind, planned=self.planned, fired=self.fired, passed=self.fired, sampled=False, wrong=[]
        )


FRESH = Callable[[str], Stage]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_death_at_any_call_is_harmless(kind: str, name: str, after: bool, fresh: FRESH, ledger: Ledger) -> None:
    new, log = _undisturbed(name)
    tally = Tally(ledger, f"{kind}, {name}: died at a call", "crash points")
    seen = set()
    for operation in log:
        if after and operation.failed:
            continue
        stage = fresh(name)
        fault = Die(nth=operation.number, after_it=after)
        with pytest.raises(Died):
            stage.export(fault)
        tally.met(fault)
        state = stage.judge(new)
        seen.add(state)
        stage.settle(state, new)
    tally.end()
    assert "new" in seen
    assert len(seen) > 1


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_death_in_the_recovery_is_harmless(kind: str, name: str, fresh: FRESH, ledger: Ledger) -> None:
    new, log = _undisturbed(name)
    tally = Tally(ledger, f"{kind}, {name}: died twice", "double crashes")
    # Nobody dies after an operation that ended by itself.
    for operation in [each for each in log if not each.failed][:: share(4)]:
        for second in itertools.count(1, share(5)):
            stage = fresh(name)
            with pytest.raises(Died):
                stage.export(Die(nth=operation.number, after_it=True))
            state = stage.judge(new)
            fault = Die(nth=second, after_it=bool(second % 2))
            try:
                stage.export(fault)
            except Died:
                tally.met(fault)
                state = stage.judge(new)
            except DestinationExists:
                assert state == "new", "the next run refused"
            else:
                state = "new"
            stage.settle(state, new)
            if not fault.fired:
                break
    tally.end()


@dataclass(kw_only=True, slots=True)
class RefuseLate(BackendFault):
    """The operation raises what ``error`` makes of a message, although it had its effect."""

    error: Callable[[str], ExportError] = NotDurable

    def after(self, operation: Operation) -> None:
        raise self.error(f"refused on order, too late: {operation}")


@pytest.mark.parametrize("make", [Refuse, RefuseLate])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_at_any_call_tells_the_truth(
    kind: str, name: str, make: type[BackendFault], fresh: FRESH, ledger: Ledger
) -> None:
    new, log = _undisturbed(name)
    tally = Tally(ledger, f"{kind}, {name}: {make.__name__}", "operation faults")
    for operation in log:
        if operation.name in _HELD or (make is RefuseLate and operation.name not in _CHANGES):
            continue
        stage = fresh(name)
        fault = make(nth=operation.number)
        raised: ExportError | None = None
        try:
            stage.export(fault)
        except ExportError as failure:
            raised = failure
        tally.met(fault)
        state = stage.judge(new)
        if raised is None:
            assert state == "new", "no error was raised"
            commit = make is RefuseLate and (operation.name, operation.path) == ("put", stage.scenario.shape.manifest)
            assert not commit, "what may not outlive a power failure was acknowledged"
        elif state == "new":
            assert isinstance(raised, Unconfirmed), raised
            assert raised.manifest == new[stage.scenario.shape.manifest]
        else:
            assert not isinstance(raised, (Unconfirmed, NotDurable))
        stage.settle(state, new)
    tally.end()


@pytest.mark.parametrize("happens", [False, True], ids=["did not happen", "happened"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_lost_is_looked_after(
    kind: str, name: str, happens: bool, fresh: FRESH, ledger: Ledger
) -> None:
    new, log = _undisturbed(name)
    tally = Tally(ledger, f"{kind}, {name}: an answer was lost", "operation faults")
    for operation in log:
        if operation.name in _HELD:
            continue
        stage = fresh(name)
        fault = LoseAnswer(nth=operation.number, happens=happens)
        try:
            stage.export(fault)
        except Unknown:
            assert stage.judge(new) != "new"
            assert operation.name not in _CHANGES, "the answer to a change was not looked after"
        tally.met(fault)
        state = stage.judge(new)
        if operation.name in _CHANGES:
            assert state == "new"
        stage.settle(state, new)
    tally.end()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_after_the_commit_is_a_success(
    kind: str, name: str, when: Any, fresh: FRESH, ledger: Ledger
) -> None:
    new, log = _undisturbed(name)
    tally = Tally(ledger, f"{kind}, {name}: interrupted", "interrupts")
    commit = next(one.number for one in log if one.path == SCENARIOS[name].shape.manifest and one.name == "put")

    def interrupt(_: Operation) -> None:
        raise KeyboardInterrupt

    for operation in log:
        if operation.name in _HELD:
            continue
        stage = fresh(name)
        fault = Meddle(nth=operation.number, action=interrupt, when=when)
        happened = True
        try:
            stage.export(fault)
        except KeyboardInterrupt:
            happened = False
        tally.met(fault)
        state = stage.judge(new)
        if (operation.number, when == "after") >= (commit, True):
            assert happened, "the commit was reported as an interrupt"
        assert happened is (state == "new")
        stage.settle(state, new)
    tally.end()


@pytest.mark.parametrize("name", ["directory", "run", "empty-run"])
@pytest.mark.parametrize("kind", KINDS)
def test_where_a_lock_is_lost_one_wins_and_the_other_is_told(kind: str, name: str, fresh: FRESH) -> None:
    """The other one begins when the first one's lock is gone, and comes to its end meanwhile."""
    new, log = _undisturbed(name)
    for operation in log:
        if operation.name not in {"write", "finish", "place", "put"}:
            continue
        stage = fresh(name)

        def other(_: Operation, stage: Stage = stage) -> None:
            with suppress(DestinationExists):  # this one was first
                _export(stage.connect(), stage.scenario, stage.scenario.new, overwrite=False, at=3)

        lost = LoseLocks(nth=operation.number)
        meddling = Meddle(nth=operation.number, action=other)
        refused = False
        try:
            stage.export(lost, meddling)
        except (Locked, DestinationExists, NotFound):
            refused = True
        assert lost.lost == meddling.fired == 1
        theirs = stage.keys()[stage.scenario.shape.manifest] != new[stage.scenario.shape.manifest]
        assert refused is theirs
        assert stage.keys().keys() == new.keys()
        assert all(text == new[key] for key, text in stage.keys().items() if key.startswith("data/"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_that_cannot_be_read_back_is_unconfirmed(kind: str, fresh: FRESH) -> None:
    new, log = _undisturbed("directory")
    stage = fresh("directory")
    commit = next(one.number for one in log if one.path == "_penstock/manifest.json" and one.name == "put")
    lost = LoseAnswer(nth=commit, happens=True)
    blind = Refuse(on=("open",), ending="_penstock/manifest.json", lasting=True, error=IoError)
    with pytest.raises(Unconfirmed) as caught:
        stage.export(lost, blind)
    assert caught.value.manifest == new["_penstock/manifest.json"]
    assert caught.value.exit_code == 5
    assert stage.judge(new) == "new"
    stage.settle("new", new)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_after_the_commit_is_told_and_completed_by_the_next(kind: str, fresh: FRESH) -> None:
    new, log = _undisturbed("run")
    stage = fresh("run")
    sums = next(one.number for one in log if one.target == "_penstock/runs/000001.sha256")
    client = FaultyBackend(stage.connect(), Refuse(nth=sums, error=NoSpace))
    attempt = Attempt(client, Run(1))
    attempt.aim(Run(1))
    attempt.publish(staged(attempt, Run(1), *stage.scenario.new, at=2))
    attempt.close()
    assert ["leftovers" in note for note in attempt.notes] == [True]
    assert stage.judge(new) == "new"
    Attempt(stage.connect(), Run(1)).close()
    assert stage.keys() == new


def test_two_manifests_of_one_moment_differ_by_their_parts() -> None:
    """So that what was committed by somebody else is never taken for one's own."""
    one = manifest_of(Run(1), [], at=1)
    assert replace(one, exported_at=2).to_bytes() != one.to_bytes()
