"""Rows of an adopted table as events: which rows are none, what the fields of the others are, and what was changed.

A batch comes as it was gathered (``adopted``): payloads are JSON objects, times are microseconds, texts are UTF-8, and
what is not as it was stored is noted. Whether a row is an event, and which one, depends on that row alone, never on its
batch. What an event cannot hold as it is stored is kept in another spelling and counted:

- a blob, and text that is not UTF-8: base64 (``coerced_blob``, ``coerced_invalid_utf8``);
- an infinity among the members of ``data``: the string ``Infinity`` or ``-Infinity`` (``coerced_infinity``);
- JSON that is not an object, in the column that is ``data``: ``{"data":VALUE}`` (``coerced_data_not_object``);
- text that is not JSON, there: ``{"data":"TEXT"}`` (``coerced_data_not_json``); the same for ``metadata``;
- a column whose name is a member of the row's ``data`` already: ``NAME_column`` (``coerced_member_name``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model.columns import EVENT_SCHEMA, EVENTS
from penstock.model.condition import All, Condition, columns, conjuncts
from penstock.model.dataset import MICROS_UTC
from penstock.model.event import KNOWN_TYPES, PRIORITY_NAMES, EventCategory, check_event_type
from penstock.model.filter import ExportFilter
from penstock.model.ids import allowed_ids
from penstock.pipeline.gathering import Gathered, Note
from penstock.pipeline.matching import truth
from penstock.sources.tables.mapping import Adoption

#: Constants are typed scalars: pyarrow looks for pandas, in vain, whenever it has to find out a type.
_CUSTOM = pa.scalar(str(EventCategory.CUSTOM), pa.string())
_NORMAL = pa.scalar("normal", pa.string())
_EMPTY = pa.scalar("{}", pa.string())
_NOTHING = pa.scalar("", pa.string())
_CATEGORIES = frozenset(str(category) for category in EventCategory)
#: The fields of :class:`Judged` that go into the event as they are.
_DECIDED = ("id", "timestamp", "event_type", "category", "session_id", "priority")
#: What is known of a row before it is an event.
_EARLY = {*_DECIDED, "seq"}
_RANK = re.compile(r"[0-3](?:\.0)?\Z", re.ASCII)
#: By what name a note counts, where it does by itself.
_COUNTED = {
    **{
        (field, note): name
        for field in ("id", "session_id", "data", "metadata")
        for note, name in {
            Note.BLOB: "coerced_blob",
            Note.INVALID_UTF8: "coerced_invalid_utf8",
            Note.NOT_OBJECT: f"coerced_{field}_not_object",
            Note.NOT_JSON: f"coerced_{field}_not_json",
            Note.INFINITE: "coerced_infinity",
            Note.RENAMED: "coerced_member_name",
            Note.EMPTY: f"coerced_empty_{field}",
        }.items()
    },
    ("event_type", Note.NUMBER): "coerced_event_type_number",
    ("timestamp", Note.CUT): "coerced_timestamp_precision",
    ("received_at", Note.CUT): "coerced_received_at_precision",
    ("received_at", Note.MISFIT): "coerced_received_at",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The fields of a batch that decide which rows are taken. ``event_type`` and ``timestamp`` (microseconds) are null
    where the row has none that is valid. ``misfits`` says by count where a row is no event, in the order of blame;
    ``changed`` says by count where a value was replaced that nothing was noted of."""

    id: pa.StringArray
    timestamp: pa.Int64Array
    event_type: pa.StringArray
    category: pa.StringArray
    session_id: pa.StringArray
    priority: pa.StringArray
    misfits: dict[str, pa.BooleanArray]
    changed: list[tuple[str, pa.BooleanArray]]


