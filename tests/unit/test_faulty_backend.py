"""The faults that are put under a backend do what they say, and say that they did."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.backends.memory import MemoryBackend
from penstock.errors import IoError, Locked, NoSpace, Unknown
from penstock.ports.backend import Expect, Move
from penstock.testing.backend_place import keys, read, staged
from penstock.testing.faults import Meddle
from penstock.testing.faulty import Die, Died, FaultyBackend, ListLate, LoseAnswer, LoseLocks, ReadShort, Refuse


@pytest.fixture
def inner(tmp_path: Path) -> MemoryBackend:
    return MemoryBackend(str(tmp_path))


def _put(backend: FaultyBackend, key: str) -> None:
    backend.put(key, key.encode(), expect=Expect.ABSENT, attempt="try")


def test_an_operation_is_refused_and_had_no_effect(inner: MemoryBackend) -> None:
    fault = Refuse(on=("put",), nth=2, error=NoSpace)
    backend = FaultyBackend(inner, fault)
    _put(backend, "a")
    with pytest.raises(NoSpace):
        _put(backend, "b")
    _put(backend, "c")
    assert (fault.fired, keys(inner)) == (1, ["a", "c"])
    assert [(operation.path, operation.failed) for operation in backend.log] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]


@pytest.mark.parametrize("happens", [False, True])
def test_an_answer_is_lost_whether_or_not_it_happened(happens: bool, inner: MemoryBackend) -> None:
    fault = LoseAnswer(on=("place",), ending="b", happens=happens)
    backend = FaultyBackend(inner, fault)
    moves = [Move(staged=staged(backend, name, b"x"), key=name) for name in "abc"]
    with pytest.raises(Unknown):
        backend.place(moves)
    assert (fault.fired, keys(inner)) == (1, ["a", "b"] if happens else ["a"])


@pytest.mark.parametrize("after_it", [False, True])
def test_a_client_that_dies_does_nothing_more_and_lets_its_locks_go(after_it: bool, inner: MemoryBackend) -> None:
    fault = Die(on=("finish",), after_it=after_it)
    backend = FaultyBackend(inner, fault)
    lock = backend.lock("try")
    upload = backend.stage("try", "a")
    upload.write(b"x")
    with pytest.raises(Died):
        upload.finish()
    for call in (upload.abort, lock.release, lambda: backend.stat("a"), lambda: _put(backend, "a")):
        with pytest.raises(Died):
            call()
    assert fault.fired == 1
    assert (keys(inner), [item.name for item in inner.staged("try")]) == ([], ["a"])
    inner.lock("try").release()


def test_a_lock_is_lost_and_its_holder_does_not_learn_of_it(inner: MemoryBackend) -> None:
    fault = LoseLocks(on=("put",))
    backend = FaultyBackend(inner, fault)
    with backend.lock("try"):
        with pytest.raises(Locked):
            inner.lock("try")
        _put(backend, "a")
        other = inner.lock("try")
    assert (fault.fired, fault.lost) == (1, 1)
    with pytest.raises(Locked):
        inner.lock("try")
    other.release()


def test_the_newest_keys_of_all_clients_are_listed_late(inner: MemoryBackend) -> None:
    fault = ListLate(newest=2, lasting=True)
    one, other = FaultyBackend(inner, fault), FaultyBackend(inner, fault)
    _put(one, "c")
    _put(other, "a")
    one.place([Move(staged=staged(one, "x", b"x"), key="b")])
    assert keys(other) == ["c"]
    assert (fault.fired, fault.hidden) == (1, 2)
    assert other.stat("a") is not None
    assert keys(inner) == ["a", "b", "c"]


def test_what_is_read_comes_in_pieces_or_too_short(inner: MemoryBackend) -> None:
    inner.put("a", b"0123456789", expect=Expect.ABSENT, attempt="try")
    pieces = ReadShort(on=("open",), most=3)
    backend = FaultyBackend(inner, pieces, ReadShort(on=("open",), nth=2, most=100, missing=4))
    with backend.open("a") as file:
        assert (file.read(5), file.read(5)) == (b"012", b"345")
    assert read(backend, "a") == b"012345"
    assert pieces.fired == 1


def test_giving_up_never_raises_and_faults_of_files_work_here_too(inner: MemoryBackend) -> None:
    met: list[str] = []
    meddle = Meddle(on=("stage",), action=lambda operation: met.append(operation.path))
    backend = FaultyBackend(inner, meddle, Refuse(on=("abort", "release"), lasting=True))
    backend.stage("try", "a").abort()
    backend.lock("try").release()
    assert (met, meddle.fired) == (["try/a"], 1)
    assert [item.name for item in inner.staged("try")] == ["a"]
    with pytest.raises(Locked):
        inner.lock("try")


def test_a_fault_that_is_not_met_has_not_fired(inner: MemoryBackend) -> None:
    fault = Refuse(on=("put",), nth=3, error=IoError)
    _put(FaultyBackend(inner, fault), "a")
    assert fault.fired == 0
