"""Events as NDJSON lines, rendered a batch at a time with Arrow kernels, and the slices of them that are hashed.

The line is the common spelling of an event: NDJSON writes it as it is, JSON wraps it, and the events digest of every
format hashes the part of it that belongs to the event itself (``docs/format.md``, "Canonical bytes").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.columns import EVENT_FIELDS

_TIMES = ("timestamp", "received_at")
_EMBEDDED = ("data", "metadata")
_NAIVE = pa.timestamp("us")
#: Bytes that a JSON string must escape, and all others: ``bytes.translate`` with the second finds the first.
_ESCAPED = bytes([*range(32), 0x22, 0x5C])
_PLAIN = bytes(set(range(256)) - set(_ESCAPED))
_RECEIVED = len(',"received_at":"2026-11-01T00:00:00.000000Z"')


@dataclass(frozen=True, slots=True)
class Lines:
    """One NDJSON line a row, each with its line feed, and how many bytes at its end are not canonical."""

    text: pa.StringArray
    tails: int | list[int]


def render_lines(batch: pa.RecordBatch) -> Lines:
    """Render a batch (``EVENT_SCHEMA`` or a projection of it, in its order) as NDJSON lines."""
    pieces: list[pa.StringArray | str] = []
    lead = "{"
    seq_text: pa.StringArray | None = None
    for name in batch.schema.names:
        column = batch.column(name)
        key = f'{lead}"{name}":'
        if name in _TIMES:
            pieces += [key + '"', rfc3339(column), 'Z"']
        elif name in _EMBEDDED:
            pieces += [key, column]
        elif name == "seq":
            seq_text = column.cast(pa.string())
            pieces += [key, seq_text]
        elif name == "session_id" and column.null_count:
            pieces += [key, pc.coalesce(joined(['"', escaped(column), '"']), constant("null"))]
        else:
            pieces += [key + '"', escaped(column), '"']
        lead = ","
    return Lines(text=joined([*pieces, "}\n"]), tails=_tails(batch, seq_text))


def rfc3339(column: pa.TimestampArray) -> pa.StringArray:
    """Timestamps as RFC 3339 text with six digits, without the final ``Z``, which costs nothing in a constant.

    The zone is taken off first: rendering a timestamp with a zone takes 70 times as long.
    """
    return pc.binary_replace_slice(column.cast(_NAIVE).cast(pa.string()), 10, 11, "T")


def escaped(column: pa.StringArray) -> pa.StringArray:
    """Text as the inside of a JSON string. Nearly always nothing needs escaping, and that is checked in one pass."""
    if not used_bytes(column).translate(None, _PLAIN):
        return column
    texts = [None if text is None else json.dumps(text, ensure_ascii=False)[1:-1] for text in column.to_pylist()]
    return pa.array(texts, pa.string())


def used_bytes(column: pa.StringArray) -> bytes:
    """The text of all rows of a column, end to end."""
    if not len(column):
        return b""
    marks = offsets(column)
    return bytes(memoryview(column.buffers()[2] or b"")[marks[0] : marks[-1]])


def offsets(column: pa.StringArray) -> memoryview:
    """Where each row begins in the column's value buffer, and behind them where the last one ends."""
    start = column.offset
    return memoryview(column.buffers()[1]).cast("B").cast("i")[start : start + len(column) + 1]


def joined(pieces: Sequence[pa.StringArray | str]) -> pa.StringArray:
    """Columns and constants, row by row end to end; null where a column is. Neighbouring constants become one first:
    fewer pieces is less work for every row."""
    merged: list[pa.StringArray | str] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    arguments = [constant(piece) if isinstance(piece, str) else piece for piece in merged]
    return pc.binary_join_element_wise(*arguments, constant(""))


@lru_cache(maxsize=256)
def constant(text: str) -> pa.StringScalar:
    """Text as a typed value: handing kernels plain text costs 36 µs a time, in finding out what it is."""
    return pa.scalar(text, pa.string())


def _tails(batch: pa.RecordBatch, seq_text: pa.StringArray | None) -> int | list[int]:
    names = batch.schema.names
    fixed = len("}\n") + (_RECEIVED if "received_at" in names else 0)
    if not any(name in EVENT_FIELDS for name in names):
        fixed -= 1 if "received_at" in names or seq_text is not None else 0
    if seq_text is None:
        return fixed
    fixed += len(',"seq":')
    lengths = pc.binary_length(seq_text)
    extremes = pc.min_max(lengths).as_py()
    if extremes["min"] == extremes["max"]:
        return fixed + int(extremes["min"] or 0)
    return [fixed + length for length in lengths.to_pylist()]
