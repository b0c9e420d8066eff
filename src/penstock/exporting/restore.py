"""Restore: the way back, from any export to a store, by the read path that verify uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from penstock.errors import IntegrityError, ManifestError, NotFound, UsageError
from penstock.exporting.chain import read_chain
from penstock.exporting.decode import read_batches
from penstock.exporting.verify import check_stored, sums_up
from penstock.exporting.verify_chain import contradictions
from penstock.model.columns import EVENT_FIELDS
from penstock.model.filter import ExportFilter
from penstock.model.manifest import Manifest, PartEntry, parse_manifest
from penstock.model.result import AppendResult, RestoreResult
from penstock.pipeline.canonical import events_digest
from penstock.pipeline.digests import Meter, digest_hex
from penstock.pipeline.matching import matching
from penstock.ports import AnalyticsStorage, ExportDestination, LineageDestination, OnConflict

_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class _Part:
    manifest: Manifest
    entry: PartEntry


def restore(
    source: ExportDestination | LineageDestination,
    storage: AnalyticsStorage | None,
    *,
    filter: ExportFilter,
    on_conflict: OnConflict = "fail",
    progress: Callable[[int, int], None] | None = None,
) -> RestoreResult:
    """Put the events of an export, a directory or a whole lineage into a store, in order; ``None`` only reads.

    The stored bytes of a part are checked before it is decoded, and its events digest before its last events are
    stored. Events that are there already stay (restoring twice changes nothing); one with the same id and other content
    is decided by ``on_conflict``. Raises :class:`~penstock.errors.IntegrityError` at the first part that is not whole,
    :class:`~penstock.errors.UsageError` for an export that lacks columns, or a conflict.
    """
    parts = _parts(source)
    done, total = 0, sum(part.entry.bytes for part in parts)
    rows = digest = 0
    outcome = AppendResult()
    left = filter.limit
    for part in parts:
        for batch in _events(source, part):
            wanted = matching(batch, filter)
            wanted = wanted if left is None else wanted.slice(0, left)
            if not wanted.num_rows:
                continue
            left = None if left is None else left - wanted.num_rows
            rows += wanted.num_rows
            digest += events_digest(wanted.select(list(EVENT_FIELDS)))
            if storage is not None:
                outcome += storage.append(wanted.select(list(EVENT_FIELDS)), checked=True, on_conflict=on_conflict)
        done += part.entry.bytes
        if progress is not None:
            progress(done, total)
        if left == 0:
            break
    return RestoreResult(
        events=rows,
        inserted=outcome.inserted,
        duplicates=outcome.duplicates,
        conflicts=outcome.conflicts,
        events_digest=digest_hex(digest),
    )


def check(source: ExportDestination | LineageDestination) -> None:
    """Raise what ``restore`` would raise before it reads a part: a manifest is missing or damaged, a column lacks."""
    _parts(source)


def _parts(source: ExportDestination | LineageDestination) -> Sequence[_Part]:
    if isinstance(source, LineageDestination):
        chain = read_chain(source.runs())
        if not chain:
            raise ManifestError(f"{source.path} holds no committed run", hint="check the path")
        manifests = [link.manifest for link in chain]
        wrong = [f"{problem.part}: {problem.message}" for problem in contradictions(chain)]
    else:
        manifests = [parse_manifest(source.read_manifest(), where=source.manifest_name)]
        wrong = [f"{source.manifest_name}: {text}" for text in _contradictions(source, manifests[0])]
    if wrong:
        raise ManifestError(wrong[0], hint="nothing was restored")
    for manifest in manifests:
        missing = [name for name in EVENT_FIELDS if name not in manifest.layout.columns]
        if missing:
            raise UsageError(
                f"the export was made without the column {missing[0]}: events cannot be restored from it",
                hint="restore from an export of all columns",
            )
    return [_Part(manifest, entry) for manifest in manifests for entry in manifest.parts]


def _contradictions(source: ExportDestination, manifest: Manifest) -> list[str]:
    """What a manifest says that cannot be, whatever its parts hold."""
    wrong = sums_up(manifest, single=source.single)
    if source.single and source.path is not None and [entry.name for entry in manifest.parts] != [source.path.name]:
        wrong.append(f"the manifest is not about {source.path.name}")
    return wrong


def _events(source: ExportDestination | LineageDestination, part: _Part) -> Iterator[pa.RecordBatch]:
    """The events of one part; the last batch is given only when the whole part proved to be what it should be."""
    with _opened(source, part.entry) as file:
        wrong = check_stored(file, part.entry)
        if wrong:
            raise IntegrityError(f"{part.entry.name}: {wrong[0]}", hint="nothing of this part was restored")
        digest = rows = 0
        held: list[pa.RecordBatch] = []
        for batch in read_batches(file, part.manifest.layout, part.entry, Meter()):
            digest += events_digest(batch)
            rows += batch.num_rows
            held.append(batch)
            if sum(one.num_rows for one in held) >= _BATCH_ROWS or sum(one.nbytes for one in held) > _HELD_BYTES:
                yield _joined(held[:-1] or held)
                held = held[-1:] if len(held) > 1 else []
        if (rows, digest_hex(digest)) != (part.entry.rows, part.entry.events_digest):
            raise IntegrityError(f"{part.entry.name}: its events are not those of the manifest")
        if held:
            yield _joined(held)


@contextmanager
def _opened(source: ExportDestination | LineageDestination, entry: PartEntry) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(source.open_part(entry.name))
        except NotFound:
            raise IntegrityError(f"{entry.name} is missing", hint="nothing of this part was restored") from None
        yield file


_HELD_BYTES = 16 << 20


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
