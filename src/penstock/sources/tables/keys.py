"""By which key the rows of a table are ordered that no number orders: the SQL that goes by it, and the keys of rows.

Every comparison is SQLite's own, of rows of values: that columns hold values of one kind each, which are compared byte
by byte or as numbers, is looked at first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from penstock.errors import ExportError, InvalidMapping
from penstock.model.arrival import Arrival, Key
from penstock.model.dataset import Dataset
from penstock.pipeline.gathering import Gather, Gathered, GatherKind, Note
from penstock.pipeline.rowtext import RowText
from penstock.sources.connection import Connection, quote_name
from penstock.sources.tables.numbering import row_size
from penstock.sources.tables.table import Shape

#: How values are stored: numbers or texts may be a key's.
_STORED = ("null", "number", "text", "blob")
#: What a step of a query plan is called that an index serves.
_SERVED = ("SEARCH ", "USE TEMP B-TREE FOR LAST ", "USE TEMP B-TREE FOR RIGHT PART ")
_INFINITE = "(typeof({0}) = 'real' AND abs(CAST({0} AS REAL)) = 9e999)"
_ROWS, _BYTES = 16, 1 << 20
_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyOrder:
    """The order of a table's rows by ``columns``: those that were named, and those that part the rows of one value. In
    ``apart``, if there are any, no two rows are alike. ``served`` says that an index finds rows by it. ``kinds`` says
    of each column once it was looked at whether it holds numbers or texts. ``measured`` are the columns that make up
    the size of a row."""

    shape: Shape
    columns: tuple[str, ...]
    apart: tuple[str, ...] = ()
    served: bool = False
    measured: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        return ", ".join(self.columns)

    @property
    def values(self) -> list[str]:
        """What is selected for the key."""
        return [quote_name(column) for column in self.columns]

    @property
    def gathers(self) -> list[Gather]:
        """Into what that goes: texts, of numbers those digits that read as the same."""
        return [Gather(f"key {place}", GatherKind.PLAIN) for place in range(len(self.columns))]

    @property
    def sorting(self) -> str:
        return ", ".join(self.values)

    def stretch(self, after: Arrival | None, upto: Arrival | None = None) -> str:
        """The condition for rows above one key, up to another."""
        if upto is not None and not isinstance(upto, Key):
            return "0"
        row = f"({self.sorting})"
        bounds = [f"{row} > {_row(after)}"] if isinstance(after, Key) else []
        return " AND ".join([*bounds, *([] if upto is None else [f"{row} <= {_row(upto)}"])]) or "1"

    def among(self, keys: Sequence[Arrival]) -> str:
        """The condition for rows at some keys."""
        rows = (zip(self.values, key.values, strict=True) for key in keys if isinstance(key, Key))
        either = [" AND ".join(f"{name} = {_literal(value)}" for name, value in row) for row in rows]
        return " OR ".join(f"({row})" for row in either) or "0"

    def parting(self, key: Key) -> tuple[Any, ...]:
        """The values of a key in which no other row is like its own."""
        return tuple(value for name, value in zip(self.columns, key.values, strict=True) if name in self.apart)

    def of_same_rows(self, keys: Sequence[Arrival], above: Arrival) -> str | None:
        """The keys above another of the rows that these keys were of; ``None`` where only the whole key tells."""
        if not self.apart or len(self.apart) == len(self.columns):
            return None
        names = [quote_name(name) for name in self.columns if name in self.apart]
        rows = [zip(names, self.parting(key), strict=True) for key in keys if isinstance(key, Key)]
        either = [" AND ".join(f"{name} = {_literal(value)}" for name, value in row) for row in rows]
        return f"{self._select()} WHERE {self.stretch(above)} AND ({' OR '.join(f'({row})' for row in either) or 0})"

    def arrivals(self, after: Arrival | None, upto: Arrival | None) -> str:
        """The keys of a stretch, in order."""
        return f"{self._select()} WHERE {self.stretch(after, upto)} ORDER BY {self.sorting}"

    def sizes(self, after: Arrival | None, upto: Arrival) -> str:
        """The keys of a stretch, in order, each with the size of its row in bytes before it."""
        size = row_size(self.measured)
        return f"{self._select(size)} WHERE {self.stretch(after, upto)} ORDER BY {self.sorting}"

    def last(self, count: int, *, upto: Arrival | None = None, skip: int = 0) -> str:
        """The highest keys but for some, at most so many."""
        backwards = ", ".join(f"{value} DESC" for value in self.values)
        return f"{self._select()} WHERE {self.stretch(None, upto)} ORDER BY {backwards} LIMIT {count} OFFSET {skip}"

    def first(self, after: Arrival | None) -> str:
        """The lowest key of all, or above another."""
        return f"{self.arrivals(after, None)} LIMIT 1"

    def _select(self, *before: str) -> str:
        return f"SELECT {', '.join([*before, *self.values])} FROM {self.shape.source}"

    def keys_of(self, batch: pa.RecordBatch) -> Keys:
        """The keys among what was gathered."""
        return Keys(self, batch.columns[-len(self.columns) :])

    def settled(self, read: Gathered, number: str) -> Gathered:
        """What was gathered, with the number of each row in its column, and without the keys."""
        place = read.batch.num_columns - len(self.columns) - 1
        batch = read.batch.select(list(range(place)))
        return replace(read, batch=batch.append_column(number, self.keys_of(read.batch).numbers))

    def check(self, connection: Connection) -> KeyOrder:
        """The order with the kinds of its columns. Raises :class:`~penstock.errors.InvalidMapping` for a column that
        holds null, blobs, infinities or both numbers and texts, or that is not compared byte by byte."""
        return replace(self, kinds=tuple(self._kind(connection, column) for column in self.columns))

    def _kind(self, connection: Connection, column: str) -> str:
        if column in (self.shape.key, self.shape.rowid):
            return "number"
        name = quote_name(column)
        kinds = f"CASE typeof({name}) WHEN 'integer' THEN 'number' WHEN 'real' THEN 'number' ELSE typeof({name}) END"
        sums = [f"sum({kinds} = '{kind}')" for kind in _STORED] + [f"sum({_INFINITE.format(name)})"]
        found = self._taken(connection, f"SELECT {', '.join(sums)} FROM {self.shape.source}", len(sums))
        counts = dict(zip([*_STORED, "infinity"], (int(each or 0) for each in found), strict=True))
        there = [kind for kind in _STORED if counts[kind]]
        if counts["infinity"] or "null" in there or "blob" in there or len(there) > 1:
            self._refuse(connection, column, kinds, there)
        kind = there[0] if there else "text"
        if kind == "text":
            self._check_text(connection, column)
        return kind

    def _taken(self, connection: Connection, sql: str, width: int) -> list[Any]:
        """The one row of a query, as texts."""
        gathers = [Gather(str(place), GatherKind.PLAIN) for place in range(width)]
        with connection.cursor(sql, columns=gathers, guarded=self.shape.guarded) as cursor:
            taken = cursor.take(_ROWS, _BYTES)
        return [None] * width if taken is None else [column[0].as_py() for column in taken.batch.columns]

    def _refuse(self, connection: Connection, column: str, kinds: str, there: Sequence[str]) -> None:
        odd = next((kind for kind in ("null", "blob", "text") if kind in there), None)
        where = f"{kinds} = '{odd}'" if odd is not None else _INFINITE.format(quote_name(column))
        others = [name for name in (*self.columns, *self.shape.columns[:1]) if name != column][:1]
        wanted = [quote_name(column), *map(quote_name, others)]
        sql = f"SELECT {', '.join(wanted)} FROM {self.shape.source} WHERE {where} LIMIT 1"
        value, *known = self._taken(connection, sql, len(wanted))
        at = "".join(f", {name} {str(each)[:_SHOWN]}" for name, each in zip(others, known, strict=True))
        shown = "null" if value is None else f"the {odd or 'real'} {str(value)[:_SHOWN]!r}"
        among = " among numbers" if odd == "text" else ""
        raise InvalidMapping(
            f"{self.shape.name}{at}: the key column {column!r} holds {shown}{among}: it orders no rows",
            hint="give such rows another value, or name other columns with --key",
        )

    def _check_text(self, connection: Connection, column: str) -> None:
        """Texts are compared byte by byte, or nothing is known of their order here."""
        why = self._otherwise(connection, column)
        if why is not None:
            raise InvalidMapping(
                f"{self.shape.name}: the key column {column!r} is not compared byte by byte: {why}",
                hint="name a column with the collation BINARY, or one of numbers, with --key",
            )

    def _otherwise(self, connection: Connection, column: str) -> str | None:
        """Why texts of a column are compared otherwise than by their bytes, if they are."""
        if connection.query("PRAGMA encoding")[0]["encoding"] != "UTF-8":
            return "the file holds texts as UTF-16"
        probe = f"SELECT {quote_name(column)} AS x FROM {self.shape.source} WHERE 0 UNION ALL SELECT 'a'"
        try:
            case, spaces = map(int, self._taken(connection, f"SELECT x = 'A', x = 'a ' FROM ({probe})", 2))
        except ExportError as error:
            return error.message
        if case:
            return "case does not count"
        return "spaces at the end do not count" if spaces else None


class Keys:
    """The keys of rows, in turn."""

    def __init__(self, order: KeyOrder, columns: Sequence[pa.Array]) -> None:
        self._order = order
        self._columns = columns
        self._text = _text(len(columns))

    def __len__(self) -> int:
        return len(self._columns[0])

    @property
    def last(self) -> Key:
        return self[len(self) - 1]

    @property
    def numbers(self) -> pa.Int64Array:
        """By what each row is told from others: 64 bits of a hash of its key."""
        hashes = self._text.numbers(pa.record_batch(self._columns, schema=self._text.schema))
        return pa.array(hashes, pa.int64())

    def __getitem__(self, place: int) -> Key:
        texts = [column[place].as_py() for column in self._columns]
        values = tuple(map(_value, texts, self._order.kinds))
        return Key(self._order.columns, values)

    def __iter__(self) -> Iterator[Key]:
        return (self[place] for place in range(len(self)))


def _text(width: int) -> RowText:
    names = [f"key {place}" for place in range(width)]
    return RowText(Dataset("keys", pa.schema([(name, pa.string()) for name in names]), own=tuple(names)))


def _value(text: str, kind: str) -> Any:
    if kind == "text":
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)


def check_gathered(order: KeyOrder, read: Gathered) -> None:
    """Raise :class:`~penstock.errors.InvalidMapping` for a key that is no UTF-8, or null."""
    first = read.batch.num_columns - len(order.columns)
    for place, column in enumerate(order.columns, first):
        bad = len(read.notes) and len(read.notes.rows(place, Note.INVALID_UTF8, Note.BLOB))
        if bad or read.batch.column(place).null_count:
            what = "text that is no UTF-8" if bad else "null"
            raise InvalidMapping(
                f"{order.shape.name}: the key column {column!r} holds {what}: it orders no rows",
                hint="give such rows another value, or name other columns with --key",
            )


def _row(key: Key) -> str:
    return f"({', '.join(map(_literal, key.values))})"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidMapping(
                f"the key {value!r} has a NUL in it: it orders no rows", hint="name other columns with --key"
            )
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def is_served(connection: Connection, order: KeyOrder) -> bool:
    """Whether an index, or the table's own order, finds rows by their keys."""
    given = Key(order.columns, (0,) * len(order.columns))
    try:
        steps = connection.query(f"EXPLAIN QUERY PLAN {order.arrivals(given, given)}")
    except ExportError:  # it is told why when the columns are looked at
        return False
    return all(str(step["detail"]).startswith(_SERVED) for step in steps)


def unique_order(shape: Shape, columns: Sequence[str]) -> KeyOrder:
    """The order by some columns, and, unless the table lets no two rows have the same values there, by its integer
    primary key, its primary key or its row number too. A view or query has none of these."""
    known = [frozenset([shape.key])] if shape.key is not None else []
    inside = sorted((each for each in (*known, *shape.uniques) if each <= {*columns}), key=len)
    if inside:
        return KeyOrder(shape=shape, columns=tuple(columns), apart=tuple(inside[0]))
    parting = (shape.key,) if shape.key is not None else shape.primary
    if not parting and shape.rowid is not None:
        parting = (shape.rowid,)
    ordered = (*columns, *(name for name in parting if name not in columns))
    return KeyOrder(shape=shape, columns=ordered, apart=parting)
