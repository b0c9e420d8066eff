"""Conditions as SQL, as far as that says the same, so that rows that do not match are not read at all.

The condition itself is evaluated over batches (``pipeline/matching.py``). SQL never takes away a row that matches
there; ``exact`` says that it leaves none that does not. What is no such SQL is left out: this only saves work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.model.condition import (
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
)
from penstock.pipeline.matching import WANTED
from penstock.pipeline.native import path_text

#: SQLite allows 32,766 values, a nesting of 1,000, and a million bytes of text.
_MOST_VALUES = 30_000
_LONGEST = 200_000
#: Arithmetic repeats its operands, to see what became of them.
_LONGEST_COMPUTED = 2_000
#: Conditions in a row, which SQLite nests: more are put into groups.
_GROUP = 50
#: A pattern of more pieces could take SQLite more than linear time.
_MOST_PIECES = 4
#: Kinds that SQL compares as they are meant, and those for which that is so of = and !=: the order of texts depends on
#: the encoding of the database.
_ORDERED = (Kind.INTEGER, Kind.FLOAT, Kind.NUMBER, Kind.TIME, Kind.TRUTH)
_EQUAL = (*_ORDERED, Kind.TEXT)


@dataclass(frozen=True, slots=True)
class Pushed:
    """SQL that is true for every row that matches, and the values of its ``?`` places in order. Where it is
    ``exact``, it is true for no other."""

    sql: str
    parameters: tuple[Any, ...] = ()
    exact: bool = True


#: What says nothing of any row.
NOTHING = Pushed("1", exact=False)


def pushed(condition: Condition | None, columns: Mapping[str, Pushed]) -> Pushed:
    """As much of a condition as can be said in SQL; ``1`` where that is nothing.

    ``columns`` has SQL for the columns of which the database holds the value, or null, as the dataset has it: texts as
    text, times as microseconds, truth as 1 and 0, JSON as its text. One that is not ``exact`` may hold anything else
    besides, where the dataset has null. Members of JSON need the connection to have ``penstock_at``
    (``native/members.h``).
    """
    found = None if condition is None else _said(condition, columns)
    if found is None or len(found.sql) > _LONGEST or len(found.parameters) > _MOST_VALUES:
        return NOTHING if condition is not None else Pushed("1")
    return found


def _said(condition: Condition, columns: Mapping[str, Pushed]) -> Pushed | None:
    """SQL for a condition: null, 1 or 0 as the condition is, or where it is not exact true wherever that is."""
    match condition:
        case All(operands=operands):
            parts = [found for each in operands if (found := _said(each, columns)) is not None]
            return _joined("AND", parts, exact=len(parts) == len(operands)) if parts else None
        case Some(operands=operands):
            parts = [found for each in operands if (found := _said(each, columns)) is not None]
            return _joined("OR", parts, exact=True) if len(parts) == len(operands) else None
        case Either(operands=operands):
            parts = [found for each in operands if (found := _said(each, columns)) is not None and found.exact]
            return (
                _put("coalesce({})", [_put(", ".join("{}" for _ in parts), parts)])
                if len(parts) == len(operands)
                else None
            )
        case Compared(operator=operator, left=left, right=right):
            kinds = _EQUAL if operator in ("=", "!=") else _ORDERED
            return _of(f"({{}} {operator} {{}})", [left, right], columns, kinds)
        case OneOf(operand=operand, items=items, negated=negated):
            places = Pushed(", ".join("?" * len(items)), tuple(items))
            found = _value(operand, columns, _EQUAL)
            return None if found is None else _put(f"({{}} {'NOT IN' if negated else 'IN'} ({{}}))", [found, places])
        case Matches(operand=operand, pattern=pattern, negated=negated):
            found = _value(operand, columns, _EQUAL)
            glob = _glob(pattern)
            if found is None or "\0" in glob or pattern.count(None) > _MOST_PIECES:
                return None
            word = "NOT GLOB" if negated else "GLOB"
            said = _put(f"({{}} {word} {{}} OR instr({{}}, char(0)))", [found, Pushed("?", (glob,)), found])
            return Pushed(said.sql, said.parameters, exact=False)  # GLOB ends at a NUL
        case Missing(operand=operand, negated=negated):
            found = _of("({} IS NOT NULL)" if negated else "({} IS NULL)", [operand], columns, tuple(Kind))
            return found if negated or (found is not None and found.exact) else None
        case _:
            return _value(condition, columns, (Kind.TRUTH,))


def _of(
    form: str, operands: Iterable[Condition], columns: Mapping[str, Pushed], kinds: Iterable[Kind]
) -> Pushed | None:
    parts = [_value(operand, columns, kinds) for operand in operands]
    known = [part for part in parts if part is not None]
    return _put(form, known) if len(known) == len(parts) else None


def _value(value: Condition, columns: Mapping[str, Pushed], kinds: Iterable[Kind]) -> Pushed | None:
    """SQL for a value of one of these kinds, exactly."""
    match value:
        case Constant(kind=kind, value=given) if kind in kinds:
            return Pushed("?", (int(given) if kind is Kind.TRUTH else given,))
        case Column(kind=kind, name=name) if kind in kinds:
            return columns.get(name)
        case Member(kind=kind, column=name, steps=steps) if kind in kinds and name in columns:
            return _put(f"penstock_at({{}}, {{}}, {WANTED[kind]})", [columns[name], Pushed("?", (path_text(steps),))])
        case Computed(kind=kind) if kind in kinds and kind is not Kind.NUMBER:
            return _computed(value, columns)
        case Compared() | OneOf() | Missing() | Either() | All() | Some() if Kind.TRUTH in kinds:
            found = _said(value, columns)
            return found if found is not None and found.exact else None
        case _:
            return None


def _computed(value: Computed, columns: Mapping[str, Pushed]) -> Pushed | None:
    sides = [_value(side, columns, (Kind.INTEGER, Kind.FLOAT)) for side in (value.left, value.right)]
    known = [side for side in sides if side is not None]
    if len(known) < len(sides) or sum(len(side.sql) for side in known) > _LONGEST_COMPUTED:
        return None
    if value.operator == "%":
        return _put("({} % {})", known)
    if value.kind is Kind.FLOAT:
        left = _put("CAST({} AS REAL)", known[:1])
        return _put(f"nullif(nullif({{}} {value.operator} {{}}, 9e999), -9e999)", [left, known[1]])
    result = f"{{}} {value.operator} {{}}"
    return _put(f"CASE typeof({result}) WHEN 'integer' THEN {result} END", [*known, *known])


def _put(form: str, parts: list[Pushed]) -> Pushed:
    """The parts in the places of a form, in order."""
    pieces = form.split("{}")
    sql = "".join(piece + part.sql for piece, part in zip(pieces, parts, strict=False)) + pieces[-1]
    return Pushed(sql, tuple(value for part in parts for value in part.parameters), all(part.exact for part in parts))


def _joined(word: str, parts: list[Pushed], *, exact: bool) -> Pushed:
    while len(parts) > 1:
        groups = [parts[start : start + _GROUP] for start in range(0, len(parts), _GROUP)]
        parts = [_put(f"({f' {word} '.join('{}' for _ in group)})", group) for group in groups]
    return Pushed(parts[0].sql, parts[0].parameters, exact and parts[0].exact)


def _glob(pattern: tuple[str | int | None, ...]) -> str:
    return "".join("*" if piece is None else "?" if piece == 1 else _literal(piece) for piece in pattern)


def _literal(text: Any) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in text)
