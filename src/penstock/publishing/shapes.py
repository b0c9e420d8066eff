"""Which keys an export has: one file, a directory, or a run of a lineage. Pure: nothing here looks at a backend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Protocol

from penstock.model.lineage import RUNS, run_name, sums_name
from penstock.model.manifest import Manifest, PartEntry, is_part_name
from penstock.model.partition import DATA, split_name

#: Where all lies that is about a directory's data.
ABOUT = "_penstock/"
DIRECTORY_MANIFEST = f"{ABOUT}manifest.json"
DIRECTORY_SUMS = f"{ABOUT}SHA256SUMS"
#: The name of every attempt at a directory: an export and a run there keep each other out.
DIRECTORY_ATTEMPT = "penstock"
_FILE_MANIFEST = ".manifest.json"
_SUMS_LINE = re.compile(r"[0-9a-f]{64}  data/[^\n]+\n")


class Shape(Protocol):
    """The keys of one export. ``attempt`` is the name under which work at it lies, ``manifest`` the key whose coming is
    the commit, ``sums`` that of the sums for ``sha256sum``, if there are any. ``data`` is the key of all data, if it is
    ``single``: one file. Where something lies below the ``rival`` key, no such export goes: with what that is."""

    @property
    def single(self) -> bool: ...

    @property
    def data(self) -> str | None: ...

    @property
    def rival(self) -> tuple[str, str] | None: ...

    @property
    def attempt(self) -> str: ...

    @property
    def manifest(self) -> str: ...

    @property
    def sums(self) -> str | None: ...

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        """The name of a part, which is its key: from what it holds, so that the same export has the same names."""
        ...

    def could_be(self, manifest: Manifest) -> bool:
        """Whether a manifest can be of an export of this shape: all that it names are keys of such a one."""
        ...

    def of(self, manifest: Manifest) -> Shape:
        """The shape of what an attempt of the same name published with this manifest."""
        ...


@dataclass(frozen=True, slots=True)
class OneFile:
    """One file, under the name that somebody chose, and its manifest beside it."""

    name: str
    single: ClassVar[bool] = True
    sums: ClassVar[None] = None
    rival: ClassVar[None] = None

    @property
    def data(self) -> str:
        return self.name

    @property
    def attempt(self) -> str:
        return f"{self.name}.penstock"

    @property
    def manifest(self) -> str:
        return f"{self.name}{_FILE_MANIFEST}"

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return self.name

    def could_be(self, manifest: Manifest) -> bool:
        return manifest.lineage is None and [entry.name for entry in manifest.parts] == [self.name]

    def of(self, manifest: Manifest) -> Shape:
        return self


@dataclass(frozen=True, slots=True)
class ManifestAlone:
    """The manifest of what went to a stream. Nothing that it names has a key."""

    manifest: str
    single: ClassVar[bool] = False
    data: ClassVar[None] = None
    sums: ClassVar[None] = None
    rival: ClassVar[None] = None

    @property
    def attempt(self) -> str:
        return f"{self.manifest}.penstock"

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        raise NotImplementedError("a stream has no keys")

    def could_be(self, manifest: Manifest) -> bool:
        return False

    def of(self, manifest: Manifest) -> Shape:
        return self


@dataclass(frozen=True, slots=True)
class Directory:
    """Parts in ``data/``, and one manifest of them all."""

    single: ClassVar[bool] = False
    attempt: ClassVar[str] = DIRECTORY_ATTEMPT
    manifest: ClassVar[str] = DIRECTORY_MANIFEST
    sums: ClassVar[str] = DIRECTORY_SUMS
    data: ClassVar[None] = None
    rival: ClassVar[tuple[str, str]] = (RUNS, "an incremental export")

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return f"{DATA}{folders}part-{index:05d}-{_what(entry)}{ending}"

    def could_be(self, manifest: Manifest) -> bool:
        return manifest.lineage is None and all(_is_ours(entry.name, "part-") for entry in manifest.parts)

    def of(self, manifest: Manifest) -> Shape:
        return _in_directory(manifest)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a lineage: its parts lie among those of the runs before it, its manifest has its number."""

    number: int
    single: ClassVar[bool] = False
    attempt: ClassVar[str] = DIRECTORY_ATTEMPT
    data: ClassVar[None] = None
    rival: ClassVar[tuple[str, str]] = (DIRECTORY_MANIFEST, "an export that is not incremental")

    @property
    def manifest(self) -> str:
        return run_name(self.number)

    @property
    def sums(self) -> str:
        return sums_name(self.number)

    @property
    def _prefix(self) -> str:
        return f"run-{self.number:06d}-part-"

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return f"{DATA}{folders}{self._prefix}{index:05d}-{_what(entry)}{ending}"

    def could_be(self, manifest: Manifest) -> bool:
        there = manifest.lineage
        named = all(_is_ours(entry.name, self._prefix) for entry in manifest.parts)
        return there is not None and there.run == self.number and named

    def of(self, manifest: Manifest) -> Shape:
        return _in_directory(manifest)


def _in_directory(manifest: Manifest) -> Shape:
    return Directory() if manifest.lineage is None else Run(manifest.lineage.run)


def are_sums(text: bytes) -> bool:
    """Whether a text can be sums of ours: every line is of something in ``data/``."""
    return not _SUMS_LINE.sub("", text.decode("utf-8", "replace"))


def _is_ours(name: str, prefix: str) -> bool:
    return name.startswith(DATA) and is_part_name(name) and split_name(name)[1].startswith(prefix)


def _what(entry: PartEntry) -> str:
    """What a part's name says of it: its first and last arrival number where rows have any, and its digest."""
    span = "" if entry.seq_range is None else f"{entry.seq_range.first}-{entry.seq_range.last}-"
    return f"{span if entry.rows else 'empty-'}{entry.sha256[:8]}"
