"""A part read back: its content decoded, counted and digested. All that reads exports shares it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.formats import FORMATS
from penstock.model.manifest import PartEntry
from penstock.model.options import Layout
from penstock.model.span import Span, joined, span_of
from penstock.pipeline.compression import open_reader
from penstock.pipeline.digests import Meter, MeteredReader, OverLimit, digest_hex
from penstock.pipeline.rowtext import RowText


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """What a part turned out to hold. Spans are ``None`` where the column is not in the part."""

    rows: int
    content_bytes: int
    content_sha256: str
    rows_digest: str
    time_range: Span | None
    seq_range: Span | None


def decoded(file: BinaryIO, layout: Layout, entry: PartEntry) -> Decoded:
    """Read a whole part. ``entry`` bounds how much content is accepted. Raises
    :class:`~penstock.errors.SerializationError`."""
    meter = Meter()
    rows = digest = 0
    text = RowText(layout.dataset)
    times: Span | None = None
    seqs: Span | None = None
    for batch in read_batches(file, layout, entry, meter):
        rows += batch.num_rows
        digest += text.digest(batch)
        times = joined(times, span_of(batch, layout.dataset.time))
        seqs = joined(seqs, span_of(batch, layout.dataset.order))
    return Decoded(
        rows=rows,
        content_bytes=meter.bytes,
        content_sha256=meter.sha256,
        rows_digest=digest_hex(digest),
        time_range=times,
        seq_range=seqs,
    )


def read_batches(file: BinaryIO, layout: Layout, entry: PartEntry, meter: Meter) -> Iterator[pa.RecordBatch]:
    """The batches of a part, while ``meter`` sees its uncompressed content. Columnar files are metered as they lie."""
    format = FORMATS[layout.format]
    decode = format.decoder(layout)
    if format.seekable:
        while data := file.read(1 << 20):
            meter.update(data)
        file.seek(0)
        yield from decode(file)
        return
    content = MeteredReader(open_reader(layout.codec, file), meter, limit=entry.content_bytes)
    try:
        yield from decode(cast(BinaryIO, content))
        while content.read(1 << 20):
            continue
    except OverLimit as error:
        raise SerializationError(f"{error}, as the manifest has it") from None
