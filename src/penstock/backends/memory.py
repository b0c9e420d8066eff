"""Bytes in the memory of this process: for tests and notebooks, and the plainest reading of what a backend promises."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import count
from threading import RLock
from typing import BinaryIO, ClassVar

from penstock.errors import Changed, Exists, Locked, NotFound
from penstock.model.location import Location, check_key, check_plain
from penstock.ports.backend import Expect, Expectation, Move, Staged, Stat, Traits
from penstock.ports.format import Buffer


class _Space:  # what all backends of one name see
    def __init__(self) -> None:
        self.guard = RLock()
        self.numbers = count(1)
        self.kept: dict[str, tuple[bytes, str]] = {}
        self.staged: dict[tuple[str, str], bytearray] = {}
        self.held: dict[str, int] = {}


class MemoryBackend:
    """Keys in this process, to stay. Backends of one ``name`` share them, like processes that meet at one place."""

    _spaces: ClassVar[dict[str, _Space]] = {}
    traits = Traits(
        put_absent=True,
        put_version=True,
        place_absent=True,
        place_free=True,
        readable=True,
        listable=True,
        durable=False,
        lock=True,
    )

    def __init__(self, name: str) -> None:
        self.location = Location("memory", name)
        self._space = self._spaces.setdefault(name, _Space())

    def stat(self, key: str) -> Stat | None:
        there = self._space.kept.get(check_key(key))
        return None if there is None else Stat(key=key, size=len(there[0]), version=there[1])

    def list(self, prefix: str) -> Iterator[Stat]:
        with self._space.guard:
            there = sorted((key, len(data), version) for key, (data, version) in self._space.kept.items())
        return (Stat(key=key, size=size, version=mark) for key, size, mark in there if key.startswith(prefix))

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        there = self._space.kept.get(check_key(key))
        if there is None:
            raise NotFound(f"there is no {key} at {self.location}")
        if version not in (None, there[1]):
            raise Changed(f"{key} at {self.location} is not what it was", hint="look what stands there now")
        return io.BytesIO(there[0][start:stop])

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        check_plain(attempt)
        with self._space.guard:
            there = self.stat(key)
            if expect is Expect.ABSENT and there is not None:
                raise Exists(f"{key} exists at {self.location}", hint="choose another name")
            if isinstance(expect, str) and (there is None or there.version != expect):
                raise Changed(f"{key} at {self.location} is not what it was", hint="look what stands there now")
            stat = Stat(key=key, size=len(data), version=str(next(self._space.numbers)))
            self._space.kept[key] = (bytes(data), stat.version)
            return stat

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> _Upload:
        names = check_plain(attempt), check_plain(name)
        data = bytearray()
        if self._space.staged.setdefault(names, data) is not data:
            raise Exists(f"{attempt} staged {name} before", hint="use each name once in an attempt")
        return _Upload(self._space, names)

    def open_staged(self, staged: Staged) -> BinaryIO:
        there = self._space.staged.get((staged.attempt, staged.name))
        if there is None:
            raise NotFound(f"{staged.attempt} has no {staged.name} staged at {self.location}")
        return io.BytesIO(there)

    def staged(self, attempt: str) -> Iterator[Staged]:
        with self._space.guard:
            there = sorted((name, len(data)) for (of, name), data in self._space.staged.items() if of == attempt)
        return (Staged(attempt=attempt, name=name, size=size) for name, size in there)

    def attempts(self) -> Iterator[str]:
        with self._space.guard:
            return iter(sorted({attempt for attempt, _ in self._space.staged}))

    def drop(self, staged: Staged) -> None:
        self._space.staged.pop((staged.attempt, staged.name), None)

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        return [self._place(move) for move in moves]

    def _place(self, move: Move) -> Stat:
        with self._space.guard:
            data = self.open_staged(move.staged).read()
            placed = self.put(move.key, data, expect=move.expect, attempt=move.staged.attempt)
            self.drop(move.staged)
        return placed

    def settle(self, keys: Sequence[str]) -> None:
        """Nothing outlives the process."""

    def delete(self, key: str, *, version: str | None = None) -> bool:
        with self._space.guard:
            there = self.stat(key)
            wanted = there is not None and version in (None, there.version)
            if wanted:
                del self._space.kept[key]
            return wanted

    def lock(self, attempt: str) -> _Lock:
        lock = _Lock(self._space, check_plain(attempt))
        if self._space.held.setdefault(attempt, lock.token) != lock.token:
            raise Locked(f"{attempt} at {self.location} is held by another", hint="wait for it to end")
        return lock


class _Upload:
    def __init__(self, space: _Space, names: tuple[str, str]) -> None:
        self._space, self._names, self._data = space, names, space.staged[names]

    def write(self, data: Buffer) -> None:
        self._data += memoryview(data).cast("B")

    def finish(self) -> Staged:
        return Staged(attempt=self._names[0], name=self._names[1], size=len(self._data))

    def abort(self) -> None:
        self._space.staged.pop(self._names, None)


class _Lock(AbstractContextManager["_Lock"]):
    def __init__(self, space: _Space, attempt: str) -> None:
        self._space, self._attempt = space, attempt
        self.token = next(space.numbers)

    def release(self) -> None:
        with self._space.guard:
            if self._space.held.get(self._attempt) == self.token:
                del self._space.held[self._attempt]

    def __exit__(self, *_: object) -> None:
        self.release()
