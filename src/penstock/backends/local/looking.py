"""What stands under keys, looked at and read without changing anything."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from penstock.backends.local.naming import open_plain
from penstock.errors import IntegrityError, NotFound, Unknown, from_os_error
from penstock.ports.backend import Stat
from penstock.ports.format import Buffer


class Span(io.RawIOBase):
    """A file from where it stands up to ``stop``."""

    def __init__(self, file: BinaryIO, stop: int) -> None:
        super().__init__()
        self._file = file
        self._left = max(stop - file.tell(), 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        piece = self._file.read(min(self._left, len(buffer)))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


def walk(folder: Path, above: str, prefix: str) -> Iterator[Stat]:
    """What has a key with this prefix, in the order of keys: that of a folder ends with its slash."""
    try:
        with os.scandir(folder) as entries:
            found = {f"{above}{entry.name}{'/' * entry.is_dir(follow_symlinks=False)}": entry for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return
    for key in sorted(found):
        if not key.startswith(prefix[: len(key)]):
            continue
        if key.endswith("/"):
            if not found[key].name.startswith("."):
                yield from walk(folder / found[key].name, key, prefix)
        elif key.startswith(prefix):
            with suppress(FileNotFoundError):  # it went meanwhile, or a link leads nowhere
                yield from filter(None, [stat_of(key, found[key].stat())])


def stat_of(key: str, there: os.stat_result) -> Stat | None:
    return Stat(key=key, size=there.st_size, version=version_of(there)) if stat.S_ISREG(there.st_mode) else None


def version_of(there: os.stat_result) -> str:
    return f"{there.st_ino:x}-{there.st_size:x}-{there.st_mtime_ns:x}"


def stands(path: Path, version: str) -> bool:
    """Whether the file of this name, no link, has this version."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(there.st_mode) and version_of(there) == version


def is_file(path: Path, ours: os.stat_result) -> bool:
    """Whether a name is of our file, although giving it seemed to fail."""
    try:
        return os.path.samestat(os.lstat(path), ours)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unknown(f"cannot tell whether {path} has its name: {error}", hint="look what stands there") from None


def opened(path: Path, *, follow: bool = True) -> BinaryIO:
    try:
        return open_plain(path, follow=follow)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is missing") from None
    except (IsADirectoryError, IntegrityError):
        raise NotFound(f"{path} is no regular file", hint="move it away") from None
    except OSError as error:
        raise from_os_error(error, f"cannot read {path}") from None
