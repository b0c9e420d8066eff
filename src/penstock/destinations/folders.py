"""The folders of partitions in a directory of parts: made durably, never entered through a link, removed when empty."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from penstock.backends.local.fileops import FileOps
from penstock.errors import DestinationExists
from penstock.model.manifest import PartEntry

_NOT_OURS_TO_REMOVE = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR})


def folders_of(directory: Path, entries: Iterable[PartEntry]) -> list[Path]:
    """Every folder that parts lie in below a directory, each once, outer ones first."""
    names = {parent for entry in entries for parent in PurePosixPath(entry.name).parents if parent.name}
    return [directory / name for name in sorted(names, key=lambda name: (len(name.parts), name))]


def make_folders(ops: FileOps, directory: Path, entries: Iterable[PartEntry]) -> None:
    """Create the folders that are missing. Raises :class:`DestinationExists` where a link or a file is in the way."""
    for folder in folders_of(directory, entries):
        try:
            ops.mkdir(folder)
        except FileExistsError:
            if not _is_folder(folder):
                raise DestinationExists(
                    f"{folder} is in the way: it is a link or no directory", hint="move it away, or choose another name"
                ) from None


def sync_folders(ops: FileOps, directory: Path, entries: Iterable[PartEntry]) -> None:
    """Make the names in all folders that are there durable, inner ones first, and those in the directory."""
    for folder in reversed(_true_folders(directory, entries)):
        ops.fsync_directory(folder)
    ops.fsync_directory(directory)


def remove_empty(ops: FileOps, directory: Path, entries: Iterable[PartEntry]) -> None:
    """Remove the folders of parts that nothing is left in, inner ones first."""
    for folder in reversed(_true_folders(directory, entries)):
        try:
            ops.rmdir(folder)
        except OSError as error:
            if error.errno not in _NOT_OURS_TO_REMOVE:
                raise


def _true_folders(directory: Path, entries: Iterable[PartEntry]) -> list[Path]:
    """As :func:`folders_of`, without those that are missing, and those that only a link leads to."""
    reached = {directory}
    found = []
    for folder in folders_of(directory, entries):
        if folder.parent in reached and _is_folder(folder):
            reached.add(folder)
            found.append(folder)
    return found


def within(directory: Path, name: str) -> bool:
    """Whether the folders of a part are true directories, as far as they are there, so that its path ends inside."""
    parents = [directory / parent for parent in PurePosixPath(name).parents if parent.name]
    return all(_is_folder(folder) or not os.path.lexists(folder) for folder in parents)


def strangers(directory: Path, entries: Iterable[PartEntry], known: Iterable[str]) -> list[str]:
    """What lies in a directory, and in the folders of its parts, that is none of the parts and has no known name."""
    listed = list(entries)
    folders = folders_of(directory, listed)
    places = [directory, *_true_folders(directory, listed)]
    ours = {directory / entry.name for entry in listed} | {directory / name for name in known} | set(folders)
    there = (path for place in places for path in place.iterdir())
    return sorted(str(path.relative_to(directory)) for path in there if path not in ours)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
