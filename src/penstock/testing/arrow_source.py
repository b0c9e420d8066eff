"""Rows that lie in memory as an Arrow table, behind the port of sources: a dataset of any columns, no database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.roll import Growth
from penstock.pipeline.binding import Binding
from penstock.pipeline.closing import Closing
from penstock.pipeline.matching import Matcher
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Peers, Reading, Slice, Source, View


class ArrowSource:
    """The rows of one table, and of whatever is appended to it. Arrival numbers are theirs from 1 on, and stand in the
    column ``order`` of the dataset if one is asked for.

    Raises :class:`~penstock.errors.UsageError` for a column of a type that no export has.
    """

    def __init__(
        self,
        name: str,
        rows: pa.Table,
        *,
        key: tuple[str, ...] = (),
        time: str | None = None,
        order: str | None = None,
        json: Iterable[str] = (),
    ) -> None:
        self._binding = Binding(rows.schema, json=json)
        fields = list(self._binding.schema)
        arrival = [] if order is None else [pa.field(order, pa.int64(), nullable=False)]
        own = tuple(field.name for field in fields)
        self.dataset = Dataset(name, pa.schema([*fields, *arrival]), own=own, time=time, key=key, order=order)
        self._counts: Counter[str] = Counter()
        self._rows = self.dataset.schema.empty_table()
        self.append(rows)

    def append(self, rows: pa.Table) -> None:
        """Let more rows arrive. Raises :class:`~penstock.errors.StorageError` for a value that does not fit."""
        for batch in rows.to_batches():
            bound, counts = self._binding.apply(batch)
            self._counts.update(counts)
            first = self._rows.num_rows + 1
            numbers = [] if self.dataset.order is None else [pa.array(range(first, first + batch.num_rows), pa.int64())]
            whole = pa.record_batch([*bound.columns, *numbers], schema=self.dataset.schema)
            self._rows = pa.concat_tables([self._rows, pa.Table.from_batches([whole])])

    @property
    def sizes(self) -> tuple[int, int]:
        return int(self._rows.nbytes), 0

    def close(self) -> None:
        return

    @property
    def ref(self) -> None:
        return None

    def continuing(self, said: Mapping[str, Any]) -> tuple[Source, Sequence[str]]:
        return self, ()

    def narrowed(self, columns: Sequence[str], *, until: float | None = None) -> Source:
        return self

    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> View:
        return ArrowView(self.dataset, self._rows, dict(self._counts))


class ArrowView(Closing):
    """The rows that a source had when it was asked."""

    streams = False

    def __init__(self, dataset: Dataset, rows: pa.Table, counts: Mapping[str, int]) -> None:
        self.upto: int = rows.num_rows
        #: What binding changed: it happened before any reading.
        self.unread = counts
        self.identity = f"arrow:{dataset.name}"
        self._dataset = dataset
        self._rows = rows
        self._none = pa.RecordBatch.from_pylist([], dataset.schema)

    @property
    def source(self) -> Mapping[str, Any]:
        return {"kind": "arrow", "name": self._dataset.name, "horizon": self.upto, "order": "row"}

    @property
    def given(self) -> int:
        return self.upto

    @property
    def deletions(self) -> int | None:
        return 0

    def first(self, after: int | None = None) -> int | None:
        first = (after or 0) + 1
        return first if first <= self.upto else None

    @property
    def growth(self) -> Growth:
        return Growth.PROVEN

    def arrivals(self, after: int | None, upto: int) -> Iterator[pa.Array]:
        yield pa.array(range((after or 0) + 1, min(upto, self.upto) + 1), pa.int64())

    def around(self, after: int | None, upto: int, wanted: Callable[[pa.Array], Container[int]]) -> Iterator[Slice]:
        return self.plan(ExportFilter(), max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES, after=after)

    def back(self, upto: int, rows: int) -> int | None:
        place = min(upto, self.upto) - rows
        return place if place > 0 else None

    def newest(self, count: int) -> Sequence[int]:
        return range(self.upto, max(self.upto - count, 0), -1)

    def read_columns(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Reading:
        return self.read(span, filter)

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        there = sorted(number for number in numbers if 1 <= number <= self.upto)
        rows = self._rows.take(pa.array([number - 1 for number in there], pa.int64()))
        return there, pa.concat_batches([*rows.to_batches(), self._none])

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
        wide = self._rows.nbytes // max(self.upto, 1) + 1
        step = max(min(max_rows, max_bytes // wide), 1)
        for begin in range(after or 0, self.upto, step):
            end = min(begin + step, self.upto)
            yield Slice(after=begin, upto=end, bytes_hint=(end - begin) * wide, rows=end - begin)

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        return Reading(self._matching(span, filter))

    def _matching(self, span: Slice, filter: ExportFilter) -> Iterator[pa.RecordBatch]:
        left, matcher = filter.limit, Matcher(filter, self._dataset)
        for batch in self._rows.slice(span.after, span.upto - span.after).to_batches():
            wanted = matcher.rows(batch).slice(0, left)
            left = None if left is None else left - wanted.num_rows
            if wanted.num_rows:
                yield wanted

    def close(self) -> None:
        return
