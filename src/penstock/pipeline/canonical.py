"""Rows as text, a batch at a time, and the rows digest that is found on the way.

The NDJSON line is the common spelling of a row: NDJSON writes it as it is, JSON wraps it, and the rows digest of every
format hashes those of its members that are the dataset's own (``docs/format.md``, "Canonical bytes"). The digest is the
sum of the XXH3-128 (seed 0) of each row's canonical bytes, modulo 2**128. A sum and not an exclusive or: two equal rows
must not cancel out. It finds faults, not forgers.

The work is done by the native library (``native/rows.c``), without the interpreter's lock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from penstock.model import jsontext
from penstock.model.columns import EVENT_SPELLING
from penstock.model.spelling import Spelling
from penstock.pipeline import native

#: Bytes that a JSON string must escape, and all others: ``bytes.translate`` with the second finds the first.
_ESCAPED = bytes([*range(32), 0x22, 0x5C])
_PLAIN = bytes(set(range(256)) - set(_ESCAPED))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of a batch, as bytes that are read through the buffer protocol, and its rows digest."""

    text: Any
    digest: int


def render_lines(batch: pa.RecordBatch, spelling: Spelling = EVENT_SPELLING, *, end: bytes = b"\n") -> Rendered:
    """A batch (columns of ``spelling``, all or some, in its order) as NDJSON lines, each with ``end`` behind it."""
    return Rendered(*native.lines(batch, spelling, end))


def render_csv(batch: pa.RecordBatch, spelling: Spelling = EVENT_SPELLING, *, null: str) -> Rendered:
    """A batch as CSV rows without a header. A field is quoted if it holds a quote, a comma or a line end, is empty, or
    is spelled like ``null``, which stands unquoted for a null."""
    return Rendered(*native.csv(batch, spelling, null.encode()))


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows of some lines. ``settled`` says that every verbatim value is a compact object of strict JSON (no lone
    surrogates) that is nested no deeper than :data:`~penstock.model.jsontext.MAX_DEPTH`."""

    batch: pa.RecordBatch
    settled: bool


def parse_lines(text: bytes, spelling: Spelling) -> Parsed:
    """Whole lines with exactly these members back to rows: the inverse of :func:`render_lines`, and strict.

    Raises :class:`NotCanonical` for whatever :func:`render_lines` would have written otherwise.
    """
    found = native.parse(text, spelling, jsontext.MAX_DEPTH)
    if isinstance(found, native.Complaint):
        raise NotCanonical(found.line, found.text)
    batch, settled = found
    written = render_lines(batch, spelling).text
    if not written.equals(pa.py_buffer(text)):
        raise NotCanonical(_first_difference(bytes(written), text), "it is spelled otherwise")
    return Parsed(batch, settled)


class NotCanonical(ValueError):
    """A line that is not written as an export writes it; ``line`` counts from 0."""

    def __init__(self, line: int, complaint: str) -> None:
        super().__init__(complaint)
        self.line = line


def _first_difference(written: bytes, text: bytes) -> int:
    for number, (ours, theirs) in enumerate(zip(written.split(b"\n"), text.split(b"\n"), strict=False)):
        if ours != theirs:
            return number
    return min(written.count(b"\n"), text.count(b"\n"))


def rows_digest(batch: pa.RecordBatch, spelling: Spelling = EVENT_SPELLING) -> int:
    """The rows digest alone."""
    return native.digest(batch, spelling)


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
