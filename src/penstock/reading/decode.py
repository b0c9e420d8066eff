"""A part read back: its content decoded, counted and digested. All that reads exports shares it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import SerializationError
from penstock.formats import FORMATS
from penstock.model.manifest import PartEntry, Span
from penstock.model.options import Layout
from penstock.pipeline.canonical import rows_digest
from penstock.pipeline.compression import open_reader
from penstock.pipeline.digests import Meter, MeteredReader, OverLimit, digest_hex


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """What a part turned out to hold. Spans are ``None`` where the column is not in the part."""

    rows: int
    content_bytes: int
    content_sha256: str
    events_digest: str
    time_range: Span | None
    seq_range: Span | None


def decoded(file: BinaryIO, layout: Layout, entry: PartEntry) -> Decoded:
    """Read a whole part. ``entry`` bounds how much content is accepted. Raises
    :class:`~penstock.errors.SerializationError`."""
    meter = Meter()
    rows = digest = 0
    spans: dict[str, Span | None] = {"timestamp": None, "seq": None}
    for batch in read_batches(file, layout, entry, meter):
        rows += batch.num_rows
        digest += rows_digest(batch)
        for name, span in spans.items():
            if name in batch.schema.names and batch.num_rows:
                spans[name] = _extremes(batch, name).union(span)
    return Decoded(
        rows=rows,
        content_bytes=meter.bytes,
        content_sha256=meter.sha256,
        events_digest=digest_hex(digest),
        time_range=spans["timestamp"],
        seq_range=spans["seq"],
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


def _extremes(batch: pa.RecordBatch, name: str) -> Span:
    column = batch.column(name)
    extremes = pc.min_max(column.cast(pa.int64()) if name == "timestamp" else column)
    return Span(first=extremes["min"].as_py(), last=extremes["max"].as_py())
