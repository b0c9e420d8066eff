"""The folders of keys below a directory: made and synced durably, never entered through a link, removed when empty."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from penstock.backends.local.fileops import FileOps
from penstock.errors import Exists


def folders_of(root: Path, keys: Iterable[str]) -> list[Path]:
    """Every folder that keys lie in below a directory, each once, outer ones first."""
    names = {parent for key in keys for parent in PurePosixPath(key).parents if parent.name}
    return [root / name for name in sorted(names, key=lambda name: (len(name.parts), name))]


def within(root: Path, key: str) -> bool:
    """Whether the folders of a key are true directories, as far as they are there, so that its path ends inside."""
    return all(is_folder(folder) or not os.path.lexists(folder) for folder in folders_of(root, [key]))


def make_folders(ops: FileOps, root: Path, key: str) -> None:
    """Create the folders that are missing. Raises :class:`~penstock.errors.Exists` where a link or a file is in the
    way."""
    for folder in folders_of(root, [key]):
        if is_folder(folder):
            continue
        try:
            ops.mkdir(folder)
        except FileExistsError:
            if not is_folder(folder):
                raise Exists(
                    f"{folder} is in the way: it is a link or no directory", hint="move it away, or choose another name"
                ) from None


def sync_folders(ops: FileOps, root: Path, keys: Iterable[str]) -> None:
    """Make the names in all folders of keys that are there durable, inner ones first, and those in the directory."""
    for folder in reversed(folders_of(root, [key for key in keys if within(root, key)])):
        if is_folder(folder):
            ops.fsync_directory(folder)
    ops.fsync_directory(root)


def remove_empty(ops: FileOps, root: Path, key: str) -> None:
    """Remove the folders of a key that nothing is left in, inner ones first, none behind a link. Never raises: one that
    stays does no harm."""
    if not within(root, key):
        return
    for folder in reversed(folders_of(root, [key])):
        try:
            ops.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return


def is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
