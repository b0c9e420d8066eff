"""Times of records and tables that are not ours, as microseconds: RFC 3339 text, epoch numbers, typed times.

:func:`moment` is the rule for one text; :func:`read_times` is the same rule for a column, with Arrow kernels where a
whole column is spelled alike. A number is an epoch time of the unit that is given, or of the one that the digits of its
whole part say: 10 are seconds, 13 milliseconds, 16 microseconds, 19 nanoseconds. Each of these means a time between
2001-09-09 and 2286-11-20, so no number has two readings; any other number needs a unit. A number with a point or an
exponent is rounded to the nearest microsecond, half to even, since it seldom holds one exactly; what integers, text and
typed times say beyond the microsecond is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, reduce

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model import times
from penstock.model.times import TimeUnit

#: Powers of ten from each unit to the microsecond.
POWERS = {TimeUnit.S: 6, TimeUnit.MS: 3, TimeUnit.US: 0, TimeUnit.NS: -3}
#: What a number is by itself: from the first to below the second.
READINGS = (
    (10**9, 10**10, TimeUnit.S),
    (10**12, 10**13, TimeUnit.MS),
    (10**15, 10**16, TimeUnit.US),
    (10**18, 10**19, TimeUnit.NS),
)
_NUMBER = re.compile(r"([+-]?)(\d{1,30})(?:\.(\d{0,40}))?(?:[eE]([+-]?\d{1,3}))?\Z", re.ASCII)
#: A digit other than 0 behind the sixth of a fraction.
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]", re.ASCII)
_DATE_TIME = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
#: How a whole column may be spelled, and the type that it then is read by.
_SPELLINGS = (
    (_DATE_TIME + r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$", pa.timestamp("us", "UTC")),
    (_DATE_TIME + "$", pa.timestamp("us")),
    (r"^[1-9]\d{0,17}$", pa.int64()),
    (r"^[1-9]\d{0,18}\.\d{1,16}$", pa.decimal128(38, 16)),
)
_EXACT = pa.decimal128(38, 16)
#: Wide enough for all years in nanoseconds; the factors below leave no digit of it out.
_ROUNDED = pa.decimal128(27, 6)
_NANOS = 1000
#: Reals from here on are beyond all years in every unit.
_TOO_LARGE = 1e21


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Microseconds since the epoch, null where there is none or the value is no time, and where finer digits were left
    out. ``cut`` is ``None`` when that happened nowhere."""

    micros: pa.Int64Array
    cut: pa.BooleanArray | None = None


def moment(text: str, unit: TimeUnit = TimeUnit.AUTO) -> tuple[int, bool]:
    """Microseconds since the epoch, and whether digits were left out. Raises :class:`InvalidEvent`."""
    text = text.strip()
    number = _NUMBER.match(text)
    if number is None:
        return times.parse_timestamp(text), _FINER.search(text) is not None
    sign, whole, fraction, exponent = number.groups()
    if unit is TimeUnit.ISO:
        raise InvalidEvent(f"a number, not an RFC 3339 time: {text[:40]}")
    if unit is TimeUnit.AUTO:
        plain = not sign and whole[0] != "0"
        unit = next((each for first, end, each in READINGS if plain and first <= Decimal(text) < end), unit)
    if unit is TimeUnit.AUTO:
        raise InvalidEvent(f"the number {text[:40]} does not say its unit; name it, as --map timestamp=FIELD:ms")
    digits = int(sign + whole + (fraction or ""))
    shift = POWERS[unit] + int(exponent or 0) - len(fraction or "")
    micros, rest = (digits * 10**shift, 0) if shift >= 0 else divmod(digits, 10**-shift)
    if rest and (fraction or exponent):
        half = 2 * rest - 10**-shift
        micros += half > 0 or (half == 0 and micros % 2)
    if not times.MIN_MICROS <= micros <= times.MAX_MICROS:
        raise InvalidEvent(f"outside the years 0001 to 9999: {text[:40]}")
    return micros, rest != 0


