"""Exports on the local file system: one file with its manifest beside it, or a directory of parts."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.naming import open_plain
from penstock.destinations.folders import strangers, within
from penstock.destinations.naming import read_if_there
from penstock.destinations.publication import LocalPublication, Place
from penstock.destinations.staging import SUMS, Staging
from penstock.errors import ManifestError, NoSpace, NotFound, UsageError, from_os_error
from penstock.model.manifest import Manifest, check_part_name
from penstock.ports.destination import LineageDestination, Publication, takes_no_runs

SUMS_NAME = "SHA256SUMS"
#: Share of the estimate that must fit before work begins; the rest is left to the write itself to notice.
_SURE = 0.8


class _LocalDestination:
    """What both shapes share: begin, read, and look around."""

    single: bool
    streamed = False

    def __init__(self, place: Place, staging: Path, ops: FileOps | None) -> None:
        self._place = place
        self._staging = staging
        self._ops = ops if ops is not None else FileOps()
        self._made = False

    @property
    def manifest_name(self) -> str:
        return self._place.manifest.name

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        directory = self._place.directory
        try:
            if not directory.is_dir():
                raise NotFound(f"there is no directory {directory}", hint="create it first")
            publication = LocalPublication(
                self._place, Staging(self._staging, self._ops), overwrite=overwrite, made_directory=self._made
            )
        except OSError as error:
            raise from_os_error(error, f"cannot write in {directory}") from None
        try:
            self._check_space(estimated_bytes)
        except BaseException:
            publication.close()
            raise
        return publication

    def _check_space(self, estimated_bytes: int | None) -> None:
        if estimated_bytes is None:
            return
        try:
            room = os.statvfs(self._place.directory)
        except OSError:
            return  # a file system that does not say; the write itself will
        free = room.f_bavail * room.f_frsize
        if free < estimated_bytes * _SURE:
            raise NoSpace(
                f"{self._place.directory} has {free} bytes free, about {estimated_bytes} are needed",
                hint="free some space, compress, or choose another destination",
            )

    def read_manifest(self) -> bytes:
        path = self._place.manifest
        try:
            text = read_if_there(path)
        except OSError as error:
            raise from_os_error(error, f"cannot read {path}") from None
        if text is None:
            self._complain()
        assert text is not None
        return text

    def _complain(self) -> None:
        there = self._place.single if self._place.single is not None else self._place.directory
        if not there.exists():
            raise NotFound(f"there is no export at {there}", hint="check the path")
        if self._staging.exists():
            raise ManifestError(
                f"{there} has no manifest: an export to it was interrupted, and did not happen",
                hint="run the export again; it clears up by itself",
            )
        raise ManifestError(
            f"{self._place.manifest} is missing: without it nothing proves that {there.name} is whole",
            hint="export again, or bring the manifest back",
        )

    @contextmanager
    def open_part(self, name: str) -> Iterator[BinaryIO]:
        path = self._place.part(check_part_name(name, any_file=self.single))
        if not self.single and not within(self._place.directory, name):
            raise ManifestError(
                f"{path.parent} is a link or no directory: no part is read from there", hint="bring the folder back"
            )
        try:
            file = open_plain(path)
        except FileNotFoundError:
            raise NotFound(f"{name} is missing") from None
        except OSError as error:
            raise from_os_error(error, f"cannot read {path}") from None
        with file:
            yield file

    def _leftovers(self) -> list[str]:
        if not self._staging.exists():
            return []
        return [f"{self._staging.name} holds the work of a running or interrupted export; the next one clears it"]


class FileDestination(_LocalDestination):
    """One file, with its manifest beside it as ``NAME.manifest.json``."""

    single = True

    def __init__(self, path: str | os.PathLike[str], *, ops: FileOps | None = None) -> None:
        self.path: Path = _plain(path)
        if self.path.name in ("", ".."):
            raise UsageError(f"{path} does not name a file")
        place = Place(
            directory=self.path.parent,
            manifest=self.path.with_name(self.path.name + ".manifest.json"),
            single=self.path,
            sums=None,
        )
        super().__init__(place, self.path.with_name(f".{self.path.name}.penstock"), ops)

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        """As for every destination; a name that leaves no room for its manifest's is refused."""
        try:
            most = os.pathconf(self._place.directory, "PC_NAME_MAX")
        except (OSError, ValueError):
            most = -1
        needed = max(len(os.fsencode(path.name)) for path in (self._place.manifest, self._staging))
        if 0 <= most < needed:
            raise UsageError(
                f"the name {self.path.name} is too long: with its manifest's ending it has {needed} bytes, "
                f"{most} are possible here",
                hint="choose a shorter name",
            )
        return super().begin(overwrite=overwrite, estimated_bytes=estimated_bytes)

    def lineage(self) -> LineageDestination:
        raise takes_no_runs(str(self.path))

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        problems = []
        if [entry.name for entry in manifest.parts] != [self.path.name]:
            names = ", ".join(entry.name for entry in manifest.parts)
            problems.append((self.manifest_name, f"the manifest is about {names or 'no part'}, not {self.path.name}"))
        return problems, self._leftovers()


