"""CSV after RFC 4180 with LF line ends: a header, then a row an event; payloads as JSON text.

A field is quoted if and only if it holds a quote, a comma or a line end, is empty text, or is spelled like the null
token; null is the unquoted token (by default nothing). So every value comes back as it was, null apart from empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv as pa_csv

from penstock.errors import InvalidFormat, SerializationError
from penstock.formats.bounds import check_nesting, check_record
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.options import Layout
from penstock.pipeline.canonical import Rendered, render_csv

_BLOCK = 1 << 20
_ROWS = 4096


class CsvEncoder:
    """Renders batches as CSV rows; the header is the prologue."""

    separator = b""
    epilogue = b""

    def __init__(self, layout: Layout) -> None:
        if layout.columns == ("session_id",) and not layout.csv_null:
            raise InvalidFormat(
                "a null in a CSV of session_id alone would be an empty line",
                hint="choose a --csv-null, or more columns",
            )
        self.null = layout.csv_null
        self.prologue = ",".join(layout.columns).encode() + b"\n"

    def render(self, batch: pa.RecordBatch) -> Rendered:
        return render_csv(batch, null=self.null)


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of CSV with the layout's columns and null token."""
    header = ",".join(layout.columns).encode() + b"\n"
    schema = pa.schema([EVENT_SCHEMA.field(name) for name in layout.columns])

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        if stream.read(len(header)) != header:
            raise SerializationError(f"the CSV header is not {header.decode().strip()}")
        row = 1
        for block in record_blocks(stream):
            table = parse_block(block, list(layout.columns), null=layout.csv_null, row=row)
            row += table.num_rows
            for batch in table.to_batches(max_chunksize=_ROWS):
                yield _typed(batch, schema, row)

    return read


def parse_block(block: bytes, names: list[str], *, null: str, row: int) -> pa.Table:
    """Whole CSV records as a table of text columns. Raises :class:`SerializationError`; ``row`` is the first one's."""
    try:
        return pa_csv.read_csv(
            pa.py_buffer(block),
            read_options=pa_csv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                null_values=[null],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as error:
        raise SerializationError(f"CSV from row {row} on: {error}") from None


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


def _typed(batch: pa.RecordBatch, schema: pa.Schema, row: int) -> pa.RecordBatch:
    try:
        arrays = [batch.column(field.name).cast(field.type) for field in schema]
        for field, array in zip(schema, arrays, strict=True):
            if array.null_count and not field.nullable:
                raise pa.ArrowInvalid(f"a null in {field.name}")
        typed = pa.record_batch(arrays, schema=schema)
    except pa.ArrowException as error:
        raise SerializationError(f"CSV before row {row}: {error}") from None
    check_nesting(typed)
    return typed
