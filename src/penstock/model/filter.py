"""Which rows an export takes: half-open in time, by category, type, session and priority, by any condition, with a
limit at the end.

All of it but the limit is one condition (``model/condition.py``), evaluated over batches in ``pipeline/matching`` and,
as far as that gives the same, as SQL in ``sources/pushdown``. A property test holds them equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.errors import InvalidEvent, InvalidFilter
from penstock.model import times
from penstock.model.checking import check
from penstock.model.condition import Condition
from penstock.model.dataset import Dataset
from penstock.model.event import PRIORITY_NAMES, EventCategory, EventPriority, check_category, check_event_type
from penstock.model.expression import Compare, Expression, In, Literal, Name, join, names, text_of
from penstock.model.ids import check_id
from penstock.model.where import parse

#: No store numbers its events higher.
_MOST_ROWS = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportFilter:
    """Which events to take. ``None`` always means "no restriction"; there is no hidden default window.

    ``start`` is inclusive and ``end`` exclusive (a datetime, RFC 3339 text, or ``24h ago``; without an offset it is
    UTC; kept as microseconds). ``categories`` and ``event_types`` keep events of any of the named; an empty list is an
    error. ``session_id`` is compared as text. ``priority`` is the lowest that is kept. ``where`` is a condition in the
    grammar of ``docs/where.md``, kept as the one text that its tree has. ``limit`` counts matching rows in arrival
    (``seq``) order, after all other conditions. Raises :class:`InvalidFilter`.
    """

    start: int | datetime | str | None = None
    end: int | datetime | str | None = None
    categories: Sequence[EventCategory | str] | None = None
    event_types: Sequence[str] | None = None
    session_id: str | None = None
    priority: EventPriority | str | None = None
    where: str | None = None
    limit: int | None = None
    _where: Expression | None = field(init=False, repr=False, compare=False, default=None)

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
        if self.where is not None:
            put(self, "_where", parse(self.where))
            put(self, "where", text_of(self._where))  # type: ignore[arg-type]  # it was parsed

    def condition(self, dataset: Dataset) -> Condition | None:
        """All of it but ``limit``, as a condition on the rows of a dataset; ``None`` where every row matches.

        Raises :class:`InvalidFilter` for a column that the dataset does not have, or that cannot be compared so.
        """
        parts = [*self._bounds(dataset), *self._lists()]
        for column in (name for part in parts for name in names(part)):
            if column not in dataset.columns:
                raise InvalidFilter(f"{dataset.name} has no column {column!r}", hint="leave the condition out")
        if self._where is not None:
            parts.append(self._where)
        return check(join("and", parts), dataset) if parts else None

    def columns(self, dataset: Dataset) -> frozenset[str]:
        """The columns that the condition names, whether or not the dataset has them."""
        return self.named.union(*map(names, self._bounds(dataset)))

    @property
    def named(self) -> frozenset[str]:
        """The columns that the conditions name but for ``start`` and ``end``, which mean the time."""
        return frozenset[str]().union(*map(names, [*self._lists(), *([] if self._where is None else [self._where])]))

    def _bounds(self, dataset: Dataset) -> Iterator[Expression]:
        for operator, micros in ((">=", self.start_micros), ("<", self.end_micros)):
            if micros is not None:
                if dataset.time is None:
                    raise InvalidFilter(
                        f"{dataset.name} has no time", hint="name it with --time, or leave start and end out"
                    )
                yield Compare(operator, Name(dataset.time), Literal(times.render(micros)))  # type: ignore[arg-type]

    def _lists(self) -> Iterator[Expression]:
        lowest = None if self.priority is None else EventPriority.parse(self.priority)
        for column, wanted in (
            ("category", self.categories),
            ("event_type", self.event_types),
            ("session_id", None if self.session_id is None else (self.session_id,)),
            ("priority", None if lowest is None else PRIORITY_NAMES[lowest:]),
        ):
            if wanted is not None:
                yield In(Name(column), tuple(Literal(str(name)) for name in wanted))

    @property
    def start_micros(self) -> int | None:
        """``start`` in microseconds since the epoch, UTC."""
        return self.start if isinstance(self.start, int) else None

    @property
    def end_micros(self) -> int | None:
        """``end`` in microseconds since the epoch, UTC."""
        return self.end if isinstance(self.end, int) else None

    def to_json(self) -> dict[str, Any]:
        """The conditions that are set, as the manifest records them."""
        given: dict[str, Any] = {
            "start": None if self.start_micros is None else times.render(self.start_micros),
            "end": None if self.end_micros is None else times.render(self.end_micros),
            "categories": None if self.categories is None else [str(name) for name in self.categories],
            "event_types": None if self.event_types is None else list(self.event_types),
            "session_id": self.session_id,
            "priority": None if self.priority is None else str(self.priority),
            "where": self.where,
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
