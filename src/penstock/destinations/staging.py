"""The hidden place beside a destination where an export lies until it is published, and the lock on it.

A staging directory holds ``lock``, the parts as ``data-NNNNN``, the finished manifest under ``new-manifest`` or
``replacing-manifest``, and, while a directory's export is replaced, the old one's ``old-manifest``. Whoever holds the
lock owns all of it; what lies there without a holder is what a crash left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.destinations.fileops import FileOps
from penstock.errors import IoError, Locked, UsageError, from_os_error
from penstock.ports import Buffer

NEW = "new-manifest"
REPLACING = "replacing-manifest"
OLD = "old-manifest"
SUMS = "sums"
LOCK = "lock"
_DATA = "data-"
_ATTEMPTS = 100


class Staging:
    """A locked staging directory. Raises :class:`~penstock.errors.Locked` if another process holds it."""

    def __init__(self, directory: Path, ops: FileOps) -> None:
        self.directory = directory
        self.ops = ops
        self._lock = self._acquire()

    def _acquire(self) -> int:
        for _ in range(_ATTEMPTS):
            try:
                self.ops.mkdir(self.directory)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(self.directory).st_mode):
                    raise UsageError(
                        f"{self.directory} is in the way: it is not a directory", hint="move it away"
                    ) from None
            try:
                fd = os.open(self.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                continue  # its last holder removed the directory in between
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(fd)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise Locked(
                        f"another process is exporting to {self.directory.parent}", hint="wait for it to end"
                    ) from None
                raise
            if self._still_named(fd):
                return fd
            os.close(fd)
        raise Locked(f"another process keeps exporting to {self.directory.parent}", hint="wait for it to end")

    def _still_named(self, fd: int) -> bool:
        try:
            there = os.stat(self.path(LOCK))
        except FileNotFoundError:
            return False
        ours = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def path(self, name: str) -> Path:
        return self.directory / name

    def data(self, index: int) -> Path:
        """Where part ``index`` is staged."""
        return self.path(f"{_DATA}{index:05d}")

    def read(self, name: str) -> bytes | None:
        """The bytes of a staged file, if it is there."""
        return read_if_there(self.path(name))

    def store(self, name: str, text: bytes) -> None:
        """Write a small file durably; its name becomes durable with the next ``sync``."""
        staged = LocalStagedFile(self.path(name), self.ops)
        try:
            staged.write(text)
            staged.finish()
        except BaseException:
            staged.abort()
            raise

    def sync(self) -> None:
        """Make the names in the staging directory, and its own, durable."""
        self.ops.fsync_directory(self.directory)
        self.ops.fsync_directory(self.directory.parent)

    def clear(self) -> None:
        """Remove every staged file of ours; pending manifests go last, since they explain the rest."""
        names = [entry.name for entry in os.scandir(self.directory)]
        for name in sorted(names):
            if name.startswith(_DATA) or name == SUMS:
                self.ops.unlink(self.path(name))
        for name in (OLD, NEW, REPLACING):
            if name in names:
                self.ops.unlink(self.path(name))

    def close(self) -> None:
        """Give up the lock, and the directory if nothing is left in it. Safe to call twice."""
        if self._lock < 0:
            return
        try:
            if all(entry.name == LOCK for entry in os.scandir(self.directory)):
                self.ops.unlink(self.path(LOCK))
                self.ops.rmdir(self.directory)
        except OSError:
            pass  # a new holder was quick, or the directory is gone: either way the lock is released below
        finally:
            os.close(self._lock)
            self._lock = -1


class LocalStagedFile:
    """A part in the staging directory; see :class:`penstock.ports.StagedFile`."""

    def __init__(self, path: Path, ops: FileOps) -> None:
        self.path = path
        self._ops = ops
        self._written = 0
        try:
            self._fd = ops.create(path)
        except OSError as error:
            raise from_os_error(error, f"cannot write {path}") from None

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        try:
            while view.nbytes:
                taken = self._ops.write(self._fd, view)
                self._written += taken
                view = view[taken:]
        except OSError as error:
            raise from_os_error(error, f"cannot write {self.path}") from None

    def finish(self) -> int:
        try:
            self._ops.fsync(self._fd)
            size = os.fstat(self._fd).st_size
            fd, self._fd = self._fd, -1
            self._ops.close(fd)
        except OSError as error:
            raise from_os_error(error, f"cannot finish {self.path}") from None
        if size != self._written:
            raise IoError(f"{self.path} has {size} bytes, {self._written} were written", hint="check the disk")
        return size

    def abort(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._ops.close(fd)
            except OSError:
                return  # the file is dropped with the staging directory, whatever its descriptor said

    @contextmanager
    def read_back(self) -> Iterator[BinaryIO]:
        with self.path.open("rb") as file:
            yield file


def read_if_there(path: Path) -> bytes | None:
    """The bytes of a small file, or ``None`` if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
