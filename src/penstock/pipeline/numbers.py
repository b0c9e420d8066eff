"""Numbers of a condition, row by row an integer of 64 bits or a finite float: arithmetic and comparison by the rules of
``docs/where.md``, which are those of SQLite as far as that is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.expression import MIRRORED, Comparison, Operator

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
#: The first float above all integers.
_ABOVE = float(1 << 63)
#: Digits of any decimal beside any number that a condition may name.
_WIDE = Context(prec=2_000)
#: What a comparison means between arrays, or values, of one type.
HOLDS: Mapping[Comparison, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column or a single value: in each row at most one of both is not null. ``None`` where there is none at all."""

    integers: Any = None
    floats: Any = None


def of_floats(floats: Any) -> Numbers:
    """Floats of which those that are not finite are null."""
    return Numbers(None, pc.if_else(pc.is_finite(floats), floats, pa.scalar(None, pa.float64())))


def compute(operator: Operator, left: Numbers, right: Numbers) -> Numbers:
    """The result is an integer where both are, but for ``/``; null where it is none, or no finite float."""
    if operator == "/":
        return of_floats(_divided(_as_floats(left), _as_floats(right)))
    integers = None
    if left.integers is not None and right.integers is not None:
        integers = _INTEGERS[operator](left.integers, right.integers)
    if operator == "%" or (left.floats is None and right.floats is None):
        return Numbers(integers)
    floats = {"+": pc.add, "-": pc.subtract, "*": pc.multiply}[operator](_as_floats(left), _as_floats(right))
    if integers is not None:
        whole = pc.and_(pc.is_valid(left.integers), pc.is_valid(right.integers))
        floats = pc.if_else(whole, pa.scalar(None, pa.float64()), floats)
    return Numbers(integers, of_floats(floats).floats)


def compare(operator: Comparison, left: Numbers, right: Numbers) -> Any:
    """Whether it holds for the numbers themselves, also where one is an integer and the other a float."""
    found = []
    if left.integers is not None and right.integers is not None:
        found.append(HOLDS[operator](left.integers, right.integers))
    if left.floats is not None and right.floats is not None:
        found.append(HOLDS[operator](left.floats, right.floats))
    if left.integers is not None and right.floats is not None:
        found.append(_mixed(operator, left.integers, right.floats))
    if left.floats is not None and right.integers is not None:
        found.append(_mixed(MIRRORED[operator], right.integers, left.floats))
    return found[0] if len(found) == 1 else pc.coalesce(*found)


def is_one_of(numbers: Numbers, items: Iterable[int | float]) -> Any:
    """Whether a number is one of these."""
    known = list(items)
    found = []
    if numbers.integers is not None:
        whole = [int(item) for item in known if int(item) == item and _LEAST <= item <= _MOST]
        found.append(_in(numbers.integers, whole))
    if numbers.floats is not None:
        found.append(_in(numbers.floats, [signed for item in known if float(item) == item for signed in _signed(item)]))
    return found[0] if len(found) == 1 else pc.coalesce(*found)


def _signed(item: int | float) -> tuple[float, ...]:
    """Zero is two floats, which are equal and not the same."""
    return (float(item),) if item else (0.0, -0.0)


def is_present(numbers: Numbers) -> Any:
    """Whether there is a number."""
    found = [pc.is_valid(each) for each in (numbers.integers, numbers.floats) if each is not None]
    return found[0] if len(found) == 1 else pc.or_(*found)


