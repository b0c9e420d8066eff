"""JSON columns laid open: which members become columns of their own, as it is asked for and as it was settled."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pyarrow as pa

from penstock.errors import UsageError
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset, is_json, json_field

#: What a member's column can be; the order is the native library's.
TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
}
#: Objects inside of each other whose members are looked at.
DEEPEST = 5
#: Columns of members, unless another number is asked for, and those that an export has at most.
FLATTEN_COLUMNS = 200
MOST_COLUMNS = 2_000
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_KEY = re.compile(rf"({_QUOTED}|[^\".]*)(?:\.|\Z)")
_GIVEN = re.compile(rf"((?:{_QUOTED}|[^\",:])+):(\w+)(?:,|\Z)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member at ``path`` of a JSON column's objects, and the name and type of its own column."""

    path: tuple[str, ...]
    name: str
    type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Laid:
    """A JSON column that is laid open: its members' columns, and the ``rest``, which holds what is in none of them.

    Raises ``ValueError`` for members that cannot be beside each other.
    """

    column: str
    rest: str
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        paths = {member.path for member in self.members}
        if len(paths) < len(self.members) or len(paths) > MOST_COLUMNS or _within(paths) is not None:
            raise ValueError(f"the members of {self.column} are in each other's way")
        for member in self.members:
            if not 1 <= len(member.path) <= DEEPEST or member.type not in TYPES:
                raise ValueError(f"{member.name} is no member that a column can have")
            "".join(member.path).encode()  # raises for what no JSON text can hold

    @property
    def fields(self) -> list[pa.Field]:
        """The columns that come in its place."""
        typed = [
            json_field(member.name) if member.type == "json" else pa.field(member.name, TYPES[member.type])
            for member in self.members
        ]
        return [*typed, json_field(self.rest)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flatten:
    """What is asked for: JSON ``columns`` to lay open, and either a ``schema``, which names each member as
    ``data.user.id`` with its type, or at most ``most`` columns of members that a first pass finds.

    Raises :class:`UsageError`.
    """

    columns: Sequence[str]
    schema: Mapping[str, str] | None = None
    most: int = FLATTEN_COLUMNS

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            raise UsageError(f"the columns to flatten must be a list of names, not the text {self.columns!r}")
        object.__setattr__(self, "columns", tuple(self.columns))
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise UsageError("name at least one column to flatten, and none of them twice")
        if not 1 <= self.most <= MOST_COLUMNS:
            raise UsageError(f"flatten_columns must be 1 to {MOST_COLUMNS:,}, not {self.most}")
        if self.schema is not None:
            if not self.schema:
                raise UsageError("no member is named", hint="write MEMBER:TYPE, as data.status:int64")
            _named(self.columns, self.schema)

    def check(self, dataset: Dataset) -> None:
        """Raise :class:`UsageError` for a column that cannot be laid open."""
        json = [field.name for field in dataset.schema if is_json(field)]
        for name in self.columns:
            if name not in json:
                there = name in dataset.columns
                what = "holds no JSON in the column" if there else "has no column"
                hint = "columns of JSON are " + ", ".join(json) if json else "leave --flatten out"
                if there and dataset.name != EVENTS.name:
                    hint += "; text of a table that is JSON is read so with --types COLUMN:json"
                raise UsageError(
                    f"{dataset.name} {what} {name!r}, it cannot be flattened",
                    hint=hint,
                )
            if name in dataset.key:
                raise UsageError(f"the column {name!r} tells rows apart, it cannot be flattened")

    def check_chosen(self, dataset: Dataset, chosen: Iterable[str]) -> None:
        """Raise :class:`UsageError` for a column that will not be written, whatever members there are."""
        for name in chosen:
            if name in self.columns:
                raise UsageError(
                    f"the column {name!r} is flattened", hint=f"choose its members, as {name}.MEMBER, or {name}_rest"
                )
            if not any(name.startswith((f"{column}.", f"{column}_rest")) for column in self.columns):
                dataset.select([name])

    def given(self) -> dict[str, dict[tuple[str, ...], str]]:
        """The members that ``schema`` names, by column."""
        return _named(self.columns, self.schema or {})

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "schema": None if self.schema is None else dict(self.schema),
            "most": self.most,
        }


def laid_open(dataset: Dataset, laid: Sequence[Laid]) -> Dataset:
    """The dataset with the columns of members in the place of those that are laid open."""
    by_name = {each.column: each.fields for each in laid}

    def names(given: Iterable[str]) -> Iterator[str]:
        for name in given:
            yield from (field.name for field in by_name[name]) if name in by_name else (name,)

    fields = [new for field in dataset.schema for new in by_name.get(field.name, [field])]
    return replace(dataset, schema=pa.schema(fields), own=tuple(names(dataset.own)))


def parse_given(text: str) -> dict[str, str]:
    """Read ``data.status:int64,data."a.b":text``. Raises :class:`UsageError`."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _GIVEN.match(text, place)
        if match is None or match[1].strip() in found:
            why = "cannot read" if match is None else "is named twice in"
            raise UsageError(
                f"--flatten-schema: {text[place:] if match is None else match[1]!r} {why} the members",
                hint='write MEMBER:TYPE, as data.status:int64,data.path:text; data."a.b":text for a name with a dot',
            )
        found[match[1].strip()] = match[2]
        place = match.end()
    return found


def _named(columns: Sequence[str], schema: Mapping[str, str]) -> dict[str, dict[tuple[str, ...], str]]:
    found: dict[str, dict[tuple[str, ...], str]] = {name: {} for name in columns}
    for text, type in schema.items():
        column = max((name for name in columns if text.startswith(f"{name}.")), key=len, default=None)
        if column is None:
            raise UsageError(
                f"the member {text!r} is of no column that is flattened",
                hint=f"begin it with {' or '.join(f'{name}.' for name in columns)}",
            )
        if type not in TYPES:
            raise UsageError(f"the member {text!r} cannot have the type {type!r}", hint="types are " + ", ".join(TYPES))
        path = _path(text, text[len(column) + 1 :])
        if path in found[column]:
            raise UsageError(f"the member {text!r} is named twice")
        found[column][path] = type
    for members in found.values():
        inner = _within(members)
        if inner is not None:
            raise UsageError(f"{'.'.join(inner)} lies in a member that has a column", hint="name one of the two")
    return found


def _within(paths: Collection[tuple[str, ...]]) -> tuple[str, ...] | None:
    """A path that lies in another one."""
    return next((path for path in paths if any(path[:length] in paths for length in range(1, len(path)))), None)


def _path(text: str, keys: str) -> tuple[str, ...]:
    path, place = [], 0
    while True:
        match = _KEY.match(keys, place)
        if match is None:
            raise UsageError(f"cannot read the member {text!r}", hint='write a name with a dot as data."a.b"')
        try:
            path.append(msgspec.json.decode(match[1], type=str) if match[1].startswith('"') else match[1])
        except msgspec.DecodeError:
            raise UsageError(f"cannot read the name {match[1]} in {text!r}", hint="write it as JSON") from None
        place = match.end()
        if not match[0].endswith("."):
            break
    if len(path) > DEEPEST:
        raise UsageError(f"the member {text!r} lies deeper than {DEEPEST} levels", hint="take one above it as json")
    return tuple(path)


def parse_laid(raw: Mapping[str, Any]) -> Laid:
    """Read what a manifest says of a column. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    members = tuple(
        Member(path=tuple(map(str, each["path"])), name=str(each["name"]), type=str(each["type"]))
        for each in raw["members"]
    )
    return Laid(column=str(raw["column"]), rest=str(raw["rest"]), members=members)
