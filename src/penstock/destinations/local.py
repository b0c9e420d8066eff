"""Exports on the local file system: one file with its manifest beside it, or a directory of parts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.destinations.fileops import FileOps
from penstock.destinations.publication import LocalPublication, Place
from penstock.destinations.staging import Staging, read_if_there
from penstock.errors import ManifestError, NoSpace, NotFound, UsageError, from_os_error
from penstock.model.manifest import MAX_MANIFEST_BYTES, Manifest, check_part_name
from penstock.ports import Publication

SUMS_NAME = "SHA256SUMS"
#: Share of the estimate that must fit before work begins; the rest is left to the write itself to notice.
_SURE = 0.8


class _LocalDestination:
    """What both shapes share: begin, read, and look around."""

    single: bool

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
        if not directory.is_dir():
            raise NotFound(f"there is no directory {directory}", hint="create it first")
        try:
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
        room = os.statvfs(self._place.directory)
        free = room.f_bavail * room.f_frsize
        if free < estimated_bytes * _SURE:
            raise NoSpace(
                f"{self._place.directory} has {free} bytes free, about {estimated_bytes} are needed",
                hint="free some space, compress, or choose another destination",
            )

    def read_manifest(self) -> bytes:
        path = self._place.manifest
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                raise ManifestError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
            return path.read_bytes()
        except FileNotFoundError:
            self._complain()
            raise AssertionError from None
        except OSError as error:
            raise from_os_error(error, f"cannot read {path}") from None

    def _complain(self) -> None:
        there = self._place.single if self._place.single is not None else self._place.directory
        if not there.exists():
            raise NotFound(f"there is no export at {there}", hint="check the path") from None
        if self._staging.exists():
            raise ManifestError(
                f"{there} has no manifest: an export to it was interrupted, and did not happen",
                hint="run the export again; it clears up by itself",
            ) from None
        raise ManifestError(
            f"{self._place.manifest} is missing: without it nothing proves that {there.name} is whole",
            hint="export again, or bring the manifest back",
        ) from None

    @contextmanager
    def open_part(self, name: str) -> Iterator[BinaryIO]:
        path = self._place.part(check_part_name(name, any_file=self.single))
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotFound(f"{path.name} is missing") from None
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
        self.path: Path = Path(path)
        if self.path.name in ("", ".."):
            raise UsageError(f"{path} does not name a file")
        place = Place(
            directory=self.path.parent,
            manifest=self.path.with_name(self.path.name + ".manifest.json"),
            single=self.path,
            sums=None,
        )
        super().__init__(place, self.path.with_name(f".{self.path.name}.penstock"), ops)

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
        self.path: Path = Path(path)
        place = Place(
            directory=self.path, manifest=self.path / "manifest.json", single=None, sums=self.path / SUMS_NAME
        )
        super().__init__(place, self.path / ".penstock", ops)

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        try:
            self._ops.mkdir(self.path)
            self._made = True
        except FileExistsError:
            self._made = False
            if not self.path.is_dir():
                raise UsageError(f"{self.path} is a file, a directory is meant", hint="choose another name") from None
        except OSError as error:
            raise from_os_error(error, f"cannot create {self.path}") from None
        return super().begin(overwrite=overwrite, estimated_bytes=estimated_bytes)

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        problems: list[tuple[str, str]] = []
        notes = self._leftovers()
        sums = read_if_there(self.path / SUMS_NAME)
        if sums != manifest.sums():
            if self._staging.exists() and read_if_there(self._staging / "sums") == manifest.sums():
                notes.append(f"{SUMS_NAME} is of the export before; the next export completes it")
            else:
                state = "is missing" if sums is None else "does not match the manifest"
                problems.append((SUMS_NAME, f"{SUMS_NAME} {state}"))
        ours = {entry.name for entry in manifest.parts} | {self.manifest_name, SUMS_NAME, self._staging.name}
        strangers = sorted(entry.name for entry in os.scandir(self.path) if entry.name not in ours)
        if strangers:
            shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
            notes.append(f"{len(strangers)} files here are not of this export and were left alone: {shown}")
        return problems, notes