def compare_decimals(operator: Comparison, column: Any, value: Decimal) -> Any:
    """Whether it holds between a column of decimals and a number, exactly."""
    type = column.type
    scaled = int(value.scaleb(type.scale, _WIDE).to_integral_value(ROUND_FLOOR, _WIDE))
    # There is no decimal of that type between this one and the next.
    exact = Decimal(scaled).scaleb(-type.scale, _WIDE) == value
    if not exact and operator in ("=", "!="):
        return pc.if_else(pc.is_valid(column), pa.scalar(operator == "!="), pa.scalar(None, pa.bool_()))
    if not exact and operator in ("<", ">="):
        operator = "<=" if operator == "<" else ">"
    most = 10**type.precision - 1
    if not -most <= scaled <= most:
        holds = (operator in ("<", "<=", "!=")) if scaled > 0 else (operator in (">", ">=", "!="))
        return pc.if_else(pc.is_valid(column), pa.scalar(holds), pa.scalar(None, pa.bool_()))
    return HOLDS[operator](column, pa.scalar(Decimal(scaled).scaleb(-type.scale, _WIDE), type))


def _as_floats(numbers: Numbers) -> Any:
    if numbers.integers is None:
        return numbers.floats
    floats = numbers.integers.cast(pa.float64(), safe=False)
    return floats if numbers.floats is None else pc.coalesce(numbers.floats, floats)


def _divided(left: Any, right: Any) -> Any:
    nothing = pa.scalar(None, pa.float64())
    return pc.divide(left, pc.if_else(pc.equal(right, pa.scalar(0.0)), nothing, right))


def _added(left: Any, right: Any) -> Any:
    total = pc.add(left, right)
    return _unless(pc.less(pc.bit_wise_and(pc.bit_wise_xor(left, total), pc.bit_wise_xor(right, total)), 0), total)


def _subtracted(left: Any, right: Any) -> Any:
    rest = pc.subtract(left, right)
    return _unless(pc.less(pc.bit_wise_and(pc.bit_wise_xor(left, right), pc.bit_wise_xor(left, rest)), 0), rest)


def _multiplied(left: Any, right: Any) -> Any:
    product = pc.multiply(left, right)
    some = pc.if_else(pc.equal(left, 0), pa.scalar(1, pa.int64()), left)
    wrong = pc.and_(pc.not_equal(left, 0), pc.not_equal(pc.divide(product, some), right))
    beyond = pc.and_(pc.equal(left, -1), pc.equal(right, pa.scalar(_LEAST, pa.int64())))
    return _unless(pc.or_(wrong, beyond), product)


def _remaining(left: Any, right: Any) -> Any:
    """The sign is that of what is divided."""
    odd = pc.or_(pc.equal(right, 0), pc.equal(right, -1))
    divisor = pc.if_else(odd, pa.scalar(1, pa.int64()), right)
    rest = pc.subtract(left, pc.multiply(pc.divide(left, divisor), divisor))
    return _unless(pc.equal(right, 0), rest)


_INTEGERS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    "+": _added,
    "-": _subtracted,
    "*": _multiplied,
    "%": _remaining,
}


def _unless(wrong: Any, result: Any) -> Any:
    return pc.if_else(wrong, pa.scalar(None, pa.int64()), result)


def _mixed(operator: Comparison, integers: Any, floats: Any) -> Any:
    """An integer beside a float: beside its whole part first, then the fraction decides."""
    beyond = pc.or_(pc.greater_equal(floats, _ABOVE), pc.less(floats, -_ABOVE))
    whole = pc.trunc(pc.if_else(beyond, pa.scalar(0.0), floats))
    near = whole.cast(pa.int64())
    order = pc.if_else(
        beyond,
        pc.negate(pc.sign(floats)),
        pc.if_else(
            pc.equal(integers, near),
            pc.negate(pc.sign(pc.subtract(floats, whole))),
            pc.if_else(pc.less(integers, near), pa.scalar(-1.0), pa.scalar(1.0)),
        ),
    )
    there = pc.and_(pc.is_valid(integers), pc.is_valid(floats))
    return pc.if_else(there, HOLDS[operator](order, pa.scalar(0.0)), pa.scalar(None, pa.bool_()))


def _in(column: Any, items: list[Any]) -> Any:
    found = pc.is_in(column, pa.array(items, column.type))
    return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))
