"""A JSON array of rows: one row a line, or indented when ``pretty``; JSON text embedded as it is.

Brackets and commas belong to whoever joins the chunks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec
import pyarrow as pa

from penstock.errors import InvalidEvent, SerializationError
from penstock.formats.bounds import reading, whole
from penstock.formats.lines import line_decoder
from penstock.model import jsontext
from penstock.model.options import Layout
from penstock.pipeline.canonical import Rendered
from penstock.pipeline.elements import elements
from penstock.pipeline.rowtext import RowText

_BLOCK = 1 << 18
_LINES = 2048
#: A row is one level above the JSON in it.
_DEPTH = jsontext.MAX_DEPTH + 1


class JsonArrayEncoder:
    """Rows between ``[`` and ``]``, separated by a comma and a line feed."""

    prologue = b"[\n"
    separator = b",\n"
    epilogue = b"\n]\n"

    def __init__(self, layout: Layout) -> None:
        self.pretty = layout.pretty
        self._text = RowText(layout.dataset)

    def render(self, batch: pa.RecordBatch) -> Rendered:
        if not self.pretty:
            lines = self._text.lines(batch, end=self.separator)
            return Rendered(memoryview(lines.text)[: -len(self.separator)], lines.digest)
        lines = self._text.lines(batch)
        pretty = self.separator.join(_indented(line) for line in bytes(lines.text)[:-1].split(b"\n"))
        return Rendered(pretty, lines.digest)


def _indented(line: bytes) -> bytes:
    """Two spaces a level, one level in. Line feeds in compact JSON are structure, never content."""
    return b"  " + msgspec.json.format(line, indent=2).replace(b"\n", b"\n  ")


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of a JSON array with the layout's columns, pretty or not."""
    decode = line_decoder(RowText(layout.dataset))

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        first, size = 1, 0
        lines: list[bytes] = []
        for found in elements(reading(stream, _BLOCK), limit=sys.maxsize, array=True):
            element = whole(found)
            try:
                line = jsontext.compact(element, max_depth=_DEPTH) if layout.pretty else element
            except InvalidEvent as error:
                raise SerializationError(f"element {first + len(lines)}: {error.message}") from None
            if b"\n" in line:
                raise SerializationError(f"element {first + len(lines)} is spread over lines")
            lines.append(line)
            size += len(line)
            if len(lines) == _LINES or size > _BLOCK:
                yield from decode(b"\n".join(lines) + b"\n", first)
                first, lines, size = first + len(lines), [], 0
        if lines:
            yield from decode(b"\n".join(lines) + b"\n", first)

    return read
