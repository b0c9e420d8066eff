"""The analytics event: its categories, priorities, the known types, and the rules a single event obeys.

The 36 known event types and their categories follow the event-type document that this project grew from; every other
name is a custom type that is kept verbatim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from penstock.errors import InvalidEvent
from penstock.model import jsontext, times
from penstock.model.ids import CONTROL, check_id, check_text, new_id


class EventCategory(StrEnum):
    """What an event is about. A known type implies its category; a custom type is ``custom`` unless given."""

    USAGE = "usage"
    PERFORMANCE = "performance"
    ERROR = "error"
    BUSINESS = "business"
    SECURITY = "security"
    SYSTEM = "system"
    CUSTOM = "custom"


class EventPriority(IntEnum):
    """How much an event matters, ordered from ``LOW`` to ``CRITICAL``; written by its lower-case name."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, value: EventPriority | str | int) -> EventPriority:
        """Read a priority from its name or its rank 0–3. Raises :class:`InvalidEvent`."""
        if isinstance(value, cls):
            return value
        try:
            return cls[value.upper()] if isinstance(value, str) else cls(value)
        except (KeyError, ValueError):
            raise InvalidEvent(f"unknown priority {value!r}", hint="one of low, normal, high, critical") from None


PRIORITY_NAMES = tuple(str(priority) for priority in EventPriority)

_TYPES_OF = {
    EventCategory.USAGE: (
        "session_started session_ended mission_created mission_completed mission_failed mission_cancelled"
        " command_executed feature_used backend_selected tool_invoked"
    ),
    EventCategory.PERFORMANCE: (
        "response_latency memory_usage cpu_usage disk_usage network_latency cache_hit cache_miss"
    ),
    EventCategory.ERROR: (
        "error_occurred warning_raised panic_caught validation_failed timeout_occurred retry_attempted"
    ),
    EventCategory.BUSINESS: "tokens_consumed cost_incurred quota_checked budget_alerted",
    EventCategory.SECURITY: "auth_attempted permission_denied sensitive_data_accessed",
    EventCategory.SYSTEM: (
        "config_changed plugin_loaded plugin_unloaded update_available system_started system_shutdown"
    ),
}
#: The known event types, each with the category it implies.
KNOWN_TYPES: Mapping[str, EventCategory] = {
    name: category for category, names in _TYPES_OF.items() for name in names.split()
}

MAX_TYPE_LENGTH = 200


def check_event_type(name: str) -> str:
    """Return the name if it is 1–200 characters without control characters. Raises :class:`InvalidEvent`."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_TYPE_LENGTH:
        raise InvalidEvent(f"event_type must be 1 to {MAX_TYPE_LENGTH} characters of text")
    if CONTROL.search(name):
        raise InvalidEvent(f"event_type {name[:40]!r} holds a control character")
    if not name.isascii():
        check_text(name, what="event_type")
    return name


def check_category(value: str) -> EventCategory:
    """Read a category by its name. Raises :class:`InvalidEvent`."""
    try:
        return EventCategory(value)
    except ValueError:
        raise InvalidEvent(f"unknown category {value!r}", hint="one of " + ", ".join(EventCategory)) from None


def category_of(event_type: str) -> EventCategory:
    """The category that an event type implies: its own if it is a known type, else ``custom``."""
    return KNOWN_TYPES.get(event_type, EventCategory.CUSTOM)


@dataclass(frozen=True, slots=True)
class AnalyticsEvent:
    """One analytics event; checks itself when it is made and never changes afterwards.

    ``timestamp`` is when it happened (any offset, kept as UTC with microseconds; now if not given). ``data`` and
    ``metadata`` are JSON objects: a mapping, or JSON text that is then kept digit for digit. ``id`` and ``session_id``
    are text of 1 to 1,024 bytes without control characters; an id that is not given is made, higher than those made
    before. ``seq`` and ``received_at`` are given by the store. Raises :class:`InvalidEvent`.
    """

    event_type: str
    data: Mapping[str, Any] | str | bytes = field(default_factory=dict)
    timestamp: datetime = None  # type: ignore[assignment]  # a call time default, filled in below
    session_id: str | None = None
    priority: EventPriority = EventPriority.NORMAL
    category: EventCategory = None  # type: ignore[assignment]  # derived from the type, filled in below
    metadata: Mapping[str, Any] | str | bytes = field(default_factory=dict)
    id: str = None  # type: ignore[assignment]  # made in the order of creation, filled in below
    seq: int | None = None
    received_at: datetime | None = None
    data_text: bytes = field(init=False, repr=False)
    metadata_text: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        check_event_type(self.event_type)
        implied = KNOWN_TYPES.get(self.event_type)
        category = check_category(self.category) if self.category is not None else category_of(self.event_type)
        if implied is not None and category is not implied:
            raise InvalidEvent(f"the known type {self.event_type} is of category {implied}, not {category}")
        put(self, "category", category)
        put(self, "priority", EventPriority.parse(self.priority))
        put(self, "id", check_id(self.id, what="id") if self.id is not None else new_id())
        if self.session_id is not None:
            put(self, "session_id", check_id(self.session_id, what="session_id"))
        put(self, "timestamp", _moment(self.timestamp))
        put(self, "data_text", jsontext.encode_object(self.data, what="data"))
        put(self, "metadata_text", jsontext.encode_object(self.metadata, what="metadata"))

    @property
    def timestamp_micros(self) -> int:
        """``timestamp`` in microseconds since the epoch, UTC."""
        return times.to_micros(self.timestamp)

    def payload(self) -> Any:
        """``data`` as Python values; integers of any size stay exact."""
        return msgspec.json.decode(self.data_text) if isinstance(self.data, (str, bytes)) else self.data


def _moment(value: datetime | str | None) -> datetime:
    if value is None:
        return datetime.now(UTC)
    if isinstance(value, str):
        return times.from_micros(times.parse_timestamp(value))
    if not isinstance(value, datetime):
        raise InvalidEvent(f"timestamp must be a datetime or RFC 3339 text, not {str(value)[:40]!r}")
    try:
        return times.from_micros(times.to_micros(value))
    except OverflowError:
        raise InvalidEvent(f"outside the years 0001 to 9999 in UTC: {value}") from None


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events that are stored together, all or none: a sized, ordered, unchangeable collection."""

    events: tuple[AnalyticsEvent, ...]

    def __init__(self, events: Iterable[AnalyticsEvent]) -> None:
        object.__setattr__(self, "events", tuple(events))

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[AnalyticsEvent]:
        return iter(self.events)
