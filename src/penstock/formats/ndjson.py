"""NDJSON: one compact JSON object a line, JSON text embedded as it is, every line ended by a line feed.

The decoder is as strict as can be: what it read is rendered again and has to be the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.formats.bounds import check_record
from penstock.model.options import Layout
from penstock.pipeline.canonical import NotCanonical, Rendered
from penstock.pipeline.rowtext import RowText

_BLOCK = 1 << 20
_ROWS = 4096


class NdjsonEncoder:
    """Writes the lines of which the digest is made; no further work is done."""

    prologue = b""
    separator = b""
    epilogue = b""

    def __init__(self, layout: Layout) -> None:
        self._text = RowText(layout.dataset)

    def render(self, batch: pa.RecordBatch) -> Rendered:
        return self._text.lines(batch)


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of NDJSON with the layout's columns."""
    decode = line_decoder(RowText(layout.dataset))

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        line = 1
        for block in line_blocks(stream):
            yield from decode(block, line)
            line += block.count(b"\n")

    return read


def line_blocks(stream: BinaryIO, size: int = _BLOCK) -> Iterator[bytes]:
    """The stream in blocks that end with a line feed; the last line may lack one. Blocks hold at least one line."""
    rest: list[bytes] = []
    held = 0
    while data := stream.read(size):
        cut = data.rfind(b"\n") + 1
        if not cut:
            rest.append(data)
            held += len(data)
            check_record(held)
            continue
        yield b"".join([*rest, data[:cut]])
        rest = [data[cut:]] if cut < len(data) else []
        held = len(data) - cut
    if rest:
        yield b"".join(rest)


def line_decoder(text: RowText) -> Callable[[bytes, int], Iterator[pa.RecordBatch]]:
    """A function from compact lines (and the number of the first one) to batches.

    It accepts exactly what :meth:`~penstock.pipeline.rowtext.RowText.lines` writes, byte for byte.
    """

    def decode(block: bytes, first_line: int) -> Iterator[pa.RecordBatch]:
        try:
            batch = text.parse(block)
        except NotCanonical as error:
            raise SerializationError(f"line {first_line + error.line} is not canonical: {error}") from None
        for start in range(0, batch.num_rows, _ROWS):
            yield batch.slice(start, _ROWS)

    return decode
