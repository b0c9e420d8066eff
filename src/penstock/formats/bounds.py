"""What a decoder takes at once, whatever a file says: a small one may unpack to more than any memory holds."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import SerializationError
from penstock.model import jsontext
from penstock.model.dataset import is_json

#: Largest record of a text format, and largest cell of a columnar one, that is read back.
MAX_RECORD_BYTES = 64 << 20
#: Largest row group or record batch, uncompressed: encoders end them far below, unless one event is larger.
MAX_GROUP_BYTES = 2 * MAX_RECORD_BYTES
#: Most columns of a file, with those inside of others: each takes some kilobytes, however few it takes as it lies.
MAX_COLUMNS = 10_000
_RAW = msgspec.json.Decoder(msgspec.Raw)


def check_record(size: int) -> None:
    """Raise :class:`SerializationError` for a record or a cell that is too large to be read."""
    if size > MAX_RECORD_BYTES:
        raise SerializationError(f"a record has more than {MAX_RECORD_BYTES >> 20} MiB")


def check_group(size: int, most: int = MAX_GROUP_BYTES) -> None:
    """Raise :class:`SerializationError` for rows that are too large to be read at once."""
    if size > most:
        raise SerializationError(f"rows that are read at once have more than {most >> 20} MiB")


def check_columns(count: int) -> None:
    """Raise :class:`SerializationError` for more columns than a file may have."""
    if count > MAX_COLUMNS:
        raise SerializationError(f"it has more than {MAX_COLUMNS:,} columns")


def check_nesting(batch: pa.RecordBatch) -> None:
    """Raise :class:`SerializationError` for a payload that is nested deeper than a reader of JSON can follow."""
    for field in batch.schema:
        if not is_json(field) or not batch.num_rows:
            continue
        column = batch.column(field.name)
        brackets = pc.add(pc.count_substring(column, "["), pc.count_substring(column, "{"))
        if (pc.max(brackets).as_py() or 0) <= jsontext.MAX_DEPTH:
            continue
        for text in column.filter(pc.greater(brackets, jsontext.MAX_DEPTH)).to_pylist():
            try:
                _RAW.decode(text)
            except RecursionError:
                raise SerializationError(f"a payload of {field.name} is nested too deeply") from None
            except msgspec.DecodeError:
                continue
