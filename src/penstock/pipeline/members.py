"""The members of JSON texts, by the native library (``native/members.h``): counted by kind, and as typed columns."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_int32, c_int64
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa

from penstock.errors import InvalidEvent, StorageError
from penstock.model import jsontext
from penstock.model.flatten import TYPES
from penstock.pipeline import native

#: What the library reads, one level more than it may be.
_DEEPEST_JSON = 1_023
#: Different members of one column that are told apart.
MOST_MEMBERS = 100_000


class ValueKind(IntEnum):
    """What values are counted as; the order is the library's."""

    NULL = 0
    BOOL = 1
    INT64 = 2  #: exact as a float64 too
    LONG = 3  #: an int64 that is not
    FLOAT64 = 4  #: exact as such, and no int64
    NUMBER = 5  #: neither
    TEXT = 6
    HALF = 7  #: text with half a surrogate pair
    ARRAY = 8
    OBJECT = 9


#: What becomes of a member, as the library numbers it: an object whose members have columns, or a column of a type.
_KINDS = {type: kind for kind, type in enumerate((None, *TYPES))}


class TreeMember(NamedTuple):
    """A member of the texts, or of the one at the place ``parent`` of the same list, which is an object."""

    key: str
    parent: int
    type: str | None


class _Member(ctypes.Structure):
    _fields_ = (("key", c_char_p), ("key_length", c_int64), ("parent", c_int32), ("kind", c_int32))


class _Told(ctypes.Structure):
    _fields_ = tuple(
        (name, c_int64) for name in ("culprit", "nulls", "unknown", "misfit", "repeated", "empty", "whole")
    )


#: What is told of values that no column took, by the library's words.
_COUNTS = {
    "nulls": "coerced_json_null",
    "unknown": "rest_without_column",
    "misfit": "rest_other_type",
    "repeated": "rest_repeated",
    "empty": "rest_empty_object",
    "whole": "rest_no_object",
}


def count_members(texts: pa.StringArray) -> dict[tuple[str, ...], list[int]]:
    """How many values of each :class:`ValueKind` there are, by path; the empty path is the texts themselves.

    Raises :class:`ValueError` for more than :data:`MOST_MEMBERS` paths, and what :func:`member_columns` raises.
    """
    found = _called("penstock_members_count", (MOST_MEMBERS,), texts, _COUNT_SCHEMA)[0]
    parents, keys, *counts = (column.to_pylist() for column in found.columns)
    paths: list[tuple[str, ...]] = []
    for parent, key in zip(parents, keys, strict=True):
        paths.append(() if parent < 0 else (*paths[parent], key))
    return {path: list(each) for path, each in zip(paths, zip(*counts, strict=True), strict=True)}


_COUNT_SCHEMA = pa.schema(
    [("parent", pa.int64()), ("key", pa.string()), *((kind.name, pa.int64()) for kind in ValueKind)]
)


def member_columns(
    texts: pa.StringArray, members: Sequence[TreeMember], *, keeps_empty: bool
) -> tuple[Sequence[pa.Array], Mapping[str, int]]:
    """The columns of the members that have a type, in their order, then the rest, and what went into it by reason.

    Raises :class:`~penstock.errors.StorageError` for a text that is no JSON.
    """
    listed, schema = _listed(tuple(members))
    batch, told = _called("penstock_members_columns", (listed, len(members), keeps_empty), texts, schema)
    counts = {name: getattr(told, word) for word, name in _COUNTS.items()}
    return batch.columns, {name: count for name, count in counts.items() if count}


@lru_cache(maxsize=256)
def _listed(members: tuple[TreeMember, ...]) -> tuple[Any, pa.Schema]:
    listed = (_Member * len(members))()
    for place, member in enumerate(members):
        key = member.key.encode()
        listed[place] = _Member(key, len(key), member.parent, _KINDS[member.type])
    types = [TYPES[member.type] for member in members if member.type is not None]
    return listed, pa.schema([(str(place), type) for place, type in enumerate([*types, pa.string()])])


def _called(
    name: str, given: tuple[Any, ...], texts: pa.StringArray, schema: pa.Schema
) -> tuple[pa.RecordBatch, _Told]:
    """Call a function of the library on texts; again on the same without white space if that is what it misses."""
    told = _Told()
    try:
        return native.batch_of(name, given, texts, told, schema), told
    except ValueError:
        if told.culprit < 0:
            raise
        return native.batch_of(name, given, _compacted(texts), told, schema), told


def _compacted(texts: pa.StringArray) -> pa.StringArray:
    """The texts as JSON without white space. Raises :class:`~penstock.errors.StorageError` for one that is none."""
    compact: list[bytes | None] = []
    for text in texts.cast(pa.binary()).to_pylist():
        try:
            compact.append(None if text is None else jsontext.compact(text, max_depth=_DEEPEST_JSON))
        except InvalidEvent as error:
            raise StorageError(
                f"a payload cannot be flattened, {error.message}: {text[:60].decode('utf-8', 'replace')!r}",
                hint="mend the row, or export without --flatten",
            ) from None
    return pa.array(compact, pa.binary()).cast(pa.string())
