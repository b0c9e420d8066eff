"""What a column of a table is asked to be: a type by its name, and, where numbers are times, their unit."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.model.dataset import field_of
from penstock.model.times import TimeUnit

#: Types whose values may be numbers of a unit.
TIMES = ("timestamp_utc", "timestamp", "date")
_NAMES = "bool, int64, float64, decimal(P,S), text, json, binary, date, timestamp, timestamp_utc"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type by its name, such as ``int64`` or ``decimal(10,2)``, and how its numbers are times."""

    name: str
    unit: TimeUnit = TimeUnit.AUTO

    def __str__(self) -> str:
        return self.name if self.unit is TimeUnit.AUTO else f"{self.name}:{self.unit}"


def parse_column_type(text: str) -> ColumnType:
    """Read ``int64`` or ``timestamp_utc:ms``. Raises :class:`~penstock.errors.UsageError`."""
    name, mark, unit = text.strip().partition(":")
    name = name.replace(" ", "").lower()
    if field_of("x", name) is None:
        raise UsageError(f"unknown type {name!r}", hint=f"types are {_NAMES}; a time may have a unit: timestamp_utc:ms")
    if not mark:
        return ColumnType(name)
    if name not in TIMES:
        raise UsageError(f"the type {name} has no unit", hint="only " + ", ".join(TIMES) + " have one")
    return ColumnType(name, parse_unit(unit))


def parse_unit(text: str) -> TimeUnit:
    """Read a unit of time. Raises :class:`~penstock.errors.UsageError`."""
    try:
        return TimeUnit(text)
    except ValueError:
        raise UsageError(f"unknown unit {text!r} of a time", hint="units are " + ", ".join(TimeUnit)) from None