class Converter:
    """Makes events of what :mod:`penstock.sources.tables.adopted` selects, under one filter.

    Not for two threads at once. ``rows`` is how many events came out so far, ``counts`` what was skipped and coerced on
    the way. A row that is no event is counted unless what can be read of it shows that it would not match.
    """

    def __init__(self, adoption: Adoption, filter: ExportFilter) -> None:
        self._adoption = adoption
        self._filter = filter
        parts = conjuncts(filter.condition(EVENTS))
        self._early = [part for part in parts if columns(part) <= _EARLY]
        self._late = [part for part in parts if not columns(part) <= _EARLY]
        self._prefix = pa.scalar(f"{adoption.shape.name}:", pa.string())
        longest = f"{adoption.shape.name}:{-1 << 63}"
        #: Whether every number makes an id.
        self._numbers_are_ids = bool(allowed_ids(pa.array([longest], pa.string()))[0].as_py())
        self.rows = 0
        self.counts: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether the filter's limit is reached, and no further batch can add an event."""
        return self._filter.limit is not None and self.rows >= self._filter.limit

    def convert(self, gathered: Gathered) -> pa.RecordBatch:
        """The events of a batch, in order; maybe none."""
        batch = gathered.batch
        judged = self._judge(gathered)
        matching = _matching(judged, batch["seq"], self._early)
        taken = reduce(pc.and_not, judged.misfits.values(), matching)
        if self._late:
            broken = self._broken(batch, judged, taken)
            matching, taken = pc.and_not(matching, broken), pc.and_not(taken, broken)
        reached = self._reached(taken)
        if reached < batch.num_rows:
            inside = pa.array([row < reached for row in range(batch.num_rows)])
            matching, taken = pc.and_(matching, inside), pc.and_(taken, inside)
        self._count(gathered, judged, matching, taken)
        count = pc.sum(taken).as_py() or 0
        self.rows += count
        if count < batch.num_rows:
            batch, judged = _chosen(batch, judged, taken)
        return _events(batch, judged)

    def _broken(self, batch: pa.RecordBatch, judged: Judged, taken: pa.BooleanArray) -> pa.BooleanArray:
        """Which of the rows that would be taken break a condition on what only whole events have."""
        events = _events(*_chosen(batch, judged, taken))
        met = pc.fill_null(truth(events, All(tuple(self._late))), False)
        return pc.replace_with_mask(taken, taken, pc.invert(met))

    def _reached(self, taken: pa.BooleanArray) -> int:
        """How many rows are looked at until the limit is full: rows behind that are not even counted."""
        if self._filter.limit is None:
            return len(taken)
        left = self._filter.limit - self.rows
        if left <= 0:
            return 0
        places = pc.indices_nonzero(taken)
        return len(taken) if len(places) < left else int(places[left - 1].as_py()) + 1

    def _count(self, gathered: Gathered, judged: Judged, matching: pa.BooleanArray, taken: pa.BooleanArray) -> None:
        for name, misfit in judged.misfits.items():
            self._add(name, pc.and_(misfit, matching))
            matching = pc.and_not(matching, misfit)
        for name, where in judged.changed:
            self._add(name, pc.and_(where, taken))
        names = gathered.batch.schema.names
        for (column, note), count in gathered.notes.counts(taken).items():
            counted = _COUNTED.get((names[column], note))
            if counted is not None:
                self.counts[counted] += count

    def _add(self, name: str, where: pa.BooleanArray) -> None:
        count = pc.sum(where).as_py()
        if count:
            self.counts[name] += count

    def _judge(self, gathered: Gathered) -> Judged:
        changed: list[tuple[str, pa.BooleanArray]] = []
        batch = gathered.batch
        kinds, implied = _looked_up(_text(gathered, "event_type"), _event_type, KNOWN_TYPES.get)
        ids, sessions = self._own_text(batch, "id"), self._own_text(batch, "session_id")
        bad = {field: _noted(gathered, field, Note.MISFIT) for field in ("id", "session_id")}
        if ids.null_count:
            numbered = pc.binary_join_element_wise(self._prefix, batch["seq"].cast(pa.string()), _NOTHING)
            if not self._numbers_are_ids:
                bad["id"] = pc.and_(pc.is_null(ids), pc.invert(allowed_ids(numbered)) if bad["id"] is None else True)
            ids = pc.coalesce(ids, numbered)
        return Judged(
            id=ids,
            timestamp=batch["timestamp"],
            event_type=kinds,
            category=self._category(gathered, implied, changed),
            session_id=sessions,
            priority=self._priority(gathered, changed),
            misfits={
                "skipped_bad_timestamp": pc.is_null(batch["timestamp"]),
                "skipped_bad_event_type": pc.is_null(kinds),
                **{f"skipped_bad_{field}": where for field, where in bad.items() if where is not None},
            },
            changed=changed,
        )

    def _own_text(self, batch: pa.RecordBatch, field: str) -> pa.StringArray:
        """The table's own id or session, null where there is none."""
        return batch[field] if field in self._adoption.fields else pa.nulls(batch.num_rows, pa.string())

    def _category(
        self, gathered: Gathered, implied: pa.StringArray, changed: list[tuple[str, pa.BooleanArray]]
    ) -> pa.StringArray:
        if "category" not in self._adoption.fields:
            return pc.coalesce(implied, _CUSTOM)
        (given,) = _looked_up(_text(gathered, "category"), lambda text: text if text in _CATEGORIES else None)
        category = pc.coalesce(implied, given, _CUSTOM)
        kept = pc.fill_null(pc.equal(given, category), False)
        changed.append(("coerced_category", pc.and_not(pc.is_valid(gathered.batch["category"]), kept)))
        return category

    def _priority(self, gathered: Gathered, changed: list[tuple[str, pa.BooleanArray]]) -> pa.StringArray:
        if "priority" not in self._adoption.fields:
            return pa.repeat(_NORMAL, gathered.batch.num_rows)
        (given,) = _looked_up(_text(gathered, "priority"), _priority_named)
        changed.append(("coerced_priority", pc.and_(pc.is_valid(gathered.batch["priority"]), pc.is_null(given))))
        return pc.coalesce(given, _NORMAL)


