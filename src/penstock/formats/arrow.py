"""Arrow IPC: the file format for files, the stream format where nobody can seek; plain strings, no dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.formats.arrow_messages import footer_blocks, messages
from penstock.formats.columnar import ByteSink, check_batch, check_schema, plain_schema
from penstock.model.dataset import Dataset
from penstock.model.options import Layout
from penstock.pipeline.ordered import Ahead
from penstock.ports.format import Buffer, Encoding

#: What a file begins with, before the messages that a stream begins with.
_MAGIC_BYTES = 8


class ArrowEncoder:
    """One Arrow IPC file, or stream: one batch is written while the next is read. Nothing is valid until ``finish``."""

    full = False

    def __init__(
        self,
        layout: Layout,
        write: Callable[[Buffer], object],
        description: Mapping[str, str],
        streamed: bool,
        encoding: Encoding,
    ) -> None:
        self._ahead: Ahead[None] = Ahead(encoding.executor, _nothing, most=1)
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
        self._ahead.submit(self._writer.write_batch, batch)

    def settle(self) -> None:
        self._ahead.settle()

    def finish(self) -> None:
        self._ahead.settle()
        self._writer.close()
        self._sink.drop()

    def abort(self) -> None:
        self._ahead.drop()
        self._sink.drop()
        self._writer.close()


def _nothing(_: None) -> None:
    """There is nothing to take: the writer hands its bytes on by itself."""


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
