"""Rows of an adopted table as events: what every field becomes, which rows are none, and what had to be changed.

A batch is converted column by column. First the fields that the filter looks at; then only the rows that are taken get
their ids and payloads. Whether a row is an event, and which one, depends on that row alone, never on its batch.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.dataset import MICROS_UTC
from penstock.model.event import KNOWN_TYPES, PRIORITY_NAMES, EventCategory, check_event_type
from penstock.model.filter import ExportFilter
from penstock.model.ids import allowed_ids
from penstock.pipeline.matching import meets
from penstock.pipeline.moments import Times, read_times, together
from penstock.sources.tables.mapping import Adoption
from penstock.sources.tables.payload import NOTHING, Members, objects, texts
from penstock.sources.tables.query import BLOBS, NUMBER_TYPE, STORAGES

_CUSTOM = pa.scalar(str(EventCategory.CUSTOM), pa.string())
_NORMAL = pa.scalar("normal", pa.string())
_EMPTY = pa.scalar("{}", pa.string())
_CATEGORIES = frozenset(str(category) for category in EventCategory)
#: The fields of :class:`Judged` that go into the event as they are.
_DECIDED = ("id", "timestamp", "event_type", "category", "session_id", "priority")
_RANK = re.compile(r"[0-3](?:\.0)?\Z", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The fields of a batch that decide which rows are taken. ``event_type`` and ``timestamp`` (microseconds) are null
    where the row has none that is valid. ``misfits`` says by count where a row is no event, in the order of blame;
    ``changed`` says by count where a value was replaced."""

    id: pa.StringArray
    timestamp: pa.Int64Array
    event_type: pa.StringArray
    category: pa.StringArray
    session_id: pa.StringArray
    priority: pa.StringArray
    misfits: dict[str, pa.BooleanArray]
    changed: list[tuple[str, pa.BooleanArray]]


