"""The operations on files that publishing is made of, each one thin, so that a fault can be put before or after any.

:class:`FileOps` is the real thing. ``penstock.testing.faults`` wraps it with the same methods to count, fail and kill.
Nothing else in ``backends/local`` and ``destinations`` changes the file system.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class FileOps:
    """System calls that publish a file. All raise ``OSError``; none retries (a failed fsync is never repeated)."""

    def create(self, path: Path) -> int:
        """Open a new file for writing and reading; the mode follows the umask, a link is never followed."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def open_lock(self, path: Path) -> int:
        """Open a file to lock it, and create it if it is not there; a link is never followed."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def write(self, fd: int, data: Any) -> int:
        """One write; may take less than all."""
        return os.write(fd, data)

    def set_direct(self, fd: int, on: bool) -> None:
        """Write past the page cache from now on, or not any more. Not every file system can."""
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def fsync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.fsync(fd)
        finally:
            os.close(fd)

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; fails if the name is taken."""
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing what had it."""
        os.rename(source, target)

    def rename_new(self, source: Path, target: Path) -> None:
        """Give a file another name; fails if the name is taken (``renameat2`` with ``RENAME_NOREPLACE``)."""
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
        names = (os.fsencode(source), os.fsencode(target))
        if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(target))

    def unlink(self, path: Path) -> None:
        os.unlink(path)
