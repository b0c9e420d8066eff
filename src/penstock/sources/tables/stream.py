"""One unchanging view of what is read once, from beginning to end: a query, a view, a table without row numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa

from penstock.errors import InvalidMapping
from penstock.model.filter import ExportFilter
from penstock.model.roll import Growth
from penstock.pipeline.gathering import Gathered
from penstock.ports.source import Reading, Slice, Ticket
from penstock.sources.connection import quote_name
from penstock.sources.tables.asking import NO_CONDITION
from penstock.sources.tables.numbering import Numbering
from penstock.sources.tables.pinned import Pinned
from penstock.sources.tables.projection import Converter, Projection, gathered
from penstock.sources.tables.view import ForeignView


class StreamView(ForeignView):
    """Rows as they come by: a plan pulls them through one connection, and :meth:`read` hands out what was pulled.

    A slice is a number of rows, or, where they have an arrival number, a span of it.
    """

    streams = True

    def __init__(self, pinned: Pinned, projection: Projection, *, batch_rows: int) -> None:
        super().__init__(pinned, projection, batch_rows=batch_rows)
        self._pulled: dict[int, Reading] = {}

    @property
    def ticket(self) -> Ticket | None:
        """None: what one connection pulls no other process has."""
        return None

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: int | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        """Slices of at most that many rows and bytes, but for a single row. Raises
        :class:`~penstock.errors.InvalidMapping` if an arrival number comes twice."""
        self._check_numbered()
        self._pulled.clear()
        left = filter.limit
        if left == 0:
            return
        span: Slice | None = None
        where, numbers = NO_CONDITION, self._projection.numbering
        if numbers is None or numbers.distinct:
            where = self._projection.asked(filter).said
        behind = self._behind(after, where.sql)
        with self._pool.lend() as connection:
            for read in gathered(connection, self._projection, behind, where.parameters, rows=max_rows, size=max_bytes):
                span = self._span(span, read, after)
                read = self._numbered(span, read)
                converter = self._projection.converter(replace(filter, limit=left))
                rows = _converted(converter, read)
                if left is not None:  # only who converted one slice knows how much of the next is wanted
                    rows = iter(list(rows))
                    left -= converter.rows
                self._pulled[span.after] = Reading(rows, converter.counts)
                yield span
                if left == 0:
                    return

    @property
    def growth(self) -> Growth:
        """Assumed: nothing below a number is found without reading it all."""
        return Growth.ASSUMED

    def _span(self, before: Slice | None, read: Gathered, after: int | None) -> Slice:
        """The slice that holds what was read next."""
        rows, size = read.batch.num_rows, read.batch.nbytes
        numbers = self._projection.numbering
        if numbers is None:
            first = 0 if before is None else before.upto
            return Slice(after=first, upto=first + rows, bytes_hint=size, rows=rows)
        found = read.batch[self._projection.order]
        first = before.upto if before is not None else after if after is not None else found[0].as_py() - 1
        _refuse_repeats([*([first] if before is not None else []), *found.to_pylist()], numbers)
        return Slice(after=first, upto=found[-1].as_py(), bytes_hint=size, rows=rows)

    def _numbered(self, span: Slice, read: Gathered) -> Gathered:
        if not self._projection.numbers_rows or self._projection.numbering is not None:
            return read
        place = read.batch.schema.get_field_index(self._projection.order)
        numbers = pa.array(range(span.after + 1, span.upto + 1), pa.int64())
        return replace(read, batch=read.batch.set_column(place, self._projection.order, numbers))

    def _behind(self, after: int | None, where: str) -> str:
        numbers = self._projection.numbering
        if numbers is None:
            key = ", ".join(map(quote_name, self._shape.primary))
            return f"WHERE 1{where}" + (f" ORDER BY {key}" if key else "")
        return f"WHERE {numbers.above(after)}{where} ORDER BY {numbers.seq}"

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        return self._pulled.pop(span.after)

    def read_columns(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Reading:
        return self.read(span, filter)


def _converted(converter: Converter, read: Gathered) -> Iterator[pa.RecordBatch]:
    rows = converter.convert(read)
    if rows.num_rows:
        yield rows


def _refuse_repeats(numbers: list[int], numbering: Numbering) -> None:
    for one, next_one in pairwise(numbers):
        if one == next_one:
            raise InvalidMapping(
                f"the column {numbering.column!r} holds {one} twice: it cannot be the arrival number",
                hint="name a column whose values are unique, or leave it out",
            )