class Converter:
    """Makes events of the batches that :func:`penstock.sources.tables.query.rows` gives, under one filter.

    Not for two threads at once. ``rows`` is how many events came out so far, ``counts`` what was skipped and coerced on
    the way. A row that is no event is counted unless what can be read of it shows that it would not match.
    """

    def __init__(self, adoption: Adoption, filter: ExportFilter) -> None:
        self._adoption = adoption
        self._filter = filter
        self._members = Members(adoption.rest)
        self._prefix = pa.scalar(f"{adoption.shape.name}:", pa.string())
        self.rows = 0
        self.counts: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether the filter's limit is reached, and no further batch can add an event."""
        return self._filter.limit is not None and self.rows >= self._filter.limit

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The events of a batch, in order; maybe none."""
        judged = self._judge(batch)
        matching = _matching(judged, self._filter)
        taken = reduce(pc.and_not, judged.misfits.values(), matching)
        reached = self._reached(taken)
        if reached < batch.num_rows:
            batch, matching, taken = batch.slice(0, reached), matching.slice(0, reached), taken.slice(0, reached)
        self._count(judged, matching, taken)
        count = pc.sum(taken).as_py() or 0
        self.rows += count
        if count < len(taken) or reached < len(judged.timestamp):
            keep = pc.indices_nonzero(taken)
            batch = batch.take(keep)
            judged = replace(judged, **{name: getattr(judged, name).take(keep) for name in _DECIDED})
        return self._events(batch, judged)

    def _reached(self, taken: pa.BooleanArray) -> int:
        """How many rows are looked at until the limit is full: rows behind that are not even counted."""
        if self._filter.limit is None:
            return len(taken)
        left = self._filter.limit - self.rows
        if left <= 0:
            return 0
        places = pc.indices_nonzero(taken)
        return len(taken) if len(places) < left else int(places[left - 1].as_py()) + 1

    def _count(self, judged: Judged, matching: pa.BooleanArray, taken: pa.BooleanArray) -> None:
        size = len(taken)
        for name, where in judged.misfits.items():
            misfit = where.slice(0, size)
            self._add(name, pc.and_(misfit, matching))
            matching = pc.and_not(matching, misfit)
        for name, where in judged.changed:
            self._add(name, pc.and_(where.slice(0, size), taken))

    def _add(self, name: str, where: pa.BooleanArray) -> None:
        count = pc.sum(where).as_py()
        if count:
            self.counts[name] += count

    def _judge(self, batch: pa.RecordBatch) -> Judged:
        changed: list[tuple[str, pa.BooleanArray]] = []
        times = self._times(batch, "timestamp")
        if times.cut is not None:
            changed.append(("coerced_timestamp_precision", times.cut))
        kinds, implied = _types(batch["event_type"], self._blobs(batch, "event_type"))
        numbers = _bit(batch, NUMBER_TYPE)
        if numbers is not None:
            changed.append(("coerced_event_type_number", numbers))
        numbered = pc.binary_join_element_wise(self._prefix, batch["seq"].cast(pa.string()), NOTHING)
        ids = pc.coalesce(self._own_text(batch, "id", changed), numbered)
        sessions = self._own_text(batch, "session_id", changed)
        return Judged(
            id=ids,
            timestamp=times.micros,
            event_type=kinds,
            category=self._category(batch, implied, changed),
            session_id=sessions,
            priority=self._priority(batch, changed),
            misfits={
                "skipped_bad_timestamp": pc.is_null(times.micros),
                "skipped_bad_event_type": pc.is_null(kinds),
                "skipped_bad_id": pc.invert(allowed_ids(ids)),
                "skipped_bad_session_id": pc.invert(allowed_ids(sessions)),
            },
            changed=changed,
        )

    def _own_text(
        self, batch: pa.RecordBatch, field: str, changed: list[tuple[str, pa.BooleanArray]]
    ) -> pa.StringArray:
        """The table's own id or session, null where there is none."""
        if field not in self._adoption.fields:
            return pa.nulls(batch.num_rows, pa.string())
        own, coerced = texts(batch[field], self._blobs(batch, field))
        changed += coerced
        empty = pc.equal(own, NOTHING)
        if not pc.any(empty).as_py():
            return own
        changed.append((f"coerced_empty_{field}", empty))
        return pc.if_else(empty, None, own)

    def _category(
        self, batch: pa.RecordBatch, implied: pa.StringArray, changed: list[tuple[str, pa.BooleanArray]]
    ) -> pa.StringArray:
        if "category" not in self._adoption.fields:
            return pc.coalesce(implied, _CUSTOM)
        given = _looked_up(batch["category"], lambda text: text if text in _CATEGORIES else None)
        category = pc.coalesce(implied, given, _CUSTOM)
        kept = pc.fill_null(pc.equal(given, category), False)
        changed.append(("coerced_category", pc.and_not(pc.is_valid(batch["category"]), kept)))
        return category

    def _priority(self, batch: pa.RecordBatch, changed: list[tuple[str, pa.BooleanArray]]) -> pa.StringArray:
        if "priority" not in self._adoption.fields:
            return pa.repeat(_NORMAL, batch.num_rows)
        given = _looked_up(batch["priority"], _priority_named)
        changed.append(("coerced_priority", pc.and_(pc.is_valid(batch["priority"]), pc.is_null(given))))
        return pc.coalesce(given, _NORMAL)

    def _times(self, batch: pa.RecordBatch, field: str) -> Times:
        """The times of a column that came as three, by how each value is stored; at most one of them holds a value."""
        stored = [batch[f"{field}_{storage}"] for storage in STORAGES]
        unit = self._adoption.units[field]
        return together([read_times(each, unit) for each in stored if each.null_count < len(each)], batch.num_rows)

    def _blobs(self, batch: pa.RecordBatch, field: str) -> pa.BooleanArray | None:
        return _bit(batch, BLOBS[field])

    def _events(self, batch: pa.RecordBatch, judged: Judged) -> pa.RecordBatch:
        columns: dict[str, Any] = {
            "id": judged.id,
            "category": judged.category,
            "event_type": judged.event_type,
            "timestamp": judged.timestamp.cast(MICROS_UTC),
            "session_id": judged.session_id,
            "priority": judged.priority,
            "data": self._data(batch),
            "metadata": self._objects(batch, "metadata"),
            "seq": batch["seq"],
            "received_at": self._received(batch, judged.timestamp).cast(MICROS_UTC),
        }
        return pa.record_batch([columns[field.name] for field in EVENT_SCHEMA], schema=EVENT_SCHEMA)

    def _data(self, batch: pa.RecordBatch) -> pa.StringArray:
        members = [batch[f"member_{number}"] for number in range(len(self._adoption.rest))]
        if "data" in self._adoption.fields:
            return self._members.added(self._objects(batch, "data"), members, self.counts)
        return self._members.objects(members, self.counts) if members else pa.repeat(_EMPTY, batch.num_rows)

    def _objects(self, batch: pa.RecordBatch, field: str) -> pa.StringArray:
        if field not in self._adoption.fields:
            return pa.repeat(_EMPTY, batch.num_rows)
        return objects(batch[field], self._blobs(batch, field), field, self.counts)

    def _received(self, batch: pa.RecordBatch, timestamp: pa.Int64Array) -> pa.Int64Array:
        """The arrival time; the time of the event where there is none that can be read."""
        if "received_at" not in self._adoption.fields:
            return timestamp
        times = self._times(batch, "received_at")
        if times.cut is not None:
            self._add("coerced_received_at_precision", times.cut)
        if times.micros.null_count:
            self._add("coerced_received_at", pc.and_(pc.is_null(times.micros), _present(batch, "received_at")))
        return pc.coalesce(times.micros, timestamp)


