"""What an encoder and a decoder promise: rows to bytes, and bytes back to rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeAlias

import pyarrow as pa

#: Bytes that are handed on without copying, read through the buffer protocol: ``bytes``, ``memoryview`` or
#: ``pyarrow.Buffer``.
Buffer: TypeAlias = Any


class Rendered(Protocol):
    """The text of a batch and its events digest, not yet reduced."""

    @property
    def text(self) -> Buffer: ...

    @property
    def digest(self) -> int: ...


class TextEncoder(Protocol):
    """Rows to text, without state, so that ranges can be rendered at the same time by several threads.

    A file is ``prologue``, then the rendered chunks with ``separator`` between any two that hold rows, then
    ``epilogue``. A chunk neither begins nor ends with the separator.
    """

    @property
    def prologue(self) -> bytes: ...

    @property
    def separator(self) -> bytes: ...

    @property
    def epilogue(self) -> bytes: ...

    def render(self, batch: pa.RecordBatch) -> Rendered:
        """The text of a batch of at least one row, and its events digest, which is found on the way."""
        ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """Where a columnar encoder works: the ``threads`` of an ``executor``. ``group_bytes`` is how much of rows may be
    gathered for one of them; a format's own measure may be less."""

    executor: Executor
    threads: int
    group_bytes: int


class ColumnarEncoder(Protocol):
    """Rows to one columnar file, in order; the same rows give the same bytes, whoever does the work. Nothing is valid
    until ``finish``; after ``abort`` no more bytes leave it, not even when it is collected."""

    @property
    def full(self) -> bool:
        """Whether the file should end soon, since the format has a most of something. It may only depend on rows."""
        ...

    def write(self, batch: pa.RecordBatch) -> None: ...

    def settle(self) -> None:
        """Have all bytes written that what came so far is certain to become."""
        ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class Decoder(Protocol):
    """Bytes back to rows, strictly: whatever this format's encoder could not have written is an error.

    ``stream`` is the uncompressed content; ``seekable`` says whether it can seek. Yields batches of the layout's
    columns. Raises :class:`~penstock.errors.SerializationError`.
    """

    def __call__(self, stream: BinaryIO, /) -> Iterator[pa.RecordBatch]: ...
