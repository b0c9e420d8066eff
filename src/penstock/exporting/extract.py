"""One range of a store, from rows to the bytes that go into a part: the work that runs on several threads at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.columns import COLUMNS
from penstock.model.filter import ExportFilter
from penstock.model.manifest import Span
from penstock.model.options import Layout
from penstock.pipeline.canonical import rows_digest
from penstock.pipeline.compression import compress
from penstock.ports.format import TextEncoder
from penstock.ports.source import SeqRange, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """What one range became. Text formats fill ``content`` and ``stored``, columnar ones ``batches``.

    ``size`` is the uncompressed size in bytes: of the text, or of the batches in memory. ``digest`` is the unreduced
    events digest. ``times`` is in microseconds.
    """

    rows: int
    size: int
    digest: int
    times: Span | None
    seqs: Span | None
    content: Sequence[Any] = ()
    stored: Sequence[Any] = ()
    batches: Sequence[pa.RecordBatch] = ()


class Extractor:
    """Reads ranges of one snapshot under one filter, for one layout. Calls from several threads do not disturb each
    other. Without ``encoder`` the format is columnar and batches are passed on."""

    def __init__(self, snapshot: Snapshot, filter: ExportFilter, layout: Layout, encoder: TextEncoder | None) -> None:
        self._snapshot = snapshot
        self._filter = filter
        self._layout = layout
        self._encoder = encoder

    def __call__(self, span: SeqRange) -> Chunk:
        return self.extract(span, self._filter)

    def extract(self, span: SeqRange, filter: ExportFilter) -> Chunk:
        """The matching rows of a range, as a chunk."""
        return self.chunk(self._snapshot.read(span, filter))

    def chunk(self, source: Iterable[pa.RecordBatch]) -> Chunk:
        """Batches of all columns, rendered and compressed, with their counts, spans and digest."""
        rows = size = digest = 0
        times: Span | None = None
        seqs: Span | None = None
        content: list[Any] = []
        batches: list[pa.RecordBatch] = []
        for batch in source:
            rows += batch.num_rows
            times = _span(batch, "timestamp").union(times)
            seqs = _span(batch, "seq").union(seqs)
            kept = batch if self._layout.columns == COLUMNS else batch.select(list(self._layout.columns))
            if self._encoder is None:
                digest += rows_digest(kept)
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


def _span(batch: pa.RecordBatch, name: str) -> Span:
    column = batch.column(name)
    extremes = pc.min_max(column.cast(pa.int64()) if name == "timestamp" else column)
    return Span(first=extremes["min"].as_py(), last=extremes["max"].as_py())
