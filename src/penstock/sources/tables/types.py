"""Of which type each column is: as it was asked, else as it is declared, else by what is stored in it.

The table of ``docs/tables.md``, "Types", in code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from penstock.model.column_type import ColumnType
from penstock.model.dataset import field_of
from penstock.pipeline.gathering import Gather, GatherKind
from penstock.sources.connection import Connection, quote_name
from penstock.sources.tables.table import Shape

#: Declared types, and what they mean, the first that fits. Names first, then the words by which SQLite gives affinity.
_DECLARED: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"BOOL(EAN)?\Z", "bool"),
        (r"DATE\Z", "date"),
        (r"(DATETIME|TIMESTAMP)", "timestamp_utc"),
        (r"JSONB?\Z", "json"),
        (r".*INT", "int64"),
        (r".*(CHAR|CLOB|TEXT)", "text"),
        (r"BLOB\Z", "binary"),
        (r".*(REAL|FLOA|DOUB)", "float64"),
    )
)
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC|DEC|NUMBER)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)\Z")
_MOST_DIGITS = 38
#: What is counted of a column: how its values are stored, and integers that no float64 holds.
_STORED = ("integer", "real", "text", "blob")
_EXACT = 1 << 53
#: So many columns are counted in one pass.
_AT_ONCE = 300
_ROWS, _BYTES = 16, 1 << 20


@dataclass(frozen=True, slots=True)
class Settled:
    """A column's type. ``whole`` says that it takes any value: as text, or, of ``binary``, as bytes."""

    type: ColumnType
    whole: bool = False


def declared_type(text: str | None) -> str | None:
    """What a declared type means; ``None`` where what is stored has to say."""
    words = (text or "").strip().upper()
    digits = _DECIMAL.match(words)
    if digits is not None:
        name = f"decimal({int(digits[1])},{int(digits[2])})"
        return name if int(digits[1]) <= _MOST_DIGITS and field_of("x", name) is not None else None
    return next((name for pattern, name in _DECLARED if pattern.match(words)), None)


def asked_type(type: ColumnType) -> Settled:
    """What was asked for by name; text and bytes then take everything."""
    return Settled(type, whole=type.name in ("text", "binary"))


def stored_types(connection: Connection, shape: Shape, columns: Sequence[str]) -> Mapping[str, Settled]:
    """The types of columns by what is stored in them, found by a pass over all rows."""
    found: dict[str, Settled] = {}
    for start in range(0, len(columns), _AT_ONCE):
        some = columns[start : start + _AT_ONCE]
        sums = [each for column in some for each in _counted(quote_name(column))]
        sql = f"SELECT {', '.join(sums)} FROM {shape.source}"
        gathers = [Gather(str(number), GatherKind.INT64) for number in range(len(sums))]
        with connection.cursor(sql, columns=gathers, guarded=shape.guarded) as cursor:
            taken = cursor.take(_ROWS, _BYTES)
        assert taken is not None  # an aggregate without groups gives one row
        counts = [column[0].as_py() or 0 for column in taken.batch.columns]
        width = len(sums) // len(some)
        for number, column in enumerate(some):
            found[column] = _type_of(*counts[number * width : (number + 1) * width])
    return found


def _counted(column: str) -> Iterator[str]:
    for storage in _STORED:
        yield f"sum(typeof({column}) = '{storage}')"
    # The bits of a column do not ask for its collation, which may not be known here; the column itself would.
    yield f"sum(typeof({column}) = 'integer' AND ({column} | 0) NOT BETWEEN {-_EXACT} AND {_EXACT})"


def _type_of(integers: int, reals: int, texts: int, blobs: int, wide: int) -> Settled:
    numbers = integers + reals
    if blobs:
        return Settled(ColumnType("binary"), whole=bool(numbers + texts))
    if texts or not numbers or (reals and wide):
        return Settled(ColumnType("text"), whole=True)
    return Settled(ColumnType("float64" if reals else "int64"))
