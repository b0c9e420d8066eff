"""Parquet and Arrow files to portions of rows, in slices that are bounded by rows and by bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import ExportError, SerializationError
from penstock.loading.rows import Portion, Reject, damage
from penstock.loading.tables import TableReader, repeated, row_text

_ROWS = 8192
_BYTES = 8 << 20
_READ = 1 << 20
ARROW_FILE = b"ARROW1"
_ARROW_START = 8
_BYTES_OF = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}


def read_parquet(file: BinaryIO, tables: TableReader) -> Iterator[Portion]:
    """The rows of a Parquet file, which must be seekable. Memory: a slice, and the pages that it lies in."""
    return _portions(_parquet_batches(file), tables)


def read_arrow(file: BinaryIO, tables: TableReader) -> Iterator[Portion]:
    """The rows of an Arrow IPC file (seekable) or stream. Memory: one slice of a file that is mapped and not compressed
    inside, the largest record batch of any other."""
    return _portions(_arrow_batches(file), tables)


def _parquet_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_READ) as parquet:
        for number in range(parquet.num_row_groups):
            facts = parquet.metadata.row_group(number)
            mean = facts.total_byte_size // max(facts.num_rows, 1) + 1
            rows = max(1, min(_ROWS, _BYTES // mean))
            yield from parquet.iter_batches(batch_size=rows, row_groups=[number], use_threads=False)


def _arrow_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    magic = file.read(len(ARROW_FILE)) if file.seekable() else b""
    if file.seekable():
        file.seek(0)
    if magic != ARROW_FILE:
        yield from pa.ipc.open_stream(file)
        return
    try:
        reader = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        # A file that is cut short has lost its table of contents, but what stands before it is a stream.
        file.seek(_ARROW_START)
        yield from pa.ipc.open_stream(file)
        raise
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def _portions(batches: Iterator[pa.RecordBatch], tables: TableReader) -> Iterator[Portion]:
    """Batches as portions; what cannot be read comes as the last reject."""
    done = 0
    try:
        for batch in batches:
            twice = repeated(batch.schema.names)
            if twice is not None:
                yield Portion(rejects=[damage(1, tables.unit, f"two columns have the name {twice!r}")])
                return
            for piece in _slices(batch):
                yield from _checked(piece, done, tables)
                done += piece.num_rows
    except (pa.ArrowException, SerializationError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason: ExportError | str = error if isinstance(error, ExportError) else str(error).partition("\n")[0]
        yield Portion(rejects=[damage(done + 1, tables.unit, reason)])


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in slices of at most so many rows and about so many bytes."""
    start = 0
    while start < batch.num_rows:
        piece = batch.slice(start, _ROWS)
        while piece.num_rows > 1 and piece.nbytes > _BYTES:
            piece = piece.slice(0, (piece.num_rows + 1) // 2)
        yield piece
        start += piece.num_rows


def _checked(batch: pa.RecordBatch, done: int, tables: TableReader) -> Iterator[Portion]:
    """A slice as portions, without the rows whose text is not UTF-8. Raises ``pa.ArrowInvalid`` for any other damage:
    what points beyond its buffers must not even be looked at."""
    try:
        batch.validate(full=True)
    except pa.ArrowException:
        _as_bytes(batch).validate(full=True)
        start = 0
        for row in range(batch.num_rows):
            fault = _invalid(batch.slice(row, 1))
            if fault is not None:
                if start < row:
                    yield _portion(batch.slice(start, row - start), done + start, tables)
                yield Portion(rejects=[_reject(batch, row, done, fault, tables)])
                start = row + 1
        batch, done = batch.slice(start), done + start
    if batch.num_rows:
        yield _portion(batch, done, tables)


def _as_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its text columns as bytes, which need not be UTF-8."""
    columns = [column.view(_BYTES_OF.get(column.type, column.type)) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _portion(batch: pa.RecordBatch, done: int, tables: TableReader) -> Portion:
    rows = tables.read(batch, lambda row: (done + row + 1, row_text(batch, row)))
    return Portion(rows=rows, names=batch.schema.names)


def _invalid(row: pa.RecordBatch) -> str | None:
    try:
        row.validate(full=True)
    except pa.ArrowException as error:
        return str(error)
    return None


def _reject(batch: pa.RecordBatch, row: int, done: int, fault: str, tables: TableReader) -> Reject:
    return Reject(
        number=done + row + 1, unit=tables.unit, reason="invalid UTF-8", detail=fault, raw=row_text(batch, row)
    )
