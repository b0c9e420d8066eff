"""Parquet and Arrow files to portions of rows, in slices that are bounded by rows and by bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import ExportError, SerializationError
from penstock.formats.arrow_messages import file_batches, footer_blocks, stream_batches
from penstock.formats.bounds import MAX_RECORD_BYTES, check_columns, check_group
from penstock.formats.parquet_footer import BYTE_ARRAY, Column, Group, groups_of
from penstock.loading.jsontexts import plain
from penstock.loading.rows import Portion, Reject, damage, oversize
from penstock.loading.tables import TableReader, repeated, row_text
from penstock.loading.widths import cuts, row_sizes, written_size

_ROWS = 8192
_BYTES = 8 << 20
_READ = 1 << 20
#: Most bytes that are unpacked at once.
_MOST = 256 << 20
#: Most structures in one list of a Parquet file's footer.
_CONTAINED = 100_000
#: Values of a column in lists that may take no space in the file: nulls, and those of a dictionary of one.
_INSIDE = 8 << 20
#: Each value may begin with the whole of the one before it, unseen.
_DELTA_BYTE_ARRAY = 7
ARROW_FILE = b"ARROW1"
_ARROW_START = 8
_BYTES_OF = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}


def read_parquet(file: BinaryIO, tables: TableReader) -> Iterator[Portion]:
    """The rows of a Parquet file, which must be seekable. Memory: a slice, and the pages that it lies in."""
    return _portions(_parquet_batches(file), tables)


def read_arrow(file: BinaryIO, tables: TableReader) -> Iterator[Portion]:
    """The rows of an Arrow IPC file, which must be mapped to memory, or a stream. Memory: one slice of what is mapped
    and not compressed inside, the largest record batch of any other, with its dictionaries."""
    return _portions(_arrow_batches(file), tables)


def _parquet_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The rows of row group after row group. Texts of which one may stand for many rows stay in their dictionaries."""
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_READ, thrift_container_size_limit=_CONTAINED) as parquet:
        check_columns(len(parquet.schema))
        groups = list(groups_of(file))
        repeating = {column.name for group in groups for column in group.columns if _repeats(column)}
    file.seek(0)
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_READ, read_dictionary=sorted(repeating)) as parquet:
        for number, group in enumerate(groups):
            rows = _rows_at_once(group)
            yield from parquet.iter_batches(batch_size=rows, row_groups=[number], use_threads=False)


def _repeats(column: Column) -> bool:
    return column.kind == BYTE_ARRAY and column.dictionary * _ROWS > _MOST


def _rows_at_once(group: Group) -> int:
    """How many rows of a row group may be read at once. Raises :class:`SerializationError` where none may."""
    width = 1
    for column in group.columns:
        if column.values > group.rows + _INSIDE + 8 * column.stored:
            raise SerializationError(f"{column.name} has {column.values:,} values in {group.rows:,} rows")
        width += max(column.mean * (column.values // max(group.rows, 1) + 1), 8)
        if _DELTA_BYTE_ARRAY in column.encodings:
            if "." in column.name and column.values * column.largest > _MOST:
                raise SerializationError(f"{column.name} has lists in an encoding that does not tell their size")
            width += column.largest >> 3
    check_group(sum(column.largest + 2 * column.dictionary for column in group.columns), _MOST)
    return max(1, min(_ROWS, _BYTES // width))


def _arrow_batches(file: Any) -> Iterator[pa.RecordBatch]:
    if not file.seekable() or file.read(len(ARROW_FILE)) != ARROW_FILE:
        if file.seekable():
            file.seek(0)
        yield from stream_batches(file, mapped=False, most=_MOST)
        return
    try:
        footer_blocks(file)
    except SerializationError:
        # A file that is cut short has lost its table of contents, but what stands before it is a stream.
        file.seek(_ARROW_START)
        yield from stream_batches(file, mapped=True, most=_MOST)
        raise
    yield from file_batches(file, most=_MOST)


def _portions(batches: Iterator[pa.RecordBatch], tables: TableReader) -> Iterator[Portion]:
    """Batches as portions; what cannot be read comes as the last reject."""
    done = 0
    try:
        for batch in batches:
            twice = repeated(batch.schema.names)
            if twice is not None:
                yield Portion(rejects=[damage(1, tables.unit, f"two columns have the name {twice!r}")])
                return
            for piece, valid in _slices(batch):
                yield from _checked(piece, valid, done, tables)
                done += piece.num_rows
    except (pa.ArrowException, SerializationError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason: ExportError | str = error if isinstance(error, ExportError) else str(error).partition("\n")[0]
        yield Portion(rejects=[damage(done + 1, tables.unit, reason)])


def _slices(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """A batch in slices of at most so many rows, and whether each is valid but for text that is not UTF-8.

    Raises ``pa.ArrowInvalid`` for any other damage: what points beyond its buffers must not even be looked at.
    """
    mean = batch.get_total_buffer_size() // max(batch.num_rows, 1) + 1
    rows = max(1, min(_ROWS, _BYTES // mean))
    for start in range(0, batch.num_rows, rows):
        piece = _as_bytes(batch.slice(start, rows))
        piece.validate(full=True)
        begin = 0
        for size in cuts(piece, _BYTES):
            part = _spread(batch.slice(start + begin, size))
            begin += size
            try:
                part.validate(full=True)
                yield part, True
            except pa.ArrowException:
                yield part, False


def _checked(batch: pa.RecordBatch, valid: bool, done: int, tables: TableReader) -> Iterator[Portion]:
    """A slice as portions, without the row that is too large to be read, and those whose text is not UTF-8."""
    size = row_sizes(batch)[0].as_py() if batch.num_rows == 1 else 0
    if size > MAX_RECORD_BYTES:
        yield Portion(rejects=[oversize(done + 1, tables.unit, MAX_RECORD_BYTES, b"", size)])
        return
    if not valid:
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

    def viewed(column: pa.Array) -> pa.Array:
        if isinstance(column, pa.DictionaryArray):
            return pa.DictionaryArray.from_arrays(column.indices, viewed(column.dictionary), safe=False)
        return column.view(_BYTES_OF.get(column.type, column.type))

    return pa.RecordBatch.from_arrays([viewed(column) for column in batch.columns], names=batch.schema.names)


def _spread(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the texts of dictionaries in their places."""
    columns = list(batch.columns)
    for place, column in enumerate(columns):
        if isinstance(column, pa.DictionaryArray) and column.dictionary.type in _BYTES_OF:
            texts = column.dictionary
            if texts.type == pa.string_view():
                check_group(written_size(texts), _MOST >> 1)
                texts = plain(texts)
            columns[place] = texts.take(column.indices)
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
