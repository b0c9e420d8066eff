"""Events as text, a batch at a time, and the events digest that is found on the way.

The NDJSON line is the common spelling of an event: NDJSON writes it as it is, JSON wraps it, and the events digest of
every format hashes the part of it that belongs to the event itself (``docs/format.md``, "Canonical bytes"). The digest
is the sum of the XXH3-128 (seed 0) of each event's canonical bytes, modulo 2**128. A sum and not an exclusive or: two
equal events must not cancel out. It finds faults, not forgers.

The work is done by the native module (``native/rows.c``), without the interpreter's lock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from penstock.pipeline import _native

#: Bytes that a JSON string must escape, and all others: ``bytes.translate`` with the second finds the first.
_ESCAPED = bytes([*range(32), 0x22, 0x5C])
_PLAIN = bytes(set(range(256)) - set(_ESCAPED))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a batch, as bytes that are read through the buffer protocol, and its events digest."""

    text: Any
    digest: int


def render_lines(batch: pa.RecordBatch, *, end: bytes = b"\n") -> Rendered:
    """A batch (``EVENT_SCHEMA`` or a projection of it, in its order) as NDJSON lines, each with ``end`` behind it."""
    schema, array = batch.__arrow_c_array__()
    return Rendered(*_native.lines(schema, array, end, True))


def render_csv(batch: pa.RecordBatch, *, null: str) -> Rendered:
    """A batch as CSV rows without a header. A field is quoted if it holds a quote, a comma or a line end, is empty, or
    is spelled like ``null``, which stands unquoted for a null."""
    schema, array = batch.__arrow_c_array__()
    return Rendered(*_native.csv(schema, array, null.encode(), True))


def events_digest(batch: pa.RecordBatch) -> int:
    """The events digest alone."""
    return _native.digest(*batch.__arrow_c_array__())


def escaped(column: pa.StringArray) -> pa.StringArray:
    """Text as the inside of a JSON string. Nearly always nothing needs escaping, and that is checked in one pass."""
    if not _used_bytes(column).translate(None, _PLAIN):
        return column
    texts = [None if text is None else json.dumps(text, ensure_ascii=False)[1:-1] for text in column.to_pylist()]
    return pa.array(texts, pa.string())


def _used_bytes(column: pa.StringArray) -> bytes:
    """The text of all rows of a column, end to end."""
    if not len(column):
        return b""
    marks = memoryview(column.buffers()[1]).cast("B").cast("i")
    first, last = marks[column.offset], marks[column.offset + len(column)]
    return bytes(memoryview(column.buffers()[2] or b"")[first:last])
