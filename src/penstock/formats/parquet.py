"""Parquet: typed columns, UTC microsecond timestamps, dictionaries where values repeat, statistics.

Row groups are cut by rows and by bytes, so that memory depends on neither the number nor the size of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.errors import SerializationError
from penstock.formats.bounds import check_group, check_record
from penstock.formats.columnar import check_batch, check_schema, plain_schema
from penstock.formats.parquet_footer import MOST_FOOTER_BYTES, groups_of
from penstock.formats.parquet_joined import MAGIC, MOST_GROUPS, GroupFile, JoinedFile, taken_apart
from penstock.model.dataset import Dataset, is_json
from penstock.model.options import Layout
from penstock.pipeline.ordered import Ahead
from penstock.ports.format import Buffer, Encoding

#: Rows of a group, in runs spread over it, by which is seen in which columns values repeat; and how many in a hundred
#: may be different where they do. Others would only fill a dictionary for nothing: that takes time, and room.
_SAMPLE_RUNS, _SAMPLE_RUN = 16, 32
_MOST_DIFFERENT = 90
#: On event text level 1 is both smaller and faster than level 3, as it is for text formats.
_ZSTD_LEVEL = 1
_ROW_GROUP_BYTES = 12 << 20
#: More are not encoded at the same time, however many threads there are: each takes several times its size.
_MOST_IN_FLIGHT = 3
#: After so many groups each has to have twice as many rows, and after so many again.
_GROUPS_UNTIL_TWICE_THE_ROWS = 1024
#: A file that could have only so many groups more is full: no slice becomes as many.
_GROUPS_LEFT = 512
_ROWS = 4096
#: Most bytes that rows become whose values stand in a dictionary once for all of them.
_PIECE_BYTES = 8 << 20
#: How values are laid out by the encoder here. In others one value may stand for any number of rows, unseen.
_DICTIONARIES = frozenset({2, 8})  # PLAIN_DICTIONARY, RLE_DICTIONARY
_ENCODINGS = _DICTIONARIES | {0, 3, 4}  # PLAIN, RLE, BIT_PACKED


class ParquetEncoder:
    """One Parquet file. ``write`` gathers rows into row groups, which are encoded side by side, each as a file of its
    own, and joined in order; nothing is valid until ``finish``."""

    def __init__(
        self,
        layout: Layout,
        write: Callable[[Buffer], object],
        description: Mapping[str, str],
        streamed: bool,
        encoding: Encoding,
    ) -> None:
        schema = plain_schema(layout.dataset)
        self._schema = schema.with_metadata(dict(description)) if description else schema
        self._layout = layout
        self._most_bytes = min(encoding.group_bytes, _ROW_GROUP_BYTES)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0
        self._cut = 0
        self._write = write
        self._ahead: Ahead[GroupFile] = Ahead(
            encoding.executor, self._join, most=min(encoding.threads, _MOST_IN_FLIGHT)
        )
        self._joined = JoinedFile(self._encoded(self._schema.empty_table()))
        write(MAGIC)

    @property
    def full(self) -> bool:
        told = self._joined.footer_sizes[max(self._cut - _MOST_IN_FLIGHT, 0)]
        return self._cut > MOST_GROUPS - _GROUPS_LEFT or told > MOST_FOOTER_BYTES // 2

    @property
    def _wanted(self) -> int:
        """How many rows the next group is to have: more and more, since a file has only so many groups."""
        return self._layout.row_group_rows << self._cut // _GROUPS_UNTIL_TWICE_THE_ROWS

    def write(self, batch: pa.RecordBatch) -> None:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, self._wanted - self._pending_rows)
            self._pending.append(piece)
            self._pending_rows += piece.num_rows
            self._pending_bytes += piece.nbytes
            start += piece.num_rows
            if self._pending_rows >= self._wanted or self._pending_bytes >= self._most_bytes:
                self._flush()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending).replace_schema_metadata(self._schema.metadata)
            self._pending = []
            self._pending_rows = self._pending_bytes = 0
            self._cut += 1
            self._ahead.submit(self._encoded, table)

    def _encoded(self, table: pa.Table) -> GroupFile:
        """The rows as one row group of a file of its own, by any thread."""
        layout = self._layout
        # It is freed by another thread: Arrow's own allocator would keep it for this one.
        sink = pa.BufferOutputStream(pa.system_memory_pool())
        level = _ZSTD_LEVEL if layout.codec == "zstd" and layout.level is None else layout.level
        writer = pq.ParquetWriter(
            sink,
            self._schema,
            compression=layout.codec,
            compression_level=level,
            use_dictionary=_repeating(table),
            write_statistics=[field.name for field in layout.dataset.schema if _is_compared(field)],
            version="2.6",
        )
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
        writer.close()
        return taken_apart(sink.getvalue())

    def _join(self, group: GroupFile) -> None:
        self._write(self._joined.add(group))

    def settle(self) -> None:
        self._ahead.settle()

    def finish(self) -> None:
        self._flush()
        self._ahead.settle()
        self._write(self._joined.end())

    def abort(self) -> None:
        self._ahead.drop()


def _repeating(table: pa.Table) -> list[str]:
    """The columns of a row group whose values repeat. It depends on the rows alone, not on how they came in batches."""
    step = max(table.num_rows // _SAMPLE_RUNS, _SAMPLE_RUN)
    sample = pa.concat_tables(
        [table.slice(start, _SAMPLE_RUN) for start in range(0, table.num_rows, step)] or [table]
    ).combine_chunks()
    return [
        name
        for name, column in zip(table.column_names, sample.columns, strict=True)
        if pc.count_distinct(column, mode="all").as_py() * 100 <= sample.num_rows * _MOST_DIFFERENT
    ]


def _is_compared(field: pa.Field) -> bool:
    """Whether a query would look for rows by a column's least and greatest value."""
    return not is_json(field) and field.type != pa.binary()


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of one Parquet file with the layout's columns."""

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(stream) as file:
                check_schema(file.schema_arrow, layout.dataset)
            repeating, together = _check_groups(stream, layout.dataset)
            stream.seek(0)
            with pq.ParquetFile(stream, read_dictionary=sorted(repeating)) as file:
                for groups in together:  # a batch is filled from as many as it takes, however large their rows are
                    for batch in file.iter_batches(batch_size=_ROWS, row_groups=groups, use_threads=False):
                        for piece in _bounded(batch, repeating):
                            yield check_batch(_plain(piece, layout.dataset), layout.dataset)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise SerializationError(f"damaged Parquet data: {error}") from None

    return read


