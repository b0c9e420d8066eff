"""Counts over a store, by type and over time, folded batch by batch: any store that scans can be summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model import times
from penstock.model.filter import ExportFilter
from penstock.ports.source import AnalyticsStorage


@dataclass(frozen=True, slots=True)
class TypeCount:
    """How many events of one type, and the span of their timestamps in microseconds."""

    category: str
    event_type: str
    count: int
    first: int
    last: int


def summarize(storage: AnalyticsStorage, filter: ExportFilter | None = None) -> list[TypeCount]:
    """Events by category and type."""
    found: dict[tuple[str, str], TypeCount] = {}
    for batch in storage.scan(filter):
        table = pa.table(
            {
                "category": batch["category"],
                "event_type": batch["event_type"],
                "timestamp": batch["timestamp"].cast(pa.int64()),
            }
        )
        groups = table.group_by(["category", "event_type"], use_threads=False).aggregate(
            [("timestamp", "count"), ("timestamp", "min"), ("timestamp", "max")]
        )
        for row in groups.to_pylist():
            key = (row["category"], row["event_type"])
            seen = found.get(key, TypeCount(*key, count=0, first=row["timestamp_min"], last=row["timestamp_max"]))
            found[key] = replace(
                seen,
                count=seen.count + row["timestamp_count"],
                first=min(seen.first, row["timestamp_min"]),
                last=max(seen.last, row["timestamp_max"]),
            )
    return list(found.values())


def histogram(
    storage: AnalyticsStorage, filter: ExportFilter, buckets: int
) -> Sequence[tuple[datetime, datetime, int]]:
    """Matching events in ``buckets`` equal half-open spans; empty when nothing matches."""
    groups = summarize(storage, filter)
    if not groups:
        return []
    first = min(group.first for group in groups)
    width = max(-(-(max(group.last for group in groups) + 1 - first) // buckets), 1)
    counts = [0] * buckets
    for batch in storage.scan(filter):
        places = pc.divide(pc.subtract(batch["timestamp"].cast(pa.int64()), first), width)
        for pair in pc.value_counts(places).to_pylist():
            counts[min(pair["values"], buckets - 1)] += pair["counts"]
    return [
        (
            times.from_micros(min(first + i * width, times.MAX_MICROS)),
            times.from_micros(min(first + (i + 1) * width, times.MAX_MICROS)),
            count,
        )
        for i, count in enumerate(counts)
    ]
