"""First and last of something, of a batch's times or arrival numbers for one."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.dataset import instants


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """First and last of something, both inclusive: arrival numbers, or times in microseconds."""

    first: int
    last: int


def joined(one: Span | None, other: Span | None) -> Span | None:
    """The smallest span that holds both."""
    if one is None or other is None:
        return one if other is None else other
    return Span(first=min(one.first, other.first), last=max(one.last, other.last))


def span_of(batch: pa.RecordBatch, name: str | None) -> Span | None:
    """Between which values a column of times or integers lies; ``None`` if it is not there or has none."""
    place = -1 if name is None else batch.schema.get_field_index(name)
    if place < 0:
        return None
    extremes = pc.min_max(instants(batch.column(place)))
    first, last = extremes["min"].as_py(), extremes["max"].as_py()
    return None if first is None else Span(first=first, last=last)
