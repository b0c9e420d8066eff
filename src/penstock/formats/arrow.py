"""Arrow IPC: the file format for files, the stream format where nobody can seek; plain strings, no dictionaries.

Also the byte sink and the schema check that Parquet shares: both are columnar files of the same Arrow schema.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.formats.arrow_messages import footer_blocks, messages
from penstock.formats.bounds import check_payloads
from penstock.model.dataset import Dataset
from penstock.model.options import Layout
from penstock.pipeline.rowtext import check_values

#: What a file begins with, before the messages that a stream begins with.
_MAGIC_BYTES = 8


class ByteSink(io.RawIOBase):
    """What a columnar writer writes to. After ``drop`` bytes are swallowed: such writers write when they are closed."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write: Callable[[bytes], object] | None = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._write is not None:
            self._write(data)
        return memoryview(data).nbytes

    def drop(self) -> None:
        """Let no further byte through, and let go of where they went."""
        self._write = None


class ArrowEncoder:
    """One Arrow IPC file, or stream; nothing is valid until ``finish``."""

    def __init__(
        self, layout: Layout, write: Callable[[bytes], object], description: Mapping[str, str], streamed: bool
    ) -> None:
        schema = plain_schema(layout.dataset)
        self._sink = ByteSink(write)
        codec = None if layout.codec == "none" else pa.Codec(layout.codec, compression_level=layout.level)
        make = pa.ipc.new_stream if streamed else pa.ipc.new_file
        self._writer = make(
            self._sink,
            schema.with_metadata(dict(description)) if description else schema,
            options=pa.ipc.IpcWriteOptions(compression=codec, use_threads=False),
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def cut(self) -> None:
        """Nothing is gathered: a batch is written as it comes."""

    def finish(self) -> None:
        self._writer.close()
        self._sink.drop()

    def abort(self) -> None:
        self._sink.drop()
        self._writer.close()


def decoder(layout: Layout) -> Callable[[BinaryIO], Iterator[pa.RecordBatch]]:
    """Decoder of one Arrow IPC file, or stream, with the layout's columns. Every batch is validated in full."""

    def read(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        try:
            if stream.seekable() and stream.read(6) == b"ARROW1":
                expected = len(footer_blocks(stream)[1])
                stream.seek(0)
                check_schema(pa.ipc.open_file(stream).schema, layout.dataset)
                stream.seek(_MAGIC_BYTES)
                yield from _batches(stream, layout.dataset, expected=expected)
                return
            if stream.seekable():
                stream.seek(0)
            yield from _batches(stream, layout.dataset)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise SerializationError(f"damaged Arrow data: {error}") from None

    return read


def _batches(stream: BinaryIO, dataset: Dataset, *, expected: int | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of a stream, each unpacked only when it is known how large it is then."""
    checked = messages(stream)
    found = pa.ipc.read_schema(next(checked))
    check_schema(found, dataset)
    count = 0
    for message in checked:
        if message.type != "record batch":
            raise SerializationError(f"damaged Arrow data: a message of the kind {message.type!r}")
        yield check_batch(pa.ipc.read_record_batch(message, found), dataset)
        count += 1
    if expected is not None and count != expected:
        raise SerializationError(f"damaged Arrow data: {count} batches, its footer says {expected}")


def plain_schema(dataset: Dataset) -> pa.Schema:
    """The dataset's columns as they stand in a file: without the marks that are for us."""
    return pa.schema([field.remove_metadata() for field in dataset.schema])


def check_schema(found: pa.Schema, dataset: Dataset) -> None:
    """Raise :class:`SerializationError` unless a file's columns are those of the dataset."""
    if not found.remove_metadata().equals(dataset.schema):
        raise SerializationError(f"the file's columns are not {', '.join(dataset.columns)} with their types")


def check_batch(batch: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    """The batch with the dataset's schema, validated in full. Raises ``pyarrow.ArrowInvalid``."""
    batch.validate(full=True)
    checked = pa.record_batch(batch.columns, schema=dataset.schema)
    for field in dataset.schema:
        if not field.nullable and checked.column(field.name).null_count:
            raise pa.ArrowInvalid(f"a null in {field.name}")
    check_values(checked)
    check_payloads(checked)
    return checked
