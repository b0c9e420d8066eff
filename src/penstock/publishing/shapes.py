"""Which keys an export has: one file, a directory, or a run of a lineage. Pure: nothing here looks at a backend."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import ClassVar, Protocol, Self

from penstock.model.lineage import RUNS, roll_name, run_name, sums_name
from penstock.model.manifest import Manifest, PartEntry, is_part_name
from penstock.model.partition import DATA, split_name

#: Where all lies that is about a directory's data.
ABOUT = "_penstock/"
DIRECTORY_MANIFEST = f"{ABOUT}manifest.json"
DIRECTORY_SUMS = f"{ABOUT}SHA256SUMS"
#: The name of every attempt at a directory: an export and a run there keep each other out. One that is told apart from
#: all others names behind it what it expects to find, and itself by 12 hex digits.
DIRECTORY_ATTEMPT = "penstock"
_APART = re.compile(rf"{DIRECTORY_ATTEMPT}-(?:(new|[0-9a-f]{{12}})|run(\d{{6,12}}))-([0-9a-f]{{12}})\Z", re.ASCII)
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

    def apart(self, who: str, version: str | None) -> Shape:
        """The same for an attempt that is told apart as ``who``, 12 hex digits, by its name and those of its parts, and
        that expects a manifest of this version. One file has one name."""
        ...

    def named(self, attempt: str) -> Shape:
        """The same for an attempt of this name."""
        ...

    def is_over(self, attempt: str, version: str | None) -> bool:
        """Whether an attempt of this name can commit no more, if the manifest stands in this version, or not at all:
        what it expected is gone for good."""
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

    def apart(self, who: str, version: str | None) -> Self:
        return self

    def named(self, attempt: str) -> Self:
        return self

    def is_over(self, attempt: str, version: str | None) -> bool:
        return False


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

    def apart(self, who: str, version: str | None) -> Self:
        return self

    def named(self, attempt: str) -> Self:
        return self

    def is_over(self, attempt: str, version: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Directory:
    """Parts in ``data/``, and one manifest of them all."""

    attempt: str = DIRECTORY_ATTEMPT
    single: ClassVar[bool] = False
    manifest: ClassVar[str] = DIRECTORY_MANIFEST
    sums: ClassVar[str] = DIRECTORY_SUMS
    data: ClassVar[None] = None
    rival: ClassVar[tuple[str, str]] = (RUNS, "an incremental export")

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return f"{DATA}{folders}part-{index:05d}-{_what(entry)}{told_apart(self.attempt)}{ending}"

    def could_be(self, manifest: Manifest) -> bool:
        return manifest.lineage is None and all(_is_ours(entry.name, "part-") for entry in manifest.parts)

    def of(self, manifest: Manifest) -> Shape:
        return _in_directory(manifest, self.attempt)

    def apart(self, who: str, version: str | None) -> Self:
        return self.named(f"{DIRECTORY_ATTEMPT}-{_expected(version)}-{who}")

    def named(self, attempt: str) -> Self:
        return replace(self, attempt=attempt)

    def is_over(self, attempt: str, version: str | None) -> bool:
        found = _APART.match(attempt)
        return found is not None and found[1] not in (None, _expected(version))


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a lineage: its parts lie among those of the runs before it, its manifest has its number."""

    number: int
    attempt: str = DIRECTORY_ATTEMPT
    single: ClassVar[bool] = False
    data: ClassVar[None] = None
    rival: ClassVar[tuple[str, str]] = (DIRECTORY_MANIFEST, "an export that is not incremental")

    @property
    def manifest(self) -> str:
        return run_name(self.number)

    @property
    def sums(self) -> str:
        return sums_name(self.number)

    @property
    def roll(self) -> str:
        """Where the roll lies."""
        return roll_name(self.number, told_apart(self.attempt))

    @property
    def _prefix(self) -> str:
        return f"run-{self.number:06d}-part-"

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return f"{DATA}{folders}{self._prefix}{index:05d}-{_what(entry)}{told_apart(self.attempt)}{ending}"

    def could_be(self, manifest: Manifest) -> bool:
        there = manifest.lineage
        named = all(_is_ours(entry.name, self._prefix) for entry in manifest.parts)
        return there is not None and there.run == self.number and named

    def of(self, manifest: Manifest) -> Shape:
        return _in_directory(manifest, self.attempt)

    def apart(self, who: str, version: str | None) -> Self:
        return self.named(f"{DIRECTORY_ATTEMPT}-run{self.number:06d}-{who}")

    def named(self, attempt: str) -> Self:
        return replace(self, attempt=attempt)

    def is_over(self, attempt: str, version: str | None) -> bool:
        found = _APART.match(attempt)
        return found is not None and found[2] is not None and int(found[2]) < self.number + (version is not None)


def told_apart(attempt: str) -> str:
    """What the names of parts and rolls have of that of their attempt: nothing, or ``-`` and 12 hex digits."""
    found = _APART.match(attempt)
    return "" if found is None else f"-{found[3]}"


def _expected(version: str | None) -> str:
    return "new" if version is None else sha256(version.encode()).hexdigest()[:12]


def _in_directory(manifest: Manifest, attempt: str) -> Shape:
    return Directory(attempt) if manifest.lineage is None else Run(manifest.lineage.run, attempt)


def are_sums(text: bytes) -> bool:
    """Whether a text can be sums of ours: every line is of something in ``data/``."""
    return not _SUMS_LINE.sub("", text.decode("utf-8", "replace"))


def _is_ours(name: str, prefix: str) -> bool:
    return name.startswith(DATA) and is_part_name(name) and split_name(name)[1].startswith(prefix)


def _what(entry: PartEntry) -> str:
    """What a part's name says of it: its first and last arrival number where rows have any, and its digest."""
    span = "" if entry.seq_range is None else f"{entry.seq_range.first}-{entry.seq_range.last}-"
    return f"{span if entry.rows else 'empty-'}{entry.sha256[:8]}"
