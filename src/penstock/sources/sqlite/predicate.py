"""A filter over our own store: as SQL over the ``events`` table, and what of it is left to be seen to afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.model.columns import COLUMNS, EVENTS
from penstock.model.condition import span
from penstock.model.event import PRIORITY_NAMES
from penstock.model.filter import ExportFilter
from penstock.pipeline.matching import Matcher
from penstock.sources.pushdown import Pushed, pushed

_RANKS = " ".join(f"WHEN {rank} THEN '{name}'" for rank, name in enumerate(PRIORITY_NAMES))
_STORED = {**{name: Pushed(name) for name in COLUMNS}, "priority": Pushed(f"CASE priority {_RANKS} END")}


@dataclass(frozen=True, slots=True)
class Predicate:
    """SQL that is true for every row that matches (``1`` when there is no condition), and the values of its ``?``
    places. ``rest`` looks at the rows again, ``None`` where the SQL is true for no other row. ``times`` are the
    earliest and the latest time that a row may have which matches.
    """

    sql: str
    parameters: tuple[Any, ...]
    rest: Matcher | None
    times: tuple[int, int]


@lru_cache(maxsize=64)
def predicate(filter: ExportFilter) -> Predicate:
    """All conditions of the filter except ``limit``. Raises :class:`~penstock.errors.InvalidFilter`."""
    matcher = Matcher(filter, EVENTS)
    said = pushed(matcher.condition, _STORED)
    rest = None if said.exact else matcher
    return Predicate(said.sql, said.parameters, rest, span(matcher.condition, EVENTS.time))
