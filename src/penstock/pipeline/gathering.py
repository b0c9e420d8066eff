"""What is gathered of the rows of a query, as plain data: into which columns, what came of it, and what did not fit.

Values of tables that are not ours have no types that hold: each is looked at as it is stored. What fits its column is
in it; all else is null there, and noted. What to make of a misfit is the business of whoever asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.times import TimeUnit


class GatherKind(StrEnum):
    """Into what a value goes, by how SQLite stores it. What is not named does not fit."""

    INT64 = "int64"  #: integers
    FLOAT64 = "float64"  #: reals, and integers that a real holds exactly; infinities become null (``INFINITE``)
    BOOL = "bool"  #: the integers 0 and 1
    TEXT = "text"  #: text that is UTF-8 and holds no NUL
    JSON = "json"  #: text that is JSON, without white space; numbers as digits; JSON's null is null (``JSON_NULL``)
    BINARY = "binary"  #: blobs
    TIME = "time"  #: numbers and text by ``unit`` (:mod:`~penstock.pipeline.moments`), as int64 microseconds UTC
    DECIMAL = "decimal"  #: numbers, and text of digits, with at most ``precision`` of them, ``scale`` behind the point
    ANY = "any"  #: anything, as JSON; blobs and invalid UTF-8 as base64, infinities as strings, null as ``null``
    PLAIN = "plain"  #: anything, as text: like ``ANY``, but not quoted, and null is null
    NAMED = "named"  #: like ``PLAIN``, and that a value was a number is noted
    ID = "id"  #: like ``PLAIN``, of 1 to 1,024 bytes without control characters; an empty one is null (``EMPTY``)
    #: Anything, as a JSON object: what is no JSON object becomes the one member, called as the column is, of one.
    PAYLOAD = "payload"
    OBJECT = "object"  #: no value of the query: a JSON object of nothing but ``members``


class Note(IntEnum):
    """What is noted of a value."""

    MISFIT = 1
    CUT = 2  #: digits beyond the microsecond were left out
    BLOB = 3  #: is base64 now
    INVALID_UTF8 = 4  #: is base64 now
    INFINITE = 5
    JSON_NULL = 6
    NOT_OBJECT = 7  #: JSON, but no object: wrapped into one
    NOT_JSON = 8  #: wrapped into an object as a string
    RENAMED = 9  #: the object had a member of this name already
    NUMBER = 10
    EMPTY = 11


@dataclass(frozen=True, slots=True)
class Gather:
    """One column. ``unit`` is for ``TIME``, ``precision`` and ``scale`` are for ``DECIMAL``. ``members`` of ``PAYLOAD``
    and ``OBJECT`` take one more value of the query each, as ``ANY``, under these names."""

    name: str
    kind: GatherKind
    unit: TimeUnit = TimeUnit.AUTO
    precision: int = 38
    scale: int = 0
    members: tuple[str, ...] = ()

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of the column."""
        if self.kind is GatherKind.DECIMAL:
            return (pa.decimal128 if self.precision <= _PRECISION_128 else pa.decimal256)(self.precision, self.scale)
        return _TYPES.get(self.kind, pa.string())


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that did not fit. ``row`` is its row in the batch, ``column`` the one of the batch. ``storage`` is how
    SQLite stores it (``integer``, ``real``, ``text``, ``blob``); ``shown`` is the value, at most a KiB of it, a time's
    whole."""

    row: int
    column: int
    storage: str
    shown: bytes


_PRECISION_128 = 38
#: More than there are kinds of notes.
_MOST_NOTES = 16
_TYPES: Mapping[GatherKind, pa.DataType] = {
    GatherKind.INT64: pa.int64(),
    GatherKind.FLOAT64: pa.float64(),
    GatherKind.BOOL: pa.bool_(),
    GatherKind.BINARY: pa.binary(),
    GatherKind.TIME: pa.int64(),
}
#: What is noted, a row a note; the library knows its columns by their place.
NOTES = pa.schema(
    [
        ("row", pa.int64()),
        ("column", pa.int64()),
        ("what", pa.int64()),
        ("storage", pa.int64()),
        ("shown", pa.binary()),
    ]
)


class Notes:
    """What was noted of the values of a batch. Columns are named by their place, members by their object's."""

    def __init__(self, found: pa.RecordBatch | None, columns: Sequence[int]) -> None:
        self._found = found if found is not None else pa.RecordBatch.from_pylist([], NOTES)
        self._columns = columns

    def __len__(self) -> int:
        return int(self._found.num_rows)

    def rows(self, column: int, *notes: Note) -> pa.Int64Array:
        """The rows, ascending, whose value in a column has one of these notes; once for each member that has."""
        wanted = [each for each, place in enumerate(self._columns) if place == column]
        mine = pc.and_(
            pc.is_in(self._found["column"], pa.array(wanted, pa.int64())),
            pc.is_in(self._found["what"], pa.array(notes, pa.int64())),
        )
        return self._found["row"].filter(mine)

    def counts(self, taken: pa.BooleanArray | None = None) -> Counter[tuple[int, Note]]:
        """How many notes of each kind there are in each column, of all rows or of those that are ``taken``."""
        found = self._found
        if taken is not None and len(self):
            found = found.filter(taken.take(found["row"]))
        coded = pc.add(pc.multiply(found["column"], _MOST_NOTES), found["what"])
        counted: Counter[tuple[int, Note]] = Counter()
        for code, count in (each.values() for each in pc.value_counts(coded).to_pylist()):
            column, what = divmod(code, _MOST_NOTES)
            counted[self._columns[column], Note(what)] += count
        return counted


@dataclass(frozen=True)
class Gathered:
    """Rows of a query: ``batch`` has a column for each :class:`Gather`, ``notes`` say what is not as it was stored.

    ``misfits`` are some of the values that did not fit, the first hundred and all that are times; ``more_misfits``
    counts the rest by column.
    """

    batch: pa.RecordBatch
    notes: Notes
    misfits: Sequence[Misfit]

    @cached_property
    def more_misfits(self) -> Mapping[int, int]:
        """How many values of a column did not fit, beside those that are among ``misfits``."""
        counted = Counter(
            {column: count for (column, what), count in self.notes.counts().items() if what is Note.MISFIT}
        )
        counted.subtract(Counter(misfit.column for misfit in self.misfits))
        return +counted
