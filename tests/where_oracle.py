"""Conditions evaluated row by row in plain Python, from the words of ``docs/where.md`` alone, and made up by chance.

The oracle shares the tree with the product and nothing else: numbers are ``Fraction``, JSON is read by ``json``.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

from penstock.model.expression import (
    Arithmetic,
    Compare,
    Expression,
    In,
    IsNull,
    Junction,
    Like,
    Literal,
    Name,
    Not,
    text_of,
)
from penstock.model.times import parse_timestamp

_MOST = (1 << 63) - 1
_TEXTS = [
    "",
    "a",
    "b",
    "A",
    "é",
    "日本",
    "😀",
    "a'b",
    '"',
    "\\",
    "%",
    "_",
    "/docs/",
    "/docs/x",
    "1",
    "\n",
    "\0",
    "a\0b",
]
_MOMENTS = [
    "2026-11-01",
    "2026-11-01T00:00:00.000001Z",
    "1970-01-01",
    "0001-01-01",
    "9999-12-31T23:59:59.999999Z",
    "2026-11-02T01:00:00+01:00",
]
Steps: TypeAlias = tuple[str | int, ...]
#: Stands for a value of JSON that is an array or an object.
_STRUCTURE = object()


def holds(expression: Expression, row: Mapping[str, Any], kinds: Mapping[str, str]) -> bool | None:
    """Whether a condition holds for a row. ``kinds`` says of each column what type it has."""
    found = _value(expression, row, kinds)
    return found if isinstance(found, bool) else None


def _value(expression: Expression, row: Mapping[str, Any], kinds: Mapping[str, str]) -> Any:
    match expression:
        case Literal(value=value):
            return value
        case Name(column=column, steps=steps):
            return _member(row[column], steps) if steps else row[column]
        case Arithmetic(operator=operator, left=left, right=right):
            return _computed(operator, _number(left, row, kinds), _number(right, row, kinds))
        case Compare(operator=operator, left=left, right=right):
            return _compared(operator, left, right, row, kinds)
        case In(operand=operand, items=items):
            found = [_compared("=", operand, item, row, kinds) for item in items]
            return True if True in found else False if False in found else None
        case Like(operand=operand, pattern=pattern, escape=escape):
            text = _value(operand, row, kinds)
            return bool(re.match(_regular(pattern, escape), text, re.DOTALL)) if isinstance(text, str) else None
        case IsNull(operand=operand):
            return _value(operand, row, kinds) is None
        case Not(operand=operand):
            inner = holds(operand, row, kinds)
            return None if inner is None else not inner
        case Junction(kind=kind, operands=operands):
            found = [holds(each, row, kinds) for each in operands]
            decisive = kind == "or"
            return decisive if decisive in found else None if None in found else not decisive
    raise AssertionError(expression)


def _member(text: str | None, steps: tuple[str | int, ...]) -> Any:
    if text is None:
        return None
    value: Any = json.loads(text, object_pairs_hook=_first, parse_int=_integer, parse_float=_float)
    for step in steps:
        named = isinstance(step, str) and isinstance(value, dict) and step in value
        if not named and not (isinstance(step, int) and isinstance(value, list) and step < len(value)):
            return None
        value = value[step]
    broken = isinstance(value, str) and re.search("[\ud800-\udfff]", value)
    return _STRUCTURE if broken or isinstance(value, (dict, list)) else value


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _integer(text: str) -> Any:
    number = int(text)
    if text == "-0":
        return -0.0
    return number if -_MOST - 1 <= number <= _MOST else _float(text)


def _float(text: str) -> Any:
    number = float(text)
    return number if math.isfinite(number) else _STRUCTURE


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _number(expression: Expression, row: Mapping[str, Any], kinds: Mapping[str, str]) -> int | float | None:
    value = _value(expression, row, kinds)
    if not _is_number(value):
        return None
    return value if isinstance(value, int) and -_MOST - 1 <= value <= _MOST else float(value)


def _computed(operator: str, left: int | float | None, right: int | float | None) -> int | float | None:
    if left is None or right is None:
        return None
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "/":
        return _finite(float(left) / float(right)) if right else None
    if operator == "%":
        if not (isinstance(left, int) and isinstance(right, int) and right):
            return None
        return (-1 if left < 0 else 1) * (abs(left) % abs(right))
    if whole:
        result = {"+": left + right, "-": left - right, "*": left * right}[operator]
        return result if -_MOST - 1 <= result <= _MOST else None
    one, other = float(left), float(right)
    return _finite({"+": one + other, "-": one - other, "*": one * other}[operator])


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _compared(
    operator: str, one: Expression, other: Expression, row: Mapping[str, Any], kinds: Mapping[str, str]
) -> bool | None:
    left, right = _settled(one, other, row, kinds), _settled(other, one, row, kinds)
    if left is None or right is None or left is _STRUCTURE or right is _STRUCTURE:
        return None
    if _is_number(left) and _is_number(right):
        left, right = Fraction(left), Fraction(right)
    elif type(left) is not type(right) or (isinstance(left, bool) and operator not in ("=", "!=")):
        return None
    order = (left > right) - (left < right)
    return {
        "=": order == 0,
        "!=": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[operator]


def _settled(one: Expression, beside: Expression, row: Mapping[str, Any], kinds: Mapping[str, str]) -> Any:
    """A literal as what stands beside it needs it."""
    value = _value(one, row, kinds)
    near = kinds[beside.column] if isinstance(beside, Name) and not beside.steps else ""
    if isinstance(one, Literal) and isinstance(value, str) and near in ("timestamp_utc", "timestamp", "date"):
        return parse_timestamp(value)
    if isinstance(one, Literal) and _is_number(value) and not near.startswith("decimal"):
        return value if isinstance(value, int) and -_MOST - 1 <= value <= _MOST else float(value)
    mine = kinds[one.column] if isinstance(one, Name) and not one.steps else ""
    if mine.startswith("decimal") and value is not None:
        exact = near.startswith("decimal") or near == "int64" or isinstance(beside, Literal)
        return value if exact else float(value)
    return value


def _regular(pattern: str, escape: str | None) -> str:
    pieces, characters = [], iter(pattern)
    for one in characters:
        if one == escape:
            pieces.append(re.escape(next(characters)))
        else:
            pieces.append({"%": ".*", "_": "."}.get(one) or re.escape(one))
    return "".join(pieces) + r"\Z"


class Chance:
    """Makes up conditions over columns of these types, and over these members of JSON columns."""

    def __init__(self, source: random.Random, kinds: Mapping[str, str], members: Sequence[tuple[str, Steps]]) -> None:
        self._source = source
        self._kinds = kinds
        self._members = members

    def condition(self, depth: int) -> Expression:
        pick = self._source.random()
        if depth > 0 and pick < 0.3:
            kind = self._source.choice(["and", "or"])
            parts = tuple(self._apart(self.condition(depth - 1), kind) for _ in range(self._source.randint(2, 4)))
            return Junction(kind, parts)  # type: ignore[arg-type]
        if depth > 0 and pick < 0.45:
            return Not(self.condition(depth - 1))
        if pick < 0.55:
            return IsNull(self._any(depth))
        if pick < 0.65:
            return self._like()
        if pick < 0.8:
            return self._listed()
        return self._comparison(depth)

    def _apart(self, inner: Expression, kind: str) -> Expression:
        return Not(inner) if isinstance(inner, Junction) and inner.kind == kind else inner

    def _columns(self, *kinds: str) -> list[str]:
        return [name for name, kind in self._kinds.items() if kind.partition("(")[0] in kinds]

    def _any(self, depth: int) -> Expression:
        if self._source.random() < 0.4:
            return self._path()
        if self._source.random() < 0.3:
            return self._number(depth)
        return Name(self._source.choice(list(self._kinds)))

    def _path(self) -> Expression:
        return Name(*self._source.choice(self._members))

    def _number(self, depth: int, *, whole: bool = False) -> Expression:
        pick = self._source.random()
        if depth > 0 and pick < 0.35:
            operator = self._source.choice("+-*/%" if not whole else "+-*%")
            inner = operator == "%" or whole
            return Arithmetic(
                operator,  # type: ignore[arg-type]
                self._number(depth - 1, whole=inner),
                self._number(depth - 1, whole=inner),
            )
        if pick < 0.65:
            return Name(self._source.choice(self._columns("int64", *(() if whole else ("float64", "decimal")))))
        return self._path() if pick < 0.85 else self.number_literal(whole=whole)

    def number_literal(self, *, whole: bool = False) -> Literal:
        integers = [0, 1, -1, 2, 3, 7, 400, 2**53, 2**53 + 1, -(2**53) - 1, _MOST, -_MOST - 1, 10**9]
        floats = ["0.5", "1.5", "0.1", "-0.25", "1e300", "9007199254740993.0", "9223372036854775808", "1e-300", "19.99"]
        if whole or self._source.random() < 0.6:
            return Literal(self._source.choice(integers))
        number = Decimal(self._source.choice(floats))
        return Literal(int(number) if number == int(number) and "e" not in str(number).lower() else number)

    def text_literal(self) -> str:
        return self._source.choice(_TEXTS)

    def _texts(self) -> list[str]:
        return self._columns("text")

    def _text(self) -> Expression:
        return self._path() if self._source.random() < 0.4 else Name(self._source.choice(self._texts()))

    def _like(self) -> Expression:
        pieces = [self._source.choice(["%", "_", self.text_literal()]) for _ in range(self._source.randint(0, 4))]
        escape = self._source.choice([None, None, "!", "\\"])
        pattern = "".join(pieces)
        if escape is not None:
            pattern = pattern.replace(escape, escape * 2) + self._source.choice(["", f"{escape}%", f"{escape}_"])
        found: Expression = Like(self._text(), pattern, escape)
        return found if self._source.random() < 0.7 else Not(found)

    def _listed(self) -> Expression:
        count = self._source.randint(1, 4)
        pick = self._source.random()
        if pick < 0.35:
            return In(self._number(1), tuple(self.number_literal() for _ in range(count)))
        if pick < 0.7:
            return In(self._text(), tuple(Literal(self.text_literal()) for _ in range(count)))
        if pick < 0.8:
            texts = [Literal(self.text_literal()) for _ in range(count)]
            mixed = [*texts, self.number_literal()]
            return In(self._path(), tuple(mixed))
        return In(Name(self._source.choice(self._times())), tuple(Literal(self._moment()) for _ in range(count)))

    def _times(self) -> list[str]:
        return self._columns("timestamp_utc", "timestamp", "date")

    def _moment(self) -> str:
        return self._source.choice(_MOMENTS)

    def _comparison(self, depth: int) -> Expression:
        operator: Any = self._source.choice(["=", "!=", "<", "<=", ">", ">="])
        equality: Any = self._source.choice(["=", "!="])
        pick = self._source.random()
        sides: list[Expression]
        if pick < 0.45:
            sides = [self._number(depth), self._number(depth)]
            return Compare(operator, *sides)
        if pick < 0.6:
            column = self._text()
            if text_of(column) == "priority":
                operator = equality
            sides = [column, Literal(self.text_literal())]
        elif pick < 0.7:
            sides = [Name(self._source.choice(self._times())), Literal(self._moment())]
        elif pick < 0.78:
            sides = [Name(self._source.choice(self._times())), Name(self._source.choice(self._times()))]
        elif pick < 0.88:
            sides = [self._path(), self._path()]
        elif pick < 0.94:
            truths = self._columns("bool")
            truth = Name(self._source.choice(truths)) if truths and self._source.random() < 0.5 else self._path()
            return Compare(equality, truth, Literal(self._source.random() < 0.5))
        else:
            return Compare(equality, self.condition(max(depth - 1, 0)), self.condition(max(depth - 1, 0)))
        if self._source.random() < 0.3:
            sides.reverse()
        return Compare(operator, *sides)
