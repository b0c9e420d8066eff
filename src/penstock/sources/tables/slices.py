"""A table's rows cut into slices: while every row is measured, or by some of them."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.errors import InvalidMapping
from penstock.pipeline.cursor import CursorFault
from penstock.ports.source import Slice
from penstock.sources.pool import Pool
from penstock.sources.pushdown import Pushed
from penstock.sources.tables.numbering import ROW_OVERHEAD, Numbering

#: Slices that are found before a connection is given back: half a million rows at most, a tenth of a second.
_AT_ONCE = 16
#: Rows that tell how far the numbers of a slice go and how large its rows are, and how much of its bytes they may have.
_SAMPLE = 64
_SAMPLE_SHARE = 8
#: How much of the bytes that a slice has room for is planned to be used: rows differ.
_USED = 7 / 8


def slices(
    pool: Pool, numbering: Numbering, where: Pushed, *, max_rows: int, max_bytes: int, after: int | None, upto: int
) -> Iterator[Slice]:
    """Slices of at most that many rows and bytes but for a single larger row, or rows of one number, as they are found.

    Every row is measured that meets ``where``. Between some slices and the next no connection is held, unless the rows
    have to be sorted: then it is one pass. Raises :class:`~penstock.errors.InvalidMapping` if a number comes twice and
    may not be shared, or is shared by more rows than a slice has.
    """
    most = 1 if pool.turns else _AT_ONCE
    whole = False
    while not whole:
        found: list[Slice] = []
        sql = numbering.sizes(after, upto, where.sql)
        with pool.lend() as connection, connection.cursor(sql, where.parameters, watched=bool(where.sql)) as cursor:
            over = pool.clock()
            try:
                ties = max_rows if numbering.shared else 0
                for cuts in cursor.cut(max_rows, max_bytes, overhead=ROW_OVERHEAD, most=most, ties=ties):
                    for cut in cuts:
                        before = cut.first - 1 if after is None else after
                        places = cut.places if numbering.place is not None else None
                        found.append(
                            Slice(after=before, upto=cut.last, bytes_hint=cut.bytes, rows=cut.rows, places=places)
                        )
                        after = cut.last
                    if numbering.place is None and (len(found) >= _AT_ONCE or over()):
                        break
                else:
                    whole = True
            except CursorFault as fault:
                often = f"more than {ties:,} times" if ties else "twice"
                more = "" if ties else ", or leave it out; of events, map the id as well"
                raise InvalidMapping(
                    f"the column {numbering.column!r} holds {fault.said} {often}: it cannot be the arrival number",
                    hint=f"name a column whose values are unique{more}",
                ) from None
        yield from found


def sampled_slices(
    pool: Pool, numbering: Numbering, where: Pushed, *, max_rows: int, max_bytes: int, after: int | None, upto: int
) -> Iterator[Slice]:
    """Slices that go as far as the first rows of each lead to expect, with room for so many rows and bytes."""
    while after is None or after < upto:
        sql = numbering.sample(after, upto, where.sql, _SAMPLE)
        with pool.lend() as connection, connection.cursor(sql, where.parameters) as cursor:
            found = next(cursor.cut(_SAMPLE, max_bytes // _SAMPLE_SHARE, overhead=ROW_OVERHEAD, most=1), ())
        if not found:
            return
        (cut,) = found
        rows = max(min(max_rows, int(max_bytes * _USED * cut.rows // cut.bytes)), 1)
        apart = (cut.last - cut.first) / (cut.rows - 1) if cut.rows > 1 else 1.0
        last = min(cut.first + int(apart * (rows - 1)), upto)
        size = min(rows, last - cut.first + 1) * cut.bytes // cut.rows
        before = cut.first - 1 if after is None else after
        yield Slice(after=before, upto=last, bytes_hint=size, room=(max_rows, max_bytes))
        after = last
