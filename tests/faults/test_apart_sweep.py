"""The commit protocol where attempts are told apart and no lock ends with its holder: a client that dies or loses an
answer at every call, over memory, and over a server that speaks S3.

What a reader finds afterwards is judged by the bytes alone, and the next attempt has to end everything.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256

import pytest
from test_commit_sweep import SCENARIOS, Connect, Scenario

import object_services
from penstock.backends.memory import MemoryBackend
from penstock.backends.objects.backend import NoLock, ObjectBackend
from penstock.errors import Changed, DestinationExists, Locked, NotFound, Unknown
from penstock.ports.backend import Backend, Expect, Staged
from penstock.publishing.attempt import Attempt
from penstock.testing.destination_contract import staged
from penstock.testing.faults import Fault, Meddle, Operation
from penstock.testing.faulty import Die, Died, FaultyBackend, LoseAnswer
from proof_ledger import Kind, Ledger
from proof_size import share

_STRANGER = ("data/theirs.txt", b"a stranger")
_NAMES = itertools.count()
_CHANGES = frozenset({"put", "place", "delete"})
#: Of so many calls over S3 one is tried in CI.
OF_S3 = 12
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class ApartMemory(MemoryBackend):
    """Memory without a lock."""

    traits = replace(MemoryBackend.traits, lock=False, apart=True)

    def lock(self, attempt: str) -> NoLock:  # type: ignore[override]  # it holds nothing
        return NoLock()


def export(backend: Backend, scenario: Scenario, texts: tuple[bytes, ...], *, overwrite: bool, at: int) -> None:
    attempt = Attempt(backend, scenario.shape)
    try:
        attempt.aim(scenario.shape, overwrite=overwrite)
        attempt.publish(staged(attempt, scenario.shape, *texts, at=at))
    finally:
        attempt.close()


class Stage:
    """A place, with the old export of a scenario where it has one."""

    def __init__(self, connect: Connect, scenario: Scenario) -> None:
        self.connect, self.scenario = connect, scenario
        backend = connect()
        backend.put(*_STRANGER, expect=Expect.ANY, attempt="x")
        if scenario.bare is not None:
            backend.put("out.ndjson", scenario.bare, expect=Expect.ANY, attempt="x")
        if scenario.old is not None:
            export(backend, scenario, scenario.old, overwrite=False, at=1)
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
        export(client, self.scenario, self.scenario.new, overwrite=self.scenario.overwrite, at=2)
        return client.log

    def judge(self) -> str:
        """Which export a reader finds, who begins with the manifest: ``old``, ``none`` or ``new``."""
        there, shape = self.keys(), self.scenario.shape
        assert there[_STRANGER[0]] == _STRANGER[1], "a foreign file was changed"
        text = there.get(shape.manifest)
        if text is None:
            assert shape.single or self.scenario.old is None, "there is no manifest, although a directory is replaced"
            if shape.data is not None:
                allowed = (self.old.get(shape.data), self.scenario.new[0])
                assert there.get(shape.data) in allowed, "the file is neither the old file nor the new one"
            return "none"
        entries = json.loads(text)["parts"]
        assert [sha256(there[entry["name"]]).hexdigest() for entry in entries] == [each["sha256"] for each in entries]
        if text == self.old.get(shape.manifest):
            return "old"
        assert tuple(there[entry["name"]] for entry in entries) == self.scenario.new
        return "new"

    def unclaim(self) -> bool:
        """Remove the claim on one file, as who killed the process would; whether there was one."""
        backend, attempt = self.connect(), self.scenario.shape.attempt
        claims = [one for one in backend.staged(attempt) if one.name == "claim"]
        for claim in claims:
            with pytest.raises(Locked):
                self.export()
            backend.drop(Staged(attempt=attempt, name=claim.name, size=claim.size))
        return bool(claims)

    def settle(self, state: str) -> None:
        """The next run, in whatever state, brings the place to its end, and leaves nothing."""
        self.unclaim()
        try:
            self.export()
        except DestinationExists:
            assert not self.scenario.overwrite or state == "new", "the next run refused"
            if state != "new":  # one file that was named, and whose manifest never came, is not ours to replace
                raise
        assert self.judge() == "new"
        there, shape = self.keys(), self.scenario.shape
        named = {entry["name"] for entry in json.loads(there[shape.manifest])["parts"]}
        about = {shape.manifest, *((shape.sums,) if shape.sums is not None else ())}
        assert there.keys() == {_STRANGER[0]} | named | about, "something was left behind, or is gone"
        assert not list(self.connect().attempts()), "something was left behind, staged"


def connect(kind: str, request: pytest.FixtureRequest) -> Connect:
    if kind == "memory":
        return partial(ApartMemory, f"apart-{next(_NAMES)}")
    request.getfixturevalue("s3")
    return partial(ObjectBackend, object_services.new_place())


def _sweep(
    kind: str, name: str, request: pytest.FixtureRequest, make: Callable[[Operation], Fault | None]
) -> list[Stage]:
    """A stage after each fault that is made for an operation of an undisturbed export. Each has fired."""
    log = Stage(connect(kind, request), SCENARIOS[name]).export()
    faults = [fault for operation in log if (fault := make(operation)) is not None]
    step = 1 if kind == "memory" else min(share(OF_S3), len(faults))
    stages = []
    for fault in faults[next(_NAMES) % step :: step]:
        stage = Stage(connect(kind, request), SCENARIOS[name])
        with suppress(Died, Unknown):
            stage.export(fault)
        assert fault.fired == 1
        stages.append(stage)
    assert stages
    return stages


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_death_at_any_call_is_harmless(
    kind: str, name: str, after: bool, request: pytest.FixtureRequest, ledger: Ledger
) -> None:
    def die(operation: Operation) -> Fault | None:
        return None if after and operation.failed else Die(nth=operation.number, after_it=after)

    stages = _sweep(kind, name, request, die)
    states = [stage.judge() for stage in stages]
    for stage, state in zip(stages, states, strict=True):
        stage.settle(state)
    note(ledger, f"apart, {kind}, {name}: died at a call", "crash points", len(stages), kind)
    assert kind == "s3" or "new" in states


@pytest.mark.parametrize("happens", [False, True], ids=["did not happen", "happened"])
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_an_answer_that_is_lost_is_looked_after(
    kind: str, name: str, happens: bool, request: pytest.FixtureRequest, ledger: Ledger
) -> None:
    def lose(operation: Operation) -> Fault | None:
        return LoseAnswer(nth=operation.number, happens=happens) if operation.name in _CHANGES else None

    stages = _sweep(kind, name, request, lose)
    assert [stage.judge() for stage in stages] == ["new"] * len(stages)
    for stage in stages:
        stage.settle("new")
    note(ledger, f"apart, {kind}, {name}: an answer was lost", "operation faults", len(stages), kind)


def note(ledger: Ledger, suite: str, what: Kind, count: int, kind: str) -> None:
    ledger.add(suite, what, planned=count, fired=count, passed=count, sampled=kind == "s3", wrong=[])


_RACED = ["directory", "directory-overwrite", "run", "empty-run"]


@pytest.mark.parametrize("name", _RACED)
@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_of_two_that_work_at_once_one_wins_and_the_other_is_told(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:
    """Another begins and comes to its end before each call of the first."""
    for stage, first in _raced(kind, name, request, export):
        assert stage.judge() == "new"
        there = stage.keys()
        manifest = json.loads(there[stage.scenario.shape.manifest])
        assert manifest["exported_at"].endswith("000002Z") is first
        named = [entry["name"] for entry in manifest["parts"]]
        assert sorted(key for key in there if key.startswith("data/") and key != _STRANGER[0]) == sorted(named)
        assert not list(stage.connect().attempts())


@pytest.mark.parametrize("name", _RACED)
@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_who_begins_and_gives_up_takes_nothing_from_who_works(
    kind: str, name: str, request: pytest.FixtureRequest
) -> None:
    def give_up(backend: Backend, scenario: Scenario, texts: tuple[bytes, ...], *, overwrite: bool, at: int) -> None:
        attempt = Attempt(backend, scenario.shape)
        attempt.aim(scenario.shape, overwrite=overwrite)
        staged(attempt, scenario.shape, *texts, at=at)
        attempt.close()

    for stage, first in _raced(kind, name, request, give_up):
        assert (stage.judge(), first) == ("new", True)
        stage.settle("new")


def _raced(
    kind: str, name: str, request: pytest.FixtureRequest, meanwhile: Callable[..., None]
) -> Iterator[tuple[Stage, bool]]:
    """A stage after what another did before each call of an export, and whether that came to its end."""
    scenario = SCENARIOS[name]
    log = Stage(connect(kind, request), scenario).export()
    commit = next(one.number for one in log if one.name == "put" and one.path == scenario.shape.manifest)
    begun = next(one.number for one in log if one.name == "stat" and one.path == scenario.shape.manifest) + 1
    for number in range(begun, commit + 1)[:: 1 if kind == "memory" else share(OF_S3)]:
        stage = Stage(connect(kind, request), scenario)

        def other(_: Operation, stage: Stage = stage) -> None:
            meanwhile(stage.connect(), scenario, scenario.new, overwrite=scenario.overwrite, at=3)

        meddling = Meddle(nth=number, action=other)
        try:
            stage.export(meddling)
            first = True
        except (Locked, DestinationExists, NotFound, Changed):
            first = False
        assert meddling.fired == 1
        yield stage, first
