"""Rows held against the event model, a column at a time: what obeys it becomes a batch, all else is set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent, UsageError
from penstock.loading.members import merged_object
from penstock.loading.rows import Reject, Rows
from penstock.model import jsontext
from penstock.model.columns import APPEND_SCHEMA
from penstock.model.event import (
    KNOWN_TYPES,
    PRIORITY_NAMES,
    EventCategory,
    EventPriority,
    check_event_type,
)
from penstock.model.ids import allowed_ids, check_id
from penstock.model.times import TimeUnit
from penstock.pipeline.moments import read_times, unreadable

_CATEGORIES = pa.array([str(category) for category in EventCategory])
_KNOWN = pa.array(list(KNOWN_TYPES))
_IMPLIED = pa.array([str(category) for category in KNOWN_TYPES.values()])
_PRIORITIES = pa.array([*PRIORITY_NAMES, *(str(rank) for rank in range(len(PRIORITY_NAMES)))])
_SETTLED_PRIORITIES = pa.array(PRIORITY_NAMES * 2)
# Arrow takes some 50 µs to tell the type of a bare value, each time.
_CUSTOM = pa.scalar(str(EventCategory.CUSTOM), pa.string())
_NORMAL = pa.scalar(str(EventPriority.NORMAL), pa.string())
_EMPTY = pa.scalar("{}", pa.string())
_FALSE = pa.scalar(False, pa.bool_())
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What may be chosen about reading events: how deep a payload may be nested, and how long a record of a text format
    may be, in bytes. Raises :class:`UsageError`."""

    max_depth: int = jsontext.MAX_DEPTH
    max_record_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        if not 1 <= self.max_depth <= jsontext.MAX_DEPTH:
            raise UsageError(f"max_depth must be 1 to {jsontext.MAX_DEPTH}, not {self.max_depth}")
        if self.max_record_bytes < 1:
            raise UsageError(f"max_record_bytes must be 1 or more, not {self.max_record_bytes}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """The good rows as a batch with the columns of ``APPEND_SCHEMA``, whose ``id`` may still be null, with ``rows``,
    their places among the rows that were given; and the others."""

    batch: pa.RecordBatch
    rows: Sequence[int]
    rejects: Sequence[Reject]


def settle(rows: Rows, rules: Rules, unit: TimeUnit = TimeUnit.AUTO) -> Settled:
    """Hold every row against the event model; ``unit`` is that of epoch numbers. A row that breaks the model in several
    ways is set aside for the first."""
    faults: dict[int, str] = dict(rows.faults)
    given = rows.columns
    event_type = _event_types(given["event_type"], faults)
    micros = read_times(given["timestamp"], unit).micros
    for row, why in unreadable(given["timestamp"], micros, unit):
        faults.setdefault(row, f"timestamp cannot be read: {why}")
    _note_nulls(faults, given["timestamp"], "timestamp is missing")
    columns = {
        "id": _ids(given["id"], "id", faults),
        "category": _categories(event_type, given["category"], faults),
        "event_type": event_type,
        "timestamp": micros,
        "session_id": _ids(given["session_id"], "session_id", faults),
        "priority": _priorities(given["priority"], faults),
        "data": given["data"],
        "metadata": given["metadata"],
    }
    if not rows.payloads_checked:
        for name in ("data", "metadata"):
            columns[name] = _payloads(given[name], name, rules.max_depth, faults)
    if rows.extra is not None:
        columns["data"] = _merged(columns["data"], rows.extra, faults)
    return _parted(rows, columns, faults)


def _parted(rows: Rows, columns: dict[str, pa.Array], faults: dict[int, str]) -> Settled:
    kept: Sequence[int] = range(len(rows))
    if faults:
        kept = [row for row in kept if row not in faults]
        places = pa.array(kept, pa.int64())
        columns = {name: column.take(places) for name, column in columns.items()}
    arrays = []
    for field in APPEND_SCHEMA:
        column = columns[field.name]
        arrays.append(column.cast(field.type) if column.type != field.type else column)
    batch = pa.RecordBatch.from_arrays(arrays, names=APPEND_SCHEMA.names)
    return Settled(batch=batch, rows=kept, rejects=[rows.reject(row, faults[row]) for row in sorted(faults)])


def _note_where(faults: dict[int, str], mask: pa.BooleanArray, fault: str) -> None:
    """The same fault for every row where the mask is true."""
    if pc.any(mask).as_py():
        for row in _places(mask):
            faults.setdefault(row, fault)


def _note_nulls(faults: dict[int, str], column: pa.Array, fault: str) -> None:
    if column.null_count:
        _note_where(faults, pc.is_null(column), fault)


def _places(mask: pa.BooleanArray) -> list[int]:
    places: list[int] = pc.indices_nonzero(mask).to_pylist()
    return places


def _event_types(column: pa.StringArray, faults: dict[int, str]) -> pa.StringArray:
    _note_nulls(faults, column, "event_type is missing")
    bad: dict[str, str] = {}
    for name in pc.unique(column).to_pylist():
        try:
            check_event_type(name if name is not None else "null")
        except InvalidEvent as error:
            bad[name] = f"event_type is not allowed: {error.message}"
    if bad:
        for row in _places(pc.is_in(column, pa.array(list(bad)))):
            faults.setdefault(row, bad[column[row].as_py()])
    return column


def _categories(event_type: pa.StringArray, given: pa.StringArray, faults: dict[int, str]) -> pa.StringArray:
    """The given category, or the one that the type implies; a known type has only its own."""
    known = pc.take(_IMPLIED, pc.index_in(event_type, _KNOWN))
    if given.null_count == len(given):
        return pc.coalesce(known, _CUSTOM)
    unknown = pc.and_(pc.is_valid(given), pc.invert(pc.is_in(given, _CATEGORIES)))
    if pc.any(unknown).as_py():
        for row in _places(unknown):
            faults.setdefault(row, f"category is unknown: {given[row].as_py()[:60]!r}")
    differing = pc.fill_null(pc.not_equal(given, known), _FALSE)
    if pc.any(differing).as_py():
        for row in _places(differing):
            text = f"{event_type[row]} is of category {known[row]}, not {given[row].as_py()[:60]!r}"
            faults.setdefault(row, f"category is not that of the event type: {text}")
    return pc.coalesce(given, known, _CUSTOM)


def _ids(column: pa.StringArray, name: str, faults: dict[int, str]) -> pa.StringArray:
    """Ids or sessions as they are; null where there is none."""
    allowed = allowed_ids(column)
    if not pc.all(allowed, min_count=0).as_py():
        for row in _places(pc.invert(allowed)):
            try:
                check_id(column[row].as_py(), what=name)
            except InvalidEvent as error:
                faults.setdefault(row, f"{name} is not allowed: {error.message}")
    return column


def _priorities(column: pa.StringArray, faults: dict[int, str]) -> pa.StringArray:
    """Names of priorities from names or ranks; ``normal`` where there is none."""
    if column.null_count == len(column):
        return pa.repeat(_NORMAL, len(column))
    place = pc.index_in(pc.utf8_lower(column), _PRIORITIES)
    unknown = pc.and_(pc.is_valid(column), pc.is_null(place))
    if pc.any(unknown).as_py():
        for row in _places(unknown):
            faults.setdefault(row, f"priority is unknown: {column[row].as_py()[:60]!r}")
    return pc.coalesce(pc.take(_SETTLED_PRIORITIES, place), _NORMAL)


def _payloads(column: pa.StringArray, name: str, max_depth: int, faults: dict[int, str]) -> pa.StringArray:
    """Payload texts made compact; ``{}`` where there is none."""
    if column.null_count:
        column = pc.coalesce(column, _EMPTY)
    texts: list[bytes] = column.cast(pa.binary()).to_pylist()
    if _are_compact_objects(texts, max_depth):
        return column
    for row, text in enumerate(texts):
        try:
            texts[row] = jsontext.compact_object(text, what=name, max_depth=max_depth)
        except InvalidEvent as error:
            faults.setdefault(row, f"{name} is not a JSON object: {error.message}")
            texts[row] = b"{}"
    return pa.array(texts, pa.binary()).cast(pa.string())


def _are_compact_objects(texts: list[bytes], max_depth: int) -> bool:
    """Whether every text is a compact JSON object that is not nested too deeply, found out for all of them at once.

    As the elements of one array they must be strict and compact together, and come back out of it one by one: without
    the second, a text that ends early could be made whole by the next one.
    """
    if any(text.count(b"[") + text.count(b"{") > max_depth for text in texts if len(text) >= 2 * max_depth):
        return False
    together = b"[" + b",".join(texts) + b"]"
    try:
        if msgspec.json.format(together, indent=-1) != together:
            return False
        apart = _RAW_LIST.decode(together)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return list(map(bytes, apart)) == texts and all(text[:1] == b"{" for text in texts)


def _merged(data: pa.StringArray, extra: pa.StringArray, faults: dict[int, str]) -> pa.StringArray:
    """``data`` with the further members of each record; a member that is there already is a fault."""
    texts: list[bytes] = data.cast(pa.binary()).to_pylist()
    for row, more in enumerate(extra.cast(pa.binary()).to_pylist()):
        try:
            texts[row] = merged_object(texts[row], more)
        except InvalidEvent as error:
            faults.setdefault(row, error.message)
    return pa.array(texts, pa.binary()).cast(pa.string())
