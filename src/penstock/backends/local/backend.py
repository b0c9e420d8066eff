"""Keys as files below one directory of the local file system; see :class:`penstock.ports.backend.Backend`.

What an attempt lays down lies in the folder ``.ATTEMPT`` until it gets its key by ``link``, which never takes a name
from anybody, or by a rename over what was expected there. A version is made of inode, size and time of change. Keys
behind a link to a folder do not exist.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock as Mutex
from typing import BinaryIO

from penstock.backends.local.attempts import LOCK, TURNS, AttemptFolder, LocalLock, Root
from penstock.backends.local.fileops import FileOps
from penstock.backends.local.folders import is_folder, make_folders, remove_empty, sync_folders, within
from penstock.backends.local.looking import Span, is_file, opened, stands, stat_of, version_of, walk
from penstock.backends.local.mounts import shared_by_hosts
from penstock.backends.local.naming import give_name
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.errors import (
    Changed,
    Exists,
    ExportError,
    IoError,
    NoSpace,
    NotDurable,
    NotFound,
    UsageError,
    from_os_error,
)
from penstock.model.location import Location, check_key, check_plain
from penstock.ports.backend import Expect, Expectation, Move, Staged, Stat, Traits
from penstock.ports.format import Buffer

_TRAITS = Traits(
    put_absent=True,
    put_version=False,  # the version is compared before the rename: only the lock keeps others from coming between
    place_absent=True,
    place_free=True,
    readable=True,
    listable=True,
    durable=True,
    lock=True,
)
#: Share of a size hint that must fit before work begins; the rest is left to the write itself to notice.
_SURE = 0.8


class LocalBackend:
    """Keys below the directory ``path``. With ``make`` the directory is created when something is first laid down."""

    def __init__(self, path: str | os.PathLike[str], *, make: bool = True, ops: FileOps | None = None) -> None:
        if "\0" in os.fspath(path):
            raise UsageError("a directory has a NUL in its name")
        self.location = Location("file", os.fspath(path))
        self._path = Path(path)
        self._ops = ops if ops is not None else FileOps()
        self._root = Root(self._path, self._ops, make=make)
        #: Folders are made and used, or found empty and removed, by one thread at a time.
        self._naming = Mutex()

    @property
    def traits(self) -> Traits:
        return replace(_TRAITS, lock=not shared_by_hosts(self._path))

    def stat(self, key: str) -> Stat | None:
        path = self._file(key)
        if not within(self._path, key):
            return None
        try:
            return stat_of(key, os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, f"cannot look at {path}") from None

    def _file(self, key: str) -> Path:
        return self._path / check_key(key)

    def list(self, prefix: str) -> Iterator[Stat]:
        try:
            yield from walk(self._path, "", prefix)
        except OSError as error:
            raise from_os_error(error, f"cannot look into {self._path}") from None

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        path = self._file(key)
        if not within(self._path, key):
            raise NotFound(f"{path.parent} is a link or no directory: nothing is read from there")
        file = opened(path)
        try:
            if version is not None and version != version_of(os.fstat(file.fileno())):
                raise _changed(path)
            file.seek(start)
            return file if stop is None else io.BufferedReader(Span(file, stop))
        except BaseException:
            file.close()
            raise

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        self._file(key)
        upload = self._upload_of_put(attempt)
        try:
            upload.write(data)
            stat = self._place([Move(staged=upload.end(), key=key, expect=expect)])[0]
        except BaseException:
            upload.abort()
            raise
        self._folder(attempt).remove_if_empty()
        return stat

    def _upload_of_put(self, attempt: str) -> LocalUpload:
        for number in range(TURNS):
            with suppress(Exists):  # what a killed put left, or another thread's
                return self.stage(attempt, f"put-{number:05d}")
        raise IoError(f"{self._path} is full of what interrupted runs left", hint="let one run at a time")

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> LocalUpload:
        folder = self._folder(attempt)
        if check_plain(name) == LOCK:
            raise UsageError(f"nothing can be staged as {name}", hint="choose another name")
        self._check_space(size_hint)
        for _ in range(TURNS):
            try:
                folder.ensure()
            except OSError as error:
                raise from_os_error(error, f"cannot write in {self._path}") from None
            with suppress(NotFound):  # somebody found the folder empty, and removed it
                return LocalUpload(self._root, folder, LocalStagedFile(folder.path / name, self._ops))
        raise IoError(f"{folder.path} goes whenever it is made", hint="look who removes it")

    def _folder(self, attempt: str) -> AttemptFolder:
        return AttemptFolder(self._root, check_plain(attempt))

    def _check_space(self, needed: int | None) -> None:
        if needed is None:
            return
        try:
            room = os.statvfs(self._path)
        except OSError:
            return  # a file system that does not say, or no directory yet; the write itself will
        free = room.f_bavail * room.f_frsize
        if free < needed * _SURE:
            raise NoSpace(
                f"{self._path} has {free} bytes free, about {needed} are needed",
                hint="free some space, compress, or choose another destination",
            )

    def open_staged(self, staged: Staged) -> BinaryIO:
        return opened(self._staged(staged), follow=False)

    def _staged(self, staged: Staged) -> Path:
        return self._folder(staged.attempt).path / check_plain(staged.name)

    def staged(self, attempt: str) -> Iterator[Staged]:
        folder = self._folder(attempt).path
        if not is_folder(folder):
            return
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name != LOCK and entry.is_file(follow_symlinks=False):
                yield Staged(attempt=attempt, name=entry.name, size=entry.stat(follow_symlinks=False).st_size)

    def attempts(self) -> Iterator[str]:
        try:
            found = sorted(entry.name[1:] for entry in os.scandir(self._path) if entry.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise from_os_error(error, f"cannot look into {self._path}") from None
        yield from (name for name in found if name.strip(".") and any(self.staged(name)))

    def drop(self, staged: Staged) -> None:
        path = self._staged(staged)
        self._remove(path)
        self._folder(staged.attempt).remove_if_empty()

    def _remove(self, path: Path) -> None:
        """Unlink what may be gone. An error after which it is gone is none."""
        try:
            self._ops.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if os.path.lexists(path):
                raise from_os_error(error, f"cannot remove {path}") from None

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        attempts = dict.fromkeys(move.staged.attempt for move in moves)
        self._root.unsynced |= attempts.keys()
        placed = self._place(moves)
        for attempt in attempts:
            self._folder(attempt).remove_if_empty()
        return placed

    def _sync_staged(self) -> None:
        """Make durable what is staged: no key is given or taken before that."""
        for attempt in sorted(self._root.unsynced):
            folder = self._folder(attempt)
            try:
                folder.sync()
            except FileNotFoundError:
                self._root.unsynced.discard(attempt)  # it was given up, or given its keys
            except OSError as error:
                raise from_os_error(error, f"cannot make what lies in {folder.path} durable") from None

    def _place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        """Names in order; then all that were given are made durable, whether or not one failed."""
        placed = []
        self._sync_staged()
        try:
            for move in moves:
                placed.append(self._name(move))
        finally:
            self._sync([stat.key for stat in placed])
        return placed

    def _name(self, move: Move) -> Stat:
        """Give one staged file its name, and take the staged one away."""
        source, target = self._staged(move.staged), self._file(move.key)
        try:
            ours = os.lstat(source)
        except FileNotFoundError:
            raise NotFound(f"{move.staged.name} is not staged in {source.parent}") from None
        with self._naming:
            try:
                make_folders(self._ops, self._path, move.key)
                self._rename(source, target, move.expect)
            except (OSError, ExportError) as error:
                if not (isinstance(error, OSError) and is_file(target, ours)):
                    remove_empty(self._ops, self._path, move.key)
                    raise _as_told(error, f"cannot name {target}") from None
            except BaseException:
                remove_empty(self._ops, self._path, move.key)
                raise
        if os.path.lexists(source):
            with suppress(OSError):
                self._ops.unlink(source)  # what cannot be removed is still listed as staged
        return Stat(key=move.key, size=ours.st_size, version=version_of(ours))

    def _rename(self, source: Path, target: Path, expect: Expectation) -> None:
        if expect is Expect.ABSENT:
            give_name(self._ops, source, target)
            return
        if isinstance(expect, str) and not stands(target, expect):
            raise _changed(target)
        try:
            self._ops.rename(source, target)
        except IsADirectoryError:
            raise Exists(f"{target} is a directory, a file is meant", hint="choose another name") from None

    def _sync(self, keys: Sequence[str]) -> None:
        """Make the folders of keys that were given or taken durable."""
        try:
            if keys:
                sync_folders(self._ops, self._path, keys)
        except OSError as error:
            failure = from_os_error(
                error, f"{self._path / keys[-1]} is changed, but it may not outlive a power failure"
            )
            hint = "check the disk, then look what stands there"
            raise NotDurable(failure.message, cause=type(failure), hint=hint) from None

    def settle(self, keys: Sequence[str]) -> None:
        try:
            sync_folders(self._ops, self._path, keys)
        except FileNotFoundError:
            return  # no directory, and so no keys
        except OSError as error:
            raise from_os_error(error, f"cannot make what lies in {self._path} durable") from None

    def delete(self, key: str, *, version: str | None = None) -> bool:
        path = self._file(key)
        there = os.path.lexists(path)
        if not within(self._path, key) or is_folder(path) or (there and version and not stands(path, version)):
            return False
        self._sync_staged()
        with self._naming:
            if there:
                self._remove(path)
            remove_empty(self._ops, self._path, key)
        if there:
            self._sync([key])
        return there

    def lock(self, attempt: str) -> LocalLock:
        folder = self._folder(attempt)
        try:
            self._root.ensure()
            return folder.lock()
        except OSError as error:
            self._root.discard()
            raise from_os_error(error, f"cannot write in {self._path}") from None
        except BaseException:
            self._root.discard()
            raise


class LocalUpload:
    """A file in an attempt's folder; see :class:`penstock.ports.backend.Upload`."""

    def __init__(self, root: Root, folder: AttemptFolder, file: LocalStagedFile) -> None:
        self._root = root
        self._folder = folder
        self._file = file

    def write(self, data: Buffer) -> None:
        self._file.write(data)

    def finish(self) -> Staged:
        staged = self.end()
        self._root.unsynced.add(staged.attempt)
        return staged

    def end(self) -> Staged:
        """As ``finish``, for bytes that nobody has to find again under this name."""
        return Staged(attempt=self._folder.attempt, name=self._file.path.name, size=self._file.finish())

    def abort(self) -> None:
        self._file.abort()
        with suppress(OSError):
            self._root.ops.unlink(self._file.path)
        self._folder.remove_if_empty()


def _changed(path: Path) -> Changed:
    return Changed(f"{path} is not what it was", hint="look what stands there now")


def _as_told(error: OSError | ExportError, what: str) -> ExportError:
    return from_os_error(error, what) if isinstance(error, OSError) else error
