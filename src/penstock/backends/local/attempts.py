"""The hidden folder ``.ATTEMPT`` beside what it is to become: what an attempt lays down there, and the lock on it.

The lock is that of a file inside the folder, so that all paths to the directory, through links and mount points, lead
to the same one, and the kernel takes it back with the process. Whoever holds it owns all of the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.folders import is_folder
from penstock.errors import AccessDenied, Locked, NotFound, UsageError, from_os_error

LOCK = "lock"
#: How often the folder may go between being made and being used before it is called another's.
TURNS = 100


class Root:
    """The directory of a backend. With ``make`` it is created if it is missing, and goes again if it stays empty."""

    def __init__(self, path: Path, ops: FileOps, *, make: bool) -> None:
        self.path = path
        self.ops = ops
        self._make = make
        self._made = False
        #: Attempts whose lock is held here: their folders stay.
        self.held: set[str] = set()
        #: Attempts whose folders got names that are not durable yet.
        self.unsynced: set[str] = set()

    def ensure(self) -> None:
        """Be there, under a durable name. Raises :class:`~penstock.errors.NotFound`, and
        :class:`~penstock.errors.UsageError` if it is a file."""
        if not self._make:
            if not self.path.is_dir():
                raise NotFound(f"there is no directory {self.path}", hint="create it first")
            return
        try:
            self.ops.mkdir(self.path)
            self._made = True
        except FileExistsError:
            if not self.path.is_dir():
                raise UsageError(f"{self.path} is a file, a directory is meant", hint="choose another name") from None
        except OSError as error:
            raise from_os_error(error, f"cannot create {self.path}") from None
        try:
            # Also for a name that a killed process has made just before.
            self.ops.fsync_directory(self.path.parent)
        except OSError as error:
            if self._made or error.errno not in (errno.EACCES, errno.EPERM):
                self.discard()
                raise from_os_error(error, f"cannot make the name of {self.path} durable") from None

    def discard(self) -> None:
        """Go again, if it was made here and nothing lies in it."""
        if self._made:
            try:
                self.ops.rmdir(self.path)
            except OSError:
                return  # something lies in it by now, or it is gone already
            self._made = False


class AttemptFolder:
    """The folder of one attempt. It is there as long as something lies in it."""

    def __init__(self, root: Root, attempt: str) -> None:
        self.attempt = attempt
        self.path = root.path / f".{attempt}"
        self._root = root
        self._ops = root.ops

    def ensure(self) -> None:
        """Be there, ours, and so be the directory around it."""
        if is_folder(self.path):
            self.refuse_foreign()
        else:
            self._root.ensure()
            self.make()

    def make(self) -> bool:
        """Be there; whether it was missing. Raises for what is no directory, or not ours."""
        try:
            self._ops.mkdir(self.path)
        except FileExistsError:
            self.refuse_foreign()
            return False
        return True

    def refuse_foreign(self) -> None:
        """What has this name is a folder, and of somebody who could have written here anyway."""
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return  # its last holder removed it in between
        if not stat.S_ISDIR(there.st_mode):
            raise UsageError(f"{self.path} is in the way: it is not a directory", hint="move it away")
        around = os.stat(self.path.parent)
        if around.st_mode & stat.S_ISVTX and there.st_uid not in (os.geteuid(), 0, around.st_uid):
            raise AccessDenied(
                f"{self.path} belongs to another user, in a directory that everybody can write to",
                hint="choose another place, or have it removed by its owner",
            )

    def sync(self) -> None:
        """Make the names in the folder, and its own, durable."""
        self._ops.fsync_directory(self.path)
        self._ops.fsync_directory(self.path.parent)
        self._root.unsynced.discard(self.attempt)

    def remove_if_empty(self) -> None:
        """Go, if nothing lies in it, and so may the directory. Never raises."""
        if self.attempt in self._root.held:
            return
        try:
            self._ops.rmdir(self.path)
        except OSError:
            return  # somebody else uses it, or it is gone already
        self._root.discard()

    def lock(self) -> LocalLock:
        """Hold the folder alone. Raises :class:`~penstock.errors.Locked` at once if another process holds it."""
        return LocalLock(self, self._acquire(), self._root)

    def _acquire(self) -> int:
        for _ in range(TURNS):
            made = self.make()
            try:
                fd = self._ops.open_lock(self.path / LOCK)
            except FileNotFoundError:
                continue  # its last holder removed the folder in between
            except BaseException:
                if made:
                    self.remove_if_empty()
                raise
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(fd)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise self._busy("works") from None
                raise
            if self.still_named(fd):
                return fd
            os.close(fd)
        raise self._busy("keeps working")

    def _busy(self, works: str) -> Locked:
        return Locked(f"another process {works} at {self.path.parent}", hint="wait for it to end")

    def still_named(self, fd: int) -> bool:
        """Whether the lock file that is open is the one that others would open."""
        try:
            return os.path.samestat(os.stat(self.path / LOCK), os.fstat(fd))
        except FileNotFoundError:
            return False


class LocalLock:
    """A folder held alone; see :class:`penstock.ports.backend.Lock`. Tokens are of the host's clock."""

    def __init__(self, folder: AttemptFolder, fd: int, root: Root) -> None:
        self.token = time.time_ns()
        self._folder = folder
        self._fd = fd
        self._root = root
        root.held.add(folder.attempt)

    def release(self) -> None:
        if self._fd < 0:
            return
        path = self._folder.path
        # A new holder may be quick, or somebody removes the folder: both are in order. What else lies there stays.
        with suppress(OSError):
            if os.listdir(path) == [LOCK] and self._folder.still_named(self._fd):
                self._root.ops.unlink(path / LOCK)
        self._root.held.discard(self._folder.attempt)
        self._folder.remove_if_empty()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
