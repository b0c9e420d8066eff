"""A backend that fails on order: the faults to put under anything that takes a backend, whatever it stands on.

:class:`FaultyBackend` passes each call on to another backend as an :class:`~penstock.testing.faults.Operation`, named
as the port names it; ``path`` is the key, the attempt, or ``ATTEMPT/NAME`` of what is staged, ``target`` the key that a
move gives. ``write``, ``finish`` and ``abort`` are those of an upload, ``release`` that of a lock. All faults of
``faults`` that raise no error of the system work here too, and each move of a placement is an operation.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Self, TypeVar

from penstock.errors import ExportError, IoError, Unknown
from penstock.model.location import Location
from penstock.ports.backend import Backend, Expectation, Lock, Move, Staged, Stat, Traits, Upload
from penstock.ports.format import Buffer
from penstock.testing.faults import Fault, Operation

Result = TypeVar("Result")


class Died(BaseException):
    """The client is gone, as if its process had been killed: nothing that it does has any effect any more."""


@dataclass(kw_only=True, slots=True)
class BackendFault(Fault):
    """A fault that sees the client that it strikes, and what is answered."""

    def strike(self, client: FaultyBackend) -> None:
        """Act before the operation has any effect, on the client itself."""

    def answer(self, operation: Operation, result: Any) -> Any:
        """What the caller gets for the result."""
        return result


@dataclass(kw_only=True, slots=True)
class Refuse(BackendFault):
    """The operation raises what ``error`` makes of a message, and has no effect."""

    error: Callable[[str], ExportError] = IoError

    def before(self, operation: Operation) -> None:
        raise self.error(f"refused on order: {operation}")


@dataclass(kw_only=True, slots=True)
class LoseAnswer(BackendFault):
    """The operation raises :class:`~penstock.errors.Unknown`; ``happens`` says whether it had its effect."""

    happens: bool

    def before(self, operation: Operation) -> None:
        if not self.happens:
            self.after(operation)

    def after(self, operation: Operation) -> None:
        raise Unknown(f"the answer was lost on order: {operation}")


@dataclass(kw_only=True, slots=True)
class Die(BackendFault):
    """The client dies before the operation, or after it: its locks end, and every call of its raises :class:`Died`."""

    after_it: bool = False
    _client: FaultyBackend | None = None

    def strike(self, client: FaultyBackend) -> None:
        self._client = client
        if not self.after_it:
            client.die()

    def after(self, operation: Operation) -> None:
        assert self._client is not None
        self._client.die()


@dataclass(kw_only=True, slots=True)
class LoseLocks(BackendFault):
    """Right before the operation the locks that the client holds end, and it does not learn of it. Fires at the ``nth``
    operation, whether or not a lock was held; ``lost`` counts those that were."""

    lost: int = 0

    def strike(self, client: FaultyBackend) -> None:
        self.lost += client.lose_locks()


@dataclass(kw_only=True, slots=True)
class ListLate(BackendFault):
    """Listings lack the ``newest`` keys that were given through clients with this very fault."""

    newest: int
    hidden: int = 0
    _given: list[str] = field(default_factory=list)

    def due(self, operation: Operation) -> bool:
        key = operation.target or operation.path
        if operation.name in ("put", "place"):
            self._given = [*(given for given in self._given if given != key), key]
        return operation.name == "list" and Fault.due(self, operation)

    def answer(self, operation: Operation, result: Any) -> Any:
        late = self._given[-self.newest :]
        for stat in result:
            if stat.key in late:
                self.hidden += 1
            else:
                yield stat


@dataclass(kw_only=True, slots=True)
class BreakOff(BackendFault):
    """A listing raises :class:`~penstock.errors.IoError` after so many keys."""

    after_keys: int = 1

    def answer(self, operation: Operation, result: Any) -> Any:
        yield from islice(result, self.after_keys)
        raise IoError(f"broken off on order: {operation}")


@dataclass(kw_only=True, slots=True)
class ReadShort(BackendFault):
    """What is opened gives at most ``most`` bytes a read, and ends ``missing`` bytes early."""

    most: int = 1
    missing: int = 0

    def answer(self, operation: Operation, result: Any) -> Any:
        return _Short(result, self.most, self.missing)


class _Short(io.RawIOBase):
    def __init__(self, file: BinaryIO, most: int, missing: int) -> None:
        super().__init__()
        with file:
            data = file.read()
        self._file = io.BytesIO(data[: len(data) - missing])
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Buffer) -> int:
        piece = self._file.read(min(self._most, len(buffer)))
        buffer[: len(piece)] = piece
        return len(piece)


class FaultyBackend:
    """``inner`` with faults; ``log`` lists every operation. One client: what dies or loses its locks is all of it."""

    def __init__(self, inner: Backend, *faults: Fault) -> None:
        self.log: list[Operation] = []
        self._inner = inner
        self._faults = faults
        self._locks: list[Lock] = []
        self._dead = False
        self._counting = threading.Lock()

    @property
    def location(self) -> Location:
        return self._inner.location

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    def die(self) -> None:
        """Be gone: raises :class:`Died`."""
        self._dead = True
        self.lose_locks()
        raise Died

    def lose_locks(self) -> int:
        """End the locks that are held, behind the holder's back; gives their number."""
        lost, self._locks = self._locks, []
        for lock in lost:
            lock.release()
        return len(lost)

    def perform(self, name: str, path: str, call: Callable[[], Result], *, target: str | None = None) -> Result:
        """One operation, with what the faults make of it."""
        if self._dead:
            raise Died
        with self._counting:
            operation = Operation(number=len(self.log) + 1, name=name, path=path, target=target, failed=True)
            self.log.append(operation)
            due = [fault for fault in self._faults if fault.due(operation)]
        for fault in due:
            if isinstance(fault, BackendFault):
                fault.strike(self)
            fault.before(operation)
        result = call()
        operation.failed = False
        for fault in due:
            fault.after(operation)
            if isinstance(fault, BackendFault):
                result = fault.answer(operation, result)
        return result

    def stat(self, key: str) -> Stat | None:
        return self.perform("stat", key, lambda: self._inner.stat(key))

    def list(self, prefix: str) -> Iterator[Stat]:
        return self.perform("list", prefix, lambda: self._inner.list(prefix))

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self.perform("open", key, lambda: self._inner.open(key, version=version, start=start, stop=stop))

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        return self.perform("put", key, lambda: self._inner.put(key, data, expect=expect, attempt=attempt))

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> Upload:
        shown = f"{attempt}/{name}"
        upload = self.perform("stage", shown, lambda: self._inner.stage(attempt, name, size_hint=size_hint))
        return _FaultyUpload(self, shown, upload)

    def open_staged(self, staged: Staged) -> BinaryIO:
        return self.perform("open_staged", _shown(staged), lambda: self._inner.open_staged(staged))

    def staged(self, attempt: str) -> Iterator[Staged]:
        return self.perform("staged", attempt, lambda: self._inner.staged(attempt))

    def attempts(self) -> Iterator[str]:
        return self.perform("attempts", "", self._inner.attempts)

    def drop(self, staged: Staged) -> None:
        self.perform("drop", _shown(staged), lambda: self._inner.drop(staged))

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        return [self._place(move) for move in moves]

    def _place(self, move: Move) -> Stat:
        return self.perform("place", _shown(move.staged), lambda: self._inner.place([move])[0], target=move.key)

    def settle(self, keys: Sequence[str]) -> None:
        self.perform("settle", " ".join(keys), lambda: self._inner.settle(keys))

    def delete(self, key: str, *, version: str | None = None) -> bool:
        return self.perform("delete", key, lambda: self._inner.delete(key, version=version))

    def lock(self, attempt: str) -> Lock:
        lock = self.perform("lock", attempt, lambda: self._hold(attempt))
        return _FaultyLock(self, attempt, lock)

    def _hold(self, attempt: str) -> Lock:
        lock = self._inner.lock(attempt)
        self._locks.append(lock)
        return lock

    def let_go(self, lock: Lock) -> None:
        """End one lock, unless it was lost."""
        if lock in self._locks:
            self._locks.remove(lock)
            lock.release()


def _shown(staged: Staged) -> str:
    return f"{staged.attempt}/{staged.name}"


class _FaultyUpload:
    def __init__(self, client: FaultyBackend, shown: str, upload: Upload) -> None:
        self._client = client
        self._shown = shown
        self._upload = upload

    def write(self, data: Buffer) -> None:
        self._client.perform("write", self._shown, lambda: self._upload.write(data))

    def finish(self) -> Staged:
        return self._client.perform("finish", self._shown, self._upload.finish)

    def abort(self) -> None:
        with suppress(ExportError):  # giving up never raises, whatever fails
            self._client.perform("abort", self._shown, self._upload.abort)


class _FaultyLock:
    def __init__(self, client: FaultyBackend, attempt: str, lock: Lock) -> None:
        self.token = lock.token
        self._client = client
        self._attempt = attempt
        self._lock = lock

    def release(self) -> None:
        with suppress(ExportError):
            self._client.perform("release", self._attempt, lambda: self._client.let_go(self._lock))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
