"""Where rows come from: what a store and one unchanging view of it promise, and the spans that a view is read in.

A batch is always a ``pyarrow.RecordBatch`` with the schema of the source's dataset, whose values are such as an export
has (:mod:`penstock.pipeline.binding` makes them so).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

import pyarrow as pa

from penstock.model.arrival import Arrival
from penstock.model.dataset import Dataset
from penstock.model.event import AnalyticsEvent
from penstock.model.filter import ExportFilter
from penstock.model.result import AppendResult
from penstock.model.roll import Growth
from penstock.model.storage_config import StorageConfig

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
    """A half-open span of arrival order, ``after < seq <= upto``: the unit of work of a scan. Plain data: it can be
    read wherever the same view is seen.

    ``bytes_hint`` is an upper estimate of the bytes in it, for planning only. ``rows`` is how many rows lie in it at
    least, whatever the filter, as far as the source says; 0 if it does not. ``places`` are the first and last row
    number in it, where the source needs them to find it. ``room`` is how many rows and bytes of it are read at once,
    where nobody measured how many there are.
    """

    after: Arrival
    upto: Arrival
    bytes_hint: int
    rows: int = 0
    places: tuple[int, int] | None = None
    room: tuple[int, int] | None = None


def nothing() -> Slice | None:
    """The rest of a slice that was measured."""
    return None


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of one slice, once through. ``counts`` is complete when they are: what was coerced (``coerced_*``) and
    left out (``skipped_*``), by reason. Then ``rest`` says what was not read of a slice that had more than its room."""

    batches: Iterator[pa.RecordBatch]
    counts: Mapping[str, int] = field(default_factory=dict)
    rest: Callable[[], Slice | None] = nothing

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.batches


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRef:
    """How another process opens a source: plain data."""

    where: str
    config: StorageConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What a view tells those who have to see the same one: how far it reaches, how often rows of the source were
    changed by then, where that is counted, and which file it is of."""

    upto: Arrival
    changes: int | None
    file: tuple[int, int]


#: Has other processes pin a view now, each time anew, and gives the tickets of these views.
Peers: TypeAlias = Callable[[], Sequence[Ticket]]


class Rows(Protocol):
    """What an export reads. ``source`` describes source and view for the manifest. ``unread`` counts by reason what
    no reading does, such as rows that lie in no slice. ``streams`` says that the rows come by once: each slice of a
    plan is read once, in its order, while the plan is made, and a new plan begins anew."""

    @property
    def streams(self) -> bool: ...

    @property
    def source(self) -> Mapping[str, Any]: ...

    @property
    def unread(self) -> Mapping[str, int]: ...

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: Arrival | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        """Slices in ``seq`` order that together hold every matching row above ``after``; none is over a limit unless
        one row is.

        Slices that cannot hold a match may be left out. The same store, filter and limits give the same slices. Who
        asks for ``sampled`` ones reads on where a reading leaves a rest: a source that had to look at every row to
        measure slices may then look at some, and give them the limits for their room.
        """
        ...

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        """The matching rows of a slice in order of arrival, with exactly the dataset's schema; ``filter.limit`` caps
        each slice by itself. Thread safe."""
        ...


class View(Rows, Protocol):
    """One unchanging view of a source. Reads from several threads at once see the same rows.

    ``upto`` is where its last row stands, 0 if there is none. Rows stand at a number, which is their ``seq``, or at a
    key; a row is told from others by a number in either case (:attr:`~penstock.model.dataset.Dataset.number`).
    """

    @property
    def upto(self) -> Arrival: ...

    @property
    def identity(self) -> str:
        """What tells this store from every other: the same for each view of it, also after it was moved."""
        ...

    @property
    def given(self) -> Arrival:
        """The highest place that the store knows it gave out: no new row gets one up to it."""
        ...

    @property
    def growth(self) -> Growth:
        """On what it rests that no row appears, changes or goes below another: the store itself proves it, its rows can
        be counted by their numbers without reading all of them, or neither."""
        ...

    def arrivals(self, after: Arrival | None, upto: Arrival) -> Iterator[pa.Array]:
        """The number by which each row above ``after``, up to ``upto``, is told from others, in order of arrival."""
        ...

    def around(
        self, after: Arrival | None, upto: Arrival, wanted: Callable[[pa.Array], Container[int]]
    ) -> Iterator[Slice]:
        """Spans of a stretch that hold the rows of numbers that are wanted, and few others; ``wanted`` says of some in
        turn which these are."""
        ...

    def back(self, upto: Arrival, rows: int) -> Arrival | None:
        """Where the row stands that lies so many rows before the last at or below ``upto``; ``None`` if none does."""
        ...

    @property
    def deletions(self) -> int | None:
        """How many rows were ever deleted from the store; ``None`` where that is not counted."""
        ...

    def first(self, after: Arrival | None = None) -> Arrival | None:
        """Where the first row of all stands, or the first above another."""
        ...

    def newest(self, count: int) -> Sequence[Arrival]:
        """Where the last rows stand, at most so many, the newest first."""
        ...

    def read_columns(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Reading:
        """The same as ``read`` with these columns of the dataset at least: what is not asked for need not be read."""
        ...

    def rows_at(self, numbers: Sequence[Arrival]) -> tuple[Sequence[Arrival], pa.RecordBatch]:
        """Of these numbers, or keys, those where a row stands, each as often as one does, and these rows, in order of
        arrival and with exactly the dataset's schema, as far as they are of it, whatever the filter."""
        ...

    def moved_up(self, numbers: Sequence[Arrival], above: Arrival) -> Collection[Arrival]:
        """Those of these keys whose rows stand above another now; none of a number, which is a row's for good."""
        ...

    def make_durable(self) -> bool:
        """Let what this view shows outlive a power failure. ``False`` where that cannot be done."""
        ...

    @property
    def ticket(self) -> Ticket | None:
        """Shows that another process sees this same view; ``None`` where that cannot be proven."""
        ...

    @property
    def moved(self) -> bool:
        """Whether anything was committed between what was read, so that it is of no one moment: where readers keep
        writers out, they are let in between. Whatever it shows then, ``upto`` stays what it was."""
        ...

    def unmoved(self) -> bool:
        """Whether nothing was committed to the source since this view was pinned with others, so that a view which was
        pinned by now is the same. ``False`` where that cannot be told."""
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

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes that the source takes up, and those of its log; 0 where it has none."""
        ...

    @property
    def ref(self) -> SourceRef | None:
        """How another process opens this source; ``None`` if none can."""
        ...

    def continuing(self, said: Mapping[str, Any]) -> tuple[Source, Sequence[str]]:
        """The source as a lineage reads it whose last run said this of it, nothing before the first, and the columns
        that came since and are kept out of it."""
        ...

    def narrowed(self, columns: Sequence[str], *, until: float | None = None) -> Source:
        """The same rows, of which no other columns have to be read; those by which rows are known are there too. What
        may never end raises :class:`~penstock.errors.LimitReached` at ``until`` (``time.monotonic``), if not before."""
        ...

    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> View:
        """Pin a view. ``readers`` is how many threads will read at once. What the ``peers`` pin is the same view, or
        this one has no ticket."""
        ...

    def close(self) -> None:
        """Close it. Safe to call twice."""
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

    def delete(self, filter: ExportFilter) -> int:
        """Delete matching events, ``limit`` in order of arrival; returns how many. A view that is open reads on as
        before. Raises :class:`~penstock.errors.UsageError` for a filter without any condition."""
        ...