def _events(batch: pa.RecordBatch, judged: Judged) -> pa.RecordBatch:
    """Rows that are events, with all fields; one without a time of arrival arrived when it happened."""
    given = set(batch.schema.names)
    received = pc.coalesce(batch["received_at"], judged.timestamp) if "received_at" in given else judged.timestamp
    columns: dict[str, Any] = {
        **{name: getattr(judged, name) for name in _DECIDED},
        "timestamp": judged.timestamp.cast(MICROS_UTC),
        "data": batch["data"],
        "metadata": batch["metadata"] if "metadata" in given else pa.repeat(_EMPTY, batch.num_rows),
        "seq": batch["seq"],
        "received_at": received.cast(MICROS_UTC),
    }
    return pa.record_batch([columns[field.name] for field in EVENT_SCHEMA], schema=EVENT_SCHEMA)


def _noted(gathered: Gathered, field: str, *notes: Note) -> pa.BooleanArray | None:
    """Where one of these was noted of a field; ``None`` when nowhere, or when there is no such column."""
    if not len(gathered.notes) or field not in gathered.batch.schema.names:
        return None
    rows = gathered.notes.rows(gathered.batch.schema.names.index(field), *notes)
    return pc.is_in(pa.array(range(gathered.batch.num_rows), pa.int64()), rows) if len(rows) else None


def _text(gathered: Gathered, field: str) -> pa.StringArray:
    """A field that has to be text by itself: null where it is a blob or no UTF-8, whatever its base64 may say."""
    odd = _noted(gathered, field, Note.BLOB, Note.INVALID_UTF8)
    return gathered.batch[field] if odd is None else pc.if_else(odd, None, gathered.batch[field])


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


def _looked_up(column: pa.StringArray, *look_ups: Callable[[str], str | None]) -> list[pa.StringArray]:
    """A text column with every value replaced, in turn, each different one looked up once."""
    coded = column.dictionary_encode()
    found, answers = [], coded.dictionary.to_pylist()
    for look_up in look_ups:
        answers = [None if each is None else look_up(each) for each in answers]
        known = pa.array([None if each is None else str(each) for each in answers], pa.string())
        found.append(known.take(coded.indices))
    return found


def _chosen(batch: pa.RecordBatch, judged: Judged, taken: pa.BooleanArray) -> tuple[pa.RecordBatch, Judged]:
    keep = pc.indices_nonzero(taken)
    return batch.take(keep), replace(judged, **{name: getattr(judged, name).take(keep) for name in _DECIDED})


def _matching(judged: Judged, numbers: pa.Int64Array, conditions: Sequence[Condition]) -> pa.BooleanArray:
    """Where no condition is broken. What a row that is no event does not have breaks none, but for the event type: no
    name that a filter can ask for is an invalid one."""
    seen = pa.record_batch({**{name: getattr(judged, name) for name in _DECIDED}, "seq": numbers})
    unknown = {"timestamp": pc.is_null(judged.timestamp), "category": pc.is_null(judged.event_type)}
    met = pc.is_valid(judged.priority)
    for condition in conditions:
        own = pc.fill_null(truth(seen, condition), False)
        met = pc.and_(met, reduce(pc.or_, [unknown[name] for name in columns(condition) if name in unknown], own))
    return met
