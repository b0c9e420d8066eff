"""An event store that is a Python list: the second implementation that shows what the port really asks for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from penstock import AnalyticsEvent, AppendResult, ExportFilter
from penstock.errors import UsageError
from penstock.model.columns import COLUMNS, EVENT_SCHEMA, EVENTS
from penstock.model.roll import Growth
from penstock.ports.source import OnConflict, Peers, Reading, Slice, Source
from plain_filter import matches

Row = tuple[AnalyticsEvent, int, datetime]


class MemoryView:
    """A copy of the list."""

    streams = False

    def __init__(self, rows: Sequence[Row], given: int, identity: str) -> None:
        self.identity = identity
        self._rows = tuple(rows)
        self.given = given
        self.upto = max((seq for _, seq, _ in self._rows), default=0)

    @property
    def source(self) -> Mapping[str, Any]:
        return {"kind": "memory", "horizon": self.upto}

    @property
    def unread(self) -> Mapping[str, int]:
        return {}

    @property
    def deletions(self) -> int | None:
        return None

    def first(self, after: int | None = None) -> int | None:
        return min((seq for _, seq, _ in self._rows if seq > (after or 0)), default=None)

    @property
    def growth(self) -> Growth:
        return Growth.PROVEN

    def arrivals(self, after: int | None, upto: int) -> Iterator[pa.Array]:
        yield pa.array([seq for _, seq, _ in self._rows if (after or 0) < seq <= upto], pa.int64())

    def around(self, after: int | None, upto: int, wanted: Callable[[pa.Array], Container[int]]) -> Iterator[Slice]:
        return self.plan(ExportFilter(), max_rows=1_000, max_bytes=1 << 20, after=after)

    def back(self, upto: int, rows: int) -> int | None:
        below = [seq for _, seq, _ in self._rows if seq <= upto]
        return below[-rows - 1] if rows < len(below) else None

    def newest(self, count: int) -> Sequence[int]:
        return [seq for _, seq, _ in self._rows][::-1][:count]

    def read_columns(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Reading:
        return self.read(span, filter)

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        rows = [row for row in self._rows if row[1] in numbers]
        return [seq for _, seq, _ in rows], _batch(rows)

    def moved_up(self, numbers: Sequence[int], above: int) -> Collection[int]:
        return ()

    def make_durable(self) -> bool:
        return False

    @property
    def ticket(self) -> None:
        return None

    def unmoved(self) -> bool:
        return False

    @property
    def moved(self) -> bool:
        return False

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: int | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        after = after or 0
        size = count = last = 0
        for event, seq, _ in self._rows:
            if seq <= after:
                continue
            weight = len(event.data_text) + len(event.metadata_text)
            if count and (count == max_rows or size + weight > max_bytes):
                yield Slice(after=after, upto=last, bytes_hint=size, rows=count)
                after, size, count = last, 0, 0
            size, count, last = size + weight, count + 1, seq
        if count:
            yield Slice(after=after, upto=last, bytes_hint=size, rows=count)

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        rows = [row for row in self._rows if span.after < row[1] <= span.upto and matches(filter, row[0])]
        rows = rows[: filter.limit]
        return Reading(_batch(rows[start : start + 7]) for start in range(0, len(rows), 7))

    def close(self) -> None:
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _batch(rows: Sequence[Row]) -> pa.RecordBatch:
    values = [
        (
            event.id,
            str(event.category),
            event.event_type,
            event.timestamp,
            event.session_id,
            str(event.priority),
            event.data_text.decode(),
            event.metadata_text.decode(),
            seq,
            arrival,
        )
        for event, seq, arrival in rows
    ]
    return pa.RecordBatch.from_pylist([dict(zip(COLUMNS, value, strict=True)) for value in values], EVENT_SCHEMA)


class MemoryStorage:
    """Keeps events in a list."""

    dataset = EVENTS
    sizes = (0, 0)
    ref = None

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._last = 0
        self._identity = str(uuid.uuid4())

    def append(
        self,
        events: Iterable[AnalyticsEvent] | pa.RecordBatch,
        *,
        checked: bool = False,
        on_conflict: OnConflict = "skip",
    ) -> AppendResult:
        assert not isinstance(events, pa.RecordBatch)
        rows, last, result = list(self._rows), self._last, AppendResult()
        for event in events:
            stored = next((kept for kept, _, _ in rows if kept.id == event.id), None)
            if stored is not None and _content(stored) == _content(event):
                result += AppendResult(duplicates=1)
                continue
            if stored is not None and on_conflict == "fail":
                raise UsageError("an event is stored with other content")
            result += AppendResult(inserted=1) if stored is None else AppendResult(conflicts=1)
            if stored is None or on_conflict == "replace":
                last += 1
                rows = [row for row in rows if row[0] is not stored] + [(event, last, datetime.now(UTC))]
        self._rows, self._last = rows, last
        return result

    def continuing(self, said: Mapping[str, Any]) -> tuple[Source, Sequence[str]]:
        return self, ()

    def narrowed(self, columns: Sequence[str], *, until: float | None = None) -> Source:
        return self

    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> MemoryView:
        return MemoryView(self._rows, self._last, self._identity)

    def delete(self, filter: ExportFilter) -> int:
        doomed = [row for row in self._rows if matches(filter, row[0])][: filter.limit]
        self._rows = [row for row in self._rows if row not in doomed]
        return len(doomed)

    def close(self) -> None:
        return


def _content(event: AnalyticsEvent) -> tuple[object, ...]:
    return (
        event.category,
        event.event_type,
        event.timestamp,
        event.session_id,
        event.priority,
        event.data_text,
        event.metadata_text,
    )
