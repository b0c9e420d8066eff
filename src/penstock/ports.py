"""The ports: what a store, an encoder, a decoder and a destination promise, and the values that flow between them.

Adapters implement these; ``exporting`` and ``ingest`` are written against them and know no adapter. A batch is always a
``pyarrow.RecordBatch`` of :data:`penstock.model.columns.EVENT_SCHEMA` or a projection of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self, TypeAlias, runtime_checkable

import pyarrow as pa

from penstock.model.event import AnalyticsEvent
from penstock.model.filter import ExportFilter
from penstock.model.manifest import Manifest, PartEntry
from penstock.model.result import AppendResult, StorageStats

#: Bytes that are handed on without copying, read through the buffer protocol: ``bytes``, ``memoryview``,
#: ``pyarrow.Buffer``, or a block of the native module.
Buffer: TypeAlias = Any


class Rendered(Protocol):
    """The text of a batch and its events digest, not yet reduced."""

    @property
    def text(self) -> Buffer: ...

    @property
    def digest(self) -> int: ...


#: What to do with an event whose id is stored with other content: keep the stored one, refuse the batch, or replace it.
OnConflict: TypeAlias = Literal["skip", "fail", "replace"]


class Clock(Protocol):
    """Where "now" comes from; always aware and UTC."""

    def now(self) -> datetime: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SeqRange:
    """A half-open span of arrival order, ``after < seq <= upto``: the unit of work of a scan.

    ``bytes_hint`` is an upper estimate of the payload bytes in it, for planning only.
    """

    after: int
    upto: int
    bytes_hint: int


class Snapshot(Protocol):
    """One unchanging view of a store. Reads from several threads at once see the same rows.

    ``horizon`` is the last ``seq`` it can hold. ``source`` describes store and view for the manifest. ``counts`` is
    complete once every range was read: coercions (``coerced_*``) and rows left out (``skipped_*``), by reason.
    """

    horizon: int

    @property
    def source(self) -> Mapping[str, Any]: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def identity(self) -> str:
        """What tells this store from every other: the same for each snapshot of it, also after it was moved."""
        ...

    def last_event(self, upto: int) -> tuple[int, str] | None:
        """``seq`` and id of the last event at or below ``upto``, whatever the filter; ``None`` if there is none."""
        ...

    def ranges(
        self, filter: ExportFilter, *, max_rows: int, max_bytes: int, after: int | None = None
    ) -> Iterator[SeqRange]:
        """Ranges in ``seq`` order that together hold every matching row above ``after``; none is over a limit unless
        one row is.

        Ranges that cannot hold a match may be left out. The same store, filter and limits give the same ranges.
        """
        ...

    def read(self, span: SeqRange, filter: ExportFilter) -> Iterator[pa.RecordBatch]:
        """The matching rows of a range in ``seq`` order, with exactly ``EVENT_SCHEMA``; ``filter.limit`` caps each
        range by itself. Thread safe."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class AnalyticsStorage(Protocol):
    """A store of events. Safe while other processes append; waits a bounded time for their locks.

    Raises :class:`~penstock.errors.StoreBusy` when that wait ends, :class:`~penstock.errors.StorageError` when the
    file is damaged.
    """

    def append(
        self,
        events: Iterable[AnalyticsEvent] | pa.RecordBatch,
        *,
        checked: bool = False,
        on_conflict: OnConflict = "skip",
    ) -> AppendResult:
        """Store events atomically, in order. Storing an id again changes nothing. Batches are ``APPEND_SCHEMA``;
        ``checked`` says that every row of a batch is known to obey the event model."""
        ...

    def snapshot(self, *, readers: int = 1) -> Snapshot:
        """Pin the horizon. ``readers`` is how many threads will read at once."""
        ...

    def count(self, filter: ExportFilter | None = None) -> int:
        """How many events match, the limit included."""
        ...

    def scan(self, filter: ExportFilter | None = None, *, workers: int | None = None) -> Iterator[pa.RecordBatch]:
        """Matching events in ``seq`` order from one snapshot, as batches of ``EVENT_SCHEMA``."""
        ...

    def stats(self) -> StorageStats: ...

    def histogram(
        self, filter: ExportFilter | None = None, *, buckets: int = 24
    ) -> Sequence[tuple[datetime, datetime, int]]:
        """Matching events over event time: equal half-open buckets from the oldest to past the newest."""
        ...

    def close(self) -> None: ...


class TextEncoder(Protocol):
    """Rows to text, without state, so that ranges can be rendered at the same time by several threads.

    A file is ``prologue``, then the rendered chunks with ``separator`` between any two that hold rows, then
    ``epilogue``. A chunk neither begins nor ends with the separator.
    """

    @property
    def prologue(self) -> bytes: ...

    @property
    def separator(self) -> bytes: ...

    @property
    def epilogue(self) -> bytes: ...

    def render(self, batch: pa.RecordBatch) -> Rendered:
        """The text of a batch of at least one row, and its events digest, which is found on the way."""
        ...


