"""By which number the rows of a table are found, and the SQL that goes by it: from where to where, which is the last,
how large they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from penstock.sources.connection import quote_name
from penstock.sources.tables.table import Shape

#: Bytes of a row beside what its columns hold, roughly; for planning.
ROW_OVERHEAD = 100
#: The last number that an AUTOINCREMENT table gave out.
SEQUENCE = "SELECT seq FROM main.sqlite_sequence WHERE name = ? AND typeof(seq) = 'integer'"
_LEAST = -(1 << 63)
#: Of more columns than this the sizes are asked for: a result may have no more than 2,000.
_MOST_VALUES = 1_900
#: More terms in one sum than this would be nested deeper than SQLite allows.
_TERMS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbering:
    """The arrival number of a table's rows.

    ``column`` holds it, or none, and it is the row number. ``seq`` is its SQL. ``checked`` says that it is a plain
    column, whose values have to be looked at: only integers can be one. ``place`` is the SQL of the row number where
    ``seq`` has no index to be found by. ``order`` says for the manifest what the arrival order rests on. ``shared``
    says that several rows may have one number. ``measured`` are the columns that make up the size of a row.
    """

    shape: Shape
    column: str | None
    seq: str
    checked: bool
    place: str | None
    order: str
    measured: tuple[str, ...]
    shared: bool = False

    @property
    def sorting(self) -> str:
        """What rows are ordered by: those of one number by their row number."""
        return f"{self.seq}, {self.shape.rowid}" if self.shared and self.shape.rowid is not None else self.seq

    @property
    def distinct(self) -> bool:
        """Whether no two rows can have one number."""
        return not self.checked or self.column in self.shape.unique

    @property
    def given(self) -> str | None:
        """The name by which the table says how far it gave out numbers, if it does."""
        return self.shape.name if self.shape.autoincrement and not self.checked else None

    def within(self, after: int, upto: int, places: tuple[int, int] | None) -> str:
        """The condition for ``after < seq <= upto``. ``places`` are the first and last row number among these rows,
        where they are needed to find them quickly."""
        where = [f"{self.seq} <= {upto}"]
        if after >= _LEAST:
            where.append(f"{self.seq} > {after}")
        if places is not None:
            where.append(f"{self.place} BETWEEN {places[0]} AND {places[1]}")
        return " AND ".join([*where, *self._numbered()])

    def above(self, after: int | None) -> str:
        """The condition for all rows, or those above a number."""
        return " AND ".join([*([] if after is None else [f"{self.seq} > {after}"]), *self._numbered()]) or "1"

    def among(self, numbers: Sequence[int]) -> str:
        """The condition for rows at some numbers."""
        return " AND ".join([f"{self.seq} IN ({', '.join(map(str, numbers))})", *self._numbered()])

    @property
    def sorted(self) -> Numbering:
        """The same for rows that an index finds in another order."""
        return replace(self, seq=f"+{self.seq}", place="0")

    def sizes(self, after: int | None, upto: int, where: str) -> str:
        """``seq``, the row number where it is needed, and what is measured of every row above ``after``, up to
        ``upto``, in ``seq`` order: its size in bytes, or all its values, which is quicker where no sorting moves them
        about. ``where`` is a further condition, behind its AND."""
        if self.place is None and len(self.measured) <= _MOST_VALUES:
            measured = ", ".join(["0", "0", *map(quote_name, self.measured)])
        else:
            measured = f"{self.place or '0'}, {row_size(self.measured)}"
        where = f"{self.above(after)} AND {self.seq} <= {upto}{where}"
        return f"SELECT {self.seq}, {measured} FROM {self.shape.source} WHERE {where} ORDER BY {self.seq}"

    def sample(self, after: int | None, upto: int, where: str, count: int) -> str:
        """The same of the first rows alone, whatever they are; those that ``where`` leaves out have no size."""
        size = row_size(self.measured)
        rows = f"{self.shape.source} WHERE {self.above(after)} AND {self.seq} <= {upto} ORDER BY {self.seq}"
        return f"SELECT {self.seq}, 0, iif(1{where}, {size}, 0) FROM {rows} LIMIT {count}"

    def last(self, count: int = 1, *, upto: int | None = None, skip: int = 0) -> str:
        """The highest ``seq`` but for some, at most so many; no row if there is none."""
        below = "" if upto is None else f" AND {self.seq} <= {upto}"
        return f"{self._numbers()}{below} ORDER BY {self.seq} DESC LIMIT {count} OFFSET {skip}"

    def arrivals(self, after: int | None, upto: int) -> str:
        """Every ``seq`` of a stretch, in order."""
        above = "" if after is None else f" AND {self.seq} > {after}"
        return f"{self._numbers()} AND {self.seq} <= {upto}{above} ORDER BY {self.seq}"

    def first(self, after: int | None) -> str:
        """The lowest ``seq`` of all, or above a number; no row if there is none."""
        return f"{self._numbers(after)} ORDER BY {self.seq} LIMIT 1"

    def unnumbered(self) -> str:
        """How many rows have no integer for a ``seq``."""
        return f"SELECT count(*) AS n FROM {self.shape.source} WHERE typeof({self.seq}) <> 'integer'"

    def _numbers(self, after: int | None = None) -> str:
        return f"SELECT {self.seq} AS seq FROM {self.shape.source} WHERE {self.above(after)}"

    def _numbered(self) -> Iterator[str]:
        if self.checked:
            yield f"typeof({self.seq}) = 'integer'"


def numbering(shape: Shape, column: str | None, measured: Sequence[str]) -> Numbering | None:
    """By a column, or else by the integer primary key or the row number; ``None`` for a table that has neither."""
    column = column if column is not None else shape.key
    if column is None and shape.rowid is None:
        return None
    checked = column is not None and (column != shape.key or shape.rowid is None)
    if column is None:
        order = "rowid, assumed"
    elif column != shape.key:
        order = "mapped column, assumed"
    else:
        order = "primary key, autoincrement" if shape.autoincrement else "primary key, assumed"
    return Numbering(
        shape=shape,
        column=column,
        seq=quote_name(column) if column is not None else str(shape.rowid),
        checked=checked,
        place=shape.rowid if checked and column not in shape.indexed else None,
        order=order,
        measured=tuple(measured),
    )


def row_size(columns: Sequence[str]) -> str:
    """The size in bytes of these columns of a row."""
    terms = [f"ifnull(octet_length({quote_name(name)}), 4)" for name in columns] or ["0"]
    while len(terms) > 1:
        terms = [f"({' + '.join(terms[start : start + _TERMS])})" for start in range(0, len(terms), _TERMS)]
    return terms[0]
