"""What every backend promises."""

from __future__ import annotations

import pytest

from penstock.backends.memory import MemoryBackend
from penstock.errors import Changed, Exists, Locked, NotFound
from penstock.ports.backend import Backend, Expect, Move


def test_memory_keeps_keys_and_expectations() -> None:
    one: Backend = MemoryBackend("contract")
    other: Backend = MemoryBackend("contract")
    first = one.put("a/b", b"1", expect=Expect.ABSENT, attempt="x")
    with pytest.raises(Exists):
        other.put("a/b", b"2", expect=Expect.ABSENT, attempt="y")
    second = other.put("a/b", b"2", expect=first.version, attempt="y")
    with pytest.raises(Changed):
        one.put("a/b", b"3", expect=first.version, attempt="x")
    with pytest.raises(Changed):
        one.open("a/b", version=first.version)
    assert one.open("a/b", version=second.version).read() == b"2"
    upload = one.stage("x", "data-0")
    upload.write(b"staged")
    staged = upload.finish()
    assert [stat.key for stat in other.list("")] == ["a/b"]
    assert list(other.staged("x")) == [staged]
    one.place([Move(staged=staged, key="a/c")])
    with pytest.raises(NotFound):
        one.open_staged(staged)
    with one.lock("x"), pytest.raises(Locked):
        other.lock("x")
    other.lock("x").release()
    assert not one.delete("a/b", version=first.version)
    assert one.delete("a/b", version=second.version)
