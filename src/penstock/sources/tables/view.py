"""One unchanging view of a table that is not ours, and its way of being read in slices of its arrival number.

What its rows become is a ``projection``. What has no number to be cut by is read as a ``stream``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from penstock.errors import InvalidMapping, UsageError
from penstock.model.condition import LEAST
from penstock.model.filter import ExportFilter
from penstock.model.roll import Growth
from penstock.pipeline.closing import Closing
from penstock.pipeline.gathering import Gather, Gathered, GatherKind
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Reading, Slice, Ticket
from penstock.sources.connection import Connection
from penstock.sources.tables.asking import NO_CONDITION, Asked, by_index
from penstock.sources.tables.numbering import SEQUENCE, Numbering
from penstock.sources.tables.pinned import Pinned
from penstock.sources.tables.projection import Converter, Projection, gathered, selected
from penstock.sources.tables.slices import sampled_slices, slices

#: More bytes than any rows have.
WHOLE = 1 << 62
#: Between two looks at the clock where turns end: some 10 ms.
_TURN_ROWS = RANGE_ROWS // 2
#: Rows that are wanted of some are read by themselves up to so many pieces; if there are more, all between are.
_MOST_PIECES = 1_000
_NUMBER = Gather("seq", GatherKind.INT64)


def pieces(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of those that follow each other, of numbers that ascend; of very many pieces one."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return [(found[0][0], found[-1][1])] if len(found) > _MOST_PIECES else found


class ForeignView(Closing):
    """One commit of a table, or, where writers would have to wait for that, as it is from turn to turn: ``moved`` says
    that it was no longer the same. The file is never written."""

    def __init__(self, pinned: Pinned, projection: Projection, *, batch_rows: int) -> None:
        self._pinned = pinned
        self._pool = pinned.pool
        self._projection = projection
        self._shape = projection.shape
        self._batch_rows = batch_rows

    @property
    def _numbering(self) -> Numbering:
        """Raises :class:`~penstock.errors.UsageError` for a table whose rows have no arrival number."""
        found = self._projection.numbering
        if found is None:
            grows = "map seq to an integer column that only grows, as --map seq=COLUMN"
            if not self._projection.numbers_rows:
                grows = "name columns that order its rows with --key"
            raise UsageError(
                f"the rows of {self._shape.name} have no number: nothing tells new rows from old ones",
                hint=f"{grows}, or export it whole",
            )
        return found

    def _numbers(self, sql: str, count: int = 1) -> pa.Int64Array:
        """A column of numbers."""
        with self._pool.lend() as connection:
            return self._taken(connection, sql, count)

    def _taken(self, connection: Connection, sql: str, count: int) -> pa.Int64Array:
        with connection.cursor(sql, columns=[_NUMBER], guarded=self._shape.guarded) as cursor:
            taken = cursor.take(count, RANGE_BYTES)
        return pa.array([], pa.int64()) if taken is None else taken.batch.column(0)

    @cached_property
    def _ends(self) -> tuple[int | None, int]:
        """The highest arrival number, ``None`` if there is no row, or rows have none; and how far numbers were given
        out, as of the same moment."""
        numbers = self._projection.numbering
        if numbers is None:
            return None, 0
        with self._pool.lend() as connection:
            found = self._taken(connection, numbers.last(), 1)
            given = [] if numbers.given is None else connection.query(SEQUENCE, [numbers.given])
        last = int(found[0].as_py()) if len(found) else None
        return last, max([last or 0, *(int(row["seq"]) for row in given)])

    @property
    def _last(self) -> int | None:
        return self._ends[0]

    @property
    def upto(self) -> int:
        return self._last or 0

    @property
    def ticket(self) -> Ticket | None:
        return self._pinned.ticket(self.upto)

    @property
    def source(self) -> Mapping[str, Any]:
        name = os.fsencode(self._pinned.path.name).decode("utf-8", "replace")
        told = {"kind": self._shape.kind, "name": name, **self._projection.describe()}
        return told if self._projection.numbering is None else {**told, "horizon": self.upto}

    @cached_property
    def unread(self) -> Mapping[str, int]:
        numbers = self._projection.numbering
        if numbers is None or not numbers.checked:
            return {}
        count = int(self._numbers(numbers.unnumbered())[0].as_py())
        return {"skipped_bad_seq": count} if count else {}

    @property
    def identity(self) -> str:
        """What the table is called, and by what its rows are ordered: neither a move nor a new column changes that.
        Whether its rows are still those of a lineage shows by the rows themselves. Raises
        :class:`~penstock.errors.UsageError` for a table whose rows have no arrival number that lasts."""
        asked = [self._shape.sha256] if self._shape.guarded else []
        return f"table:{json.dumps([self._shape.name, self._numbering.column, *asked])}"

    @property
    def given(self) -> int:
        """As far as the table is AUTOINCREMENT, also what is not in it any more."""
        _ = self._numbering
        return self._ends[1]

    @property
    def deletions(self) -> int | None:
        return None

    def first(self, after: int | None = None) -> int | None:
        found = self._numbers(self._numbering.first(after))
        return int(found[0].as_py()) if len(found) else None

    @property
    def growth(self) -> Growth:
        """Checked where an index, or the table's own order, finds the rows at or below a number."""
        with self._pool.lend() as connection:
            steps = connection.query(f"EXPLAIN QUERY PLAN {self._numbering.arrivals(None, self.upto)}")
        served = all(str(step["detail"]).startswith("SEARCH") for step in steps)
        return Growth.CHECKED if served else Growth.ASSUMED

    def arrivals(self, after: int | None, upto: int) -> Iterator[pa.Array]:
        below = after
        while below is None or below < upto:
            taken, below = self._arrivals(below, upto)
            yield from taken

    def _arrivals(self, after: int | None, upto: int) -> tuple[list[pa.Array], int]:
        """The numbers of a stretch, as many as one turn has time for, and up to where they go."""
        taken: list[pa.Array] = []
        sql = self._numbering.arrivals(after, upto)
        with (
            self._pool.lend() as connection,
            connection.cursor(sql, columns=[_NUMBER], guarded=self._shape.guarded) as cursor,
        ):
            over = self._pool.clock()
            while (found := cursor.take(RANGE_ROWS, RANGE_BYTES)) is not None:
                numbers = found.batch.column(0)
                if over() and (some := numbers.index(numbers[-1]).as_py()):  # rows of one number are not parted
                    return [*taken, numbers.slice(0, some)], numbers[some - 1].as_py()
                taken.append(numbers)
        return taken, upto

    def around(self, after: int | None, upto: int, wanted: Callable[[pa.Array], Container[int]]) -> Iterator[Slice]:
        for numbers in self.arrivals(after, upto):
            found = wanted(numbers)
            for first, last in pieces(number for number in dict.fromkeys(numbers.to_pylist()) if number in found):
                yield Slice(after=first - 1, upto=last, bytes_hint=0)

    def back(self, upto: int, rows: int) -> int | None:
        found = self._numbers(self._numbering.last(upto=upto, skip=rows))
        return int(found[0].as_py()) if len(found) else None

    def newest(self, count: int) -> Sequence[int]:
        found: list[int] = self._numbers(self._numbering.last(count, upto=self.upto), count).to_pylist()
        return found

    def rows_at(self, numbers: Sequence[int]) -> tuple[Sequence[int], pa.RecordBatch]:
        behind = f"WHERE {self._numbering.among(numbers)} ORDER BY {self._numbering.sorting}"
        converter, found, there = self._projection.converter(ExportFilter()), [], []
        with self._pool.lend() as connection:
            for rows in gathered(connection, self._projection, behind, rows=2 * len(numbers), size=WHOLE):
                there.append(converter.convert(rows))
                found += rows.batch[self._projection.order].to_pylist()
        return found, pa.concat_batches([*there, pa.RecordBatch.from_pylist([], self._projection.schema)])

    def _check_numbered(self) -> None:
        """Raises :class:`~penstock.errors.InvalidMapping` where rows are ordered by a column that orders none."""
        if self._last is None and self.unread:
            raise InvalidMapping(
                f"the column {self._numbering.column!r} holds no integer: it cannot be the arrival number",
                hint="name a column of integers, or leave it out",
            )

    def moved_up(self, numbers: Sequence[int], above: int) -> Collection[int]:
        return ()

    def make_durable(self) -> bool:
        return self._pinned.make_durable()

    def unmoved(self) -> bool:
        return self._pinned.unmoved()

    @property
    def moved(self) -> bool:
        return self._pool.moved

    def close(self) -> None:
        """Close every connection, once the threads that read from them gave them back, also after an interrupt."""
        self._pinned.close()


