"""Events as they are bound to the store's INSERT: times in microseconds, priorities as numbers, the arrival time."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.columns import APPEND_SCHEMA, EVENT_FIELDS
from penstock.model.event import PRIORITY_NAMES, AnalyticsEvent

_PRIORITIES = pa.array(PRIORITY_NAMES)
_TYPES = {"timestamp": pa.int64(), "priority": pa.int64()}
_SCHEMA = pa.schema(
    [*((name, _TYPES.get(name, pa.string())) for name in EVENT_FIELDS), pa.field("received_at", pa.int64())]
)
_ROW = pa.struct(list(_SCHEMA))
#: The statement that such a batch is bound to.
INSERT = (
    f"INSERT INTO events ({', '.join(_SCHEMA.names)}) VALUES ({', '.join('?' * len(_SCHEMA))})"
    " ON CONFLICT (id) DO NOTHING"
)


def bound_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of ``APPEND_SCHEMA``, arriving now."""
    columns = dict(zip(APPEND_SCHEMA.names, batch.columns, strict=True))
    columns["timestamp"] = columns["timestamp"].cast(pa.int64())
    columns["priority"] = pc.index_in(columns["priority"], _PRIORITIES).cast(pa.int64())
    columns["received_at"] = pa.repeat(time.time_ns() // 1000, batch.num_rows)
    return pa.record_batch(list(columns.values()), schema=_SCHEMA)


def bound_events(events: Iterable[AnalyticsEvent]) -> pa.RecordBatch:
    """Events, arriving now; made in one step, since single events are appended thousands of times a second."""
    now = time.time_ns() // 1000
    rows = [
        (
            event.id,
            event.category.value,
            event.event_type,
            event.timestamp_micros,
            event.session_id,
            event.priority.value,
            event.data_text,
            event.metadata_text,
            now,
        )
        for event in events
    ]
    return pa.RecordBatch.from_struct_array(pa.array(rows, _ROW))
