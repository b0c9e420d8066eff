"""Which field of a foreign record is which field of an event."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from penstock.errors import InvalidMapping
from penstock.model.columns import COLUMNS, EVENT_FIELDS

#: As a path: the records have no such field, and what they call so is nothing but data.
NOTHING = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """One field of the event and where it is in the record: a name, or names joined by dots into nested objects."""

    field: str
    path: str
    mapped: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldMap:
    """The mapping of event fields to paths of a record, ``{"timestamp": "at", "session_id": "user.session"}``.

    A field that is not mapped is read from the field of its own name, unless that is mapped to another one. A mapped
    field is read from its path and nowhere else; :data:`NOTHING` as the path leaves it out. What is read is taken out
    of the record; deeper paths first, so that a field may be taken out of an object that is itself ``data``.
    Raises :class:`InvalidMapping`.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[Take, ...] = field(init=False)

    def __post_init__(self) -> None:
        used: set[str] = set()
        for name, path in self.paths.items():
            if name in COLUMNS and name not in EVENT_FIELDS:
                raise InvalidMapping(f"{name} cannot be mapped", hint="the store gives it to every event it takes")
            if name not in EVENT_FIELDS:
                raise InvalidMapping(f"unknown field {name!r} in the mapping", hint=_FIELDS)
            if not isinstance(path, str) or not path:
                raise InvalidMapping(f"the field {name!r} is mapped to nothing", hint=f"write {name}=NAME")
            if path != NOTHING and path in used:
                raise InvalidMapping(f"{path!r} is mapped to two fields", hint="map it to one")
            used.add(path)
        takes = [Take(field=name, path=path, mapped=True) for name, path in self.paths.items() if path != NOTHING]
        takes += [
            Take(field=name, path=name, mapped=False)
            for name in EVENT_FIELDS
            if name not in self.paths and name not in used
        ]
        takes.sort(key=lambda take: -take.path.count("."))
        object.__setattr__(self, "takes", tuple(takes))


_FIELDS = "fields are " + ", ".join(EVENT_FIELDS)


def locate(path: str, names: Collection[str]) -> tuple[str, str] | None:
    """Where a path begins among the names of a record: the name, and the path that is left inside of it.

    The longest name wins, so that a name which itself holds a dot is found. ``None`` if there is none.
    """
    head = path
    while head not in names:
        head, dot, _ = head.rpartition(".")
        if not dot:
            return None
    return head, path[len(head) + 1 :]


def is_own(names: Collection[str]) -> bool:
    """Whether these are the fields of a record of our own exports, whose ``seq`` and ``received_at`` mean nothing
    elsewhere: an id, and no field that is not ours."""
    return "id" in names and all(name in COLUMNS for name in names)
