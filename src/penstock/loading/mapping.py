"""Which field of a foreign record is which field of an event."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from penstock.errors import InvalidMapping
from penstock.model.columns import COLUMNS, EVENT_FIELDS, NOWHERE
from penstock.model.times import TimeUnit


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """One field of the event and where it is in the record: a name, or names joined by dots into nested objects."""

    field: str
    path: str
    mapped: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldMap:
    """The mapping of event fields to paths of a record, ``{"timestamp": "at:ms", "session_id": "user.session"}``.

    A field that is not mapped is read from the field of its own name, unless that is mapped to another one. A mapped
    field is read from its path and nowhere else; :data:`NOWHERE` as the path leaves it out. The path of ``timestamp``
    may end with the unit of its numbers. What is read is taken out of the record; deeper paths first, so that a field
    may be taken out of an object that is itself ``data``. Raises :class:`InvalidMapping`.

    ``paths`` are without the unit and without what is nowhere, once this is made; ``mapped`` says if there was any.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[Take, ...] = field(init=False)
    unit: TimeUnit = field(init=False)
    mapped: bool = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        paths: dict[str, str] = {}
        put(self, "unit", TimeUnit.AUTO)
        put(self, "mapped", bool(self.paths))
        for name, given in self.paths.items():
            if name in COLUMNS and name not in EVENT_FIELDS:
                raise InvalidMapping(f"{name} cannot be mapped", hint="the store gives it to every event it takes")
            if name not in EVENT_FIELDS:
                raise InvalidMapping(f"unknown field {name!r} in the mapping", hint=_FIELDS)
            if not isinstance(given, str) or not given:
                raise InvalidMapping(f"the field {name!r} is mapped to nothing", hint=f"write {name}=NAME")
            path, _, unit = given.rpartition(":")
            if given == NOWHERE:
                continue
            if name == "timestamp" and path and unit in set(TimeUnit):
                put(self, "unit", TimeUnit(unit))
                given = path
            if given in paths.values():
                raise InvalidMapping(f"{given!r} is mapped to two fields", hint="map it to one")
            paths[name] = given
        takes = [Take(field=name, path=path, mapped=True) for name, path in paths.items()]
        takes += [
            Take(field=name, path=name, mapped=False)
            for name in EVENT_FIELDS
            if name not in self.paths and name not in paths.values()
        ]
        takes.sort(key=lambda take: -take.path.count("."))
        put(self, "paths", paths)
        put(self, "takes", tuple(takes))


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