class DirectoryDestination(_LocalDestination):
    """A directory of parts with ``manifest.json`` and ``SHA256SUMS``."""

    single = False

    def __init__(self, path: str | os.PathLike[str], *, ops: FileOps | None = None) -> None:
        self.path: Path = _plain(path)
        place = Place(
            directory=self.path, manifest=self.path / "manifest.json", single=None, sums=self.path / SUMS_NAME
        )
        super().__init__(place, self.path / ".penstock", ops)

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        with self.directory_made():
            return super().begin(overwrite=overwrite, estimated_bytes=estimated_bytes)

    @contextmanager
    def directory_made(self) -> Iterator[bool]:
        """Create the directory if it is missing, durably; it goes again if the block raises. Gives whether it was."""
        try:
            self._made = self._make()
        except OSError as error:
            raise from_os_error(error, f"cannot create {self.path}") from None
        try:
            self._sync_name()
            yield self._made
        except BaseException:
            if self._made:
                self._unmake()
            raise

    def _make(self) -> bool:
        """Create the directory; whether it was missing."""
        try:
            self._ops.mkdir(self.path)
        except FileExistsError:
            if not self.path.is_dir():
                raise UsageError(f"{self.path} is a file, a directory is meant", hint="choose another name") from None
            return False
        return True

    def _sync_name(self) -> None:
        """Make the directory's own name durable, also if a killed run has made it just before."""
        try:
            self._ops.fsync_directory(self.path.parent)
        except OSError as error:
            if self._made or error.errno not in (errno.EACCES, errno.EPERM):
                raise from_os_error(error, f"cannot make the name of {self.path} durable") from None

    def _unmake(self) -> None:
        try:
            self._ops.rmdir(self.path)
        except OSError:
            return  # something else lies in it by now, or it is gone already

    def lineage(self) -> LineageDestination:
        from penstock.destinations.lineage import LineageDirectory  # which stands on this file

        return LineageDirectory(self.path, ops=self._ops)

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        try:
            return self._look_around(manifest)
        except OSError as error:
            raise from_os_error(error, f"cannot look into {self.path}") from None

    def _look_around(self, manifest: Manifest) -> tuple[list[tuple[str, str]], list[str]]:
        problems: list[tuple[str, str]] = []
        notes = self._leftovers()
        try:
            sums = read_if_there(self.path / SUMS_NAME)
        except ManifestError:
            sums = b""
        if sums != manifest.sums():
            if self._staging.exists() and read_if_there(self._staging / SUMS) == manifest.sums():
                notes.append(f"{SUMS_NAME} is of the export before; the next export completes it")
            else:
                state = "is missing" if sums is None else "does not match the manifest"
                problems.append((SUMS_NAME, f"{SUMS_NAME} {state}"))
        found = strangers(self.path, manifest.parts, (self.manifest_name, SUMS_NAME, self._staging.name))
        if found:
            shown = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
            notes.append(f"{len(found)} files here are not of this export and were left alone: {shown}")
        return problems, notes


def _plain(path: str | os.PathLike[str]) -> Path:
    if "\0" in os.fspath(path):
        raise UsageError("a destination has a NUL in its name")
    return Path(path)
