"""Timestamps of any spelling as microseconds: RFC 3339 text, epoch numbers, typed times.

:func:`moment` is the rule for one text; :func:`read_times` is the same rule for a column, with Arrow kernels where a
whole column is spelled alike. A number is an epoch time of the named unit, or, without one, of the unit that the number
of its integer digits says: 10 seconds, 13 milliseconds, 16 microseconds, 19 nanoseconds. Each of these means a time
between 2001-09-09 and 2286-11-20, so no number has two readings; any other number needs a unit by name. Digits past the
microsecond are cut off.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent, UsageError
from penstock.model import times

#: Powers of ten from each unit to the microsecond.
TIME_UNITS = {"s": 6, "ms": 3, "us": 0, "ns": -3}
_UNIT_OF_DIGITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}
_NUMBER = re.compile(r"(-?)(\d{1,20})(?:\.(\d{1,40}))?\Z", re.ASCII)
_DATE_TIME = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_ZONED = _DATE_TIME + r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"
_ZONELESS = _DATE_TIME + "$"
_DIGITS = r"^[1-9]\d{0,18}$"
_NOT_A_TIME = "timestamp cannot be read"


def check_unit(unit: str | None) -> str | None:
    """Return the unit of epoch numbers if it is known. Raises :class:`UsageError`."""
    if unit is not None and unit not in TIME_UNITS:
        raise UsageError(f"unknown time unit {unit!r}", hint="one of " + ", ".join(TIME_UNITS))
    return unit


def moment(text: str, unit: str | None = None) -> int:
    """Microseconds since the epoch of RFC 3339 text or of an epoch number. Raises :class:`InvalidEvent`."""
    number = _NUMBER.match(text.strip())
    if number is None:
        return times.parse_timestamp(text)
    sign, whole, fraction = number.groups()
    chosen = unit
    if chosen is None:
        chosen = _UNIT_OF_DIGITS.get(len(whole)) if whole[0] != "0" and not sign else None
        if chosen is None:
            raise InvalidEvent(f"the number {text[:40]} does not say its unit; name it with --time-unit")
    digits = int(sign + whole + (fraction or ""))
    shift = TIME_UNITS[chosen] - len(fraction or "")
    micros: int = digits * 10**shift if shift >= 0 else digits // 10**-shift
    if not times.MIN_MICROS <= micros <= times.MAX_MICROS:
        raise InvalidEvent(f"outside the years 0001 to 9999: {text[:40]}")
    return micros


def read_times(column: pa.Array, unit: str | None) -> tuple[pa.Array, dict[int, str]]:
    """A column as microseconds (``int64``, null where there is no value), and why rows could not be read."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            return _typed(column)
        if pa.types.is_date(kind):
            return _typed(column.cast(pa.timestamp("s" if kind == pa.date32() else "ms")))
        if pa.types.is_integer(kind):
            return _from_numbers(column.cast(pa.int64()), unit)
        if pa.types.is_string(kind):
            if _all(column, _ZONED):
                return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), {}
            if _all(column, _ZONELESS):
                return column.cast(pa.timestamp("us")).cast(pa.int64()), {}
            if _all(column, _DIGITS):
                return _from_numbers(column.cast(pa.int64()), unit)
    except pa.ArrowException:
        pass  # a day that does not exist, or a number out of range: the rows are looked at one by one
    return _one_by_one(column, unit)


def _all(column: pa.StringArray, shape: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, shape), min_count=0).as_py())


def _typed(column: pa.TimestampArray) -> tuple[pa.Array, dict[int, str]]:
    unit = column.type.unit
    numbers = column.cast(pa.int64())
    if unit == "ns":
        return _floored(numbers), {}
    try:
        return pc.multiply_checked(numbers, 10 ** TIME_UNITS[unit]), {}
    except pa.ArrowInvalid:
        return _one_by_one(numbers, unit)


def _floored(nanos: pa.Int64Array) -> pa.Int64Array:
    quotient = pc.divide(nanos, 1000)
    below = pc.and_(pc.less(nanos, 0), pc.not_equal(pc.multiply(quotient, 1000), nanos))
    return pc.subtract(quotient, below.cast(pa.int64()))


def _from_numbers(numbers: pa.Int64Array, unit: str | None) -> tuple[pa.Array, dict[int, str]]:
    """Epoch numbers with kernels, for units that can be told by the number of digits. Raises ``pa.ArrowException``."""
    lengths = pc.utf8_length(numbers.cast(pa.string()))
    extremes = pc.min_max(lengths).as_py()
    least = pc.min(numbers).as_py()
    chosen = unit if unit is not None else _UNIT_OF_DIGITS.get(extremes["max"])
    if chosen is None or (unit is None and (extremes["min"] != extremes["max"] or least < 0)):
        return _one_by_one(numbers, unit)
    micros = _floored(numbers) if chosen == "ns" else pc.multiply_checked(numbers, 10 ** TIME_UNITS[chosen])
    span = pc.min_max(micros).as_py()
    if span["min"] is not None and not times.MIN_MICROS <= span["min"] <= span["max"] <= times.MAX_MICROS:
        return _one_by_one(numbers, unit)
    return micros, {}


def _one_by_one(column: pa.Array, unit: str | None) -> tuple[pa.Array, dict[int, str]]:
    seen: dict[str, int | str] = {}
    micros: list[int | None] = []
    faults: dict[int, str] = {}
    for row, value in enumerate(_texts(column)):
        if value is None:
            micros.append(None)
            continue
        found = seen.get(value)
        if found is None:
            try:
                found = moment(value, unit)
            except InvalidEvent as error:
                found = f"{_NOT_A_TIME}: {error.message}"
            seen[value] = found
        if isinstance(found, str):
            faults[row] = found
        micros.append(found if isinstance(found, int) else None)
    return pa.array(micros, pa.int64()), faults


def _texts(column: pa.Array) -> list[str | None]:
    spelled = repr if pa.types.is_floating(column.type) else str
    return [None if value is None else spelled(value) for value in column.to_pylist()]
