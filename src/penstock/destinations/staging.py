"""The hidden place beside a destination where an export lies until it is published, and the lock on it.

A staging directory holds ``lock``, the parts as ``data-NNNNN``, and the finished manifest under ``new-manifest`` or
``replacing-manifest``. While an export is replaced, ``old-manifest`` is the old one's, and ``replaced`` says which file
is to go. Whoever holds the lock owns all of it; what lies there without a holder is what a crash left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.destinations.naming import read_if_there
from penstock.errors import AccessDenied, Locked, UsageError

NEW = "new-manifest"
REPLACING = "replacing-manifest"
OLD = "old-manifest"
REPLACED = "replaced"
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
            made = self._make()
            try:
                fd = self.ops.open_lock(self.path(LOCK))
            except FileNotFoundError:
                continue  # its last holder removed the directory in between
            except BaseException:
                if made:
                    self._unmake()
                raise
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

    def _make(self) -> bool:
        try:
            self.ops.mkdir(self.directory)
        except FileExistsError:
            self._refuse_foreign()
            return False
        return True

    def _unmake(self) -> None:
        try:
            self.ops.rmdir(self.directory)
        except OSError:
            return  # somebody has it by now, or it cannot be helped: the next export clears it

    def _refuse_foreign(self) -> None:
        """What has the name of a staging directory is one, and of somebody who could have written here anyway."""
        try:
            there = os.lstat(self.directory)
        except FileNotFoundError:
            return  # its last holder removed it in between
        if not stat.S_ISDIR(there.st_mode):
            raise UsageError(f"{self.directory} is in the way: it is not a directory", hint="move it away")
        around = os.stat(self.directory.parent)
        if around.st_mode & stat.S_ISVTX and there.st_uid not in (os.geteuid(), 0, around.st_uid):
            raise AccessDenied(
                f"{self.directory} belongs to another user, in a directory that everybody can write to",
                hint="choose another place, or have it removed by its owner",
            )

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

    def begun(self) -> bool:
        """Whether an export was interrupted here."""
        ours = (SUMS, REPLACED, OLD, NEW, REPLACING)
        return any(name.startswith(_DATA) or name in ours for name in os.listdir(self.directory))

    def clear(self) -> None:
        """Remove every staged file of ours; pending manifests go last, since they explain the rest."""
        names = [entry.name for entry in os.scandir(self.directory)]
        for name in sorted(names):
            if name.startswith(_DATA) or name in (SUMS, REPLACED):
                self.ops.unlink(self.path(name))
        for name in (OLD, NEW, REPLACING):
            if name in names:
                self.ops.unlink(self.path(name))

    def close(self) -> bool:
        """Give up the lock, and the directory if nothing is left in it; whether that went well.

        Safe to call twice, also when the first call was interrupted: the lock is then still held.
        """
        if self._lock < 0:
            return True
        tidy = True
        try:
            names = os.listdir(self.directory)
            if names == [LOCK] and self._still_named(self._lock):
                self.ops.unlink(self.path(LOCK))
                names = []
            if not names:
                self.ops.rmdir(self.directory)
        except OSError as error:
            # A new holder may have been quick, or somebody removed the directory: both are in order.
            tidy = error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)
        fd, self._lock = self._lock, -1  # never closed twice: the number may be another file's by then
        os.close(fd)
        return tidy
