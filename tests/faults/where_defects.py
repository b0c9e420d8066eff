"""Defects to plant in what conditions on rows mean, in Arrow and in SQL; see ``crash_defects``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model import condition
from penstock.model.condition import All, Constant, Kind, Some
from penstock.pipeline import matching, numbers
from penstock.sources import pushdown
from penstock.sources.sqlite import predicate
from penstock.sources.tables import asking

Patches = list[tuple[Any, str, Any]]


def _sql_believed_exact() -> Patches:
    """What SQL let through is not looked at again."""
    real = predicate.pushed
    return [(predicate, "pushed", lambda *given: replace(real(*given), exact=True))]


def _part_of_an_or_left_out() -> Patches:
    """What SQL cannot say is left out of an ``or`` as of an ``and``."""
    real = pushdown._said

    def said(wanted: Any, columns: Any) -> Any:
        match wanted:
            case Some(operands=operands):
                known = tuple(each for each in operands if real(each, columns) is not None)
                return real(Some(known), columns) if known else None
        return real(wanted, columns)

    return [(pushdown, "_said", said)]


def _texts_pasted_into_sql() -> Patches:
    real = pushdown._value

    def value(wanted: Any, *given: Any) -> Any:
        match wanted:
            case Constant(kind=Kind.TEXT, value=text):
                return pushdown.Pushed(f"'{text}'")
        return real(wanted, *given)

    return [(pushdown, "_value", value)]


def _sums_go_round() -> Patches:
    """An integer beyond 64 bits begins again at the other end."""
    wrapping = {**numbers._INTEGERS, "+": pc.add, "-": pc.subtract, "*": pc.multiply}
    return [(numbers, "_INTEGERS", wrapping)]


def _integers_rounded() -> Patches:
    """An integer beside a float is rounded to one."""

    def mixed(operator: Any, integers: Any, floats: Any) -> Any:
        return numbers.HOLDS[operator](integers.cast(pa.float64(), safe=False), floats)

    return [(numbers, "_mixed", mixed)]


def _not_null_is_true() -> Patches:
    real = matching._unless
    return [(matching, "_unless", lambda negated, found: pc.fill_null(real(negated, found), negated))]


def _bounds_of_an_or() -> Patches:
    """One side of an ``or`` bounds the time by itself."""

    def conjuncts(wanted: Any) -> Any:
        match wanted:
            case All(operands=operands) | Some(operands=operands):
                return operands
        return () if wanted is None else (wanted,)

    return [(condition, "conjuncts", conjuncts)]


def _columns_hold_what_they_should() -> Patches:
    """Of a column that may hold anything SQL is believed to see null where a value does not fit."""
    real = asking._stored

    def stored(*given: Any) -> Any:
        found = real(*given)
        return None if found is None else replace(found, exact=True)

    return [(asking, "_stored", stored)]


def _texts_as_the_table_compares() -> Patches:
    """A collation of the table decides which texts are equal."""
    real = asking._stored

    def stored(*given: Any) -> Any:
        found = real(*given)
        return None if found is None else replace(found, sql=found.sql.replace(" COLLATE BINARY", ""))

    return [(asking, "_stored", stored)]


def _digits_of_text_are_numbers() -> Patches:
    """Times that are stored as text are compared with numbers, which SQLite makes texts."""
    return [(asking, "_is_text", lambda *_: False)]


def _broken_times_left_out() -> Patches:
    """Every number is taken for a time, also one beyond all years."""
    real = asking._readings

    def readings(unit: Any) -> Any:
        found = list(real(unit))
        return [(condition.LEAST, condition.MOST, found[0][2])] if len(found) == 1 else found

    return [(asking, "_readings", readings)]


WHERE_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _sql_believed_exact,
        _part_of_an_or_left_out,
        _texts_pasted_into_sql,
        _sums_go_round,
        _integers_rounded,
        _not_null_is_true,
        _bounds_of_an_or,
        _columns_hold_what_they_should,
        _texts_as_the_table_compares,
        _digits_of_text_are_numbers,
        _broken_times_left_out,
    )
}
