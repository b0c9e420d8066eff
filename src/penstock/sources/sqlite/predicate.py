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

    def add(term: str, *given: Any) -> None:
        terms.append(term)
        values.extend(given)

    if filter.start_micros is not None:
        add("timestamp >= ?", filter.start_micros)
    if filter.end_micros is not None:
        add("timestamp < ?", filter.end_micros)
    for column, names in (("category", filter.categories), ("event_type", filter.event_types)):
        if names is not None:
            add(f"{column} IN ({', '.join('?' * len(names))})", *(str(name) for name in names))
    if filter.session_id is not None:
        add("session_id = ?", filter.session_id)
    if filter.least_priority is not None:
        add("priority >= ?", int(filter.least_priority))
    return Predicate(" AND ".join(terms) or "1", tuple(values))
