"""What is to be computed to know whether a row matches: a tree whose names are columns and whose values have one type.

``model/checking.py`` makes it of an expression, without any negation but in its leaves. All evaluators start from it
(``pipeline/matching.py`` over batches, ``sources/pushdown.py`` as SQL); ``docs/where.md`` says what each node means.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import reduce
from typing import TypeAlias

from penstock.model.expression import (
    MIRRORED,
    OPPOSITE,
    Comparison,
    Operator,
)


class Kind(Enum):
    """What a value is. ``NUMBER`` is an integer or a float, row by row; ``ANY`` is whatever JSON holds."""

    INTEGER = "a whole number"
    FLOAT = "a number"
    NUMBER = "a number of JSON"
    DECIMAL = "a decimal"
    TEXT = "text"
    TRUTH = "true or false"
    TIME = "a time"
    BINARY = "binary"
    ANY = "a value of JSON"


#: Kinds that can be compared with each other.
NUMBERS = (Kind.INTEGER, Kind.FLOAT, Kind.NUMBER, Kind.DECIMAL)
LEAST, MOST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Constant:
    """A value of the text. Times are microseconds; a ``Decimal`` is a number beside a decimal."""

    kind: Kind
    value: int | float | str | bool | Decimal


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a column."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """What a JSON column holds at a path, where it is of that kind; of ``ANY`` kind, whether anything is there."""

    kind: Kind
    column: str
    steps: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """Numbers put together. ``kind`` is what the result is."""

    kind: Kind
    operator: Operator
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class Compared:
    """Two values of kinds that can be compared."""

    operator: Comparison
    left: Value
    right: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """Whether a value is one of those in the list, or with ``negated`` none of them."""

    operand: Value
    items: tuple[int | float | str | Decimal, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """Whether text is as a pattern says: pieces of it, ``%`` and ``_`` as ``None`` and 1."""

    operand: Value
    pattern: tuple[str | int | None, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether there is no value, or with ``negated`` one."""

    operand: Condition
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Either:
    """The first of these conditions that is not null: a value of JSON read as more than one kind."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class All:
    operands: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Whether any of them holds."""

    operands: tuple[Condition, ...]


Value: TypeAlias = Constant | Column | Member | Computed
#: Every value of truth is a condition; a comparison may stand in a comparison.
Condition: TypeAlias = Value | Compared | OneOf | Matches | Missing | Either | All | Some


def conjuncts(condition: Condition | None) -> tuple[Condition, ...]:
    """What has to hold, each by itself."""
    match condition:
        case None:
            return ()
        case All(operands=operands):
            return operands
        case _:
            return (condition,)


def columns(condition: Condition) -> frozenset[str]:
    """The columns that are looked at."""
    match condition:
        case Constant():
            return frozenset()
        case Column(name=name) | Member(column=name):
            return frozenset({name})
        case Computed(left=left, right=right) | Compared(left=left, right=right):
            return columns(left) | columns(right)
        case OneOf(operand=operand) | Matches(operand=operand) | Missing(operand=operand):
            return columns(operand)
        case Either(operands=operands) | All(operands=operands) | Some(operands=operands):
            return reduce(frozenset.union, map(columns, operands), frozenset())


def apart(condition: Condition | None, column: str | None) -> tuple[Condition, ...]:
    """What has to hold whatever a column is."""
    return tuple(each for each in conjuncts(condition) if column not in columns(each))


def span(condition: Condition | None, column: str | None) -> tuple[int, int]:
    """The lowest and the highest value that a column of times or integers may have in a row that matches, as far as
    single conditions on it tell."""
    low, high = LEAST, MOST
    for each in conjuncts(condition):
        match each:
            case Compared(operator=operator, left=Column(name=name), right=Constant(value=int(value))):
                pass
            case Compared(operator=other, left=Constant(value=int(value)), right=Column(name=name)):
                operator = MIRRORED[other]
            case _:
                continue
        if name != column:
            continue
        if operator in (">=", ">", "="):
            low = max(low, value + (operator == ">"))
        if operator in ("<=", "<", "="):
            high = min(high, value - (operator == "<"))
    return low, high


def opposite(condition: Condition) -> Condition:
    """What holds where the condition is false, and is null where it is null."""
    match condition:
        case Compared(operator=operator, left=left, right=right):
            return Compared(OPPOSITE[operator], left, right)
        case OneOf(operand=operand, items=items, negated=negated):
            return OneOf(operand, items, not negated)
        case Matches(operand=operand, pattern=pattern, negated=negated):
            return Matches(operand, pattern, not negated)
        case Missing(operand=inner, negated=negated):
            return Missing(inner, not negated)
        case Either(operands=operands):
            return Either(tuple(map(opposite, operands)))
        case All(operands=operands):
            return Some(tuple(map(opposite, operands)))
        case Some(operands=operands):
            return All(tuple(map(opposite, operands)))
        case Constant(value=value):
            return Constant(Kind.TRUTH, not value)
        case _:
            return Compared("=", condition, Constant(Kind.TRUTH, False))


def kind_of(condition: Condition) -> Kind:
    """What the condition is, as a value."""
    match condition:
        case Constant(kind=kind) | Column(kind=kind) | Member(kind=kind) | Computed(kind=kind):
            return kind
        case _:
            return Kind.TRUTH
