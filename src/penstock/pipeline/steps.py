"""Rows as steps leave them: what an export reads, with each batch changed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.pipeline.onward import Onward
from penstock.ports.source import Reading, Rows, Slice
from penstock.ports.step import Step


class Stepped(Onward):
    """The rows of a view after ``steps``, in order. The filter is about what they were before."""

    def __init__(self, rows: Rows, steps: Sequence[Step]) -> None:
        super().__init__(rows)
        self._steps = steps

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        reading = self._rows.read(span, filter)
        counts: Counter[str] = Counter()
        return Reading(self._changed(reading, counts), counts, reading.rest)

    def _changed(self, reading: Reading, counts: Counter[str]) -> Iterator[pa.RecordBatch]:
        for batch in reading:
            yield applied(self._steps, batch, counts)
        counts.update(reading.counts)


def stepped(rows: Rows, steps: Sequence[Step]) -> Rows:
    """The rows as they are without any step."""
    return Stepped(rows, steps) if steps else rows


def applied(steps: Sequence[Step], batch: pa.RecordBatch, counts: Counter[str]) -> pa.RecordBatch:
    """One batch after all steps; what they counted is added to ``counts``."""
    for step in steps:
        batch, more = step.apply(batch)
        counts.update(more)
    return batch


def bound_by(steps: Sequence[Step], dataset: Dataset) -> Dataset:
    """What rows of a dataset are after all steps."""
    for step in steps:
        dataset = step.bind(dataset)
    return dataset
