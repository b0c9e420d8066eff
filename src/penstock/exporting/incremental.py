"""Incremental export: one more run of a lineage, covering what arrived since the run before."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from penstock.errors import UsageError
from penstock.exporting.committing import close, commit, uninterrupted
from penstock.exporting.crew import Workers
from penstock.exporting.growth import Check, growth_of
from penstock.exporting.moment import of_moment, told
from penstock.exporting.reread import without_held
from penstock.exporting.run import Run
from penstock.exporting.settling import steps_of_lineage
from penstock.model.arrival import Arrival, said
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.lineage import NO_TOTALS, ROWS_BACK, Anchor, Lineage
from penstock.model.manifest import Manifest, PartEntry
from penstock.model.options import ExportOptions, Layout
from penstock.model.result import ExportMetadata, ExportResult
from penstock.model.roll import Growth
from penstock.pipeline.digests import digest_hex
from penstock.pipeline.flattening import Flattening
from penstock.pipeline.rowtext import KeyText, RowText
from penstock.pipeline.steps import applied, bound_by, stepped
from penstock.ports.observer import Observer
from penstock.ports.source import Clock, Source, View
from penstock.publishing.lineage import LineageDestination, totals_of
from penstock.publishing.publication import RunPublication
from penstock.reading.chain import Link, chain_of, last_link, pinned_differences
from penstock.reading.cursor import Standing, next_lineage
from penstock.reading.published import rows_of


def export_incremental(
    storage: Source,
    destination: LineageDestination,
    *,
    layout: Layout,
    filter: ExportFilter,
    options: ExportOptions,
    clock: Clock,
    workers: Workers,
    observer: Observer | None = None,
) -> ExportResult:
    """Add a run to the lineage and commit it, also when nothing is new; see :meth:`penstock.Exporter.export`.

    The stretch is settled before the first row is read: from where the last committed run ended, exclusive, to the
    horizon of the view, inclusive. If the store does not prove that end any more, it begins at the newest row that
    does, and of what is read again only what no run holds is exported; the result is then ``partial``. Raises
    :class:`~penstock.errors.ManifestError` for a damaged chain, :class:`~penstock.errors.UsageError` for another store,
    filter or format than the lineage's, :class:`~penstock.errors.Rewound` for a store that proves nothing, and
    :class:`~penstock.errors.Locked` if another process is at it or was first.
    """
    storage, _ = storage.continuing({})
    _check(storage.dataset, filter, options)
    publication: RunPublication | None = None
    try:
        with uninterrupted():
            publication = destination.begin()
        chain = last_link(destination)
        last = chain[-1] if chain else None
        storage, columns = _continuing(storage, last, options)
        storage = storage.narrowed(options.read(storage.dataset, filter))
        with workers.pin(storage) as view, ExitStack() as stack:
            steps, notes = steps_of_lineage(chain, view, storage.dataset, filter, options, workers.threads, observer)
            layout = replace(layout, dataset=_written_of(bound_by(steps, storage.dataset), last, options))
            draft = Run(view, layout, filter, options, steps=steps)
            _check_pinned(chain, draft.manifest([], clock, single=False))
            growth = growth_of(view, None if last is None else last.lineage, options)
            known = layout.dataset.select(layout.columns[: None if last is None else last.lineage.compared])
            standing = _standing(chain, view, storage.dataset, known, steps, growth)
            lineage = next_lineage(chain, standing, accept=options.accept_store)
            source = rows = stepped(view, steps)
            check: Check | None = None
            if growth is Growth.CHECKED:
                check = stack.enter_context(Check(view, steps, layout, known, filter, options))
                rows = check.rows
            if last is not None and (lineage.broken is not None or lineage.after < last.lineage.reached):
                chain = chain_of(destination)  # any run may hold what is read again
                lineage = next_lineage(chain, standing, accept=options.accept_store)
                kinds = {"dataset": known, "given": storage.dataset}
                rows = without_held(rows, filter, lineage=lineage, chain=chain, destination=destination, **kinds)
            run = Run(rows, layout, filter, options, after=lineage.after, steps=steps)
            shared = view if rows is source else None
            entries, lineage = _written(run, shared, check, lineage, last, destination, publication, workers, observer)
            manifest = run.manifest(entries, clock, single=False, lineage=lineage)
            durable = {} if view.make_durable() else {"store_durable": "assumed"}
            manifest = of_moment(replace(manifest, guarantees={"growth": str(growth), **durable}), view, run)
        manifest = commit(publication, manifest, run.planned.size, observer)
    finally:
        close(publication)
    return ExportResult(
        path=destination.place,
        metadata=ExportMetadata.of(manifest),
        file_size=sum(entry.bytes for entry in manifest.parts),
        manifest=manifest,
        notes=(*notes, *columns, *_told(manifest, lineage), *told(manifest), *publication.notes),
        reader=lambda: rows_of(destination, [manifest]),
    )


def _continuing(storage: Source, last: Link | None, options: ExportOptions) -> tuple[Source, list[str]]:
    """The source as the lineage goes on with it, and what is to be told of new columns. Raises :class:`UsageError` for
    those that are not wanted."""
    if last is None:
        return storage, []
    kept, new = storage.continuing(last.manifest.source)
    names = ", ".join(new)
    if new and options.new_columns == "fail":
        raise UsageError(
            f"the table has columns that the lineage does not know: {names}",
            hint="--new-columns ignore keeps them out, --new-columns add adds them to later runs",
        )
    if new and options.new_columns == "add" and "mapping" in last.manifest.source:
        raise UsageError(
            f"{names} cannot be added: rows that are events keep the members of data that the lineage was begun with",
            hint="--new-columns ignore keeps them out; a new lineage in another directory has them",
        )
    if new and options.new_columns == "add" and options.columns is None:
        return storage, [f"columns that came later are in this run and those behind it: {names}"]
    return kept, [f"new columns are kept out of the lineage: {names}"] if new else []


def _written_of(dataset: Dataset, last: Link | None, options: ExportOptions) -> Dataset:
    """The columns that are written: those of the last run, and then such as are new."""
    written = options.written(dataset)
    before = () if last is None else last.manifest.dataset.columns
    known = [name for name in before if name in written.columns]
    return written.select([*known, *(name for name in written.columns if name not in known)])


def _written(
    run: Run,
    shared: View | None,
    check: Check | None,
    lineage: Lineage,
    last: Link | None,
    destination: LineageDestination,
    publication: RunPublication,
    workers: Workers,
    observer: Observer | None,
) -> tuple[list[PartEntry], Lineage]:
    """Lay down all parts of a run, those of what is found below its cursor too, and the roll."""
    if check is not None:
        check.rows.begin()
    entries = workers.write(run, shared, publication, observer, single=False, keep_empty=False)
    if check is not None:
        found = check.settle(lineage, last, destination, publication, workers.threads, before=len(entries))
        entries = [*entries, *found.entries]
        run.counts.update(found.counts)
        lineage = replace(lineage, known=found.known, roll=found.roll)
    totals = totals_of(entries, NO_TOTALS if last is None else last.lineage.totals)
    return entries, replace(lineage, totals=totals)


def _check(dataset: Dataset, filter: ExportFilter, options: ExportOptions) -> None:
    """Complain before anything is done. A run covers its stretch wholly: what would cut it short has no place in a
    lineage."""
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
    if dataset.number is None or not dataset.key:
        raise UsageError(
            f"{dataset.name} has no order of arrival or no key: nothing tells new rows from old ones",
            hint="name columns that order its rows with --key, or export it whole",
        )
    filter.condition(dataset)


def _standing(
    chain: Sequence[Link],
    view: View,
    dataset: Dataset,
    compared: Dataset,
    steps: Sequence[Flattening],
    growth: Growth,
) -> Standing:
    """What the store shows of what the last run claims, and what the next run is to claim."""
    last = chain[-1].lineage if chain else None
    wanted = [anchor.seq for anchor in last.anchors] if last is not None else []
    there = facts_at(view, wanted, dataset, compared, steps)
    gone = [seq for seq in wanted if not there.get(seq)]
    newest = view.newest(ROWS_BACK[-1] + 1)
    numbers = list(dict.fromkeys(newest[back] for back in ROWS_BACK if back < len(newest)))  # rows may share one
    anchors = facts_at(view, numbers, dataset, compared, steps)
    ended_at_a_row = last is None or last.upto in wanted[:1]
    return Standing(
        store=view.identity,
        horizon=view.upto,
        given=view.given,
        lowest=view.first(),
        next=None if ended_at_a_row else view.first(*wanted[:1]),
        deletions=view.deletions,
        there=there,
        anchors=tuple(anchors[seq][0] for seq in numbers),
        shared=growth is Growth.CHECKED,
        compared=len(compared.columns),
        moved=view.moved_up(gone, last.upto) if last is not None and gone else (),
    )


def facts_at(
    view: View, numbers: Sequence[Arrival], dataset: Dataset, compared: Dataset, steps: Sequence[Flattening]
) -> dict[Arrival, list[Anchor]]:
    """What is at these numbers or keys, each row as an anchor."""
    if not numbers:
        return {}
    rows, events = view.rows_at(numbers)
    found: dict[Arrival, list[Anchor]] = {seq: [] for seq in rows}
    text, own = RowText(compared), applied(steps, events, Counter()).select(list(compared.columns))
    placed = rows if dataset.order is None else events[dataset.order].to_pylist()
    for place, (seq, key) in enumerate(zip(placed, KeyText(dataset)(events), strict=True)):
        found[seq].append(Anchor(seq=seq, key=key, digest=digest_hex(text.digest(own.slice(place, 1)))))
    for seq in rows:
        if len(found[seq]) < rows.count(seq):
            found[seq].append(Anchor(seq=seq, key=None, digest=None))
    return found


def _told(manifest: Manifest, lineage: Lineage) -> Iterator[str]:
    if lineage.accepted is not None:
        yield f"{lineage.store} was accepted in the place of {lineage.accepted}"
    broken = lineage.broken
    if broken is not None:
        yield (
            f"the store is not as run {lineage.run - 1} left it: {broken.why}; it was read again from behind"
            f" {said(lineage.after)} on, and what no run holds yet was exported: {manifest.rows:,} rows"
        )
    if manifest.guarantees["growth"] == Growth.ASSUMED:
        yield "growing is assumed: no index finds the rows below the cursor, so that a late one would not be seen"
    if "store_durable" in manifest.guarantees:
        yield "the log of the store could not be synced: that its last rows outlive a power failure is assumed"


def _check_pinned(chain: Sequence[Link], draft: Manifest) -> None:
    if not chain:
        return
    key = chain[-1].manifest.dataset.key
    begun = "" if key == draft.dataset.key else f"its rows stand by --key {shlex.quote(','.join(key))}: "
    for what, before, now in pinned_differences(chain[-1].manifest, draft):
        raise UsageError(
            f"the lineage was begun with another {what}: {before}, not {now}",
            hint=f"{begun}use the same again, or begin a new lineage in another directory",
        )
