"""What any source of events holds, read once from one view: matching rows, how many, of which types, and when."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import UsageError
from penstock.model import times
from penstock.model.columns import EVENTS
from penstock.model.dataset import instants
from penstock.model.filter import ExportFilter
from penstock.model.result import StorageStats
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Source, View

#: Equal half-open spans of event time, from the oldest to past the newest, and how many events each has.
Histogram: TypeAlias = Sequence[tuple[datetime, datetime, int]]

#: Times that wait to be put into buckets are in memory up to so many bytes, the others in TMPDIR.
_TIMES_IN_MEMORY = 16 << 20
_AT_ONCE = 1 << 20


def scan(source: Source, filter: ExportFilter) -> Iterator[pa.RecordBatch]:
    """Matching rows in order of arrival, in bounded memory; the limit counts."""
    with source.pin() as view:
        yield from _rows(view, filter)


def _rows(view: View, filter: ExportFilter) -> Iterator[pa.RecordBatch]:
    left = filter.limit
    for span in view.plan(filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES):
        if left == 0:
            return
        for batch in view.read(span, filter):
            rows = batch if left is None else batch.slice(0, left)
            if rows.num_rows:
                yield rows
            if left is not None:
                left -= rows.num_rows


def count(source: Source, filter: ExportFilter) -> int:
    """How many rows match, the limit included."""
    return sum(batch.num_rows for batch in scan(source, filter))


def survey(source: Source, filter: ExportFilter, *, buckets: int = 0) -> tuple[StorageStats, Histogram]:
    """Matching rows, the span of their times, and, in so many ``buckets``, how they lie in it; events also by category
    and type.

    Each row is read once. Raises :class:`~penstock.errors.UsageError` for fewer buckets than none.
    """
    if buckets < 0:
        raise UsageError(f"buckets must be 1 or more, not {buckets}")
    events, time, total = source.dataset.name == EVENTS.name, source.dataset.time, 0
    by_category: Counter[str] = Counter()
    by_type: Counter[str] = Counter()
    first, last = times.MAX_MICROS + 1, times.MIN_MICROS - 1
    with source.pin() as view, tempfile.SpooledTemporaryFile(_TIMES_IN_MEMORY, prefix="penstock-") as kept:
        for batch in _rows(view, filter):
            total += batch.num_rows
            for counter, name in ((by_category, "category"), (by_type, "event_type")) if events else ():
                for pair in pc.value_counts(batch[name]).to_pylist():
                    counter[pair["values"]] += pair["counts"]
            if time is None:
                continue
            moments = instants(batch[time]).drop_null()
            extremes = pc.min_max(moments).as_py()
            if len(moments):
                first, last = min(first, extremes["min"]), max(last, extremes["max"])
            if buckets and len(moments):
                kept.write(memoryview(moments.buffers()[1])[moments.offset * 8 : (moments.offset + len(moments)) * 8])
        timed = first <= last
        stats = StorageStats(
            total_events=total,
            database_size_bytes=source.sizes[0],
            wal_size_bytes=source.sizes[1],
            oldest_event=times.from_micros(first) if timed else None,
            newest_event=times.from_micros(last) if timed else None,
            last_seq=view.upto,
            events_by_category=_by_count(by_category),
            events_by_type=_by_count(by_type),
        )
        return stats, _histogram(kept, first, last, buckets) if timed and buckets else []


def _by_count(found: Counter[str]) -> dict[str, int]:
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _histogram(kept: IO[bytes], first: int, last: int, buckets: int) -> Histogram:
    width = max(-(-(last + 1 - first) // buckets), 1)
    counts = [0] * buckets
    kept.seek(0)
    while data := kept.read(_AT_ONCE):
        moments = pa.Int64Array.from_buffers(pa.int64(), len(data) // 8, [None, pa.py_buffer(data)])
        for pair in pc.value_counts(pc.divide(pc.subtract(moments, first), width)).to_pylist():
            counts[min(pair["values"], buckets - 1)] += pair["counts"]
    edges = [times.from_micros(min(first + number * width, times.MAX_MICROS)) for number in range(buckets + 1)]
    return list(zip(edges, edges[1:], counts, strict=False))
