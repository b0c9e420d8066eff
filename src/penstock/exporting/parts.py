"""Parts in the making: chunks in, staged bytes out, with counts and digests of both sides of the compressor."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from penstock.exporting.extract import Chunk
from penstock.formats import FORMATS
from penstock.model.manifest import PartEntry
from penstock.model.options import Layout
from penstock.model.span import Span, joined
from penstock.pipeline.compression import compress
from penstock.pipeline.digests import Meter, digest_hex
from penstock.ports.backend import Upload
from penstock.ports.format import Encoding, TextEncoder


@dataclass(frozen=True, slots=True)
class Hands:
    """Who works beside those that read: some threads encode columnar parts, one hashes bytes."""

    encoding: Encoding
    hashing: Executor


class PartWriter(Protocol):
    """One part: ``add`` chunks, then exactly one of ``finish`` and ``abort``. The entry's name is given later."""

    rows: int
    size: int

    @property
    def stored_bytes(self) -> int: ...

    @property
    def full(self) -> bool:
        """Whether the next chunk has to go into another part, if there may be one."""
        ...

    def add(self, chunk: Chunk) -> None: ...

    def finish(self) -> PartEntry: ...

    def abort(self) -> None: ...


class _Tally:
    """What both kinds of part count."""

    def __init__(self, staged: Upload, hashing: Executor) -> None:
        self.rows = self.size = 0
        self._digest = 0
        self._times: Span | None = None
        self._seqs: Span | None = None
        self._staged = staged
        self._stored = Meter(hashing)

    @property
    def stored_bytes(self) -> int:
        return self._stored.bytes

    def _count(self, chunk: Chunk) -> None:
        self.rows += chunk.rows
        self.size += chunk.size
        self._digest += chunk.digest
        self._times = joined(self._times, chunk.times)
        self._seqs = joined(self._seqs, chunk.seqs)

    def _store(self, data: Any) -> None:
        self._stored.update(data)
        self._staged.write(data)

    def _entry(self, content: Meter) -> PartEntry:
        self._staged.finish()
        digest = self._stored.sha256
        return PartEntry(
            name="",
            rows=self.rows,
            bytes=self._stored.bytes,
            sha256=digest,
            content_bytes=content.bytes,
            content_sha256=digest if content is self._stored else content.sha256,
            rows_digest=digest_hex(self._digest),
            time_range=self._times,
            seq_range=self._seqs,
        )


class TextPart(_Tally):
    """A part of a text format: the joiner of chunks, to which prologue, separators and epilogue belong."""

    full = False

    def __init__(self, layout: Layout, encoder: TextEncoder, staged: Upload, hands: Hands) -> None:
        super().__init__(staged, hands.hashing)
        self._layout = layout
        self._encoder = encoder
        self._content = self._stored if layout.codec == "none" else Meter(hands.hashing)
        self._frame(encoder.prologue)

    def _frame(self, text: bytes) -> None:
        """Text that belongs to no chunk, as a member of its own."""
        if not text:
            return
        self._measure(text)
        for piece in compress(self._layout.codec, self._layout.level, [text]):
            self._store(piece)

    def _measure(self, text: Any) -> None:
        if self._content is not self._stored:
            self._content.update(text)

    def add(self, chunk: Chunk) -> None:
        if not chunk.rows:
            return
        if self.rows:
            self._frame(self._encoder.separator)
        self._count(chunk)
        for piece in chunk.content:
            self._measure(piece)
        for piece in chunk.stored:
            self._store(piece)

    def finish(self) -> PartEntry:
        self._frame(self._encoder.epilogue)
        if not self._stored.bytes and self._layout.codec != "none":
            for piece in compress(self._layout.codec, self._layout.level, [b""]):
                self._store(piece)
        return self._entry(self._content)

    def abort(self) -> None:
        self._staged.abort()


class ColumnarPart(_Tally):
    """A part of a columnar format: one encoder, fed in order."""

    def __init__(
        self, layout: Layout, staged: Upload, hands: Hands, description: Mapping[str, str], *, streamed: bool
    ) -> None:
        super().__init__(staged, hands.hashing)
        make = FORMATS[layout.format].columnar
        assert make is not None
        self._encoder = make(layout, self._store, description, streamed, hands.encoding)

    @property
    def stored_bytes(self) -> int:
        """What was stored once everything that was added is encoded, so that it does not depend on chance."""
        self._encoder.settle()
        return super().stored_bytes

    @property
    def full(self) -> bool:
        return self._encoder.full

    def add(self, chunk: Chunk) -> None:
        self._count(chunk)
        for batch in chunk.batches:
            self._encoder.write(batch)

    def finish(self) -> PartEntry:
        self._encoder.finish()
        return self._entry(self._stored)

    def abort(self) -> None:
        self._encoder.abort()
        self._staged.abort()


def named(entry: PartEntry, name: str) -> PartEntry:
    """The entry under its final name."""
    return replace(entry, name=name)
