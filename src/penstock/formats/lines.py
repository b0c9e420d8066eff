"""Rows of compact lines, as NDJSON and JSON have them between what frames them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.pipeline.canonical import NotCanonical
from penstock.pipeline.rowtext import RowText

_ROWS = 4096


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
