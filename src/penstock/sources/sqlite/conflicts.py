"""Events that come again under an id that is stored: which of them differ from what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from penstock.model.columns import EVENT_FIELDS
from penstock.sources.connection import Connection

#: How many rows are compared with what is stored at a time.
_COMPARED = 4096
#: Stored events as they are bound on append, behind a row that settles the column types.
_STORED = (
    "SELECT '' AS id, '' AS category, '' AS event_type, 0 AS timestamp, '' AS session_id, 0 AS priority, '' AS data,"
    f" '' AS metadata UNION ALL SELECT * FROM (SELECT {', '.join(EVENT_FIELDS)} FROM events"
)


def conflicting(writer: Connection, given: pa.RecordBatch) -> list[int]:
    """Numbers of the rows, all of whose ids are stored by now, that differ from what is stored under their id.

    ``given`` has the event's fields as they are bound: times in microseconds, priorities as numbers.
    """
    found: list[int] = []
    for start in range(0, given.num_rows, _COMPARED):
        piece = given.slice(start, _COMPARED)
        sql = f"{_STORED} WHERE id IN (SELECT value FROM json_each(?)))"
        with writer.stream(sql, [json.dumps(piece["id"].to_pylist())], batch_rows=_COMPARED + 1) as reader:
            stored = {row[0]: row for batch in reader for row in _rows(batch)}
        found += [start + number for number, row in enumerate(_rows(piece)) if stored[row[0]] != row]
    return found


def remove(writer: Connection, ids: pa.StringArray) -> None:
    """Delete the events with these ids; part of the caller's transaction."""
    writer.query(
        "DELETE FROM events WHERE id IN (SELECT value FROM json_each(?)) RETURNING 1", [json.dumps(ids.to_pylist())]
    )


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(batch.column(name).to_pylist() for name in EVENT_FIELDS), strict=True)
