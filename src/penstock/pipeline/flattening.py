"""Flattening: the members of JSON columns as typed columns, settled by what the rows hold.

Which members there are is counted over all rows. A member whose values are all of one type has a column of it; one
whose values are objects, and nothing else, has columns for theirs; any other is JSON text, verbatim. What is in no
column stays in the rest, so that nothing is lost and no number is rounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa

from penstock.errors import ManifestError, UsageError
from penstock.model.dataset import Dataset, is_name
from penstock.model.flatten import DEEPEST, MOST_COLUMNS, Flatten, Laid, Member, laid_open, parse_laid
from penstock.pipeline.members import MOST_MEMBERS, TreeMember, ValueKind, count_members, member_columns

#: What all values of a member may be for its column to have a type; the first that fits is taken.
_FITTING: Sequence[tuple[str, frozenset[ValueKind]]] = (
    ("bool", frozenset({ValueKind.BOOL})),
    ("int64", frozenset({ValueKind.INT64, ValueKind.LONG})),
    ("float64", frozenset({ValueKind.INT64, ValueKind.FLOAT64})),
    ("text", frozenset({ValueKind.TEXT})),
)


@dataclass(frozen=True, slots=True)
class Flattening:
    """The step: what was asked for, and what it was settled to."""

    asked: Flatten
    laid: tuple[Laid, ...]

    def bind(self, dataset: Dataset) -> Dataset:
        self.asked.check(dataset)
        return laid_open(dataset, self.laid)

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Mapping[str, int]]:
        laid = {each.column: each for each in self.laid}
        counts: Counter[str] = Counter()
        fields, arrays = [], []
        for field_, array in zip(batch.schema, batch.columns, strict=True):
            each = laid.get(field_.name)
            if each is None:
                fields.append(field_)
                arrays.append(array)
                continue
            columns, more = member_columns(array, _tree(each), keeps_empty=field_.nullable)
            fields += each.fields
            arrays += columns
            counts.update(more)
        return pa.record_batch(arrays, schema=pa.schema(fields)), counts

    def to_json(self) -> dict[str, Any]:
        columns = [
            {
                "column": each.column,
                "rest": each.rest,
                "members": [
                    {"path": list(member.path), "name": member.name, "type": member.type} for member in each.members
                ],
            }
            for each in self.laid
        ]
        return {"step": "flatten", "asked": self.asked.to_json(), "columns": columns}


@lru_cache(maxsize=64)
def _tree(laid: Laid) -> tuple[TreeMember, ...]:
    """The members, each object before what is in it."""
    tree: list[TreeMember] = []
    places: dict[tuple[str, ...], int] = {(): -1}
    for member in laid.members:
        for length in range(1, len(member.path)):
            inner = member.path[:length]
            if inner not in places:
                tree.append(TreeMember(inner[-1], places[inner[:-1]], None))
                places[inner] = len(tree) - 1
        tree.append(TreeMember(member.path[-1], places[member.path[:-1]], member.type))
    return tuple(tree)


def parse_steps(raw: Sequence[Mapping[str, Any]]) -> tuple[Flattening, ...]:
    """The steps that a manifest records. Raises :class:`~penstock.errors.ManifestError` for others."""
    try:
        return tuple(_parsed(step) for step in raw)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise ManifestError(
            f"the manifest has a step that is not known: {type(error).__name__}: {error}",
            hint="a newer penstock may know it",
        ) from None


def _parsed(raw: Mapping[str, Any]) -> Flattening:
    if raw["step"] != "flatten":
        raise ValueError(raw["step"])
    asked = raw["asked"]
    return Flattening(
        Flatten(columns=tuple(asked["columns"]), schema=asked["schema"], most=asked["most"]),
        tuple(parse_laid(each) for each in raw["columns"]),
    )


@dataclass(slots=True)
class Found:
    """Values by column and path of a member, counted by kind; in the order in which they come first."""

    columns: tuple[str, ...]
    rows: int = 0
    members: dict[str, dict[tuple[str, ...], list[int]]] = field(default_factory=dict)

    def count(self, batch: pa.RecordBatch) -> None:
        """Count a batch. Raises :class:`~penstock.errors.UsageError` if there are too many different members."""
        self.rows += batch.num_rows
        for name in self.columns:
            try:
                self._add(name, count_members(batch[name]))
            except ValueError:
                raise _too_many(name) from None

    def add(self, other: Found) -> None:
        """Add the values that were counted in rows behind these."""
        for name, members in other.members.items():
            self._add(name, members)

    def _add(self, name: str, members: Mapping[tuple[str, ...], list[int]]) -> None:
        known = self.members.setdefault(name, {})
        for path, counts in members.items():
            before = known.get(path)
            known[path] = counts if before is None else [one + more for one, more in zip(before, counts, strict=True)]
        if len(known) > MOST_MEMBERS:
            raise _too_many(name)


def _too_many(name: str) -> UsageError:
    return UsageError(
        f"{name} has more than {MOST_MEMBERS:,} different members, they cannot be told apart",
        hint=f"name those that you want: --flatten-schema {name}.MEMBER:TYPE",
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    column: str
    path: tuple[str, ...]
    type: str
    values: int

    @property
    def name(self) -> str:
        return ".".join((self.column, *self.path))


def settled(dataset: Dataset, asked: Flatten, found: Found | None) -> tuple[Flattening, list[str]]:
    """Which members have columns, named how, and of which type; and what a person should know of that.

    ``found`` is needed if no schema is given. Of more members than there may be columns those with most values are
    taken, of equal ones the first by name. A name that is taken, in any case, gets a number behind it.
    """
    asked.check(dataset)
    others = [name for name in dataset.columns if name not in asked.columns]
    room = MOST_COLUMNS - len(others) - len(asked.columns)
    taken = {name.lower() for name in others}
    rests = {name: _free(f"{name}_rest", taken) for name in asked.columns}
    if found is None:
        wanted = [
            _Candidate(name, path, type, 0) for name, members in asked.given().items() for path, type in members.items()
        ]
        if len(wanted) > room:
            raise UsageError(f"the export would have more than {MOST_COLUMNS:,} columns", hint="name fewer members")
    else:
        wanted = [one for name in asked.columns for one in _candidates(name, found.members.get(name, {}))]
    best = sorted((one for one in wanted if is_name(one.name)), key=lambda one: (-one.values, one.name, one.path))[
        : room if found is None else min(asked.most, room)
    ]
    names: dict[_Candidate, str] = {}
    for one in best:
        free = _free(one.name, taken)
        if is_name(free):
            names[one] = free
    if found is None and len(names) < len(wanted):
        raise UsageError("a member has a name that no column can have", hint="take the one above it as json")
    laid = tuple(
        Laid(
            column=column,
            rest=rests[column],
            members=tuple(
                Member(path=one.path, name=names[one], type=one.type)
                for one in wanted
                if one.column == column and one in names
            ),
        )
        for column in asked.columns
    )
    return Flattening(asked, laid), list(_notes(wanted, names, rests))


def _candidates(column: str, members: Mapping[tuple[str, ...], list[int]]) -> Iterator[_Candidate]:
    """The members that could have a column, those of an object together, each where it came first."""
    inner: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in members:
        if path:
            inner.setdefault(path[:-1], []).append(path)

    def within(parent: tuple[str, ...]) -> Iterator[_Candidate]:
        for path in inner.get(parent, ()):
            counts = members[path]
            values = sum(counts) - counts[ValueKind.NULL]
            if len(path) < DEEPEST and 0 < counts[ValueKind.OBJECT] == values:
                yield from within(path)
            else:
                yield _Candidate(column, path, _type(counts), values)

    return within(())


def _type(counts: Sequence[int]) -> str:
    kinds = {kind for kind in ValueKind if counts[kind] and kind is not ValueKind.NULL}
    return next((name for name, fitting in _FITTING if kinds and kinds <= fitting), "json")


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first with a number behind it that is free, in any case; it is taken then."""
    free, number = name, 1
    while free.lower() in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free.lower())
    return free


def _notes(wanted: Sequence[_Candidate], names: Mapping[_Candidate, str], rests: Mapping[str, str]) -> Iterator[str]:
    for column, rest in rests.items():
        left_out = [one for one in wanted if one.column == column and one not in names]
        if left_out:
            yield f"{len(left_out):,} members of {column} have no column, as {left_out[0].name!r}; they are in {rest}"
    for one, name in names.items():
        if name != one.name:
            yield f"the member {one.name!r} is the column {name!r}: its own name is taken"
