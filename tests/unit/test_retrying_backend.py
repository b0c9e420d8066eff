"""What is tried again, how long it is waited for, and what is never repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.backends.local.backend import LocalBackend
from penstock.backends.memory import MemoryBackend
from penstock.backends.retrying import Patience, RetryingBackend
from penstock.errors import AccessDenied, Changed, Exists, ExportError, IoError, Locked, NoSpace, StoreBusy, Unknown
from penstock.ports.backend import Backend, Expect, Move
from penstock.testing.backend_place import keys, read, staged
from penstock.testing.faults import Fault
from penstock.testing.faulty import BreakOff, FaultyBackend, LoseAnswer, Refuse

PATIENCE = Patience(first=1.0, longest=4.0, total=20.0)


class _Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _retrying(inner: Backend, *faults: Fault, chance: float = 0.0) -> tuple[RetryingBackend, FaultyBackend, _Time]:
    time, faulty = _Time(), FaultyBackend(inner, *faults)
    return (
        RetryingBackend(faulty, PATIENCE, clock=lambda: time.now, sleep=time.sleep, chance=lambda: chance),
        faulty,
        time,
    )


@pytest.fixture
def memory(tmp_path: Path) -> MemoryBackend:
    backend = MemoryBackend(str(tmp_path))
    backend.put("data/a", b"a", expect=Expect.ABSENT, attempt="try")
    staged(backend, "laid", b"laid", attempt="laid")
    return backend


def _lock_and_release(backend: Backend) -> None:
    backend.lock("try").release()


def _lay_down(backend: Backend) -> None:
    staged(backend, "a", b"a")


def _place(backend: Backend) -> None:
    (item,) = backend.staged("laid")
    backend.place([Move(staged=item, key="placed")])


def _drop(backend: Backend) -> None:
    (item,) = backend.staged("laid")
    with backend.open_staged(item) as file:
        assert file.read() == b"laid"
    backend.drop(item)
    assert not list(backend.staged("laid"))


CALLS: dict[str, Callable[[Backend], object]] = {
    "stat": lambda backend: backend.stat("data/a"),
    "list": keys,
    "open": lambda backend: read(backend, "data/a"),
    "put": lambda backend: backend.put("data/b", b"b", expect=Expect.ABSENT, attempt="try"),
    "delete": lambda backend: backend.delete("data/a"),
    "settle": lambda backend: backend.settle(["data/a"]),
    "lock": _lock_and_release,
    "stage": _lay_down,
    "place": _place,
    "staged": _drop,
    "open_staged": _drop,
    "drop": _drop,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("error", [IoError, StoreBusy])
def test_what_failed_for_a_while_is_tried_again(
    name: str, error: Callable[[str], ExportError], memory: MemoryBackend
) -> None:
    faults = [Refuse(on=(name,), nth=nth, error=error) for nth in (1, 2, 3)]
    backend, _, time = _retrying(memory, *faults)
    CALLS[name](backend)
    assert [fault.fired for fault in faults] == [1, 1, 1]
    assert time.slept == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_that_was_lost_is_never_asked_for_again(name: str, memory: MemoryBackend) -> None:
    lost = LoseAnswer(on=(name,), happens=True)
    backend, faulty, time = _retrying(memory, lost)
    with pytest.raises(Unknown):
        CALLS[name](backend)
    assert (lost.fired, time.slept) == (1, [])
    assert [operation.name for operation in faulty.log].count(name) == 1


@pytest.mark.parametrize("error", [Changed, NoSpace, AccessDenied, Locked, Exists])
def test_what_will_be_answered_alike_is_not_tried_again(
    error: Callable[[str], ExportError], memory: MemoryBackend
) -> None:
    for name, call in CALLS.items():
        backend, _, time = _retrying(memory, Refuse(on=(name,), error=error))
        with pytest.raises(ExportError):
            call(backend)
        assert time.slept == []


def test_patience_ends(memory: MemoryBackend) -> None:
    always = Refuse(on=("stat",), lasting=True)
    backend, _, time = _retrying(memory, always)
    with pytest.raises(IoError, match="refused on order"):
        backend.stat("data/a")
    assert time.slept == [1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert sum(time.slept) <= PATIENCE.total
    assert always.fired == len(time.slept) + 1


def test_pauses_are_shortened_by_chance_to_no_less_than_half(memory: MemoryBackend) -> None:
    backend, _, time = _retrying(memory, Refuse(on=("stat",), nth=1), Refuse(on=("stat",), nth=2), chance=0.999)
    backend.stat("data/a")
    assert time.slept == pytest.approx([0.5005, 1.001])


def test_a_listing_that_breaks_off_goes_on_where_it_was(memory: MemoryBackend) -> None:
    for name in "bcdef":
        memory.put(f"data/{name}", b"", expect=Expect.ABSENT, attempt="try")
    faults: list[Fault] = [BreakOff(on=("list",), nth=1, after_keys=2), Refuse(on=("list",), nth=2)]
    faults += [BreakOff(on=("list",), nth=3, after_keys=3), BreakOff(on=("list",), nth=4, after_keys=0)]
    backend, _, time = _retrying(memory, *faults)
    assert keys(backend) == [f"data/{name}" for name in "abcdef"]
    assert [fault.fired for fault in faults] == [1, 1, 1, 1]
    assert len(time.slept) == 4


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_placement_goes_on_with_what_is_still_staged(kind: str, memory: MemoryBackend, tmp_path: Path) -> None:
    inner: Backend = memory if kind == "memory" else LocalBackend(tmp_path)
    moves = [Move(staged=staged(inner, name, name.encode()), key=f"placed/{name}") for name in "abcd"]
    faults = [Refuse(on=("place",), nth=nth) for nth in (3, 4, 6)]
    backend, faulty, _ = _retrying(inner, *faults)
    stats = backend.place(moves)
    assert [fault.fired for fault in faults] == [1, 1, 1]
    assert list(stats) == list(inner.list("placed/"))
    assert [read(inner, move.key) for move in moves] == [b"a", b"b", b"c", b"d"]
    assert [operation.target for operation in faulty.log if operation.name == "place" and not operation.failed] == [
        move.key for move in moves
    ]


def test_a_key_that_another_took_while_it_was_waited_is_not_overwritten(memory: MemoryBackend) -> None:
    refuse = Refuse(on=("put",))
    time, faulty = _Time(), FaultyBackend(memory, refuse)

    def sleep(seconds: float) -> None:
        memory.put("data/b", b"theirs", expect=Expect.ABSENT, attempt="another")

    backend = RetryingBackend(faulty, PATIENCE, clock=lambda: time.now, sleep=sleep)
    with pytest.raises(Exists):
        backend.put("data/b", b"ours", expect=Expect.ABSENT, attempt="try")
    assert refuse.fired
    assert read(memory, "data/b") == b"theirs"
