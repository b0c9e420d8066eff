"""How a staged file gets its final name without ever taking somebody else's, and how a file is opened that may not be
ours: never waiting on a pipe, never following a link where a file of ours is meant."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from penstock.backends.local.fileops import FileOps
from penstock.errors import Exists, IoError, ManifestError

#: What a file system answers that has no hard links, or none for this file.
CANNOT_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})


def give_name(ops: FileOps, source: Path, target: Path) -> None:
    """Give a staged file its final name if that is free. Raises :class:`Exists` if it is not."""
    try:
        try:
            ops.link(source, target)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            ops.rename_new(source, target)
    except FileExistsError:
        if same_file(source, target):
            return  # a network file system repeated a request that had succeeded
        what = "is a directory, a file is meant" if target.is_dir() else "appeared while the export was running"
        raise Exists(f"{target} {what}; it was left alone", hint="choose another name") from None
    except OSError as error:
        if error.errno in CANNOT_LINK:
            raise IoError(
                f"the file system of {target.parent} can neither link nor rename without overwriting",
                hint="export to a local disk and copy from there",
            ) from None
        raise


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are of one file; links are not followed."""
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False


def open_plain(path: Path, *, follow: bool = True) -> BufferedReader:
    """Open a regular file for reading. Raises :class:`ManifestError` for a pipe, a socket or a device, unopened."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_regular(path) from None
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(fd, "rb")
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _not_regular(path)


def _not_regular(path: Path) -> ManifestError:
    return ManifestError(f"{path} is not a regular file", hint="remove it and export again")
