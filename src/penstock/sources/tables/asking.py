"""What of a filter is left to SQLite, of a table as it is: what every row meets that is taken, or that is told of.

So no other row is gathered, and an index finds them where they are few. All that come are looked at again: SQL may be
true too often, never too seldom. A value that does not fit is null to a condition (``docs/where.md``), whatever SQLite
makes of it. Only a time that does not fit has to be seen, where nothing else shows that its row is not meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from penstock.model import times
from penstock.model.condition import LEAST, MOST, Condition, apart, span
from penstock.model.dataset import Dataset
from penstock.model.times import TimeUnit
from penstock.pipeline.moments import POWERS, READINGS
from penstock.sources.connection import Connection, quote_name
from penstock.sources.pushdown import NOTHING, Pushed, pushed
from penstock.sources.tables.column import Column
from penstock.sources.tables.table import Shape

#: An index is used for so many rows at most, and where there are so many times as many: else to read all is quicker.
_MOST_FOUND, _FOUND_BRIEFLY = 1 << 18, 1 << 14
_TIMES_AS_MANY = 16
#: A number has to be so much further off, in its unit, before it is left out: what a real rounds, more for large ones.
_SLACK, _SLACK_BITS = 2, 50
_PLAIN = ("int64", "float64", "json")


NO_CONDITION = Pushed("")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """``parts`` have to be true all. ``first`` and ``last`` bound the arrival number. ``found`` is one of the parts, by
    which an index finds the few rows that there are; it keeps the database from using any other."""

    parts: tuple[Pushed, ...] = ()
    first: int = LEAST
    last: int = MOST
    found: Pushed | None = None

    @property
    def said(self) -> Pushed:
        """The condition, behind its AND. What begins with a sign is served by no index."""
        sql = "".join(f" AND {'' if part is self.found else '+'}({part.sql})" for part in self.parts)
        return Pushed(sql, tuple(value for part in self.parts for value in part.parameters), exact=False)


def asked(condition: Condition | None, dataset: Dataset, fields: Sequence[Column], shape: Shape) -> Asked:
    """What can be asked; nothing of what is no table, since SQL of somebody else may give other values each time."""
    if condition is None or shape.guarded:
        return Asked()
    known = {field.name: stored for field in fields if (stored := _stored(field, shape)) is not None}
    rest = apart(condition, dataset.time)
    parts = [said for part in rest if (said := pushed(part, known)) != NOTHING]
    for field in fields:
        if "timestamp" in field.settled.type.name and not _is_text(shape, field.source):
            parts += _of_time(field, *span(condition, field.name))
    first, last = span(condition, dataset.order)
    return Asked(parts=tuple(parts), first=first, last=last)


def by_index(connection: Connection, asked: Asked, shape: Shape, *, rows: int, briefly: bool) -> Asked:
    """The same, by the part that an index serves best, if one finds few of so many ``rows`` at most; ``briefly`` says
    that writers wait for it."""
    few = min(_FOUND_BRIEFLY if briefly else _MOST_FOUND, rows // _TIMES_AS_MANY)
    best: Pushed | None = None
    for part in asked.parts:
        source = f"FROM {shape.source} WHERE {part.sql}"
        plan = connection.query(f"EXPLAIN QUERY PLAN SELECT * {source}", part.parameters)
        if any("SCAN" in str(step["detail"]) or "INDEX" not in str(step["detail"]) for step in plan):
            continue
        counted = f"SELECT count(*) AS n FROM (SELECT 1 {source} LIMIT {few})"
        count = int(connection.query(counted, part.parameters)[0]["n"])
        if count < few:
            best, few = part, max(count, 1)
    return replace(asked, found=best)


def _stored(field: Column, shape: Shape) -> Pushed | None:
    """A column whose values SQL compares as they are meant, wherever they fit. Compared by their bytes: the table may
    say otherwise."""
    name, plain = field.settled.type.name, Pushed(f"{quote_name(field.source)} COLLATE BINARY", exact=False)
    if name == "bool":
        return Pushed(field.sql, exact=False)
    return plain if name in _PLAIN or (name == "text" and not field.settled.whole and shape.utf8) else None


def _is_text(shape: Shape, column: str) -> bool:
    """Whether SQLite compares a column as text whatever it is compared with; then it holds no number either."""
    declared = (shape.types.get(column) or "").upper()
    return "INT" not in declared and any(word in declared for word in ("CHAR", "CLOB", "TEXT"))


def _of_time(field: Column, first: int, last: int) -> Iterator[Pushed]:
    """All but the numbers that are times, and none from ``first`` to ``last``, in microseconds; no text is left out. As
    ranges of a column, which an index can serve."""
    name, ends = f"{quote_name(field.source)} COLLATE BINARY", [*_others(field.settled.type.unit, first, last)]
    if not ends:
        return
    terms, values = [f"{name} < ?"], [ends[0][0]]
    for (_, above), (below, _) in pairwise(ends):
        terms.append(f"({name} > ? AND {name} < ?)")
        values += [above, below]
    terms.append(f"{name} > ?")
    yield Pushed(f"({' OR '.join(terms)})", (*values, ends[-1][1]), exact=False)


def _others(unit: TimeUnit, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The spans of numbers, ascending, that are times outside of a window for sure."""
    for low, high, each in _readings(unit):
        micros = Fraction(10) ** POWERS[each]
        if first > last:
            yield low, high
            continue
        before, behind = math.floor(first / micros), math.ceil(last / micros)
        before, behind = before - _SLACK - (abs(before) >> _SLACK_BITS), behind + _SLACK + (abs(behind) >> _SLACK_BITS)
        if first > LEAST and low <= min(high, before):
            yield low, min(high, before)
        if last < MOST and max(low, behind) <= high:
            yield max(low, behind), high


def _readings(unit: TimeUnit) -> Iterator[tuple[int, int, TimeUnit]]:
    """From which to which number one is a time for sure, and in which unit."""
    if unit is TimeUnit.AUTO:
        yield from ((low, min(end - 1, MOST), each) for low, end, each in READINGS)
    elif unit is not TimeUnit.ISO:
        micros = Fraction(10) ** POWERS[unit]
        low, high = math.ceil(times.MIN_MICROS / micros) + 1, math.floor(times.MAX_MICROS / micros) - 1
        yield max(low, LEAST), min(high, MOST), unit
