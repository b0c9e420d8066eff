"""Which column of an adopted table holds which field of an event: the mapping, settled against the table's shape.

A mapping says ``FIELD=COLUMN``. A field that it does not name takes the column of its own name, if there is one, and
``FIELD=:none`` takes none; ``FIELD='text'`` is that text in every row. ``timestamp`` and ``received_at`` may say how
numbers are to be read: ``COLUMN:ms``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock.errors import InvalidMapping
from penstock.model.columns import COLUMNS, NOWHERE
from penstock.model.nearest import listed, nearest
from penstock.model.times import TimeUnit
from penstock.sources.connection import quote_name
from penstock.sources.tables.numbering import Numbering, numbering
from penstock.sources.tables.table import Shape, chosen_columns

_REQUIRED = ("timestamp", "event_type")
_TIMES = ("timestamp", "received_at")
_CONSTANT = re.compile(r"'(?:[^'\x00]|'')*'\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Adoption:
    """How one table is read as events.

    ``fields`` are the columns, or constants in quotes, by field, ``units`` how their numbers are times, ``rest`` the
    columns that become members of ``data``, in the table's order. Without a ``numbering`` rows are numbered as they
    come.
    """

    shape: Shape
    numbering: Numbering | None
    fields: Mapping[str, str]
    units: Mapping[str, TimeUnit]
    rest: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """What the manifest's ``source`` tells of the table and its mapping."""
        ids = self.fields.get("id")
        sure = ids is not None and (ids in self.shape.unique or ids == self.shape.key)
        return {
            "table": self.shape.name,
            "schema_sha256": self.shape.sha256,
            "mapping": dict(self.fields),
            "members": list(self.rest),
            "units": {field: str(unit) for field, unit in self.units.items()},
            "ids": "table:seq" if ids is None else "column, unique" if sure else "column, assumed unique",
            "order": self.numbering.order if self.numbering is not None else "as it came, assumed",
        }

    def sql(self, field: str) -> str:
        """What is selected for a field."""
        found = self.fields[field]
        return quote_name(found) if found in self.shape.columns else found


def adopt(shape: Shape, mapping: Mapping[str, str], members: Sequence[str] | None = None) -> Adoption:
    """Settle a mapping. Raises :class:`~penstock.errors.InvalidMapping` for a column that is not there, for an event
    without ``timestamp`` or ``event_type``, and for a table whose rows have no number to go by."""
    seq = _column(shape, "seq", mapping.get("seq"))[0]
    seq = seq if seq is not None else shape.key
    fields: dict[str, str] = {}
    units: dict[str, TimeUnit] = {}
    for field in COLUMNS:
        column, unit = (seq, TimeUnit.AUTO) if field == "seq" else _column(shape, field, mapping.get(field), number=seq)
        if column is None:
            continue
        fields[field] = column
        if field in _TIMES:
            units[field] = unit
    for field in _REQUIRED:
        if field not in fields:
            raise InvalidMapping(
                f"no column of {shape.name!r} is the field {field!r}",
                hint=f"map one, as --map {field}=COLUMN; its columns are {listed(shape.columns)}",
            )
    used = set(fields.values())
    numbers = numbering(shape, seq, shape.columns)
    return Adoption(
        shape=shape,
        # without an id of its own the number is the id
        numbering=None if numbers is None else replace(numbers, shared=numbers.checked and "id" in fields),
        fields=fields,
        units=units,
        rest=_members(shape, used, members),
    )


def _members(shape: Shape, used: set[str], members: Sequence[str] | None) -> tuple[str, ...]:
    """The columns without a place, or those of them that are asked for."""
    return tuple(name for name in chosen_columns(shape, members) if name not in used)


def _column(shape: Shape, field: str, given: str | None, *, number: str | None = None) -> tuple[str | None, TimeUnit]:
    """The column that holds a field, and how its numbers are times. ``number`` is the column that is ``seq``."""
    if given is None:
        return _same_named(shape, field, number), TimeUnit.AUTO
    column = shape.column(given)
    if column is not None:
        return column, TimeUnit.AUTO
    if given == NOWHERE:
        return None, TimeUnit.AUTO
    if _CONSTANT.match(given):
        if field == "seq":
            raise InvalidMapping("seq cannot be a constant: it orders the rows", hint="map it to a column")
        return given, TimeUnit.AUTO
    name, mark, unit = given.rpartition(":")
    column = shape.column(name) if mark and field in _TIMES else None
    if column is None:
        raise InvalidMapping(
            f"{shape.name!r} has no column {given!r}, which the mapping gives to {field!r}",
            hint=nearest(name if mark else given, shape.columns)
            + f"its columns are {listed(shape.columns)}"
            + _as_text(field, given),
        )
    try:
        return column, TimeUnit(unit)
    except ValueError:
        raise InvalidMapping(
            f"unknown unit {unit!r} of the column {column!r}",
            hint="units are :" + ", :".join(TimeUnit),
        ) from None


def _as_text(field: str, given: str) -> str:
    """How a text is said, where the name of a column may have been meant for one: a shell takes quotes away."""
    if field in (*_TIMES, "seq") or "'" in given:
        return ""
    text = f"{field}='{given}'"
    plain = not any(mark in given for mark in '"$`!\\')  # all that a shell reads in double quotes
    return "; for the text in every row write --map " + (f'"{text}"' if plain else shlex.quote(text))


def _same_named(shape: Shape, field: str, number: str | None) -> str | None:
    """The column that a field takes by its name alone. A column called ``id`` that is the number is not the id as well;
    a column called ``seq`` is the number only of a table without a primary key for that, and only if it is unique."""
    column = shape.column(field)
    if field == "id":
        return None if column == number else column
    if field == "seq":
        return column if shape.key is None and column in shape.unique else None
    return column
