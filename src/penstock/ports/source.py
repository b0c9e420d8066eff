"""Where rows come from: what a store and one unchanging view of it promise, and the spans that a view is read in.

A batch is always a ``pyarrow.RecordBatch`` with the schema of the source's dataset, whose values are such as an export
has (:mod:`penstock.pipeline.binding` makes them so).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

import pyarrow as pa

from penstock.model.dataset import Dataset
from penstock.model.event import AnalyticsEvent
from penstock.model.filter import ExportFilter
from penstock.model.result import AppendResult, StorageStats

#: What to do with an event whose id is stored with other content: keep the stored one, refuse the batch, or replace it.
OnConflict: TypeAlias = Literal["skip", "fail", "replace"]

#: What a range has at most, unless a single row is larger: what is in memory is a few of them.
RANGE_ROWS = 32_768
RANGE_BYTES = 8 << 20


class Clock(Protocol):
    """Where "now" comes from; always aware and UTC."""

    def now(self) -> datetime: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A half-open span of arrival order, ``after < seq <= upto``: the unit of work of a scan.

    ``bytes_hint`` is an upper estimate of the payload bytes in it, for planning only. ``rows`` is how many rows lie in
    it at least, whatever the filter, as far as the store says; 0 if it does not.
    """

    after: int
    upto: int
    bytes_hint: int
    rows: int = 0


class Rows(Protocol):
    """What an export reads: ``source`` describes store and view for the manifest. ``counts`` is complete once every
    range was read: coercions (``coerced_*``) and rows left out (``skipped_*``), by reason."""

    @property
    def source(self) -> Mapping[str, Any]: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    def plan(self, filter: ExportFilter, *, max_rows: int, max_bytes: int, after: int | None = None) -> Iterator[Slice]:
        """Ranges in ``seq`` order that together hold every matching row above ``after``; none is over a limit unless
        one row is.

        Ranges that cannot hold a match may be left out. The same store, filter and limits give the same ranges.
        """
        ...

    def read(self, span: Slice, filter: ExportFilter) -> Iterator[pa.RecordBatch]:
        """The matching rows of a range in order of arrival, with exactly the dataset's schema; ``filter.limit`` caps
        each range by itself. Thread safe."""
        ...


class View(Rows, Protocol):
    """One unchanging view of a store. Reads from several threads at once see the same rows.

    ``horizon`` is the ``seq`` of its last row, 0 if there is none.
    """

    upto: int

    @property
    def identity(self) -> str:
        """What tells this store from every other: the same for each view of it, also after it was moved."""
        ...

    @property
    def given(self) -> int:
        """The highest arrival number that the store knows it gave out: no new row gets one up to it."""
        ...

    @property
    def deletions(self) -> int | None:
        """How many rows were ever deleted from the store; ``None`` where that is not counted."""
        ...

    def first(self, after: int | None = None) -> int | None:
        """The ``seq`` of the first row of all, or above a number."""
        ...

    def numbers(self, count: int) -> pa.Array:
        """The ``seq`` of the last rows, at most so many, the newest first."""
        ...

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        """Of these numbers those that are a row's, each as often as it is, and these rows, in order of arrival
        and with exactly the dataset's schema, as far as they are of it, whatever the filter."""
        ...

    def make_durable(self) -> bool:
        """Let what this view shows outlive a power failure. ``False`` where that cannot be done."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Source(Protocol):
    """Where the rows of one dataset come from."""

    @property
    def dataset(self) -> Dataset: ...

    def pin(self, *, readers: int = 1) -> View:
        """Pin a view. ``readers`` is how many threads will read at once."""
        ...


@runtime_checkable
class AnalyticsStorage(Source, Protocol):
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

    def count(self, filter: ExportFilter | None = None) -> int:
        """How many events match, the limit included."""
        ...

    def scan(self, filter: ExportFilter | None = None, *, workers: int | None = None) -> Iterator[pa.RecordBatch]:
        """Matching events in ``seq`` order from one view, as batches of ``EVENT_SCHEMA``."""
        ...

    def stats(self) -> StorageStats: ...

    def histogram(
        self, filter: ExportFilter | None = None, *, buckets: int = 24
    ) -> Sequence[tuple[datetime, datetime, int]]:
        """Matching events over event time: equal half-open buckets from the oldest to past the newest."""
        ...

    def close(self) -> None: ...
