"""What a decoder takes at once, whatever a file says: a small one may unpack to more than any memory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.model.dataset import is_json
from penstock.model.spelling import Kind, Spelled, Spelling
from penstock.pipeline.canonical import NotCanonical, parse_lines, render_lines
from penstock.pipeline.lines import Broken, Overlong

#: Largest record of a text format, and largest cell of a columnar one, that is read back.
MAX_RECORD_BYTES = 64 << 20
#: Largest row group or record batch, uncompressed: encoders end them far below, unless one event is larger.
MAX_GROUP_BYTES = 2 * MAX_RECORD_BYTES
#: Most columns of a file, with those inside of others: each takes some kilobytes, however few it takes as it lies.
MAX_COLUMNS = 10_000
_MOST_AT_ONCE = 8 << 20


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


def check_payloads(batch: pa.RecordBatch) -> None:
    """Raise :class:`SerializationError` unless every text of a JSON column is one JSON value that is not nested
    too deeply to be read: written as members of lines, they have to come back as they are."""
    fields = [field for field in batch.schema if is_json(field)]
    if not fields or not batch.num_rows:
        return
    spelling = Spelling(tuple(Spelled(each.name, Kind.VERBATIM, nullable=each.nullable) for each in fields))
    payloads = batch.select(list(spelling.names))
    try:
        found = parse_lines(bytes(render_lines(payloads, spelling).text), spelling).batch
    except NotCanonical as error:
        raise SerializationError(f"a payload is not JSON, or nested too deeply: {error}") from None
    if not found.equals(payloads):
        raise SerializationError("a payload is not one JSON value")


def reading(stream: BinaryIO, block: int) -> Callable[[int], bytes]:
    """Gives a splitter the next bytes, more of them while it holds more; no record that is too large to be read."""

    def read(held: int) -> bytes:
        check_record(held)
        return stream.read(min(max(block, held), _MOST_AT_ONCE))

    return read


def whole(found: bytes | Overlong | Broken) -> bytes:
    """What a splitter without a limit found. Raises :class:`SerializationError` where the text is broken."""
    if isinstance(found, Broken):
        raise found.error
    assert isinstance(found, bytes)
    return found