def read_times(column: pa.Array, unit: TimeUnit = TimeUnit.AUTO) -> Times:
    """A column of any type as times. Text that is not UTF-8 is no time, and no real is counted as cut."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            return _scaled(column.cast(pa.int64()), TimeUnit(kind.unit))
        if pa.types.is_date(kind):
            return read_times(column.cast(pa.timestamp("s" if kind == pa.date32() else "ms")))
        if pa.types.is_integer(kind):
            return _each(column.cast(pa.int64()), unit, _scaled)
        if pa.types.is_floating(kind):
            return _reals(column, unit)
        if pa.types.is_string(kind):
            column.validate(full=True)
            return _texts(column, unit)
    except pa.ArrowException:
        pass  # a day that does not exist, a number that is too long: the rows are looked at one by one
    return _one_by_one(column, unit)


def unreadable(column: pa.Array, micros: pa.Int64Array, unit: TimeUnit) -> Iterator[tuple[int, str]]:
    """The rows of a column that :func:`read_times` could not read, and why."""
    typed = pa.types.is_temporal(column.type)
    for row in pc.indices_nonzero(pc.and_(pc.is_valid(column), pc.is_null(micros))).to_pylist():
        why = "outside the years 0001 to 9999"
        try:
            if not typed:
                moment(_spelled(column[row].as_py()) or "", unit)
        except InvalidEvent as error:
            why = error.message
        yield row, why


def together(found: list[Times], size: int) -> Times:
    """What was found in several places, no row of which is in two of them."""
    if not found:
        return Times(micros=pa.nulls(size, pa.int64()))
    cuts = [each.cut for each in found if each.cut is not None]
    return Times(micros=pc.coalesce(*[each.micros for each in found]), cut=reduce(pc.or_, cuts) if cuts else None)


def _spelled(value: object) -> str | None:
    return None if value is None else repr(value) if isinstance(value, float) else str(value)


def _each(values: pa.Array, unit: TimeUnit, convert: Callable[[pa.Array, TimeUnit], Times]) -> Times:
    """Numbers in the unit that is given, or each in the one that it says."""
    if unit is not TimeUnit.AUTO:
        return convert(values, unit) if unit is not TimeUnit.ISO else together([], len(values))
    found = []
    for first, end, each in READINGS:
        inside = _between(values, first, end - 1 if pa.types.is_integer(values.type) else end)
        if pc.all(inside, min_count=0).as_py():
            return convert(values, each)
        if pc.any(inside).as_py():
            found.append(convert(pc.if_else(inside, values, None), each))
    return together(found, len(values))


def _between(values: pa.Array, first: int, last: int) -> pa.BooleanArray:
    """Where a number is one of a span; behind the last integer there is none."""
    if pa.types.is_integer(values.type):
        return pc.and_(pc.greater_equal(values, first), pc.less_equal(values, min(last, (1 << 63) - 1)))
    return pc.and_(
        pc.greater_equal(values, pa.scalar(Decimal(first), values.type)),
        pc.less(values, pa.scalar(Decimal(last), values.type)),
    )


def _scaled(values: pa.Int64Array, unit: TimeUnit) -> Times:
    if unit is TimeUnit.NS:
        whole = pc.divide(values, _NANOS)
        finer = pc.fill_null(pc.not_equal(pc.multiply(whole, _NANOS), values), False)
        if not pc.any(finer).as_py():
            return Times(micros=whole)
        early = pc.and_(finer, pc.less(values, 0))
        return Times(micros=pc.subtract(whole, early.cast(pa.int64())), cut=finer)
    scale = 10 ** POWERS[unit]
    kept = pc.if_else(_between(values, -(-times.MIN_MICROS // scale), times.MAX_MICROS // scale), values, None)
    return Times(micros=pc.multiply(kept, pa.scalar(scale, pa.int64())))


def _decimals(values: pa.Decimal128Array, unit: TimeUnit) -> Times:
    power = POWERS[unit]
    rounded = pc.round(values, ndigits=power, round_mode="half_to_even")
    least, most = (pa.scalar(Decimal(each).scaleb(-power), _EXACT) for each in (times.MIN_MICROS, times.MAX_MICROS))
    inside = pc.and_(pc.greater_equal(rounded, least), pc.less_equal(rounded, most))
    factor = pa.scalar(Decimal(1).scaleb(power), pa.decimal128(3, 3) if power < 0 else pa.decimal128(power + 1, 0))
    micros = pc.multiply(pc.if_else(inside, rounded, None).cast(_ROUNDED), factor).cast(pa.int64())
    left_out = pc.fill_null(pc.and_(inside, pc.not_equal(rounded, values)), False)
    return Times(micros=micros, cut=left_out if pc.any(left_out).as_py() else None)


def _reals(values: pa.Array, unit: TimeUnit) -> Times:
    """By their shortest decimal digits, which are what text formats hold of them."""
    wide = values.cast(pa.float64())
    sane = pc.if_else(pc.less(pc.abs(wide), _TOO_LARGE), wide, None)
    return Times(micros=_each(sane.cast(pa.string()).cast(_EXACT), unit, _decimals).micros)


def _texts(values: pa.StringArray, unit: TimeUnit) -> Times:
    for shape, kind in _SPELLINGS:
        if pc.all(pc.match_substring_regex(values, shape), min_count=0).as_py():
            typed = values.cast(kind)
            return _each(typed, unit, _decimals) if pa.types.is_decimal(kind) else read_times(typed, unit)
    return _one_by_one(values, unit)


def _one_by_one(column: pa.Array, unit: TimeUnit) -> Times:
    text = pa.types.is_string(column.type)
    read = cache(lambda value: _read(value, unit))
    values = column.cast(pa.binary()).to_pylist() if text else map(_spelled, column.to_pylist())
    found = [read(value) for value in values]
    cut = text and any(finer for _, finer in found)
    return Times(
        micros=pa.array([micros for micros, _ in found], pa.int64()),
        cut=pa.array([finer for _, finer in found]) if cut else None,
    )


def _read(value: bytes | str | None, unit: TimeUnit) -> tuple[int | None, bool]:
    try:
        text = value.decode() if isinstance(value, bytes) else value
        return (None, False) if text is None else moment(text, unit)
    except (UnicodeDecodeError, InvalidEvent):
        return None, False
