"""One range of a store, from rows to the bytes that go into a part: the work that runs on several threads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pyarrow as pa

from penstock.errors import StorageError
from penstock.model.filter import ExportFilter
from penstock.model.options import Layout
from penstock.model.span import Span, joined, span_of
from penstock.pipeline.compression import compress
from penstock.pipeline.rowtext import RowText
from penstock.ports.format import TextEncoder
from penstock.ports.source import Rows, Slice


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """What one range became. Text formats fill ``content`` and ``stored``, columnar ones ``batches``.

    ``size`` is the uncompressed size in bytes: of the text, or of the batches in memory. ``digest`` is the unreduced
    events digest. ``times`` is in microseconds.
    ``counts`` says by reason what was coerced and left out, ``rest`` what of the range is still to be read.
    """

    rows: int
    size: int
    digest: int
    times: Span | None
    seqs: Span | None
    counts: Mapping[str, int] = field(default_factory=dict)
    rest: Slice | None = None
    content: Sequence[Any] = ()
    stored: Sequence[Any] = ()
    batches: Sequence[pa.RecordBatch] = ()


#: Reads a slice as a chunk.
ReadSlice: TypeAlias = Callable[[Slice], Chunk]


class Extractor:
    """Reads ranges of one view under one filter, for one layout. Calls from several threads do not disturb each
    other. Without ``encoder`` the format is columnar and batches are passed on."""

    def __init__(self, view: Rows, filter: ExportFilter, layout: Layout, encoder: TextEncoder | None) -> None:
        self._view = view
        self._filter = filter
        self._layout = layout
        self._encoder = encoder
        self._text = RowText(layout.dataset)

    def __call__(self, span: Slice) -> Chunk:
        return self.extract(span, self._filter)

    def extract(self, span: Slice, filter: ExportFilter) -> Chunk:
        """The matching rows of a range, as a chunk."""
        reading = self._view.read(span, filter)
        return replace(self.chunk(reading), counts=dict(reading.counts), rest=reading.rest())

    def chunk(self, source: Iterable[pa.RecordBatch]) -> Chunk:
        """Batches of all columns, rendered and compressed, with their counts, spans and digest.

        Raises :class:`~penstock.errors.StorageError` for a value that no export has.
        """
        try:
            return self._chunk(source)
        except pa.ArrowInvalid as error:
            raise StorageError(
                f"the source of {self._layout.dataset.name} gave a value that no export has: {error}",
                hint="the source has to bind its columns first",
            ) from None

    def _chunk(self, source: Iterable[pa.RecordBatch]) -> Chunk:
        rows = size = digest = 0
        times: Span | None = None
        seqs: Span | None = None
        content: list[Any] = []
        batches: list[pa.RecordBatch] = []
        for batch in source:
            rows += batch.num_rows
            times = joined(times, span_of(batch, self._layout.dataset.time))
            seqs = joined(seqs, span_of(batch, self._layout.dataset.order))
            names = list(self._layout.columns)
            kept = batch if batch.schema.names == names else batch.select(names)
            if self._encoder is None:
                digest += self._text.digest(kept)
                batches.append(kept)
                size += kept.nbytes
                continue
            if content and self._encoder.separator:
                content.append(self._encoder.separator)
            rendered = self._encoder.render(kept)
            digest += rendered.digest
            content.append(rendered.text)
        size += sum(memoryview(piece).nbytes for piece in content)
        stored = compress(self._layout.codec, self._layout.level, content) if content else ()
        return Chunk(
            rows=rows,
            size=size,
            digest=digest,
            times=times,
            seqs=seqs,
            content=content,
            stored=stored,
            batches=batches,
        )
