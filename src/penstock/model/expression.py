"""What a condition on rows is: a tree of frozen values, and the one text of each tree, which reads back as the same.

Only the tree belongs here. ``model/where.py`` reads it from text, ``model/condition.py`` checks it against a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal as OneWord
from typing import TypeAlias

#: Words that are no names unless they stand in double quotes.
WORDS = frozenset(["and", "or", "not", "in", "like", "escape", "is", "null", "between", "true", "false"])
Comparison: TypeAlias = OneWord["=", "!=", "<", "<=", ">", ">="]
Operator: TypeAlias = OneWord["+", "-", "*", "/", "%"]
#: What holds where a comparison does not, for two values that are there.
OPPOSITE: dict[Comparison, Comparison] = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
#: The same comparison with its sides exchanged.
MIRRORED: dict[Comparison, Comparison] = {"=": "=", "!=": "!=", "<": ">", ">=": "<=", ">": "<", "<=": ">="}
_PLAIN = re.compile(r"[^\W\d]\w*\Z")


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true or false. A number that is written with a point or an exponent is a ``Decimal``. ``at`` is
    where it stood in the text, for complaints alone."""

    value: int | Decimal | str | bool
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Name:
    """A column, or with ``steps`` (names of members, numbers of elements) a value inside of its JSON."""

    column: str
    steps: tuple[str | int, ...] = ()
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Operator
    left: Expression
    right: Expression
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    operator: Comparison
    left: Expression
    right: Expression
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class In:
    operand: Expression
    items: tuple[Literal, ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Like:
    operand: Expression
    pattern: str
    escape: str | None = None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class IsNull:
    operand: Expression
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    operand: Expression
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Junction:
    """Two or more conditions, of which all must hold, or any; none of them is a junction of the same kind."""

    kind: OneWord["and", "or"]
    operands: tuple[Expression, ...]
    at: int = field(default=0, compare=False)


Expression: TypeAlias = Literal | Name | Arithmetic | Compare | In | Like | IsNull | Not | Junction


def join(kind: OneWord["and", "or"], operands: Sequence[Expression]) -> Expression:
    """The junction of one or more conditions, flat."""
    flat: list[Expression] = []
    for operand in operands:
        match operand:
            case Junction(kind=inner, operands=parts) if inner == kind:
                flat += parts
            case _:
                flat.append(operand)
    return flat[0] if len(flat) == 1 else Junction(kind, tuple(flat), flat[0].at)


def names(expression: Expression) -> frozenset[str]:
    """The columns that are named."""
    match expression:
        case Name(column=column):
            return frozenset({column})
        case Arithmetic(left=left, right=right) | Compare(left=left, right=right):
            return names(left) | names(right)
        case In(operand=operand) | Like(operand=operand) | IsNull(operand=operand) | Not(operand=operand):
            return names(operand)
        case Junction(operands=operands):
            return frozenset[str]().union(*map(names, operands))
        case _:
            return frozenset()


#: How tightly each kind of expression holds together; an operand that holds less tightly stands in parentheses.
_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY, _ATOM = range(8)
_TIGHT: dict[Operator, int] = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}


def text_of(expression: Expression) -> str:
    """The text of a tree, which :func:`penstock.model.where.parse` reads as that tree."""
    return _text(expression)[0]


def _text(expression: Expression) -> tuple[str, int]:
    match expression:
        case Literal(value=value):
            return literal_text(value), _ATOM
        case Name(column=column, steps=steps):
            return name_text(column, steps), _ATOM
        case Arithmetic(operator=operator, left=left, right=right):
            tight = _TIGHT[operator]
            return f"{_within(left, tight)} {operator} {_within(right, tight + 1)}", tight
        case Compare(operator=operator, left=left, right=right):
            return f"{_within(left, _SUM)} {operator} {_within(right, _SUM)}", _COMPARE
        case In(operand=operand, items=items):
            return f"{_within(operand, _SUM)} in ({', '.join(literal_text(item.value) for item in items)})", _COMPARE
        case Like(operand=operand, pattern=pattern, escape=escape):
            more = "" if escape is None else f" escape {literal_text(escape)}"
            return f"{_within(operand, _SUM)} like {literal_text(pattern)}{more}", _COMPARE
        case IsNull(operand=operand):
            return f"{_within(operand, _SUM)} is null", _COMPARE
        case Not(operand=operand):
            return f"not {_within(operand, _NOT)}", _NOT
        case Junction(kind=kind, operands=operands):
            tight = _AND if kind == "and" else _OR
            return f" {kind} ".join(_within(operand, tight + 1) for operand in operands), tight


def _within(expression: Expression, tight: int) -> str:
    text, own = _text(expression)
    return text if own >= tight else f"({text})"


def literal_text(value: int | Decimal | str | bool) -> str:
    """A number, a text or a truth as it is written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def name_text(column: str, steps: tuple[str | int, ...] = ()) -> str:
    """A column, or a path into its JSON, as it is written."""
    told = [_quoted(column)]
    for step in steps:
        told.append(f"[{step}]" if isinstance(step, int) else f".{_quoted(step, member=True)}")
    return "".join(told)


def _quoted(name: str, *, member: bool = False) -> str:
    plain = _PLAIN.match(name) and (member or name.lower() not in WORDS)
    return name if plain else '"' + name.replace('"', '""') + '"'
