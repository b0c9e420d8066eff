"""Checks an expression against a dataset, and says exactly what is wrong with it: names that are not there, values that
cannot be compared."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from penstock.errors import InvalidEvent, InvalidFilter
from penstock.model import times
from penstock.model.condition import (
    LEAST,
    MOST,
    NUMBERS,
    All,
    Column,
    Compared,
    Computed,
    Condition,
    Constant,
    Either,
    Kind,
    Matches,
    Member,
    Missing,
    OneOf,
    Some,
    Value,
    columns,
    kind_of,
    opposite,
)
from penstock.model.dataset import Dataset, type_name
from penstock.model.expression import (
    Arithmetic,
    Compare,
    Comparison,
    Expression,
    In,
    IsNull,
    Junction,
    Like,
    Literal,
    Name,
    Not,
    name_text,
    text_of,
)
from penstock.model.nearest import listed, nearest

_KINDS = {
    "bool": Kind.TRUTH,
    "int64": Kind.INTEGER,
    "float64": Kind.FLOAT,
    "decimal": Kind.DECIMAL,
    "text": Kind.TEXT,
    "binary": Kind.BINARY,
    "date": Kind.TIME,
    "timestamp": Kind.TIME,
    "timestamp_utc": Kind.TIME,
    "json": Kind.ANY,
}
#: Characters that a pattern may have.
_LONGEST_PATTERN = 1_000
#: Up to here every integer is a float.
_EXACT = 1 << 53


def check(expression: Expression, dataset: Dataset) -> Condition:
    """The condition that an expression is on the rows of a dataset.

    Raises :class:`~penstock.errors.InvalidFilter` for a column that the dataset does not have, with the nearest name,
    and for values that cannot be compared.
    """
    return _Checker(dataset).condition(expression, negated=False)


class _Checker:
    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def condition(self, expression: Expression, *, negated: bool) -> Condition:
        """Something that is true or false."""
        match expression:
            case Not(operand=operand):
                return self.condition(operand, negated=not negated)
            case Junction(kind=kind, operands=parts):
                inner = tuple(self.condition(part, negated=negated) for part in parts)
                return _joined(All if (kind == "and") != negated else Some, inner)
        found = self._known(self._any(expression), Kind.TRUTH)
        if kind_of(found) is not Kind.TRUTH:
            raise _wrong(expression, f"this is {kind_of(found).value}, and no condition", "compare it with something")
        return opposite(found) if negated else found

    def _any(self, expression: Expression) -> Condition:
        """A value or a condition, as it stands."""
        match expression:
            case Literal(value=value):
                return _constant(value)
            case Name():
                return self._name(expression)
            case Arithmetic():
                return self._computed(expression)
            case Compare(operator=operator, left=left, right=right):
                return self._compared(expression, operator, left, right)
            case In():
                return self._one_of(expression)
            case Like(operand=operand, pattern=pattern, escape=escape):
                text = self._value(operand, Kind.TEXT)
                if text.kind is not Kind.TEXT or not columns(text):
                    raise _wrong(expression, f"like looks at columns of text, and this is {text.kind.value}")
                return Matches(text, _pattern(expression, pattern, escape))
            case IsNull(operand=operand):
                return self._missing(expression, self._any(operand))
            case _:
                return self.condition(expression, negated=False)

    def _missing(self, at: IsNull, operand: Condition) -> Missing:
        match operand:
            case Constant():
                raise _wrong(at, "a value is never null", "ask it of a column")
            case _:
                return Missing(operand)

    def _name(self, name: Name) -> Value:
        schema = self._dataset.schema
        dotted = ".".join(map(str, (name.column, *name.steps)))
        if name.column not in schema.names and dotted in schema.names:  # members that are columns of their own
            name = Name(dotted, (), name.at)
        if name.column not in schema.names:
            near = nearest(name.column, schema.names)
            hint = near or f"a text stands in single quotes, as '{name.column}'; "
            there = f"its columns are {listed(schema.names)}"
            raise _wrong(name, f"{self._dataset.name} has no column {name.column!r}", hint + there)
        told = str(type_name(schema.field(name.column)))
        kind = _KINDS[told.partition("(")[0]]
        if name.steps and kind is not Kind.ANY:
            raise _wrong(
                name,
                f"{name.column!r} is {told}, only JSON has members",
                f'a name with a dot in it stands in quotes: "{name.column}.{name.steps[0]}"',
            )
        return Member(kind, name.column, name.steps) if name.steps else Column(kind, name.column)

    def _known(self, value: Condition, kind: Kind) -> Condition:
        """A member of JSON is of the kind that is asked for."""
        match value:
            case Member(kind=Kind.ANY, column=column, steps=steps):
                return Member(kind, column, steps)
            case _:
                return value

    def _value(self, expression: Expression, kind: Kind) -> Value:
        found = self._known(self._any(expression), kind)
        match found:
            case Constant() | Column() | Member() | Computed():
                return found
        raise _wrong(expression, "this is a condition, a value is expected")

    def _computed(self, expression: Arithmetic) -> Computed:
        sides = []
        for side in (expression.left, expression.right):
            value = self._value(side, Kind.NUMBER)
            if value.kind not in NUMBERS:
                raise _wrong(side, f"{expression.operator!r} takes numbers, and this is {value.kind.value}")
            match value:
                case Constant(kind=Kind.DECIMAL, value=given):
                    value = Constant(Kind.FLOAT, float(given))
            sides.append(value)
        kinds = [side.kind for side in sides]
        operator = expression.operator
        if operator == "%" and not set(kinds) <= {Kind.INTEGER, Kind.NUMBER}:
            raise _wrong(expression, "% takes whole numbers")
        if operator == "/" or Kind.FLOAT in kinds or Kind.DECIMAL in kinds:
            kind = Kind.FLOAT
        else:
            kind = Kind.NUMBER if Kind.NUMBER in kinds else Kind.INTEGER
        return Computed(kind, operator, *sides)

    def _compared(self, at: Compare, operator: Comparison, one: Expression, other: Expression) -> Condition:
        left, right = self._any(one), self._any(other)
        if kind_of(left) is Kind.ANY and kind_of(right) is Kind.ANY:
            for each in (left, right):
                self._members(at, each)
            kinds = [Kind.NUMBER, Kind.TEXT, *([Kind.TRUTH] if operator in ("=", "!=") else [])]
            return Either(tuple(self._pair(at, operator, left, right, kind) for kind in kinds))
        for value, beside in ((left, right), (right, left)):
            if kind_of(value) is Kind.ANY:
                self._members(at, value)
                kind = kind_of(beside)
                if kind in (Kind.TIME, Kind.BINARY):
                    raise _wrong(at, f"a member of JSON is never {kind.value}", "compare the column with a text")
                return self._pair(at, operator, left, right, Kind.NUMBER if kind in NUMBERS else kind)
        return self._pair(at, operator, left, right, kind_of(left))

    def _members(self, at: Expression, value: Condition) -> None:
        match value:
            case Column(name=name):
                raise _wrong(at, f"{name!r} is JSON", f"name a member of it, as {name_text(name, ('status',))}")

    def _pair(self, at: Compare, operator: Comparison, one: Condition, other: Condition, kind: Kind) -> Condition:
        left, right = self._beside(at, self._known(one, kind), other), self._beside(at, self._known(other, kind), one)
        kinds = (kind_of(left), kind_of(right))
        if not (kinds[0] is kinds[1] or set(kinds) <= set(NUMBERS)):
            raise _wrong(at, f"{kinds[0].value} cannot be compared with {kinds[1].value}", _advice(kinds))
        if Kind.BINARY in kinds:
            raise _wrong(at, "binary cannot be compared", "ask whether it is null")
        if Kind.TRUTH in kinds and operator not in ("=", "!="):
            raise _wrong(at, "true and false have no order", "write = or !=")
        priority = self._dataset.name == "events" and Column(Kind.TEXT, "priority") in (left, right)
        if priority and operator not in ("=", "!="):
            raise _wrong(at, "priorities are names, in another order", "write priority in ('high', 'critical')")
        match left, right:
            case Constant(kind=Kind.TEXT), Constant():
                raise _wrong(at, "two texts are compared here, and no column", "names of columns stand without quotes")
            case Constant(kind=Kind.TRUTH), Constant():
                raise _wrong(at, "no column is compared here")
        return Compared(operator, left, right)  # type: ignore[arg-type]  # conditions stand where truth is compared

    def _beside(self, at: Compare | In, value: Condition, other: Condition) -> Condition:
        """A constant as the other side needs it: text beside a time is a time, numbers are of its type."""
        match value, other:
            case Constant(kind=Kind.DECIMAL, value=given), Constant():
                return Constant(Kind.FLOAT, float(given))
            case Constant(), Constant():
                return value
            case Constant(kind=kind, value=given), _:
                return _fitted(at, kind, given, kind_of(other))
            case _:
                return value

    def _one_of(self, expression: In) -> Condition:
        operand = self._any(expression.operand)
        items = [_constant(item.value) for item in expression.items]
        if kind_of(operand) is not Kind.ANY:
            return self._list(expression, operand, items)
        self._members(expression, operand)
        texts = [item for item in items if item.kind is Kind.TEXT]
        numbers = [item for item in items if item.kind in NUMBERS]
        if len(texts) + len(numbers) < len(items):
            raise _wrong(expression, "a list takes numbers and texts only", "compare with true or false by =")
        some = [
            self._list(expression, self._known(operand, kind), chosen)
            for kind, chosen in ((Kind.TEXT, texts), (Kind.NUMBER, numbers))
            if chosen
        ]
        return some[0] if len(some) == 1 else Either(tuple(some))

    def _list(self, at: In, operand: Condition, items: Iterable[Constant]) -> Condition:
        match operand:
            case Column() | Member() | Computed():
                pass
            case _:
                raise _wrong(at, "in looks at columns, and this is none")
        if operand.kind in (Kind.TRUTH, Kind.BINARY):
            raise _wrong(at, f"{operand.kind.value} is in no list", "compare it by =, or ask whether it is null")
        values: list[Any] = []
        for item in items:
            fitted = self._beside(at, item, operand)
            kind = kind_of(fitted)
            if kind is not operand.kind and not {kind, operand.kind} <= set(NUMBERS):
                kinds = (operand.kind, kind)
                raise _wrong(at, f"{kinds[0].value} is never {kinds[1].value}", _advice(kinds))
            assert isinstance(fitted, Constant)
            values.append(fitted.value)
        return OneOf(operand, tuple(dict.fromkeys(values)))


def _joined(junction: type[All] | type[Some], operands: tuple[Condition, ...]) -> Condition:
    flat: list[Condition] = []
    for operand in operands:
        match operand:
            case All(operands=parts) if junction is All:
                flat += parts
            case Some(operands=parts) if junction is Some:
                flat += parts
            case _:
                flat.append(operand)
    return junction(tuple(flat))


def _constant(value: int | Decimal | str | bool) -> Constant:
    """A literal by itself: whole numbers of 64 bits are integers, all other numbers are the nearest float."""
    match value:
        case bool():
            return Constant(Kind.TRUTH, value)
        case str():
            return Constant(Kind.TEXT, value)
        case int() if LEAST <= value <= MOST:
            return Constant(Kind.INTEGER, value)
        case _:
            return Constant(Kind.DECIMAL, Decimal(value))


def _fitted(at: Expression, kind: Kind, value: int | float | str | Decimal, beside: Kind) -> Constant:
    if kind is Kind.TEXT and beside is Kind.TIME:
        try:
            return Constant(Kind.TIME, times.parse_timestamp(str(value)))
        except InvalidEvent as error:
            raise _wrong(at, error.message, "write '2026-11-01', or '2026-11-01T12:30:00Z'") from None
    if kind in (Kind.INTEGER, Kind.DECIMAL) and beside is Kind.DECIMAL:
        return Constant(Kind.DECIMAL, Decimal(value))
    if kind is Kind.DECIMAL or (kind is Kind.INTEGER and beside is Kind.FLOAT and abs(int(value)) <= _EXACT):
        return Constant(Kind.FLOAT, float(value))
    return Constant(kind, value)


def _pattern(at: Like, pattern: str, escape: str | None) -> tuple[str | int | None, ...]:
    """``%`` is any text and ``_`` any one character, but behind the escape they are themselves, as the escape is."""
    if len(pattern) > _LONGEST_PATTERN:
        raise _wrong(at, f"the pattern has more than {_LONGEST_PATTERN} characters", "shorten it")
    pieces: list[str | int | None] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            meant = next(characters, "")
            if meant not in ("%", "_", escape):
                raise _wrong(at, f"{escape!r} escapes nothing in the pattern", f"write %, _ or {escape} behind it")
            pieces.append(meant)
        else:
            pieces.append({"%": None, "_": 1}.get(character, character))
    joined: list[str | int | None] = []
    for piece in pieces:
        match piece, joined:
            case str(), [*_, str(last)]:
                joined[-1] = last + piece
            case None, [*_, None]:
                pass
            case _:
                joined.append(piece)
    return tuple(joined)


def _advice(kinds: tuple[Kind, Kind]) -> str | None:
    if Kind.TEXT in kinds and set(kinds) & set(NUMBERS):
        return "numbers stand without quotes, texts in single ones"
    if Kind.TRUTH in kinds:
        return "compare it with true or false"
    return None


def _wrong(at: Expression, what: str, hint: str | None = None) -> InvalidFilter:
    return InvalidFilter(f"the condition at {text_of(at)[:40]!r} (character {at.at + 1}): {what}", hint=hint)
