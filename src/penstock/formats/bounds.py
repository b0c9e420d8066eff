"""What a decoder takes at once, whatever a file says: a small one may unpack to more than any memory holds."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import SerializationError
from penstock.model import jsontext

#: Largest record of a text format, and largest cell of a columnar one, that is read back.
MAX_RECORD_BYTES = 64 << 20
#: Largest row group or record batch, uncompressed: encoders end them far below, unless one event is larger.
MAX_GROUP_BYTES = 2 * MAX_RECORD_BYTES
_RAW = msgspec.json.Decoder(msgspec.Raw)
#: Fields of Arrow's flat buffers: the header of a message, the buffers and the compression of a record batch.
_HEADER, _BUFFERS, _COMPRESSION = 2, 2, 3


def check_record(size: int) -> None:
    """Raise :class:`SerializationError` for a record or a cell that is too large to be read."""
    if size > MAX_RECORD_BYTES:
        raise SerializationError(f"a record has more than {MAX_RECORD_BYTES >> 20} MiB")


def check_group(size: int) -> None:
    """Raise :class:`SerializationError` for rows that are too large to be read at once."""
    if size > MAX_GROUP_BYTES:
        raise SerializationError(f"rows that are read at once have more than {MAX_GROUP_BYTES >> 20} MiB")


def check_nesting(batch: pa.RecordBatch) -> None:
    """Raise :class:`SerializationError` for a payload that is nested deeper than a reader of JSON can follow."""
    for name in ("data", "metadata"):
        if name not in batch.schema.names or not batch.num_rows:
            continue
        column = batch.column(name)
        brackets = pc.add(pc.count_substring(column, "["), pc.count_substring(column, "{"))
        if (pc.max(brackets).as_py() or 0) <= jsontext.MAX_DEPTH:
            continue
        for text in column.filter(pc.greater(brackets, jsontext.MAX_DEPTH)).to_pylist():
            try:
                _RAW.decode(text)
            except RecursionError:
                raise SerializationError(f"a payload of {name} is nested too deeply") from None
            except msgspec.DecodeError:
                continue


def unpacked_size(message: pa.ipc.Message) -> int:
    """How many bytes an Arrow record batch takes when it is uncompressed, by what stands in front of its buffers.

    Raises :class:`SerializationError` for a message that is not laid out as Arrow lays it out.
    """
    metadata, body = memoryview(message.metadata), memoryview(message.body)
    try:
        header = _table(metadata, struct.unpack_from("<I", metadata)[0], _HEADER)
        buffers = _table(metadata, header or 0, _BUFFERS)
        if not header or not buffers or not _table(metadata, header, _COMPRESSION):
            return body.nbytes
        (count,) = struct.unpack_from("<I", metadata, buffers)
        total = 0
        for number in range(count):
            offset, length = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * number)
            if length:
                (claimed,) = struct.unpack_from("<q", body, offset)
                total += length if claimed == -1 else max(claimed, 0)
        return total
    except struct.error as error:
        raise SerializationError(f"damaged Arrow data: {error}") from None


def _table(metadata: Any, table: int, field: int) -> int | None:
    """Where a field of a flat buffer's table that refers to something refers to; ``None`` if it is not there."""
    entries = table - struct.unpack_from("<i", metadata, table)[0]
    if struct.unpack_from("<H", metadata, entries)[0] < 4 + 2 * (field + 1):
        return None
    offset = struct.unpack_from("<H", metadata, entries + 4 + 2 * field)[0]
    if not offset:
        return None
    return int(table + offset + struct.unpack_from("<I", metadata, table + offset)[0])
