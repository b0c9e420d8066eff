"""The ten columns of an event, the dataset of every event store.

Their order is that of the members of an NDJSON line. The first eight are the event. ``seq`` and ``received_at`` are
given by the store and stand last, so that the canonical bytes of an event (``docs/format.md``) are a slice of its line.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model import jsontext, times
from penstock.model.dataset import MICROS_UTC, Dataset, json_field
from penstock.model.event import KNOWN_TYPES, PRIORITY_NAMES, AnalyticsEvent, check_category, check_event_type
from penstock.model.ids import allowed_ids, check_id

EVENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("timestamp", MICROS_UTC, nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("priority", pa.string(), nullable=False),
        json_field("data", nullable=False),
        json_field("metadata", nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("received_at", MICROS_UTC, nullable=False),
    ]
)

COLUMNS: tuple[str, ...] = tuple(EVENT_SCHEMA.names)
#: The fields that make an event what it is; the events digest covers these and no others.
EVENT_FIELDS: tuple[str, ...] = COLUMNS[:8]
EVENTS = Dataset("events", EVENT_SCHEMA, own=EVENT_FIELDS, time="timestamp", key=("id",), order="seq")
#: In a mapping of records or tables, in place of a name: this field is nowhere, and its own name is nothing but data.
NOWHERE = ":none"
#: What a store needs to append: the event fields without what the store itself assigns.
APPEND_SCHEMA = pa.schema([EVENT_SCHEMA.field(name) for name in EVENT_FIELDS])

#: How events are spelled in text.
EVENT_SPELLING = EVENTS.spelling


def batch_of(events: Iterable[AnalyticsEvent]) -> pa.RecordBatch:
    """The events as one batch of :data:`APPEND_SCHEMA`."""
    rows = list(events)
    values: dict[str, list[object]] = {
        "id": [event.id for event in rows],
        "category": [str(event.category) for event in rows],
        "event_type": [event.event_type for event in rows],
        "timestamp": [event.timestamp_micros for event in rows],
        "session_id": [event.session_id for event in rows],
        "priority": [PRIORITY_NAMES[event.priority] for event in rows],
        "data": [event.data_text.decode() for event in rows],
        "metadata": [event.metadata_text.decode() for event in rows],
    }
    arrays = [pa.array(values[field.name], field.type) for field in APPEND_SCHEMA]
    return pa.record_batch(arrays, schema=APPEND_SCHEMA)


def checked_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of :data:`APPEND_SCHEMA` whose every row obeys the event model, payloads made compact.

    Types that cast without loss are cast (timestamps without a zone are UTC). Raises
    :class:`~penstock.errors.InvalidEvent` that names the first bad row and says why.
    """
    wrong = [name for name in EVENT_FIELDS if batch.schema.names.count(name) != 1]
    if wrong:
        raise InvalidEvent(f"the batch needs the column {wrong[0]!r} once", hint="it needs " + ", ".join(EVENT_FIELDS))
    try:
        cast = pa.record_batch(
            [batch.column(field.name).cast(field.type) for field in APPEND_SCHEMA], schema=APPEND_SCHEMA
        )
        cast.validate(full=True)
    except pa.ArrowException as error:
        raise InvalidEvent(f"the batch does not have the event's types: {error}") from None
    for field in APPEND_SCHEMA:
        if not field.nullable and cast.column(field.name).null_count:
            raise InvalidEvent(f"row {_first(pc.is_null(cast.column(field.name)))}: {field.name} is null")
    check_ids(cast)
    _require(cast, "priority", pc.is_in(cast["priority"], pa.array(PRIORITY_NAMES)), "is not a priority")
    kinds = pa.Table.from_batches([cast]).group_by(["event_type", "category"]).aggregate([]).to_pylist()
    for kind in kinds:
        check_event_type(kind["event_type"])
        category = check_category(kind["category"])
        if KNOWN_TYPES.get(kind["event_type"], category) is not category:
            raise InvalidEvent(f"the known type {kind['event_type']} is not of category {category}")
    micros = cast["timestamp"].cast(pa.int64())
    in_range = pc.and_(pc.greater_equal(micros, times.MIN_MICROS), pc.less_equal(micros, times.MAX_MICROS))
    _require(cast, "timestamp", in_range, "is outside the years 0001 to 9999")
    payloads = {name: _compacted(cast[name], name) for name in ("data", "metadata")}
    arrays = [payloads.get(name, cast[name]) for name in EVENT_FIELDS]
    return pa.record_batch(arrays, schema=APPEND_SCHEMA)


def check_ids(batch: pa.RecordBatch) -> None:
    """Raise :class:`~penstock.errors.InvalidEvent` for the first id or session that is not allowed."""
    for name in ("id", "session_id"):
        allowed = allowed_ids(batch[name])
        if not pc.all(allowed, min_count=0).as_py():
            row = _first(pc.invert(allowed))
            try:
                check_id(batch[name][row].as_py(), what=name)
            except InvalidEvent as error:
                raise InvalidEvent(f"row {row}: {error.message}") from None


def _compacted(column: pa.StringArray, name: str) -> pa.StringArray:
    texts = []
    for row, text in enumerate(column.cast(pa.binary()).to_pylist()):
        try:
            texts.append(jsontext.compact_object(text, what=name))
        except InvalidEvent as error:
            raise InvalidEvent(f"row {row}: {error.message}") from None
    return pa.array(texts, pa.binary()).cast(pa.string())


def _require(batch: pa.RecordBatch, name: str, fits: pa.BooleanArray, complaint: str) -> None:
    if not pc.all(fits).as_py() and batch.num_rows:
        row = _first(pc.invert(fits))
        value = batch[name][row]
        shown = value.value if isinstance(value, pa.TimestampScalar) else str(value)[:60]
        raise InvalidEvent(f"row {row}: {name} {complaint}: {shown!r}")


def _first(mask: pa.BooleanArray) -> int:
    return int(pc.index(mask, True).as_py())
