"""What was published, read back with proof: the manifests of an export or a lineage, and the rows of each part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from penstock.errors import IntegrityError, ManifestError, NotFound
from penstock.model.manifest import Manifest, PartEntry, parse_manifest
from penstock.pipeline.digests import Meter, digest_hex
from penstock.pipeline.rowtext import RowText
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import read_chain
from penstock.reading.decode import read_batches
from penstock.reading.verify import check_stored, sums_up
from penstock.reading.verify_chain import contradictions

_BATCH_ROWS = 65_536
_HELD_BYTES = 16 << 20
_HINT = "penstock verify names all that is damaged; nothing of this part was used"


@dataclass(frozen=True, slots=True)
class PublishedPart:
    """A part and the manifest that names it."""

    manifest: Manifest
    entry: PartEntry


def manifests_of(source: ExportDestination | LineageDestination) -> Sequence[Manifest]:
    """The manifest of an export, or those of a lineage's runs in order, if they agree with each other and themselves.

    Raises :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.ManifestError`.
    """
    if isinstance(source, LineageDestination):
        chain = read_chain(source.runs())
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
    """The parts of all manifests, in order."""
    return [PublishedPart(manifest, entry) for manifest in manifests for entry in manifest.parts]


def _contradictions(source: ExportDestination, manifest: Manifest) -> list[str]:
    """What a manifest says that cannot be, whatever its parts hold."""
    wrong = sums_up(manifest, single=source.single)
    if not source.shape.could_be(manifest):
        wrong.append(f"the manifest is not about {source.shape.data or 'a directory'}")
    return wrong


def proven_rows(source: ExportDestination | LineageDestination, part: PublishedPart) -> Iterator[pa.RecordBatch]:
    """The rows of one part, in order and in bounded memory.

    The stored bytes are checked before anything is decoded, and the last batch is given only when the whole part proved
    to be what it should be. Raises :class:`~penstock.errors.IntegrityError`.
    """
    with _opened(source, part.entry) as file:
        wrong = check_stored(file, part.entry)
        if wrong:
            raise IntegrityError(f"{part.entry.name}: {wrong[0]}", hint=_HINT)
        text = RowText(part.manifest.dataset)
        digest = rows = 0
        held: list[pa.RecordBatch] = []
        for batch in read_batches(file, part.manifest.layout, part.entry, Meter()):
            digest += text.digest(batch)
            rows += batch.num_rows
            held.append(batch)
            if len(held) > 1 and _enough(held):
                yield _joined(held[:-1])
                held = held[-1:]
        if (rows, digest_hex(digest)) != (part.entry.rows, part.entry.rows_digest):
            raise IntegrityError(f"{part.entry.name}: its rows are not those of the manifest")
        if held:
            yield _joined(held)


@contextmanager
def _opened(source: ExportDestination | LineageDestination, entry: PartEntry) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(source.open_part(entry.name))
        except NotFound:
            raise IntegrityError(f"{entry.name} is missing", hint=_HINT) from None
        yield file


def _enough(held: Sequence[pa.RecordBatch]) -> bool:
    rows, size = sum(one.num_rows for one in held), sum(int(one.nbytes) for one in held)
    return bool(rows >= _BATCH_ROWS or size > _HELD_BYTES)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
