"""The manifest: what an export holds, written last, and the only proof that the export happened.

``docs/format.md`` is the normative description; this file is its code. A manifest's text ends with the SHA-256 of every
byte before that last member, so that any edit shows. It finds damage, not forgery.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock.errors import ManifestError, NewerVersion, UsageError
from penstock.model import claims, times
from penstock.model.dataset import Dataset, parse_dataset
from penstock.model.lineage import Lineage, parse_lineage
from penstock.model.options import TRAITS, ExportFormat, Layout, parse_format
from penstock.model.partition import DATA, WIDTHS, check_name, folders_at, split_name
from penstock.model.roll import Roll
from penstock.model.span import Span
from penstock.model.storage_config import parse_reading

MANIFEST_VERSION = 1
#: Largest manifest that is read, in bytes.
MAX_MANIFEST_BYTES = 48 << 20
#: Commas, colons and brackets of a manifest: more than the most parts have, and as many as fit into memory when read.
_MOST_TOKENS = 2_000_000
#: Rows that came below the cursor of the run before, and rows that were changed there.
MARKS = ("late", "changed")
_TAIL = re.compile(rb',\n  "manifest_sha256": "([0-9a-f]{64})"\n\}\n\Z')
_HEX = {"sha256": 64, "content_sha256": 64, "rows_digest": 32}
#: A name may not leave its directory, hide itself, or mean something to a shell or another file system.
_PART_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+@-]{0,254}\Z")
_FORBIDDEN_IN_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")


class RunKind(StrEnum):
    """What a run was for: to export rows, or to keep the parts of the runs before it in order."""

    EXPORT = "export"
    MAINTENANCE = "maintenance"


class Shape(StrEnum):
    """How what was published lies there."""

    FILE = "file"
    DIRECTORY = "directory"
    LINEAGE = "lineage"
    STREAM = "stream"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartEntry:
    """One file of the export. ``bytes``/``sha256`` are of what is stored, ``content_*`` of it uncompressed.

    For Parquet and Arrow, which compress inside, the two pairs are equal. ``rows_digest`` is 32 hex digits. ``mark`` is
    one of :data:`MARKS` where the rows lie below the stretch of their run.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    content_bytes: int
    content_sha256: str
    rows_digest: str
    time_range: Span | None = None
    seq_range: Span | None = None
    mark: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **({} if self.mark is None else {"mark": self.mark}),
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "content_bytes": self.content_bytes,
            "content_sha256": self.content_sha256,
            "rows_digest": self.rows_digest,
            "time_range": _times_json(self.time_range),
            "seq_range": _span_json(self.seq_range),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything that is recorded about one export. Times are microseconds, UTC.

    ``dataset`` has the columns that were written. ``filter`` is what :meth:`ExportFilter.to_json` gave, ``steps`` what
    was done to the rows after it, ``source`` says which store and horizon was read, ``counts`` holds every number a
    reader should know of: coercions, skips, reached limits. ``attempt`` names the attempt that was published, where
    names carry it; ``guarantees`` says by name what a promise rests on. ``lineage`` is the place of a run in an
    incremental export.
    """

    version: str
    exported_at: int
    shape: Shape
    dataset: Dataset
    format: ExportFormat
    codec: str
    level: int | None
    options: Mapping[str, Any]
    filter: Mapping[str, Any]
    source: Mapping[str, Any]
    rows: int
    rows_digest: str
    checksum: str
    time_range: Span | None = None
    seq_range: Span | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    kind: RunKind = RunKind.EXPORT
    steps: tuple[Mapping[str, Any], ...] = ()
    attempt: str | None = None
    guarantees: Mapping[str, Any] = field(default_factory=dict)
    lineage: Lineage | None = None
    parts: tuple[PartEntry, ...] = ()

    @property
    def stored(self) -> tuple[PartEntry | Roll, ...]:
        """All that has a key beside the manifest and the sums: the parts, and the roll of a run."""
        roll = None if self.lineage is None else self.lineage.roll
        return self.parts if roll is None else (*self.parts, roll)

    @property
    def layout(self) -> Layout:
        """What a decoder needs to read the parts."""
        csv = self.options.get("csv", {})
        return Layout(
            format=self.format,
            codec=self.codec,
            level=self.level,
            dataset=self.dataset,
            pretty=bool(self.options.get("pretty", False)),
            csv_null=str(csv.get("null", "")),
            partition_by=self.options.get("partition_by"),
            partition_name=self.options.get("partition_name"),
        )

    def to_bytes(self) -> bytes:
        """The text of the manifest file, with its own digest as the last member."""
        digest = hashlib.sha256()
        pieces: list[bytes] = []
        for piece in self._pieces():
            pieces.append(piece)
            digest.update(piece)
        pieces.append(b',\n  "manifest_sha256": "' + digest.hexdigest().encode() + b'"\n}\n')
        return b"".join(pieces)

    def _pieces(self) -> Iterator[bytes]:
        """The text up to the last part, part by part: the values of very many at once would be far larger."""
        head = _indented(self._to_json(), "")
        if not self.parts:
            yield head[: -len(b"\n}")]
            return
        yield head[: -len(b"]\n}")]
        for number, part in enumerate(self.parts):
            yield (b",\n    " if number else b"\n    ") + _indented(part.to_json(), "    ")
        yield b"\n  ]"

    def _to_json(self) -> dict[str, Any]:
        return {
            "penstock_manifest": MANIFEST_VERSION,
            "version": self.version,
            "kind": str(self.kind),
            "shape": str(self.shape),
            "exported_at": times.render(self.exported_at),
            "attempt": self.attempt,
            "rows": self.rows,
            "time_range": _times_json(self.time_range),
            "seq_range": _span_json(self.seq_range),
            **self.dataset.to_json(),
            "filter": dict(self.filter),
            "steps": [dict(step) for step in self.steps],
            "format": str(self.format),
            "compression": {"codec": self.codec, "level": self.level},
            "options": dict(self.options),
            "source": dict(self.source),
            **({} if self.lineage is None else {"lineage": self.lineage.to_json()}),
            "counts": dict(self.counts),
            "guarantees": dict(self.guarantees),
            "rows_digest": {"algorithm": "xxh3-128-sum", "value": self.rows_digest},
            "checksum": self.checksum,
            "parts": [],
        }

    def sums(self, gone: Collection[str] = ()) -> bytes:
        """The text of ``SHA256SUMS``: what ``sha256sum -c`` reads, one line a part that is not ``gone``."""
        return "".join(f"{part.sha256}  {part.name}\n" for part in self.parts if part.name not in gone).encode()


def removed_parts(manifests: Iterable[Manifest]) -> set[str]:
    """The names of the parts that the runs of a lineage removed."""
    lineages = [manifest.lineage for manifest in manifests if manifest.lineage is not None]
    return {part.name for lineage in lineages for part in lineage.removed}


def held_parts(manifests: Collection[Manifest]) -> list[tuple[Manifest, PartEntry]]:
    """The parts that an export or a lineage holds, in order: all that its manifests name and no run removed."""
    gone = removed_parts(manifests)
    return [(manifest, entry) for manifest in manifests for entry in manifest.parts if entry.name not in gone]


def _indented(value: Any, indent: str) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + indent).encode("utf-8")


def parse_manifest(text: bytes, *, where: str) -> Manifest:
    """Read and check a manifest; ``where`` names it in errors.

    Raises :class:`ManifestError` if a byte was changed or a value is not what ``docs/format.md`` allows, and
    :class:`NewerVersion` if it was written by a later format version.
    """
    if sum(map(text.count, (b",", b":", b"[", b"{"))) > _MOST_TOKENS:
        raise ManifestError(f"{where}: this is not a Penstock manifest: it has more members than one can have")
    try:
        raw = json.loads(text, object_pairs_hook=_no_repeats, parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: the manifest is not readable: {error}") from None
    if not isinstance(raw, dict) or type(raw.get("penstock_manifest")) is not int or raw["penstock_manifest"] < 1:
        raise ManifestError(f"{where}: this is not a Penstock manifest")
    if raw["penstock_manifest"] > MANIFEST_VERSION:
        raise NewerVersion(
            f"{where}: manifest version {raw['penstock_manifest']} is newer than {MANIFEST_VERSION}, the newest known",
            hint="upgrade penstock",
        )
    tail = _TAIL.search(text)
    if tail is None or hashlib.sha256(text[: tail.start()]).hexdigest().encode() != tail[1]:
        raise ManifestError(
            f"{where}: the manifest was edited or damaged: it does not match its own SHA-256",
            hint="restore the manifest from a copy, or export again",
        )
    try:
        return _from_json(raw)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise ManifestError(f"{where}: the manifest breaks the format: {type(error).__name__}: {error}") from None


def check_part_name(name: object, *, any_file: bool = False) -> str:
    """Return the name if it stays inside its directory, or a partition's folders there. ``any_file`` allows what a
    person may call a single file, and no folders."""
    plain = name if any_file or not isinstance(name, str) else split_name(name)[1]
    if not isinstance(plain, str) or plain in ("", ".", "..") or _FORBIDDEN_IN_NAME.search(plain):
        raise ManifestError(f"a part is named {name!r}, which is not a plain file name")
    if not any_file and not is_part_name(name):
        raise ManifestError(f"a part is named {name!r}, which is not a plain file name")
    return str(name)


def is_part_name(name: object) -> bool:
    """Whether a part of a directory can have this name."""
    return isinstance(name, str) and name.startswith(DATA) and _PART_NAME.match(split_name(name)[1]) is not None


def _from_json(raw: Mapping[str, Any]) -> Manifest:
    shape = Shape(raw["shape"])
    parts = tuple(_part(entry, alone=shape in (Shape.FILE, Shape.STREAM)) for entry in raw["parts"])
    _check_partitions(parts, claims.members(raw["options"]))
    if len({part.name for part in parts}) != len(parts):
        raise ValueError("two parts share a name")
    if sum(part.rows for part in parts) != raw["rows"]:
        raise ValueError("rows is not the sum of the parts' rows")
    if raw["rows_digest"]["algorithm"] != "xxh3-128-sum":
        raise ValueError("unknown rows digest algorithm")
    manifest = Manifest(
        version=str(raw["version"]),
        kind=RunKind(raw["kind"]),
        shape=shape,
        exported_at=times.parse_timestamp(raw["exported_at"]),
        attempt=None if raw["attempt"] is None else claims.text(raw["attempt"]),
        dataset=parse_dataset(raw),
        steps=tuple(claims.members(step) for step in claims.items(raw["steps"])),
        format=parse_format(raw["format"]),
        codec=str(raw["compression"]["codec"]),
        level=raw["compression"]["level"],
        options=claims.members(raw["options"]),
        filter=claims.members(raw["filter"]),
        source=parse_reading(claims.members(raw["source"])),
        rows=claims.count(raw["rows"]),
        rows_digest=claims.hex_digits(raw["rows_digest"]["value"], 32),
        checksum=claims.hex_digits(raw["checksum"], 64),
        time_range=_times(raw["time_range"]),
        seq_range=_span(raw["seq_range"]),
        counts={str(name): claims.count(value) for name, value in claims.members(raw["counts"]).items()},
        guarantees=claims.members(raw["guarantees"]),
        lineage=None if raw.get("lineage") is None else parse_lineage(claims.members(raw["lineage"])),
        parts=parts,
    )
    claims.members(manifest.options.get("csv", {}))
    if manifest.codec not in TRAITS[manifest.format].codecs:
        raise ValueError(f"{manifest.format} has no compression {manifest.codec!r}")
    if (manifest.lineage is not None) != (manifest.shape is Shape.LINEAGE):
        raise ValueError(f"the shape is {manifest.shape}, and lineage says otherwise")
    if manifest.kind is RunKind.EXPORT and removed_parts([manifest]):
        raise ValueError("an export removes no part")
    return manifest


def _part(raw: Mapping[str, Any], *, alone: bool) -> PartEntry:
    return PartEntry(
        name=check_part_name(raw["name"], any_file=alone),
        rows=claims.count(raw["rows"]),
        bytes=claims.count(raw["bytes"]),
        content_bytes=claims.count(raw["content_bytes"]),
        time_range=_times(raw["time_range"]),
        seq_range=_span(raw["seq_range"]),
        mark=_mark(raw.get("mark")),
        **{name: claims.hex_digits(raw[name], length) for name, length in _HEX.items()},
    )


def _mark(value: Any) -> str | None:
    if value not in (None, *MARKS):
        raise ValueError(f"unknown mark {value!r}")
    return None if value is None else str(value)


def _check_partitions(parts: tuple[PartEntry, ...], options: Mapping[str, Any]) -> None:
    """Each part lies in the folders of the one partition that all its events are of; without partitions, in none."""
    by, name = options.get("partition_by"), options.get("partition_name")
    if by is not None and by not in WIDTHS:
        raise ValueError(f"unknown partitions {by!r}")
    if name is not None:
        check_name(name)
        if by is None:
            raise ValueError(f"folders are called {name!r}, and there are none")
    for part in parts:
        span = part.time_range
        ends = (None,) if span is None else (span.first, span.last)
        wanted = {""} if by is None else {folders_at(micros, str(by), name) for micros in ends}
        if wanted != {split_name(part.name)[0]}:
            raise ValueError(f"{part.name} is not in the folder of its partition")


def _span_json(span: Span | None) -> dict[str, int] | None:
    return None if span is None else {"first": span.first, "last": span.last}


def _times_json(span: Span | None) -> dict[str, str] | None:
    return None if span is None else {"first": times.render(span.first), "last": times.render(span.last)}


def _span(raw: Any) -> Span | None:
    return None if raw is None else Span(first=int(raw["first"]), last=int(raw["last"]))


def _times(raw: Any) -> Span | None:
    if raw is None:
        return None
    return Span(first=times.parse_timestamp(raw["first"]), last=times.parse_timestamp(raw["last"]))


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _no_float(text: str) -> Any:
    raise ValueError(f"{text} is not an integer")
