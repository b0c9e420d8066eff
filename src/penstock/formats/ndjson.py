"""NDJSON: one compact JSON object a line, payloads embedded as JSON, every line ended by a line feed.

The decoder is as strict as can be: what it read is rendered again and has to be the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from penstock.errors import SerializationError
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.options import Layout
from penstock.pipeline.canonical import Rendered, render_lines

_BLOCK = 1 << 20
_ROWS = 4096


class NdjsonEncoder:
    """Writes the lines of which the digest is made; no further work is done."""

    prologue = b""
    separator = b""
    epilogue = b""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def render(self, batch: pa.RecordBatch) -> Rendered:
        return render_lines(batch)


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of NDJSON with the layout's columns."""
    decode = line_decoder(layout.columns)

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        line = 1
        for block in line_blocks(stream):
            yield from decode(block, line)
            line += block.count(b"\n")

    return read


def line_blocks(stream: BinaryIO, size: int = _BLOCK) -> Iterator[bytes]:
    """The stream in blocks that end with a line feed; the last line may lack one. Blocks hold at least one line."""
    rest: list[bytes] = []
    while data := stream.read(size):
        cut = data.rfind(b"\n") + 1
        if not cut:
            rest.append(data)
            continue
        yield b"".join([*rest, data[:cut]])
        rest = [data[cut:]] if cut < len(data) else []
    if rest:
        yield b"".join(rest)


def line_decoder(columns: tuple[str, ...]) -> Callable[[bytes, int], Iterator[pa.RecordBatch]]:
    """A function from compact lines (and the number of the first one) to batches of ``columns``.

    It accepts exactly what :func:`~penstock.pipeline.canonical.render_lines` writes, byte for byte.
    """
    types: dict[str, Any] = {"data": msgspec.Raw, "metadata": msgspec.Raw, "seq": int, "session_id": str | None}
    record = msgspec.defstruct(
        "Line", [(name, types.get(name, str)) for name in columns], forbid_unknown_fields=True, gc=False
    )
    parse = msgspec.json.Decoder(record).decode_lines

    def decode(block: bytes, first_line: int) -> Iterator[pa.RecordBatch]:
        try:
            rows = parse(block)
            batch = _batch(rows, columns)
        except (msgspec.DecodeError, pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
            raise SerializationError(f"in the lines from {first_line} on: {error}") from None
        written = render_lines(batch).text
        if memoryview(written) != memoryview(block):
            difference = _first_difference(bytes(written), block)
            raise SerializationError(f"line {first_line + difference} is not canonical")
        for start in range(0, len(rows), _ROWS):
            yield batch.slice(start, _ROWS)

    return decode


def _batch(rows: list[Any], columns: tuple[str, ...]) -> pa.RecordBatch:
    arrays = []
    for name in columns:
        field = EVENT_SCHEMA.field(name)
        values = [getattr(row, name) for row in rows]
        if name in ("data", "metadata"):
            arrays.append(pa.array([bytes(value) for value in values], pa.binary()).cast(pa.string()))
        elif pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, pa.string()).cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.record_batch(arrays, schema=pa.schema([EVENT_SCHEMA.field(name) for name in columns]))


def _first_difference(written: bytes, block: bytes) -> int:
    for number, (ours, theirs) in enumerate(zip(written.split(b"\n"), block.split(b"\n"), strict=False)):
        if ours != theirs:
            return number
    return min(written.count(b"\n"), block.count(b"\n"))
