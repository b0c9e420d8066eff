"""CSV after RFC 4180 with LF line ends: a header, then a line a row; values as in NDJSON, without JSON's quotes.

A field is quoted if and only if it holds a quote, a comma or a line end, is empty text, or is spelled like the null
token; null is the unquoted token (by default nothing). So every value comes back as it was, null apart from empty. The
decoder is as strict as can be: what it read is rendered again and has to be the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa

from penstock.errors import InvalidFormat, SerializationError
from penstock.formats.bounds import check_payloads, check_record
from penstock.model.options import Layout
from penstock.pipeline.canonical import Rendered
from penstock.pipeline.rowtext import RowText

_BLOCK = 1 << 20
_ROWS = 4096
_QUOTE = '"'


class CsvEncoder:
    """Renders batches as CSV rows; the header is the prologue."""

    separator = b""
    epilogue = b""

    def __init__(self, layout: Layout) -> None:
        first, *more = layout.dataset.schema
        if first.nullable and not more and not layout.csv_null:
            raise InvalidFormat(
                f"a null in a CSV of {first.name} alone would be an empty line",
                hint="add --csv-null NULL, or choose more columns",
            )
        self.null = layout.csv_null
        self.prologue = _header(layout)
        self._text = RowText(layout.dataset)

    def render(self, batch: pa.RecordBatch) -> Rendered:
        return self._text.csv(batch, null=self.null)


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of CSV with the layout's columns and null token."""
    header = _header(layout)
    text = RowText(layout.dataset)

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        if stream.read(len(header)) != header:
            raise SerializationError(f"the CSV header is not {header.decode().strip()}")
        row = 1
        for block in record_blocks(stream):
            try:
                batch = text.typed(_texts(block, layout))
                again = bytes(text.csv(batch, null=layout.csv_null).text)
            except (pa.ArrowException, ValueError) as error:
                raise SerializationError(f"CSV from row {row} on: {error}") from None
            if again != block:
                raise SerializationError(f"CSV from row {row} on: a row is spelled otherwise than an export has it")
            check_payloads(batch)
            row += batch.num_rows
            for start in range(0, batch.num_rows, _ROWS):
                yield batch.slice(start, _ROWS)

    return read


def _header(layout: Layout) -> bytes:
    names = (
        f'"{name.replace(_QUOTE, 2 * _QUOTE)}"' if _QUOTE in name or "," in name else name for name in layout.columns
    )
    return ",".join(names).encode() + b"\n"


def _texts(block: bytes, layout: Layout) -> list[pa.Array]:
    """Whole CSV records as columns of text."""
    names = [str(number) for number in range(len(layout.columns))]
    from pyarrow import csv as pa_csv  # loaded where a text is read

    table = pa_csv.read_csv(
        pa.py_buffer(block),
        read_options=pa_csv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[layout.csv_null],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def record_blocks(stream: BinaryIO, size: int = _BLOCK) -> Iterator[bytes]:
    """The stream in blocks of whole CSV records: cut at line ends that are outside quotes, however long a record is."""
    held = bytearray()
    open_quote = False
    while data := stream.read(size):
        end = len(data)
        inside = open_quote ^ bool(data.count(b'"') & 1)
        open_quote = inside
        cut = -1
        while end > 0:
            line_end = data.rfind(b"\n", 0, end)
            if line_end < 0:
                break
            inside ^= bool(data.count(b'"', line_end, end) & 1)
            if not inside:
                cut = line_end + 1
                break
            end = line_end
        if cut < 0:
            held += data
            check_record(len(held))
            continue
        yield bytes(held) + data[:cut]
        held = bytearray(data[cut:])
    if open_quote:
        raise SerializationError("the CSV ends inside a quoted field")
    if held:
        yield bytes(held)
