"""Times of tables that are not ours: ISO text, and epoch numbers in a unit that is given or that the number says.

Without a unit a number is read by how many digits its whole part has: 10 are seconds, 13 milliseconds, 16 microseconds,
19 nanoseconds. Each of these is a time between 2001-09-09 and 2286-11-20, so no number has two readings; any other
number is no time until a unit is given for its column. The same holds for numbers that are stored as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model import times


class Unit(StrEnum):
    """How a number is a time. Text that is no number is always read as ISO; ``ISO`` reads nothing else."""

    AUTO = "auto"
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    ISO = "iso"


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Microseconds since the epoch, null where the value is missing or no time, and where finer digits were cut off.

    ``cut`` is ``None`` when that happened nowhere.
    """

    micros: pa.Int64Array
    cut: pa.BooleanArray | None


#: What a number is by itself: from the first to below the second. No integer reaches the last border.
_READINGS = (
    (10**9, 10**10, Unit.S),
    (10**12, 10**13, Unit.MS),
    (10**15, 10**16, Unit.US),
    (10**18, 10**19, Unit.NS),
)
#: Powers of ten from a unit to the microsecond.
_POWERS = {Unit.S: 6, Unit.MS: 3, Unit.US: 0, Unit.NS: -3}
_NANOS = 1000
_MOST = (1 << 63) - 1
_NAIVE = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?$"
_SUFFIXES = ("Z", "+00:00", "")
_NUMBER = re.compile(r"([+-]?)(\d{1,30})(?:\.(\d{0,40}))?\Z", re.ASCII)
#: A digit other than 0 behind the sixth of a fraction.
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]", re.ASCII)


def read_times(integers: pa.Int64Array, reals: pa.DoubleArray, texts: pa.StringArray, unit: Unit) -> Times:
    """The times of a column that came as three, by how each value is stored; at most one of them holds a value.

    Reals are rounded to the nearest microsecond, since they seldom hold one exactly; what integers and text say beyond
    the microsecond is cut off. Text that is not UTF-8 is no time.
    """
    size = len(integers)
    found = []
    if unit is not Unit.ISO and integers.null_count < size:
        found.append(_each(integers, unit, _scaled))
    if unit is not Unit.ISO and reals.null_count < size:
        found.append(_each(reals, unit, _rounded))
    if texts.null_count < size:
        found.append(_texts(texts, unit))
    return _together(found, size)


def _together(found: list[Times], size: int) -> Times:
    """What was found in several places, no row of which is in two of them."""
    if not found:
        return Times(micros=pa.nulls(size, pa.int64()), cut=None)
    micros, cut = found[0].micros, found[0].cut
    for each in found[1:]:
        micros = pc.coalesce(micros, each.micros)
        cut = each.cut if cut is None else cut if each.cut is None else pc.or_(cut, each.cut)
    return Times(micros=micros, cut=cut)


def _each(values: pa.Array, unit: Unit, convert: Callable[[pa.Array, Unit], Times]) -> Times:
    """Numbers in the unit that is given, or each in the one that it says."""
    if unit is not Unit.AUTO:
        return convert(values, unit)
    extremes = pc.min_max(values).as_py()
    for first, border, each in _READINGS:
        if first <= extremes["min"] and extremes["max"] < border:
            return convert(values, each)
    found = []
    for first, border, each in _READINGS:
        if pa.types.is_floating(values.type):
            inside = pc.and_(pc.greater_equal(values, float(first)), pc.less(values, float(border)))
        else:
            inside = pc.and_(pc.greater_equal(values, first), pc.less_equal(values, min(border - 1, _MOST)))
        if pc.any(inside).as_py():
            found.append(convert(pc.if_else(inside, values, None), each))
    return _together(found, len(values))


def _scaled(values: pa.Int64Array, unit: Unit) -> Times:
    if unit is Unit.NS:
        whole = pc.divide(values, _NANOS)
        finer = pc.fill_null(pc.not_equal(pc.multiply(whole, _NANOS), values), False)
        if not pc.any(finer).as_py():
            return Times(micros=whole, cut=None)
        early = pc.and_(finer, pc.less(values, 0))
        return Times(micros=pc.subtract(whole, early.cast(pa.int64())), cut=finer)
    scale = 10 ** _POWERS[unit]
    first, last = -(-times.MIN_MICROS // scale), times.MAX_MICROS // scale
    extremes = pc.min_max(values).as_py()
    if extremes["min"] is not None and not first <= extremes["min"] <= extremes["max"] <= last:
        inside = pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))
        values = pc.if_else(inside, values, None)
    return Times(micros=pc.multiply(values, pa.scalar(scale, pa.int64())), cut=None)


def _rounded(values: pa.DoubleArray, unit: Unit) -> Times:
    power = _POWERS[unit]
    exact = pc.divide(values, float(10**-power)) if power < 0 else pc.multiply(values, float(10**power))
    whole = pc.round(exact, round_mode="half_to_even")
    # as a float the last microsecond is the one after it, so it is compared with "less", not with "not more"
    inside = pc.and_(pc.greater_equal(whole, float(times.MIN_MICROS)), pc.less(whole, float(times.MAX_MICROS)))
    return Times(micros=pc.if_else(inside, whole, None).cast(pa.int64()), cut=None)


def _texts(values: pa.StringArray, unit: Unit) -> Times:
    plain = _plain_iso(values)
    if plain is not None:
        return Times(micros=plain, cut=None)
    known: dict[bytes | None, tuple[int | None, bool]] = {None: (None, False)}
    micros: list[int | None] = []
    cut: list[bool] = []
    for value in values.cast(pa.binary()).to_pylist():
        if value not in known:
            known[value] = _text(value, unit)
        moment, finer = known[value]
        micros.append(moment)
        cut.append(finer)
    return Times(micros=pa.array(micros, pa.int64()), cut=pa.array(cut) if any(cut) else None)


def _plain_iso(values: pa.StringArray) -> pa.Int64Array | None:
    """All of a column at once, if every value is a date and a time to the second or finer, in UTC or without offset."""
    try:
        values.validate(full=True)
        suffix = next(mark for mark in _SUFFIXES if not mark or pc.all(pc.ends_with(values, mark)).as_py())
        naive = pc.utf8_slice_codeunits(values, 0, -len(suffix)) if suffix else values
        if not pc.all(pc.match_substring_regex(naive, _NAIVE)).as_py():
            return None
        micros = naive.cast(pa.timestamp("us")).cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return micros if pc.min(micros).as_py() >= times.MIN_MICROS else None


def _text(value: bytes, unit: Unit) -> tuple[int | None, bool]:
    """One text as a time, and whether digits were cut off."""
    try:
        text = value.decode("utf-8").strip()
        number = _NUMBER.match(text)
        if number is None:
            return times.parse_timestamp(text), _FINER.search(text) is not None
    except (UnicodeDecodeError, InvalidEvent):
        return None, False
    sign, whole, fraction = number.groups(default="")
    if unit is Unit.AUTO:
        unit = next((each for first, border, each in _READINGS if first <= int(whole) < border), Unit.ISO)
        unit = unit if not sign and not whole.startswith("0") else Unit.ISO
    if unit is Unit.ISO:
        return None, False
    shift = _POWERS[unit] - len(fraction)
    digits = int(sign + whole + fraction)
    micros, rest = (digits * 10**shift, 0) if shift >= 0 else divmod(digits, 10**-shift)
    return (micros, rest != 0) if times.MIN_MICROS <= micros <= times.MAX_MICROS else (None, False)