def _types(column: pa.StringArray, blobs: pa.BooleanArray | None) -> tuple[pa.StringArray, pa.StringArray]:
    """Event types, null where there is no valid one, and the categories that known ones imply."""
    types = _looked_up(column, _event_type)
    if blobs is not None:
        types = pc.if_else(blobs, None, types)
    return types, _looked_up(types, KNOWN_TYPES.get)


def _event_type(text: str) -> str | None:
    try:
        return check_event_type(text)
    except InvalidEvent:
        return None


def _priority_named(text: str) -> str | None:
    name = text.strip().lower()
    if _RANK.match(name):
        return PRIORITY_NAMES[int(name[0])]
    return name if name in PRIORITY_NAMES else None


def _looked_up(column: pa.StringArray, look_up: Any) -> pa.StringArray:
    """A text column with every value replaced, each different one looked up once; what is not UTF-8 becomes null."""
    coded = column.cast(pa.binary()).dictionary_encode()
    found = []
    for value in coded.dictionary.to_pylist():
        try:
            answer = look_up(value.decode("utf-8"))
        except UnicodeDecodeError:
            answer = None
        found.append(None if answer is None else str(answer))
    return pa.array(found, pa.string()).take(coded.indices)


def _bit(batch: pa.RecordBatch, bit: int) -> pa.BooleanArray | None:
    """Where a bit of ``kinds`` is set; ``None`` when nowhere."""
    kinds = batch["kinds"]
    if not pc.max(kinds).as_py():
        return None
    where = pc.not_equal(pc.bit_wise_and(kinds, bit), 0)
    return where if pc.any(where).as_py() else None


def _present(batch: pa.RecordBatch, field: str) -> pa.BooleanArray:
    """Where a time is anything but null."""
    stored = [pc.is_valid(batch[f"{field}_{storage}"]) for storage in STORAGES]
    blobs = _bit(batch, BLOBS[field])
    return reduce(pc.or_, stored if blobs is None else [*stored, blobs])


def _matching(judged: Judged, filter: ExportFilter) -> pa.BooleanArray:
    """Where no condition of the filter is broken. What a row that is no event does not have breaks none, but for the
    event type: no name that a filter can ask for is an invalid one."""
    unknown = {"timestamp": pc.is_null(judged.timestamp), "category": pc.is_null(judged.event_type)}
    met = pc.is_valid(judged.priority)
    for term in filter.terms:
        own = meets(getattr(judged, term.field), term)
        met = pc.and_(met, pc.or_(own, unknown[term.field]) if term.field in unknown else own)
    return met