def _check_groups(stream: BinaryIO, dataset: Dataset) -> tuple[set[str], list[list[int]]]:
    """See by the heads of its pages that its row groups can be read; which columns of text or bytes have
    dictionaries, and the numbers of those groups that are small enough to be read together."""
    repeating = set()
    together: list[list[int]] = []
    held = 0
    for number, group in enumerate(groups_of(stream)):
        size = sum(column.size for column in group.columns)
        check_group(size)
        if not together or held + size > _ROW_GROUP_BYTES:
            together.append([])
            held = 0
        together[-1].append(number)
        held += size
        if tuple(column.name for column in group.columns) != dataset.columns:
            raise SerializationError("damaged Parquet data: a row group has other columns than the file")
        for column in group.columns:
            if not _ENCODINGS.issuperset(column.encodings):
                raise SerializationError(f"{column.name} is encoded in a way that is not Penstock's")
            wide = dataset.schema.field(column.name).type in (pa.string(), pa.binary())
            if wide and not _DICTIONARIES.isdisjoint(column.encodings):
                repeating.add(column.name)
    return repeating, together


def _bounded(batch: pa.RecordBatch, repeating: set[str]) -> Iterator[pa.RecordBatch]:
    """The rows in pieces that stay small when every value of a dictionary is put in its place."""
    lengths = [
        pc.fill_null(pc.binary_length(column.dictionary).take(column.indices), 0)
        for column in (batch.column(name) for name in sorted(repeating))
    ]
    if not lengths or sum(pc.sum(one.cast(pa.int64())).as_py() or 0 for one in lengths) <= _PIECE_BYTES:
        yield batch
        return
    begin = size = 0
    for row, cells in enumerate(zip(*(one.to_pylist() for one in lengths), strict=True)):
        check_record(sum(cells))
        if row > begin and size + sum(cells) > _PIECE_BYTES:
            yield batch.slice(begin, row - begin)
            begin, size = row, 0
        size += sum(cells)
    yield batch.slice(begin)


def _plain(batch: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    """The batch with its dictionaries' values in their places."""
    columns = (batch.column(name) for name in dataset.columns)
    arrays = [column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column for column in columns]
    return pa.record_batch(arrays, schema=dataset.schema)
