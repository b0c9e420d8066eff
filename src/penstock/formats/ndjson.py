"""NDJSON: one compact JSON object a line, JSON text embedded as it is, every line ended by a line feed.

The decoder is as strict as can be: what it read is rendered again and has to be the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa

from penstock.formats.bounds import reading, whole
from penstock.formats.lines import line_decoder
from penstock.model.options import Layout
from penstock.pipeline.canonical import Rendered
from penstock.pipeline.lines import line_blocks
from penstock.pipeline.rowtext import RowText

_BLOCK = 1 << 20


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
        for line, block in line_blocks(reading(stream, _BLOCK), limit=sys.maxsize):
            yield from decode(whole(block), line)

    return read
