"""A JSON array of rows: one row a line, or indented when ``pretty``; JSON text embedded as it is.

Brackets and commas belong to whoever joins the chunks. The elements of any JSON array, ours or foreign, are found by
:func:`elements`, which holds one element at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec
import pyarrow as pa

from penstock.errors import InvalidEvent, SerializationError
from penstock.formats.bounds import check_record
from penstock.formats.ndjson import line_decoder
from penstock.model import jsontext
from penstock.model.options import Layout
from penstock.pipeline.canonical import Rendered
from penstock.pipeline.rowtext import RowText

_BLOCK = 1 << 18
_MOST = 8 << 20
_LINES = 2048
#: A row is one level above the JSON in it.
_DEPTH = jsontext.MAX_DEPTH + 1
#: A whole string, a bracket, a comma, or a quote whose string is not complete yet.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]|"', re.DOTALL)
_SPACE = b" \t\r\n"


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
        for element in elements(stream):
            try:
                line = jsontext.compact(element, max_depth=_DEPTH) if layout.pretty else element.strip(_SPACE)
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


def elements(stream: BinaryIO) -> Iterator[bytes]:
    """The raw text of each element of a JSON array, in order; elements need not be valid JSON themselves.

    Raises :class:`SerializationError` when the text is not one whole array: no bracket, cut short, or trailing bytes.
    """
    buffer = stream.read(_BLOCK)
    while buffer and not (buffer := buffer.lstrip(_SPACE)):
        buffer = stream.read(_BLOCK)
    if buffer[:1] != b"[":
        raise SerializationError("not a JSON array: it does not begin with [")
    begin = position = 1
    level, any_element, closed = 1, False, False
    while not closed:
        for match in _TOKEN.finditer(buffer, position):
            token = buffer[match.start()]
            if token == 0x22:
                if match.end() - match.start() == 1:
                    break
            elif token in b"[{":
                level += 1
            elif token == 0x2C:
                if level == 1:
                    yield buffer[begin : match.start()]
                    begin, any_element = match.end(), True
            else:
                level -= 1
                if level == 0:
                    last = buffer[begin : match.start()]
                    if any_element or last.strip(_SPACE):
                        yield last
                    begin, closed = match.end(), True
            position = match.end()
            if closed:
                break
        if not closed:
            held = len(buffer) - begin
            check_record(held)
            more = stream.read(min(max(_BLOCK, held), _MOST))
            if not more:
                raise SerializationError("the JSON array is cut short: its closing bracket is missing")
            position -= begin
            buffer = buffer[begin:] + more
            begin = 0
    rest = buffer[begin:]
    while rest:
        if rest.strip(_SPACE):
            raise SerializationError("there are bytes after the end of the JSON array")
        rest = stream.read(_BLOCK)
