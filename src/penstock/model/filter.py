"""Which events an export takes: half-open in time, by category, type, session and priority, with a limit at the end.

A filter is a list of terms, from which every evaluator is made: :meth:`ExportFilter.matches` for one event here, masks
over batches in ``pipeline/matching``, SQL in ``sources/sqlite/predicate``. A property test holds them equal.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from penstock.errors import InvalidEvent, InvalidFilter
from penstock.model import times
from penstock.model.event import (
    AnalyticsEvent,
    EventCategory,
    EventPriority,
    check_category,
    check_event_type,
)
from penstock.model.ids import check_id

#: No store numbers its events higher.
_MOST_ROWS = (1 << 63) - 1
Operator: TypeAlias = Literal[">=", "<", "in"]
_HOLDS: Mapping[Operator, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<": operator.lt,
    "in": lambda value, wanted: value in wanted,
}


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one field of an event, which a null never meets.

    ``value`` is microseconds for times; for ``in`` it is a tuple of texts, of categories or of priorities.
    """

    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFilter:
    """Which events to take. ``None`` always means "no restriction"; there is no hidden default window.

    ``start`` is inclusive and ``end`` exclusive (a datetime, RFC 3339 text, or ``24h ago``; without an offset it is
    UTC; kept as microseconds). ``categories`` and ``event_types`` keep events of any of the named; an empty list is an
    error. ``session_id`` is compared as text. ``priority`` is the lowest that is kept. ``limit`` counts matching rows
    in arrival (``seq``) order, after all other conditions. Raises :class:`InvalidFilter`.
    """

    start: int | datetime | str | None = None
    end: int | datetime | str | None = None
    categories: Sequence[EventCategory | str] | None = None
    event_types: Sequence[str] | None = None
    session_id: str | None = None
    priority: EventPriority | str | None = None
    limit: int | None = None
    #: All conditions but ``limit``.
    terms: tuple[Term, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "start", None if self.start is None else times.parse_time(self.start))
        put(self, "end", None if self.end is None else times.parse_time(self.end))
        if self.start is not None and self.end is not None and self.start_micros >= self.end_micros:  # type: ignore[operator]  # both are set
            raise InvalidFilter(
                f"start {times.render(self.start_micros)} is not before end {times.render(self.end_micros)}",  # type: ignore[arg-type]  # both are set
                hint="start is inclusive, end is exclusive",
            )
        try:
            put(self, "categories", _names("categories", self.categories, check_category))
            put(self, "event_types", _names("event_types", self.event_types, check_event_type))
            put(self, "priority", None if self.priority is None else EventPriority.parse(self.priority))
            put(self, "session_id", None if self.session_id is None else check_id(self.session_id, what="session_id"))
        except InvalidEvent as error:
            raise InvalidFilter(error.message, hint=error.hint) from None
        if self.limit is not None and not (type(self.limit) is int and 0 <= self.limit <= _MOST_ROWS):
            raise InvalidFilter(f"limit must be a whole number from 0 to {_MOST_ROWS}, not {self.limit}")
        put(self, "terms", tuple(term for term in self._terms() if term.value is not None))

    def _terms(self) -> tuple[Term, ...]:
        lowest = None if self.priority is None else EventPriority.parse(self.priority)
        return (
            Term("timestamp", ">=", self.start_micros),
            Term("timestamp", "<", self.end_micros),
            Term("category", "in", self.categories),
            Term("event_type", "in", self.event_types),
            Term("session_id", "in", None if self.session_id is None else (self.session_id,)),
            Term("priority", "in", None if lowest is None else tuple(EventPriority)[lowest:]),
        )

    @property
    def start_micros(self) -> int | None:
        """``start`` in microseconds since the epoch, UTC."""
        return self.start if isinstance(self.start, int) else None

    @property
    def end_micros(self) -> int | None:
        """``end`` in microseconds since the epoch, UTC."""
        return self.end if isinstance(self.end, int) else None

    def matches(self, event: AnalyticsEvent) -> bool:
        """Whether the event meets every condition except ``limit``, which is about many."""
        return all(
            _HOLDS[term.operator](
                event.timestamp_micros if term.field == "timestamp" else getattr(event, term.field), term.value
            )
            for term in self.terms
        )

    def to_json(self) -> dict[str, Any]:
        """The conditions that are set, as the manifest records them."""
        given: dict[str, Any] = {
            "start": None if self.start_micros is None else times.render(self.start_micros),
            "end": None if self.end_micros is None else times.render(self.end_micros),
            "categories": None if self.categories is None else [str(name) for name in self.categories],
            "event_types": None if self.event_types is None else list(self.event_types),
            "session_id": self.session_id,
            "priority": None if self.priority is None else str(self.priority),
            "limit": self.limit,
        }
        return {name: value for name, value in given.items() if value is not None}


def _names(what: str, given: Sequence[Any] | None, check: Any) -> tuple[Any, ...] | None:
    if given is None:
        return None
    if isinstance(given, str):
        raise InvalidFilter(f"{what} must be a list of names, not the text {given!r}")
    if not given:
        raise InvalidFilter(f"{what} is an empty list, which would match nothing", hint="leave it out to take all")
    return tuple(sorted({check(name) for name in given}))
