"""Rows of a view that are chosen to be a part again: of a stretch or partition, that a run found, so many."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.arrival import Arrival
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.partition import partition_numbers
from penstock.model.roll import Roll
from penstock.pipeline.closing import Closing
from penstock.pipeline.onward import Onward
from penstock.pipeline.rolls import UNTAKEN, Record, Recorder, paired
from penstock.pipeline.scratch import Scratch
from penstock.ports.source import Reading, Rows, Slice
from penstock.publishing.lineage import LineageDestination
from penstock.reading.rolls import records_of

_FOUND = "SELECT count(*) FROM rows WHERE seq = ? AND hash = ?"


def within(slices: Iterable[Slice], after: Arrival, upto: Arrival) -> Iterator[Slice]:
    """The slices that lie in a stretch, those at its ends cut there."""
    for span in slices:
        if span.upto <= after or span.after >= upto:
            continue
        whole = after <= span.after and span.upto <= upto
        yield span if whole else replace(span, after=max(span.after, after), upto=min(span.upto, upto), rows=0)


class OfPartition(Onward):
    """The rows of others that lie in the partition of a time, or have none."""

    def __init__(self, rows: Rows, time: str, by: str, micros: int | None) -> None:
        super().__init__(rows)
        self._time = time
        self._by = by
        self._number = partition_numbers(pa.array([micros], pa.int64()), by)[0]

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        for batch in reading:
            chosen = batch.filter(pc.equal(partition_numbers(batch[self._time], self._by), self._number))
            if chosen.num_rows:
                yield chosen


class Counted(Onward):
    """So many rows of others in their order, behind so many that come before; ``slices`` are those that hold them."""

    def __init__(self, rows: Rows, slices: Iterable[Slice], filter: ExportFilter, *, before: int, count: int) -> None:
        super().__init__(rows)
        self.slices: list[Slice] = []
        self._places: dict[Arrival, tuple[int, int]] = {}
        for span, there in _counted(rows, slices, filter):
            first, behind = min(before, there), min(before + count, there)
            if first < behind:
                self.slices.append(span)
                self._places[span.after] = (first, behind)
            before, count = before - first, count - (behind - first)

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        at, (first, behind) = 0, self._places[span.after]
        for batch in reading:
            chosen = batch.slice(max(first - at, 0), max(behind - max(first, at), 0))
            at += batch.num_rows
            if chosen.num_rows:
                yield chosen


class Streamed(Onward):
    """So many rows of others that come by once, in their order, behind so many that come before."""

    def __init__(self, rows: Rows, *, before: int, count: int) -> None:
        super().__init__(rows)
        self._before = before
        self._count = count
        self._pulled: dict[Arrival, Reading] = {}

    def plan(self, filter: ExportFilter, **cut: Any) -> Iterator[Slice]:
        """Only the slices that hold some of them, read here: only who read one knows what to take of the next."""
        before, left = self._before, self._count
        self._pulled.clear()
        for span in super().plan(filter, **cut):
            reading, chosen = self._rows.read(span, filter), list[pa.RecordBatch]()
            for batch in reading:
                kept = batch.slice(min(before, batch.num_rows), left)
                before, left = max(before - batch.num_rows, 0), left - kept.num_rows
                chosen += [kept] if kept.num_rows else []
            if chosen:
                self._pulled[span.after] = replace(reading, batches=iter(chosen))
                yield span
            if not left:
                return

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        return self._pulled.pop(span.after)


def _counted(rows: Rows, slices: Iterable[Slice], filter: ExportFilter) -> Iterator[tuple[Slice, int]]:
    """Slices that leave no rest, with how many rows each has."""
    for each in slices:
        rest: Slice | None = each
        while rest is not None:
            span, reading = rest, rows.read(rest, filter)
            there = sum(batch.num_rows for batch in reading)
            rest = reading.rest()
            yield span if rest is None else replace(span, upto=rest.after), there


class Rolled(Onward, Closing):
    """Rows of others, as far as a roll has them: none that came since, and none that changed. Raises
    :class:`~penstock.errors.IntegrityError` for a roll that is not what its manifest names."""

    def __init__(self, rows: Rows, written: Dataset, destination: LineageDestination, roll: Roll) -> None:
        super().__init__(rows)
        self._record = Recorder(written)
        self._lock = threading.Lock()
        self._scratch = Scratch("CREATE TABLE rows (seq INTEGER NOT NULL, hash INTEGER)", purpose="compare rows")
        taken = (record for record, what in records_of(destination, [roll]) if what == 1 and record[1] != UNTAKEN)
        try:
            self._scratch.put("INSERT INTO rows VALUES (?, ?)", taken)
            list(self._scratch.rows("CREATE INDEX by_seq ON rows (seq)"))
        except BaseException:
            self.close()
            raise

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        left: Counter[Record] = Counter()
        for batch in reading:
            kept = []
            records = list(paired(self._record(batch)))
            with self._lock:
                for record in {*records} - left.keys():
                    left[record] = next(self._scratch.rows(_FOUND, record))[0]
            for record in records:
                kept.append(left[record] > 0)
                left[record] -= 1
            if any(kept):
                yield batch.filter(pa.array(kept, pa.bool_()))

    def close(self) -> None:
        """Drop what was laid down. Safe to call twice."""
        self._scratch.close()
