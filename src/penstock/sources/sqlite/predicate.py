"""A filter as SQL over the ``events`` table: the one place where that translation happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.model.filter import ExportFilter


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition (``1`` when there is none) and the values of its ``?`` places, in order."""

    sql: str
    parameters: tuple[Any, ...]


def predicate(filter: ExportFilter) -> Predicate:
    """All conditions of the filter except ``limit``."""
    terms: list[str] = []
    values: list[Any] = []
    for term in filter.terms:
        given = term.value if term.operator == "in" else (term.value,)
        places = f"({', '.join('?' * len(given))})" if term.operator == "in" else "?"
        terms.append(f"{term.field} {term.operator} {places}")
        values += [_stored(value) for value in given]
    return Predicate(" AND ".join(terms) or "1", tuple(values))


def _stored(value: Any) -> int | str:
    """Priorities are stored as their ranks, categories as their names."""
    return int(value) if isinstance(value, int) else str(value)
