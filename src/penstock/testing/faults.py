"""File operations that count themselves and fail on order: the faults to put under anything that takes ``ops=``.

:class:`FaultyOps` has the methods of :class:`~penstock.backends.local.fileops.FileOps`, passes each call on, and lets
every :class:`Fault` act before or after it. A fault says which operation it is meant for and counts how often it
fired: a test that does not look at ``fired`` proves nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from penstock.backends.local.fileops import FileOps

Result = TypeVar("Result")


@dataclass(kw_only=True, slots=True)
class Operation:
    """One call. ``number`` counts from 1 over all calls; ``path`` is what it acts on, for a descriptor what it was
    opened as; ``target`` is the new name of a link or a rename; ``data`` is what a write took.

    ``failed`` says that it had no effect.
    """

    number: int
    name: str
    path: str
    target: str | None = None
    fd: int | None = None
    data: bytes = b""
    failed: bool = False

    def __str__(self) -> str:
        arrow = f" -> {Path(self.target).name}" if self.target is not None else ""
        return f"{self.number} {self.name} {Path(self.path).name}{arrow}"


@dataclass(kw_only=True, slots=True)
class Fault:
    """Fires at the ``nth`` operation that has one of the names ``on`` (any, if empty) and a path or target that ends
    with ``ending``; with ``lasting`` also at every later one."""

    nth: int = 1
    on: Collection[str] = ()
    ending: str = ""
    lasting: bool = False
    fired: int = 0
    met: int = 0

    def due(self, operation: Operation) -> bool:
        """Whether this is the operation it is meant for. Asked once for each operation."""
        if self.on and operation.name not in self.on:
            return False
        if not (operation.path.endswith(self.ending) or (operation.target or "").endswith(self.ending)):
            return False
        self.met += 1
        if self.met == self.nth or (self.lasting and self.met > self.nth):
            self.fired += 1
            return True
        return False

    def before(self, operation: Operation) -> None:
        """Act before the operation has any effect."""

    def room(self, operation: Operation, size: int) -> int:
        """How many of ``size`` bytes a write may take."""
        return size

    def after(self, operation: Operation) -> None:
        """Act when the operation had its effect, before the caller learns of it."""


@dataclass(kw_only=True, slots=True)
class Kill(Fault):
    """SIGKILL to this process: before the operation, after it, or, for a write, when half of the bytes are taken.

    ``marker`` is a descriptor that gets a line first, so that a parent can tell this death from any other.
    """

    when: Literal["before", "during", "after"] = "before"
    marker: int = 2

    def before(self, operation: Operation) -> None:
        if self.when == "before":
            self._die(operation)

    def room(self, operation: Operation, size: int) -> int:
        return size // 2 if self.when == "during" else size

    def after(self, operation: Operation) -> None:
        self._die(operation)

    def _die(self, operation: Operation) -> None:
        os.write(self.marker, f"{self.when} {operation}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(kw_only=True, slots=True)
class Fail(Fault):
    """The operation raises ``OSError`` with this ``errno``; with ``late``, although it had its effect."""

    code: int
    late: bool = False

    def before(self, operation: Operation) -> None:
        if not self.late:
            raise self._error(operation)

    def after(self, operation: Operation) -> None:
        if self.late:
            raise self._error(operation)

    def _error(self, operation: Operation) -> OSError:
        if operation.target is not None:
            return OSError(self.code, os.strerror(self.code), operation.path, None, operation.target)
        return OSError(self.code, os.strerror(self.code), operation.path)


@dataclass(kw_only=True, slots=True)
class Short(Fault):
    """A write takes at most ``take`` bytes."""

    take: int

    def room(self, operation: Operation, size: int) -> int:
        return min(size, self.take)


@dataclass(kw_only=True, slots=True)
class Meddle(Fault):
    """Something else happens right before, or right after, the operation: ``action`` is called with it."""

    action: Callable[[Operation], object]
    when: Literal["before", "after"] = "before"

    def before(self, operation: Operation) -> None:
        if self.when == "before":
            self.action(operation)

    def after(self, operation: Operation) -> None:
        if self.when == "after":
            self.action(operation)


class FaultyOps(FileOps):
    """The operations of ``inner`` with faults; ``log`` lists every call. ``keep_data`` keeps what was written there."""

    def __init__(self, *faults: Fault, inner: FileOps | None = None, keep_data: bool = False) -> None:
        self.log: list[Operation] = []
        self._faults = faults
        self._inner = inner if inner is not None else FileOps()
        self._keep_data = keep_data
        self._names: dict[int, str] = {}

    def _perform(
        self,
        name: str,
        path: str | Path,
        call: Callable[[int], Result],
        *,
        target: Path | None = None,
        fd: int | None = None,
        size: int = 0,
    ) -> tuple[Result, Operation]:
        """``call`` gets the number of bytes, of ``size``, that it may take."""
        new_name = None if target is None else str(target)
        operation = Operation(number=len(self.log) + 1, name=name, path=str(path), target=new_name, fd=fd, failed=True)
        self.log.append(operation)
        due = [fault for fault in self._faults if fault.due(operation)]
        for fault in due:
            fault.before(operation)
        result = call(min([fault.room(operation, size) for fault in due], default=size))
        operation.failed = False
        for fault in due:
            fault.after(operation)
        return result, operation

    def create(self, path: Path) -> int:
        fd, operation = self._perform("create", path, lambda _: self._inner.create(path))
        operation.fd = fd
        self._names[fd] = str(path)
        return fd

    def open_lock(self, path: Path) -> int:
        return self._perform("open_lock", path, lambda _: self._inner.open_lock(path))[0]

    def write(self, fd: int, data: Any) -> int:
        view = memoryview(data).cast("B")
        taken, operation = self._perform(
            "write", self._name(fd), lambda room: self._inner.write(fd, view[:room]), fd=fd, size=view.nbytes
        )
        operation.data = bytes(view[:taken]) if self._keep_data else b""
        return taken

    def set_direct(self, fd: int, on: bool) -> None:
        self._perform("set_direct", self._name(fd), lambda _: self._inner.set_direct(fd, on), fd=fd)

    def fsync(self, fd: int) -> None:
        self._perform("fsync", self._name(fd), lambda _: self._inner.fsync(fd), fd=fd)

    def close(self, fd: int) -> None:
        self._perform("close", self._name(fd), lambda _: self._inner.close(fd), fd=fd)

    def _name(self, fd: int) -> str:
        return self._names.get(fd, f"descriptor {fd}")

    def fsync_directory(self, path: Path) -> None:
        self._perform("fsync_directory", path, lambda _: self._inner.fsync_directory(path))

    def mkdir(self, path: Path) -> None:
        self._perform("mkdir", path, lambda _: self._inner.mkdir(path))

    def rmdir(self, path: Path) -> None:
        self._perform("rmdir", path, lambda _: self._inner.rmdir(path))

    def link(self, source: Path, target: Path) -> None:
        self._perform("link", source, lambda _: self._inner.link(source, target), target=target)

    def rename(self, source: Path, target: Path) -> None:
        self._perform("rename", source, lambda _: self._inner.rename(source, target), target=target)

    def rename_new(self, source: Path, target: Path) -> None:
        self._perform("rename_new", source, lambda _: self._inner.rename_new(source, target), target=target)

    def unlink(self, path: Path) -> None:
        self._perform("unlink", path, lambda _: self._inner.unlink(path))
