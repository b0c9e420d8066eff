"""Views of rows that a key orders: in spans of it, where an index finds them, or as they come by in its order."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from penstock.errors import InvalidMapping
from penstock.model.arrival import Arrival, Key, horizon
from penstock.model.filter import ExportFilter
from penstock.model.roll import Growth
from penstock.pipeline.gathering import Gather, Gathered, GatherKind
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Slice
from penstock.sources.tables.asking import Asked
from penstock.sources.tables.keys import KeyOrder, Keys, check_gathered
from penstock.sources.tables.numbering import ROW_OVERHEAD
from penstock.sources.tables.projection import gathered
from penstock.sources.tables.stream import StreamView
from penstock.sources.tables.view import WHOLE, ForeignView, TableView, pieces

_SIZE = Gather("size", GatherKind.INT64)
#: Times 32,768 keys that are held at once.
_AT_ONCE = 8


class _Keyed(ForeignView):
    """What is asked of rows by their keys."""

    @cached_property
    def _order(self) -> KeyOrder:
        order = self._projection.keys
        assert order is not None  # what has none is no view of this kind
        with self._pool.lend() as connection:
            return order.check(connection)

    def _keys(self, sql: str, count: int) -> Sequence[Key]:
        with (
            self._pool.lend() as connection,
            connection.cursor(sql, columns=self._order.gathers, guarded=self._shape.guarded) as cursor,
        ):
            taken = cursor.take(count, WHOLE)
        return [] if taken is None else list(self._order.keys_of(taken.batch))

    @cached_property
    def _end(self) -> Arrival:
        return next(iter(self._keys(self._order.last(1), 1)), 0)

    @property
    def upto(self) -> Arrival:
        return self._end

    @property
    def given(self) -> Arrival:
        return self._end

    @property
    def source(self) -> Mapping[str, Any]:
        return {**super().source, "horizon": horizon(self.upto)}

    @property
    def identity(self) -> str:
        asked = [self._shape.sha256] if self._shape.guarded else []
        return f"table:{json.dumps([self._shape.name, list(self._order.columns), *asked])}"

    def first(self, after: Arrival | None = None) -> Arrival | None:
        return next(iter(self._keys(self._order.first(after), 1)), None)

    def newest(self, count: int) -> Sequence[Arrival]:
        return self._keys(self._order.last(count, upto=self.upto), count)

    def back(self, upto: Arrival, rows: int) -> Arrival | None:
        return next(iter(self._keys(self._order.last(1, upto=upto, skip=rows), 1)), None)

    def arrivals(self, after: Arrival | None, upto: Arrival) -> Iterator[pa.Array]:
        for keys in self._stretches(after, upto):
            yield keys.numbers

    def _stretches(self, after: Arrival | None, upto: Arrival) -> Iterator[Keys]:
        """The keys of a stretch in order, some at a time; no connection is held in between."""
        while True:
            with (
                self._pool.lend() as connection,
                connection.cursor(
                    self._order.arrivals(after, upto), columns=self._order.gathers, guarded=self._shape.guarded
                ) as cursor,
            ):
                over, found = self._pool.clock(), list[Keys]()
                while (taken := cursor.take(RANGE_ROWS, RANGE_BYTES)) is not None:
                    found.append(self._order.keys_of(taken.batch))
                    if over() or len(found) == _AT_ONCE:
                        break
            yield from found
            if taken is None:
                return
            after = found[-1].last

    def around(
        self, after: Arrival | None, upto: Arrival, wanted: Callable[[pa.Array], Container[int]]
    ) -> Iterator[Slice]:
        before: Arrival = 0 if after is None else after
        for keys in self._stretches(after, upto):
            numbers = keys.numbers
            found = wanted(numbers)
            for first, last in pieces(place for place, number in enumerate(numbers.to_pylist()) if number in found):
                yield Slice(after=keys[first - 1] if first else before, upto=keys[last], bytes_hint=0)
            before = keys.last

    def moved_up(self, numbers: Sequence[Arrival], above: Arrival) -> Collection[Arrival]:
        """By the columns of their keys in which no two rows are alike: whoever has them is the same row."""
        sql = self._order.of_same_rows(numbers, above)
        found = set() if sql is None else {self._order.parting(key) for key in self._keys(sql, len(numbers))}
        return [key for key in numbers if isinstance(key, Key) and self._order.parting(key) in found]

    def rows_at(self, numbers: Sequence[Arrival]) -> tuple[Sequence[Arrival], pa.RecordBatch]:
        behind = f"WHERE {self._order.among(numbers)} ORDER BY {self._order.sorting}"
        converter, found, there = self._projection.converter(ExportFilter()), list[Key](), []
        with self._pool.lend() as connection:
            for read in gathered(connection, self._projection, behind, rows=2 * len(numbers), size=WHOLE):
                found += self._order.keys_of(read.batch)
                there.append(converter.convert(self._order.settled(read, self._projection.order)))
        return found, pa.concat_batches([*there, pa.RecordBatch.from_pylist([], self._projection.schema)])


class KeyedView(_Keyed, TableView):
    """A table that an index finds by keys, span by span, by several threads at once."""

    @property
    def growth(self) -> Growth:
        return Growth.CHECKED

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: Arrival | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        """Slices of at most that many rows and bytes, but for a single larger row, as they are measured; no connection
        is held between some and the next."""
        before: Arrival = 0 if after is None else after
        while before < self.upto:
            sql = self._order.sizes(before, self.upto)
            with self._pool.lend() as connection, connection.cursor(sql, columns=[_SIZE, *self._order.gathers]) as all:
                taken = all.take(max_rows, RANGE_BYTES)
            if taken is None:
                return
            keys, start, size = self._order.keys_of(taken.batch), 0, 0
            for place, bytes in enumerate(taken.batch[_SIZE.name].to_pylist()):
                if size and size + bytes + ROW_OVERHEAD > max_bytes:
                    yield Slice(after=before, upto=keys[place - 1], bytes_hint=size, rows=place - start)
                    before, start, size = keys[place - 1], place, 0
                size += bytes + ROW_OVERHEAD
            yield Slice(after=before, upto=keys.last, bytes_hint=size, rows=len(keys) - start)
            before = keys.last

    def _asked(self, filter: ExportFilter, after: Arrival | None) -> Asked:
        return self._projection.asked(filter)  # the key finds rows, and no other index

    def _turn(self, span: Slice, asked: Asked, limited: bool) -> tuple[list[Gathered], Slice]:
        order, where = self._order, asked.said
        behind = f"WHERE {order.stretch(span.after, span.upto)}{where.sql} ORDER BY {order.sorting}"
        most = self._batch_rows if limited or self._pool.turns else RANGE_ROWS
        taken: list[Gathered] = []
        with self._pool.lend() as connection:
            over = self._pool.clock()
            for read in gathered(connection, self._projection, behind, where.parameters, rows=most, size=RANGE_BYTES):
                check_gathered(order, read)
                taken.append(order.settled(read, self._projection.order))
                if limited or over():
                    return taken, replace(span, after=order.keys_of(read.batch).last)
        return taken, replace(span, after=span.upto)


class KeyedStream(_Keyed, StreamView):
    """What no index finds by keys, in their order."""

    @property
    def growth(self) -> Growth:
        return Growth.ASSUMED

    def _span(self, before: Slice | None, read: Gathered, after: Arrival | None) -> Slice:
        check_gathered(self._order, read)
        keys = self._order.keys_of(read.batch)
        last, begin = keys.last, before.upto if before is not None else 0 if after is None else after
        numbers = keys.numbers.to_pylist()
        if len(set(numbers)) < len(numbers) or (before is not None and keys[0] == before.upto):
            alike = next((one for one, other in zip(keys, list(keys)[1:], strict=False) if one == other), keys[0])
            raise InvalidMapping(
                f"two rows of {self._shape.name} have the key {alike}: it orders no rows",
                hint="name more columns with --key, so that no two rows share their values",
            )
        return Slice(after=begin, upto=last, bytes_hint=read.batch.nbytes, rows=read.batch.num_rows)

    def _numbered(self, span: Slice, read: Gathered) -> Gathered:
        return self._order.settled(read, self._projection.order)

    def _behind(self, after: Arrival | None, where: str) -> str:
        return f"WHERE {self._order.stretch(after)}{where} ORDER BY {self._order.sorting}"
