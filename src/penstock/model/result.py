"""What the verbs give back: plain values that print well, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.errors import ExportError
from penstock.model import times
from penstock.model.manifest import Manifest
from penstock.model.options import ExportFormat
from penstock.model.sample import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportMetadata:
    """The facts of an export that people quote; the manifest holds these and more.

    ``time_range`` is the earliest and the latest timestamp, both inclusive. ``checksum`` is the SHA-256 of the stored
    bytes of a single file or a stream, and of the text of ``SHA256SUMS`` for a directory.
    """

    exported_at: datetime
    event_count: int
    time_range: tuple[datetime, datetime] | None
    filters: Mapping[str, Any]
    format: ExportFormat
    checksum: str
    version: str

    @classmethod
    def of(cls, manifest: Manifest) -> ExportMetadata:
        """The facts of a manifest."""
        span = manifest.time_range
        return cls(
            exported_at=times.from_micros(manifest.exported_at),
            event_count=manifest.rows,
            time_range=None if span is None else (times.from_micros(span.first), times.from_micros(span.last)),
            filters=manifest.filter,
            format=manifest.format,
            checksum=manifest.checksum,
            version=manifest.version,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """A finished, published and durable export. ``file_size`` is the sum of the parts in bytes, as stored.

    ``path`` is ``None`` for a stream, and a URL elsewhere than on this machine. ``notes`` are sentences for a person:
    what was left alone, what was coerced.
    Anything that reads Arrow reads the exported events from it: ``polars.DataFrame(result)``,
    ``duckdb.sql("from result")``, ``pyarrow.table(result)``.
    """

    path: Path | str | None
    metadata: ExportMetadata
    file_size: int
    manifest: Manifest
    notes: tuple[str, ...] = ()
    reader: Callable[[], pa.RecordBatchReader] = field(repr=False, compare=False)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The events as they were published, read back lazily and checked (the Arrow PyCapsule interface).

        Raises :class:`~penstock.errors.UsageError` for a stream, which cannot be read back.
        """
        return self.reader().__arrow_c_stream__(requested_schema)

    @property
    def growth(self) -> str | None:
        """Of a run of a lineage, on what it rests that rows only come above those that were exported: ``proven``,
        ``checked`` or ``assumed``."""
        said = self.manifest.guarantees.get("growth")
        return None if said is None else str(said)

    @property
    def partial(self) -> bool:
        """Whether rows of the source had to be left out, as the manifest's counts say, or a run of a lineage could not
        begin where the run before ended, as its ``lineage`` says."""
        broken = self.manifest.lineage is not None and self.manifest.lineage.broken is not None
        return broken or any(name.startswith("skipped_") and count for name, count in self.manifest.counts.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportsResult:
    """What became of several exports, by table or by destination: the export, or why there is none."""

    exported: Mapping[str, ExportResult]
    failed: Mapping[str, ExportError]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendResult:
    """What happened to the events of one append; ``inserted + duplicates + conflicts`` is how many were given.

    A duplicate is an event that is stored already; a conflict has the id of a stored event and other content. Neither
    changes the store.
    """

    inserted: int = 0
    duplicates: int = 0
    conflicts: int = 0

    def __add__(self, other: AppendResult) -> AppendResult:
        return AppendResult(
            inserted=self.inserted + other.inserted,
            duplicates=self.duplicates + other.duplicates,
            conflicts=self.conflicts + other.conflicts,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageStats:
    """Counts and sizes of a store. Sizes in bytes; ``database_size_bytes`` is the file, ``wal_size_bytes`` its log."""

    total_events: int
    database_size_bytes: int
    wal_size_bytes: int
    oldest_event: datetime | None
    newest_event: datetime | None
    last_seq: int
    events_by_category: Mapping[str, int]
    events_by_type: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFacts:
    """A table or a view of a SQLite file. ``rows`` is ``None`` where counting may never end, ``columns`` has declared
    types by name, ``time`` is a column that looks like one of times, ``key`` what identifies rows. ``problem`` says why
    it cannot be read, if it cannot."""

    name: str
    kind: str
    rows: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    time: str | None = None
    key: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that does not hold: ``part`` is the file's name, or the manifest's."""

    part: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyResult:
    """What ``verify`` found. The export is whole if and only if ``problems`` is empty; a lineage has ``runs``.

    ``parts_read`` and ``bytes_read`` (as stored) say how much of it was read to the last event, ``sample`` which share
    that was; of the rest only presence and size are known.
    """

    path: Path | str
    parts: int
    event_count: int
    bytes: int
    parts_read: int = 0
    bytes_read: int = 0
    sample: Sample | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    manifest: Manifest | None = None
    runs: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every byte and every count holds."""
        return not self.problems


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreResult:
    """What became of the events of a restore. ``events_digest`` is that of the events that were read.

    ``events == inserted + duplicates + conflicts`` unless it was a dry run.
    """

    events: int
    inserted: int
    duplicates: int
    conflicts: int
    events_digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeResult:
    """A lineage that was taken up again: what was recovered, in sentences, what was there, and the run that was added.

    ``verified`` is what a look at the runs that were there found; it is whole, or nothing was added.
    """

    recovered: tuple[str, ...]
    verified: VerifyResult
    export: ExportResult


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairResult:
    """What became of a lineage's damage. ``restored`` parts have their bytes again; ``replaced`` ones are held by
    others with the same rows; ``waived`` are the runs whose manifests were lost, and that the lineage does without;
    ``left`` is what the store could not prove. ``manifest`` is that of the run of maintenance, if one was needed.
    """

    path: Path | str
    restored: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    waived: tuple[int, ...] = ()
    left: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    manifest: Manifest | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is missing or damaged any more."""
        return not self.left


class DifferenceKind(StrEnum):
    """What is the matter with an event between A and B: only B has it, only A has it, or they have it differently."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One event that A and B do not share; an id that is there several times may differ several times."""

    kind: DifferenceKind
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffResult:
    """How two sides compare: their events, and how many of them differ. ``columns`` are those that were compared.

    ``events_a - removed == events_b - added``: what is left on either side are the same ids, ``changed`` of them with
    other content. ``notes`` are sentences for a person: what could not be compared.
    """

    events_a: int
    events_b: int
    added: int
    removed: int
    changed: int
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same multiset of events."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestResult:
    """What became of the records of one load. ``records`` is how many were read.

    ``records == inserted + duplicates + conflicts + quarantined``; quarantined records lie in ``quarantine``, and
    ``reasons`` counts them by why they are there. ``notes`` are sentences for a person: what to map, and how.
    """

    records: int
    inserted: int
    duplicates: int
    conflicts: int
    quarantined: int
    quarantine: Path | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
