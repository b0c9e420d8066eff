"""Incremental export: one more run of a lineage, covering what arrived since the run before."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from penstock.errors import UsageError
from penstock.exporting.run import Progress, Run
from penstock.model.filter import ExportFilter
from penstock.model.lineage import Anchor, Lineage
from penstock.model.manifest import Manifest
from penstock.model.options import ExportOptions, Layout
from penstock.model.result import ExportMetadata, ExportResult
from penstock.pipeline.matching import check_filter
from penstock.ports.destination import LineageDestination
from penstock.ports.source import Clock, Snapshot, Source
from penstock.reading.chain import Link, next_lineage, pinned_differences, read_chain
from penstock.reading.read import reader

_MANY = 1 << 40


def export_incremental(
    storage: Source,
    destination: LineageDestination,
    *,
    layout: Layout,
    filter: ExportFilter,
    options: ExportOptions,
    clock: Clock,
    progress: Callable[[Progress], None] | None = None,
) -> ExportResult:
    """Add a run to the lineage and commit it, also when nothing is new; see :meth:`penstock.Exporter.export`.

    The stretch is settled before the first row is read: from where the last committed run ended, exclusive, to the
    horizon of the snapshot, inclusive. Raises :class:`~penstock.errors.ManifestError` for a damaged chain,
    :class:`~penstock.errors.UsageError` for another store, filter or format than the lineage's, and
    :class:`~penstock.errors.Locked` if another process is at it or was first.
    """
    _check_whole(filter, options)
    check_filter(filter, storage.dataset)
    workers = options.workers if options.workers is not None else os.cpu_count() or 1
    publication = destination.begin()
    try:
        chain = read_chain(publication.runs())
        with storage.snapshot(readers=workers) as snapshot:
            lineage = _place(chain, snapshot)
            run = Run(snapshot, layout, filter, options, after=lineage.after)
            _check_pinned(chain, run.manifest([], clock, single=False, lineage=lineage))
            entries = run.write(publication, workers, progress, single=False, keep_empty=False)
            manifest = run.manifest(entries, clock, single=False, lineage=lineage)
        publication.publish(manifest)
    finally:
        publication.close()
    return ExportResult(
        path=destination.path,
        metadata=ExportMetadata.of(manifest),
        file_size=sum(entry.bytes for entry in manifest.parts),
        manifest=manifest,
        notes=tuple(publication.notes),
        reader=lambda: reader(destination, manifest),
    )


def _check_whole(filter: ExportFilter, options: ExportOptions) -> None:
    """A run covers its stretch wholly: what would cut it short has no place in a lineage."""
    for given, name in (
        (filter.limit is not None, "--limit"),
        (options.max_bytes is not None, "--max-bytes"),
        (options.max_duration is not None, "--max-duration"),
        (options.fail_on_empty, "--fail-on-empty"),
    ):
        if given:
            raise UsageError(
                f"{name} does not go with --incremental: a run covers all that is new", hint="leave it out"
            )


def _place(chain: Sequence[Link], snapshot: Snapshot) -> Lineage:
    last = snapshot.last_event(snapshot.horizon)
    anchor = None if last is None else Anchor(seq=last[0], id=last[1])
    before = chain[-1].lineage.anchor if chain else None
    there = snapshot.last_event(before.seq) if before is not None else None
    id_at = {there[0]: there[1]} if there is not None else {}
    begin = 0 if chain else _begin(snapshot)
    return next_lineage(
        chain, horizon=snapshot.horizon, store=snapshot.identity, anchor=anchor, id_at=id_at, begin=begin
    )


def _begin(snapshot: Snapshot) -> int:
    """What lies below the first arrival number of all: 0, unless the keys of a table begin lower."""
    if snapshot.last_event(0) is None:
        return 0
    spans = snapshot.ranges(ExportFilter(), max_rows=_MANY, max_bytes=_MANY)
    return min((span.after for span in spans), default=0)


def _check_pinned(chain: Sequence[Link], draft: Manifest) -> None:
    if not chain:
        return
    for what, before, now in pinned_differences(chain[-1].manifest, draft):
        raise UsageError(
            f"the lineage was begun with another {what}: {before}, not {now}",
            hint="use the same again, or begin a new lineage in another directory",
        )
