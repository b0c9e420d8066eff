"""Destinations as values: where an export goes, and where a published one is read from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock.errors import DestinationExists, ManifestError, NotFound, UsageError
from penstock.model.location import Location
from penstock.model.manifest import Manifest, PartEntry, check_part_name
from penstock.model.partition import DATA, split_name
from penstock.ports.backend import Backend, Staged, Upload
from penstock.publishing.around import Stored, leftovers, local_path, look_at_sums, stored, strangers
from penstock.publishing.attempt import Attempt
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.place import Place
from penstock.publishing.shapes import Shape


class Staging(Protocol):
    """Where parts are laid down before anything is published."""

    def stage(self) -> Upload:
        """Begin the next part. Parts are published in the order in which they were staged."""
        ...

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        """What is stored of a part that was staged."""
        ...

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        """The final name of a part."""
        ...


class Publication(Staging, Protocol):
    """One attempt to publish. Nothing is visible before :meth:`publish`; after it returned, it is there to stay."""

    notes: list[str]

    def elsewhere(self) -> tuple[Location, str]:
        """Where other processes stage for this attempt, and its name there. Raises
        :class:`~penstock.errors.UsageError` if none can."""
        ...

    def take(self, staged: Staged) -> None:
        """Let what another process staged be the next part."""
        ...

    def signed(self, manifest: Manifest) -> Manifest:
        """The manifest as it is to be published: with what the place has to say."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Give the staged parts their names, then the manifest its own: the commit."""
        ...

    def close(self) -> None:
        """Drop what was not published and let others in. Safe to call twice."""
        ...


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

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Attempt:
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
