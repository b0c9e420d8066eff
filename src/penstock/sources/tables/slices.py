"""A table's rows cut into slices, while it is measured."""

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