class TableView(ForeignView):
    """A table that is found by its arrival number, span by span, by several threads at once."""

    streams = False

    def __init__(self, pinned: Pinned, projection: Projection, *, batch_rows: int) -> None:
        super().__init__(pinned, projection, batch_rows=batch_rows)
        self._settled: dict[ExportFilter, Asked] = {}

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: int | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        """Slices of at most that many rows and bytes, as they are measured. Raises
        :class:`~penstock.errors.InvalidMapping` if a number comes twice."""
        self._check_numbered()
        if self._last is None:
            return iter(())
        asked = self._asked(filter, after)
        if asked.first > LEAST:
            after = asked.first - 1 if after is None else max(after, asked.first - 1)
        upto, numbers, where = min(self._last, asked.last), self._numbers_by(asked), NO_CONDITION
        most = {"max_rows": max_rows, "max_bytes": max_bytes}
        if sampled and asked.found is None and numbers.distinct and numbers.place is None:
            return sampled_slices(self._pool, numbers, asked.said, after=after, upto=upto, **most)
        # without an index writers would wait for a pass, and a number that comes twice is seen among all rows alone
        if asked.found is not None or not self._pool.turns:
            where = asked.said if numbers.distinct or numbers.shared else where
        return slices(self._pool, numbers, where, after=after, upto=upto, **most)

    def _asked(self, filter: ExportFilter, after: int | None) -> Asked:
        """What SQLite is asked for under a filter: settled once, when slices are planned, or else read."""
        whole = replace(filter, limit=None)
        if whole not in self._settled:
            asked = self._projection.asked(whole)
            if asked.parts:
                first = self.first(after)
                rows = 0 if first is None else self.upto - first + 1
                with self._pool.lend() as connection:
                    asked = by_index(connection, asked, self._shape, rows=rows, briefly=self._pool.turns)
            self._settled[whole] = asked
        return self._settled[whole]

    def _numbers_by(self, asked: Asked) -> Numbering:
        return self._numbering if asked.found is None else self._numbering.sorted

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        converter, asked, left = self._projection.converter(filter), self._asked(filter, None), [span]
        rows = self._rows(left, asked, converter, limited=filter.limit is not None)
        return Reading(rows, converter.counts, lambda: left[0] if left else None)

    def read_columns(self, span: Slice, filter: ExportFilter, names: Sequence[str]) -> Reading:
        return self.read(span, filter)

    def _rows(
        self, left: list[Slice], asked: Asked, converter: Converter, *, limited: bool
    ) -> Iterator[pa.RecordBatch]:
        """The rows of the slice that is ``left``, as many as it has room for; then what of it is left."""
        (span,) = left
        while span.after < span.upto and not converter.full:
            taken, span = self._turn(span, asked, limited)
            for rows in taken:
                if converter.full:
                    break
                found = converter.convert(rows)
                for start in range(0, found.num_rows, self._batch_rows):
                    yield found.slice(start, self._batch_rows)
            if span.room is not None and min(span.room) <= 0 and span.after < span.upto:
                left[0] = replace(span, room=left[0].room, bytes_hint=0)
                return
        left.clear()

    def _turn(self, span: Slice, asked: Asked, limited: bool) -> tuple[list[Gathered], Slice]:
        """The rows of a slice, as many as one turn has time and the slice room for, and what of it is behind them. Rows
        behind a limit are not looked at."""
        numbers, where, room = self._numbers_by(asked), asked.said, span.room
        within = f"{numbers.within(span.after, span.upto, span.places)}{where.sql}"
        behind = f"WHERE {within} ORDER BY {numbers.sorting}"
        most = self._batch_rows if limited else _TURN_ROWS if self._pool.turns else RANGE_ROWS
        taken: list[Gathered] = []
        with (
            self._pool.lend() as connection,
            selected(connection, self._projection, behind, where.parameters) as cursor,
        ):
            over = self._pool.clock()
            rows_left, bytes_left = room or (most, RANGE_BYTES)
            while (rows := cursor.take(min(most, rows_left), min(RANGE_BYTES, bytes_left))) is not None:
                taken.append(rows)
                if room is not None:
                    rows_left -= rows.batch.num_rows
                    bytes_left -= rows.batch.nbytes
                    room = (rows_left, bytes_left)
                if (limited or over() or min(rows_left, bytes_left) <= 0) and not numbers.shared:
                    # only rows of one number are not parted
                    return taken, replace(span, after=rows.batch[self._projection.order][-1].as_py(), room=room)
        return taken, replace(span, after=span.upto)
