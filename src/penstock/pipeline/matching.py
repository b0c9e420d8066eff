"""A filter over batches: which rows match, by Arrow's kernels. ``docs/where.md`` says what every part of a condition
means; SQL (``sources/pushdown.py``) only takes rows away beforehand that would not match here."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.condition import (
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
    kind_of,
)
from penstock.model.dataset import Dataset, instants
from penstock.model.expression import MIRRORED, Comparison
from penstock.model.filter import ExportFilter
from penstock.pipeline import native
from penstock.pipeline.numbers import (
    HOLDS,
    Numbers,
    compare,
    compare_decimals,
    compute,
    is_one_of,
    is_present,
    of_floats,
)

#: What is wanted of JSON, as the library counts it.
WANTED = {Kind.NUMBER: 0, Kind.TEXT: 1, Kind.TRUTH: 2, Kind.ANY: 3}
_WIDEST = 76


class Matcher:
    """Which rows of a dataset a filter takes, but for its limit. Safe from any thread.

    Raises :class:`~penstock.errors.InvalidFilter` for a condition that the dataset cannot answer.
    """

    def __init__(self, filter: ExportFilter, dataset: Dataset) -> None:
        self.condition = filter.condition(dataset)

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Whether each row matches; never null."""
        if self.condition is None:
            return pa.repeat(pa.scalar(True), batch.num_rows)
        return pc.fill_null(truth(batch, self.condition), False)

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that match, in their order."""
        return batch if self.condition is None else batch.filter(self.mask(batch))


def truth(batch: pa.RecordBatch, condition: Condition) -> pa.BooleanArray:
    """Whether the condition holds in each row, or null where that is not known."""
    found = _truth(batch, condition)
    return pa.repeat(found, batch.num_rows) if isinstance(found, pa.Scalar) else found


def _truth(batch: pa.RecordBatch, condition: Condition) -> Any:
    match condition:
        case Constant(value=value):
            return pa.scalar(value, pa.bool_())
        case Column(name=name):
            return batch[name]
        case Member():
            return _member(batch, condition)[0].cast(pa.bool_())
        case Compared(operator=operator, left=left, right=right):
            return _compared(batch, operator, left, right)
        case OneOf(operand=operand, items=items, negated=negated):
            return _unless(negated, _one_of(batch, operand, items))
        case Matches(operand=operand, pattern=pattern, negated=negated):
            return _unless(negated, pc.match_substring_regex(_plain(batch, operand), pattern=_regular(pattern)))
        case Missing(operand=operand, negated=negated):
            return _unless(not negated, _present(batch, operand))
        case Either(operands=operands):
            return pc.coalesce(*(_truth(batch, operand) for operand in operands))
        case All(operands=operands):
            return reduce(pc.and_kleene, (_truth(batch, operand) for operand in operands))
        case Some(operands=operands):
            return reduce(pc.or_kleene, (_truth(batch, operand) for operand in operands))
        case Computed():
            raise AssertionError("a number is no condition")


def _unless(negated: bool, found: Any) -> Any:
    return pc.invert(found) if negated else found


def _compared(batch: pa.RecordBatch, operator: Comparison, left: Value, right: Value) -> Any:
    kinds = (kind_of(left), kind_of(right))
    if not set(kinds) <= set(NUMBERS):
        return HOLDS[operator](_plain(batch, left), _plain(batch, right))
    match left, right:
        case Column(kind=Kind.DECIMAL, name=name), Constant(kind=Kind.DECIMAL, value=Decimal() as value):
            return compare_decimals(operator, batch[name], value)
        case Constant(kind=Kind.DECIMAL), Column():
            return _compared(batch, MIRRORED[operator], right, left)
    if Kind.DECIMAL in kinds and set(kinds) <= {Kind.DECIMAL, Kind.INTEGER}:
        wide = _wide(batch, left), _wide(batch, right)
        if None not in wide:
            scale = max(each.type.scale for each in wide)
            if all(each.type.precision - each.type.scale + scale <= _WIDEST for each in wide):
                return HOLDS[operator](*(each.cast(pa.decimal256(_WIDEST, scale)) for each in wide))
    return compare(operator, _numbers(batch, left), _numbers(batch, right))


def _plain(batch: pa.RecordBatch, value: Condition) -> Any:
    """Text, times and truth."""
    match value:
        case Constant(kind=Kind.TEXT, value=given):
            return pa.scalar(given, pa.string())
        case Constant(kind=Kind.TIME, value=given):
            return pa.scalar(given, pa.int64())
        case Column(kind=Kind.TIME, name=name):
            return instants(batch[name])
        case Column(name=name):
            return batch[name]
        case Member(kind=Kind.TEXT):
            return _member(batch, value)[2]
        case _:
            return _truth(batch, value)


def _numbers(batch: pa.RecordBatch, value: Value) -> Numbers:
    match value:
        case Constant(kind=Kind.INTEGER, value=given):
            return Numbers(pa.scalar(given, pa.int64()))
        case Constant(value=given):
            return Numbers(None, pa.scalar(given, pa.float64()))
        case Column(kind=Kind.INTEGER, name=name):
            return Numbers(batch[name])
        case Column(kind=Kind.DECIMAL, name=name):  # by way of text, which rounds right
            return of_floats(batch[name].cast(pa.string()).cast(pa.float64()))
        case Column(name=name):
            return of_floats(batch[name])
        case Member():
            integers, floats, _ = _member(batch, value)
            return Numbers(integers, floats)
        case Computed(operator=operator, left=left, right=right):
            return compute(operator, _numbers(batch, left), _numbers(batch, right))


def _member(batch: pa.RecordBatch, value: Member) -> tuple[Any, Any, Any]:
    return native.picked(batch[value.column], value.steps, WANTED[value.kind])


def _wide(batch: pa.RecordBatch, value: Value) -> Any:
    """A column of decimals or integers as decimals; ``None`` for what is computed."""
    match value:
        case Column(kind=Kind.DECIMAL, name=name):
            return batch[name]
        case Column(name=name):
            return batch[name].cast(pa.decimal128(19, 0))
        case _:
            return None


def _one_of(batch: pa.RecordBatch, operand: Value, items: Any) -> Any:
    kind = kind_of(operand)
    match operand:
        case Column(kind=Kind.DECIMAL, name=name):
            return reduce(pc.or_, (compare_decimals("=", batch[name], Decimal(item)) for item in items))
    if kind in NUMBERS:
        return is_one_of(_numbers(batch, operand), items)
    column = _plain(batch, operand)
    found = pc.is_in(column, pa.array(items, column.type))
    return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))


def _present(batch: pa.RecordBatch, operand: Condition) -> Any:
    match operand:
        case Member(kind=Kind.ANY):
            return pc.is_valid(_member(batch, operand)[0])
        case Column(kind=Kind.FLOAT) | Computed():
            return is_present(_numbers(batch, operand))
        case Column(name=name):
            return pc.is_valid(batch[name])
        case _:
            return pc.is_valid(_truth(batch, operand))


def _regular(pattern: tuple[str | int | None, ...]) -> str:
    pieces = [".*" if each is None else "." if each == 1 else _escaped(each) for each in pattern]
    return rf"(?s)\A{''.join(pieces)}\z"


def _escaped(text: Any) -> str:
    return "".join(one if one.isalnum() or ord(one) > 127 else rf"\x{ord(one):02x}" for one in text)
