"""The text formats and the events digest a second time, as naively as they can be written: what the product is held to.

Nothing here is imported from the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import xxhash

from sample_events import shape

COLUMNS = (
    "id",
    "category",
    "event_type",
    "timestamp",
    "session_id",
    "priority",
    "data",
    "metadata",
    "seq",
    "received_at",
)
RECEIVED = datetime(2026, 11, 23, 8, 30, 0, 123456, tzinfo=UTC)


def arrived(events: Iterable[Any], *, first_seq: int = 1) -> pa.RecordBatch:
    """Events as a store would give them, with numbers in a row and arrival times a microsecond apart."""
    rows = []
    for number, event in enumerate(events):
        rows.append(
            {
                "id": event.id,
                "category": event.category.value,
                "event_type": event.event_type,
                "timestamp": event.timestamp,
                "session_id": event.session_id,
                "priority": event.priority.name.lower(),
                "data": event.data_text.decode(),
                "metadata": event.metadata_text.decode(),
                "seq": first_seq + number,
                "received_at": RECEIVED + timedelta(microseconds=number),
            }
        )
    moment = pa.timestamp("us", "UTC")
    kinds = {"timestamp": moment, "received_at": moment, "seq": pa.int64()}
    schema = pa.schema([pa.field(name, kinds.get(name, pa.string()), name == "session_id") for name in COLUMNS])
    return pa.RecordBatch.from_pylist(rows, schema)


def spelled(moment: datetime) -> str:
    """A time as every text format writes it."""
    return (
        f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
        f"T{moment.hour:02}:{moment.minute:02}:{moment.second:02}.{moment.microsecond:06}Z"
    )


def member(name: str, value: Any) -> str:
    """One member of an NDJSON line."""
    if name in ("data", "metadata"):
        return f'"{name}":{value}'
    if isinstance(value, datetime):
        return f'"{name}":"{spelled(value)}"'
    if value is None or isinstance(value, int):
        return f'"{name}":{"null" if value is None else value}'
    text = "".join(_SHORT.get(letter) or (f"\\u{ord(letter):04x}" if ord(letter) < 32 else letter) for letter in value)
    return f'"{name}":"{text}"'


_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def line(row: dict[str, Any]) -> bytes:
    """An NDJSON line."""
    return ("{" + ",".join(member(name, value) for name, value in row.items()) + "}\n").encode()


def canonical(row: dict[str, Any]) -> bytes:
    """What is hashed of an event: its line up to the members that the store gave."""
    own = [member(name, value) for name, value in row.items() if name not in ("seq", "received_at")]
    return ("{" + ",".join(own)).encode()


def ndjson(batch: pa.RecordBatch) -> bytes:
    return b"".join(line(row) for row in batch.to_pylist())


def json_array(batch: pa.RecordBatch) -> bytes:
    return b"[\n" + b",\n".join(line(row)[:-1] for row in batch.to_pylist()) + b"\n]\n"


def csv(batch: pa.RecordBatch, null: str = "") -> bytes:
    lines = [",".join(batch.schema.names)]
    lines += [",".join(_cell(value, null) for value in row.values()) for row in batch.to_pylist()]
    return "".join(text + "\n" for text in lines).encode()


def _cell(value: Any, null: str) -> str:
    if value is None:
        return null
    text = spelled(value) if isinstance(value, datetime) else str(value)
    if text in ("", null) or any(mark in text for mark in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def events_digest(texts: Iterable[bytes]) -> str:
    """The events digest of canonical bytes."""
    total = 0
    for text in texts:
        total = (total + int(xxhash.xxh3_128_hexdigest(text, seed=0), 16)) % 2**128
    return f"{total:032x}"


def digest_of_ndjson(text: bytes) -> str:
    """The events digest of an NDJSON file, by cutting each line at its last ``,"seq":``."""
    lines: Sequence[bytes] = text.split(b"\n")[:-1]
    for each in lines:
        shape(each)  # each line is JSON by itself
    return events_digest(each[: each.rindex(b',"seq":')] for each in lines)
