"""What was published, read back with proof: the manifests of an export or a lineage, and the rows of each part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from penstock.errors import ManifestError
from penstock.model.dataset import Dataset
from penstock.model.manifest import Manifest, PartEntry, held_parts, parse_manifest
from penstock.publishing.destination import ExportDestination, Readable
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import chain_of
from penstock.reading.part import proven
from penstock.reading.verify import sums_up
from penstock.reading.verify_chain import contradictions


@dataclass(frozen=True, slots=True)
class PublishedPart:
    """A part and the manifest that names it. ``dataset`` is of all parts that are read with it: it may have columns
    that came later."""

    manifest: Manifest
    entry: PartEntry
    dataset: Dataset

    def rows(self, source: Readable) -> Iterator[pa.RecordBatch]:
        """Its rows, null in columns that came later; see :func:`penstock.reading.part.proven`."""
        batches = proven(source.part(self.entry.name), self.manifest.layout, self.entry)
        later = self.dataset.columns[len(self.manifest.dataset.columns) :]
        return (_with_nulls(batch, self.dataset.schema) for batch in batches) if later else batches


def manifests_of(source: ExportDestination | LineageDestination) -> Sequence[Manifest]:
    """The manifest of an export, or those of a lineage's runs in order, if they agree with each other and themselves.

    Raises :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.ManifestError`.
    """
    if isinstance(source, LineageDestination):
        chain = chain_of(source)
        if not chain:
            raise ManifestError(f"{source.place} holds no committed run", hint="check the path")
        manifests = [link.manifest for link in chain]
        wrong = [f"{problem.part}: {problem.message}" for problem in contradictions(chain)]
    else:
        manifests = [parse_manifest(source.read_manifest(), where=source.manifest_name)]
        wrong = [f"{source.manifest_name}: {text}" for text in _contradictions(source, manifests[0])]
    if wrong:
        raise ManifestError(wrong[0], hint="nothing was read")
    return manifests


def parts_of(manifests: Sequence[Manifest]) -> list[PublishedPart]:
    """The parts that the manifests hold, in order."""
    return [PublishedPart(manifest, entry, manifests[-1].dataset) for manifest, entry in held_parts(manifests)]


def _with_nulls(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    nulls = [pa.nulls(batch.num_rows, field.type) for field in list(schema)[batch.num_columns :]]
    return pa.record_batch([*batch.columns, *nulls], schema=schema)


def _contradictions(source: ExportDestination, manifest: Manifest) -> list[str]:
    """What a manifest says that cannot be, whatever its parts hold."""
    wrong = sums_up(manifest, single=source.single)
    if not source.shape.could_be(manifest):
        wrong.append(f"the manifest is not about {source.shape.data or 'a directory'}")
    return wrong


def rows_of(source: Readable, manifests: Sequence[Manifest]) -> pa.RecordBatchReader:
    """The rows of all parts in order, lazily, in bounded memory. Raises :class:`~penstock.errors.IntegrityError` at the
    part that is not what its manifest says."""
    parts = parts_of(manifests)
    batches = (batch for part in parts for batch in part.rows(source))
    return pa.RecordBatchReader.from_batches(manifests[-1].dataset.schema, batches)