class ColumnarEncoder(Protocol):
    """Rows to one columnar file, in order, by one writer. Nothing is valid until ``finish``; after ``abort`` no more
    bytes leave it, not even when it is collected."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def cut(self) -> None:
        """End the group of rows that is being gathered, where the format gathers any."""
        ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class Decoder(Protocol):
    """Bytes back to rows, strictly: whatever this format's encoder could not have written is an error.

    ``stream`` is the uncompressed content; ``seekable`` says whether it can seek. Yields batches of the layout's
    columns. Raises :class:`~penstock.errors.SerializationError`.
    """

    def __call__(self, stream: BinaryIO, /) -> Iterator[pa.RecordBatch]: ...


class StagedFile(Protocol):
    """A part that is being written where no reader looks. Exactly one of ``finish`` and ``abort`` ends it."""

    def write(self, data: Buffer) -> None:
        """Append all of ``data``; the caller may reuse the buffer afterwards."""
        ...

    def finish(self) -> int:
        """Make the bytes durable; returns their number, checked against the file."""
        ...

    def abort(self) -> None:
        """Drop what was written. Never raises."""
        ...

    def read_back(self) -> AbstractContextManager[BinaryIO]:
        """What was written, from its start; after ``finish`` only."""
        ...


class Publication(Protocol):
    """One attempt to publish at a destination, which it holds alone until ``close``.

    Nothing is visible before :meth:`publish`; after it returned, the export survives ``kill -9`` and power loss.
    """

    @property
    def notes(self) -> Sequence[str]: ...

    def stage(self) -> StagedFile:
        """Begin the next part. Parts are published in the order in which they were staged."""
        ...

    def part_name(self, index: int, entry: PartEntry, ending: str) -> str:
        """The final name of a part: the destination's own if it is one file, else from ``entry``'s range and digest."""
        ...

    def publish(self, manifest: Manifest) -> None:
        """Give the staged parts the manifest's names, then the manifest its own: the commit.

        Raises :class:`~penstock.errors.DestinationExists` if someone else got there first; then nothing changed.
        """
        ...

    def close(self) -> None:
        """Drop what was not published and let others in. Safe to call twice."""
        ...


class RunPublication(Publication, Protocol):
    """One attempt to add a run to a lineage, which it holds alone until ``close``. ``publish`` raises
    :class:`~penstock.errors.Locked` if another process committed a run of the same number first."""

    def runs(self) -> Sequence[tuple[str, bytes]]:
        """File name and bytes of every committed run's manifest, in order."""
        ...


@runtime_checkable
class LineageDestination(Protocol):
    """Where an incremental export adds its runs, and where they are read from. What lies there is the truth: nothing
    about a lineage is kept anywhere else."""

    @property
    def path(self) -> Path: ...

    def runs(self) -> Sequence[tuple[str, bytes]]:
        """File name and bytes of every committed run's manifest, in order."""
        ...

    def traces(self) -> Mapping[int, str]:
        """Runs that something beside a manifest tells of, by number: what it is. Work of an interrupted run is none."""
        ...

    def begin(self) -> RunPublication:
        """Lock the lineage and clear what a crashed run of ours left. Raises :class:`~penstock.errors.Locked`."""
        ...

    def open_part(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A published part, seekable, from its start. Raises :class:`~penstock.errors.NotFound`."""
        ...

    def inspect(self, manifests: Sequence[Manifest]) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the runs: sums, strangers, leftovers."""
        ...


@runtime_checkable
class ExportDestination(Protocol):
    """Where an export goes, and where a published one is read from.

    ``single`` says whether it is one file (then there is exactly one part).
    """

    single: bool

    @property
    def path(self) -> Path | None:
        """The local path, if it has one."""
        ...

    @property
    def manifest_name(self) -> str: ...

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        """Lock the destination and clear what a crashed run of ours left.

        Raises :class:`~penstock.errors.DestinationExists`, :class:`~penstock.errors.Locked`,
        :class:`~penstock.errors.NoSpace` (when the estimate cannot fit), :class:`~penstock.errors.AccessDenied`.
        """
        ...

    def read_manifest(self) -> bytes:
        """The bytes of the committed manifest. Raises :class:`~penstock.errors.NotFound` or
        :class:`~penstock.errors.ManifestError`."""
        ...

    def open_part(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A published part, seekable, from its start. Raises :class:`~penstock.errors.NotFound`."""
        ...

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        """Problems (name, message) and notes about what lies around the parts: sums, strangers, leftovers."""
        ...
