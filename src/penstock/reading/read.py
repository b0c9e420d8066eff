"""A published export as a stream of Arrow batches: each part's stored bytes are checked before they are decoded."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from penstock.errors import IntegrityError
from penstock.model.manifest import Manifest
from penstock.pipeline.digests import Meter
from penstock.publishing.destination import Readable
from penstock.reading.decode import read_batches
from penstock.reading.verify import check_stored


def reader(destination: Readable, manifest: Manifest) -> pa.RecordBatchReader:
    """The rows of an export in order, lazily, in bounded memory.

    Raises :class:`~penstock.errors.IntegrityError` at the part whose bytes are not those of the manifest.
    """
    return pa.RecordBatchReader.from_batches(manifest.dataset.schema, _batches(destination, manifest))


def _batches(destination: Readable, manifest: Manifest) -> Iterator[pa.RecordBatch]:
    for entry in manifest.parts:
        with destination.open_part(entry.name) as file:
            wrong = check_stored(file, entry)
            if wrong:
                raise IntegrityError(f"{entry.name}: {wrong[0]}")
            yield from read_batches(file, manifest.layout, entry, Meter())
