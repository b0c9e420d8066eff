"""Export: one run, published as one file, one directory or one stream."""

from __future__ import annotations

from dataclasses import replace

from penstock.errors import EmptyExport, UsageError
from penstock.exporting.committing import close, commit, uninterrupted
from penstock.exporting.crew import Workers
from penstock.exporting.moment import of_moment, told
from penstock.exporting.run import Run
from penstock.exporting.settling import flattening
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.options import ExportOptions, Layout
from penstock.model.result import ExportMetadata, ExportResult
from penstock.pipeline.steps import stepped
from penstock.ports.observer import Observer
from penstock.ports.source import Clock, Rows, Source, View
from penstock.publishing.destination import Destination
from penstock.publishing.publication import Publication
from penstock.reading.published import rows_of


def export(
    storage: Source,
    destination: Destination,
    *,
    layout: Layout,
    filter: ExportFilter,
    options: ExportOptions,
    clock: Clock,
    workers: Workers,
    overwrite: bool = False,
    observer: Observer | None = None,
) -> ExportResult:
    """Write the matching events to the destination and commit them; see :meth:`penstock.Exporter.export`."""
    filter.condition(storage.dataset)  # complains before anything is done
    if workers.crew is not None and filter.limit is not None:
        raise UsageError("a limit needs one process, which sees all rows in order", hint="leave --runner out")
    storage = storage.narrowed(options.read(storage.dataset, filter), until=options.ending)
    with workers.pin(storage) as view:
        return export_view(
            view,
            view,
            storage.dataset,
            destination,
            layout=layout,
            filter=filter,
            options=options,
            clock=clock,
            workers=workers,
            overwrite=overwrite,
            observer=observer,
        )


def export_view(
    view: View,
    rows: Rows,
    dataset: Dataset,
    destination: Destination,
    *,
    layout: Layout,
    filter: ExportFilter,
    options: ExportOptions,
    clock: Clock,
    workers: Workers,
    overwrite: bool,
    observer: Observer | None,
) -> ExportResult:
    """The same of a view that is open; ``rows`` are how it is read, if not by itself."""
    run = Run(rows, layout, filter, options, streamed=destination.streamed)
    publication: Publication | None = None
    notes: list[str] = []
    try:
        with uninterrupted():
            publication = destination.begin(overwrite=overwrite, estimated_bytes=run.estimate())
        asked = options.flattening
        if asked is not None:
            step, notes = flattening(view, dataset, asked, filter, workers.threads, observer)
            layout = replace(layout, dataset=options.written(step.bind(dataset)))
            run = Run(stepped(rows, [step]), layout, filter, options, streamed=destination.streamed, steps=[step])
        entries = workers.write(run, view, publication, observer, single=destination.single)
        manifest = of_moment(run.manifest(entries, clock, single=destination.single), view, run)
        if options.fail_on_empty and not manifest.rows:
            raise EmptyExport("no event matches, nothing was published", hint="leave --fail-on-empty out to publish it")
        manifest = commit(publication, manifest, run.planned.size, observer)
    finally:
        close(publication)
    return ExportResult(
        path=destination.place,
        metadata=ExportMetadata.of(manifest),
        file_size=sum(entry.bytes for entry in manifest.parts),
        manifest=manifest,
        notes=(*notes, *told(manifest), *publication.notes),
        reader=lambda: rows_of(destination, [manifest]),
    )
