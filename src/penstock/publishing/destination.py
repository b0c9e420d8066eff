"""Destinations as values: where an export goes, and where a published one is read from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock.errors import DestinationExists, ManifestError, NotFound, UsageError
from penstock.model.manifest import Manifest, check_part_name
from penstock.model.options import ExportFormat
from penstock.model.partition import DATA, split_name
from penstock.ports.backend import Backend
from penstock.publishing.around import Stored, leftovers, local_path, look_at_sums, stored, strangers
from penstock.publishing.attempt import Attempt
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.place import Place
from penstock.publishing.publication import Publication
from penstock.publishing.shapes import ABOUT, Shape


class Readable(Protocol):
    """Where published parts are read from."""

    def part(self, name: str) -> Stored:
        """What is stored of a published part."""
        ...


class Destination(Readable, Protocol):
    """Where an export goes: one file, a directory, or a stream."""

    @property
    def single(self) -> bool: ...

    @property
    def streamed(self) -> bool: ...

    @property
    def place(self) -> Path | str | None: ...

    @property
    def files(self) -> Sequence[Path]: ...

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication: ...


@dataclass(frozen=True, slots=True)
class ExportDestination:
    """A backend, and the shape of the export there: one file or a directory."""

    backend: Backend
    shape: Shape

    @property
    def single(self) -> bool:
        """Whether it is one file; then there is exactly one part."""
        return self.shape.single

    @property
    def streamed(self) -> bool:
        """Whether bytes are read as they come: then Arrow is the stream format."""
        return False

    @property
    def only(self) -> ExportFormat | None:
        """The one format that its parts have, if the place settles that."""
        return None

    @property
    def path(self) -> Path | None:
        """The local path, if it has one."""
        return local_path(self.backend, self.shape.data)

    @property
    def files(self) -> Sequence[Path]:
        """The local files that it writes, as far as they are known by name."""
        keys = [key for key in (self.shape.data, self.shape.manifest) if key is not None]
        return [path for key in keys if (path := local_path(self.backend, key)) is not None]

    @property
    def place(self) -> Path | str:
        """Where it is, in words."""
        return self.path or "/".join(filter(None, (str(self.backend.location), self.shape.data)))

    @property
    def manifest_name(self) -> str:
        return self.shape.manifest

    def lies_there(self) -> bool:
        """Whether an export is there, or parts that are left of one."""
        if self.backend.stat(self.shape.manifest) is not None:
            return True
        return any(split_name(stat.key)[1].startswith("part-") for stat in self.backend.list(DATA))

    def lineage(self) -> LineageDestination:
        """The same place for an incremental export. Raises :class:`~penstock.errors.UsageError` for one file."""
        if self.single:
            raise UsageError(
                f"{self.place} is one file, an incremental export needs a directory", hint="end the name with /"
            )
        return LineageDestination(self.backend)

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        """Hold the destination, and clear what a crashed run of ours left.

        Raises :class:`~penstock.errors.DestinationExists`, :class:`~penstock.errors.Locked`,
        :class:`~penstock.errors.AccessDenied`.
        """
        for file in self.files:
            if not overwrite and os.path.islink(file) and not file.exists():
                raise DestinationExists(f"{file} exists", hint="it is a link to nothing: choose another name")
        attempt = Attempt(self.backend, self.shape)
        try:
            attempt.aim(self.shape, overwrite=overwrite, size_hint=estimated_bytes)
        except BaseException:
            attempt.close()
            raise
        return attempt

    def read_manifest(self) -> bytes:
        """The bytes of the committed manifest. Raises :class:`~penstock.errors.NotFound` or
        :class:`~penstock.errors.ManifestError`."""
        text, _ = Place(self.backend).read(self.shape.manifest)
        if text is not None:
            return text
        where = self.backend.location if self.shape.data is None else f"{self.backend.location}/{self.shape.data}"
        if Place(self.backend).in_work(self.shape):
            raise ManifestError(
                f"{where} has no manifest: an export to it was interrupted, and did not happen",
                hint="run the export again; it clears up by itself",
            )
        local = self.path
        if not (local.exists() if local is not None else any(self.backend.list(self.shape.data or ""))):
            raise NotFound(f"there is no export at {where}", hint="check the path")
        inside = [] if local is None else sorted(each.parent for each in local.glob(f"*/{ABOUT}"))
        if inside:
            raise ManifestError(
                f"{where} is no export: {len(inside):,} of its folders are, each by itself",
                hint=f"name one of them: {shlex.quote(str(inside[0]))}",
            )
        raise ManifestError(
            f"{self.shape.manifest} is missing: without it nothing proves that {where} is whole",
            hint="export again, or bring the manifest back",
        )

    def part(self, name: str) -> Stored:
        """What is stored of a published part."""
        return stored(self.backend, check_part_name(name, any_file=self.single))

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the parts: sums, strangers, leftovers."""
        shape = self.shape
        notes = leftovers(self.backend, shape)
        if shape.sums is None:
            names = [entry.name for entry in manifest.parts]
            about = ", ".join(names) or "no part"
            return [] if names == [shape.data] else [(shape.manifest, f"it is about {about}, not {shape.data}")], notes
        problems, more = look_at_sums(self.backend, shape, manifest)
        known = {shape.manifest, shape.sums, *(entry.name for entry in manifest.parts)}
        return problems, [*notes, *more, *strangers(self.backend, known)]
