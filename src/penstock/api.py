"""The verbs in Python, with the argument names of the command. What a verb alone needs is loaded when it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from penstock import wiring
from penstock.errors import UsageError
from penstock.exporting import export as exporting
from penstock.model import jsontext
from penstock.model.filter import ExportFilter
from penstock.model.gaps import GapsResult
from penstock.model.options import ExportFormat, ExportOptions
from penstock.model.result import (
    Difference,
    DiffResult,
    ExportResult,
    IngestResult,
    RepairResult,
    RestoreResult,
    ResumeResult,
    StorageStats,
    VerifyResult,
)
from penstock.model.sample import parse_sample
from penstock.model.storage_config import StorageConfig
from penstock.ports.observer import Observer
from penstock.ports.source import AnalyticsStorage, Clock, OnConflict, Source
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.stream import StreamDestination
from penstock.worker import hired

if TYPE_CHECKING:
    from penstock.reading.gaps import Window


class Exporter:
    """Exports the rows of one open source, such as a store. Keeps nothing between calls; several may run at once."""

    def __init__(self, storage: Source, *, clock: Clock | None = None) -> None:
        self.storage = storage
        self.clock: Clock = clock if clock is not None else wiring.SystemClock()

    def export(
        self,
        destination: str | os.PathLike[str] | ExportDestination | LineageDestination | StreamDestination,
        *,
        filter: ExportFilter | None = None,
        options: ExportOptions | None = None,
        overwrite: bool = False,
        incremental: bool = False,
        manifest: str | os.PathLike[str] | None = None,
        observer: Observer | None = None,
    ) -> ExportResult:
        """Write the matching events and publish them with a manifest.

        When this returns, the export is whole, committed and durable; when it raises, there is none, or, with
        ``overwrite``, the old one, unless the error is :class:`~penstock.errors.Unconfirmed`, or comes after a progress
        that is ``committed``: an interrupt waits for the end of a commit. ``destination`` is a file
        with a known ending, a directory, ``-`` for standard output (``manifest`` then names a file for the manifest),
        or an :class:`ExportDestination`, used as it is. Memory is a function of ``options``, not of the data.

        With ``incremental`` the destination is a directory to which every call adds a run with what arrived since the
        run before; the result is of that run alone. Raises any :class:`~penstock.ExportError`.
        """
        chosen = options if options is not None else ExportOptions()
        if incremental:
            from penstock.exporting.incremental import export_incremental

            lineage = wiring.resolve_lineage(
                destination, chosen, dataset=self.storage.dataset, overwrite=overwrite, manifest=manifest
            )
            wiring.keep_apart(self.storage, lineage.destination)
            with hired(chosen) as workers:
                return export_incremental(
                    self.storage,
                    lineage.destination,
                    layout=lineage.layout,
                    filter=filter if filter is not None else ExportFilter(),
                    options=chosen,
                    clock=self.clock,
                    workers=workers,
                    observer=observer,
                )
        target = wiring.resolve_target(destination, chosen, dataset=self.storage.dataset, manifest=manifest)
        wiring.keep_apart(self.storage, target.destination)
        with hired(chosen) as workers:
            return exporting.export(
                self.storage,
                target.destination,
                layout=target.layout,
                filter=filter if filter is not None else ExportFilter(),
                options=chosen,
                clock=self.clock,
                workers=workers,
                overwrite=overwrite,
                observer=observer,
            )


def export(
    store: str | os.PathLike[str],
    destination: str | os.PathLike[str] | ExportDestination | LineageDestination | StreamDestination,
    *,
    filter: ExportFilter | None = None,
    options: ExportOptions | None = None,
    config: StorageConfig | None = None,
    overwrite: bool = False,
    incremental: bool = False,
    manifest: str | os.PathLike[str] | None = None,
    observer: Observer | None = None,
) -> ExportResult:
    """Open a store, export from it, close it: :meth:`Exporter.export` in one call."""
    opening = wiring.bound(config, destination) if incremental else config
    if opening is not None and options is not None:
        opening = options.opening(opening, filter if filter is not None else ExportFilter())
    with closing(wiring.open_source(store, opening)) as storage:
        return Exporter(storage).export(
            destination,
            filter=filter,
            options=options,
            overwrite=overwrite,
            incremental=incremental,
            manifest=manifest,
            observer=observer,
        )


def ingest(
    store: str | os.PathLike[str],
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    mapping: Mapping[str, str] | None = None,
    format: ExportFormat | str | None = None,
    source: str | None = None,
    quarantine: str | os.PathLike[str] | None = None,
    config: StorageConfig | None = None,
    max_depth: int = jsontext.MAX_DEPTH,
    max_record_bytes: int = 16 << 20,
    max_quarantine_bytes: int = 256 << 20,
    dry_run: bool = False,
    observer: Observer | None = None,
) -> IngestResult:
    """Load files into a store, which is created if it is missing; what is not an event is set aside, never lost.

    ``files`` are NDJSON, JSON, CSV, Parquet or Arrow, also in gzip or zstd; ``-`` is standard input. ``mapping`` says
    which field of a record is which field of an event (``{"timestamp": "at:ms", "session_id": "user.session"}``, where
    a unit stands behind the field of epoch numbers whose digits do not say it, and ``:none`` for a field that is not
    there); what it does not name goes into ``data``. ``format`` names the format of files that do not show it.
    ``source`` is the name that ids of records without one are made from; the file's own, without endings, if not given.
    ``quarantine`` is the file for records that are no events, beside the store if not given. ``max_depth`` is the
    deepest nesting of a payload, ``max_record_bytes`` the longest record of a text format, ``max_quarantine_bytes`` the
    most that is set aside before the load stops with :class:`~penstock.errors.LimitReached`. ``dry_run`` checks
    everything and writes nothing: every good record then counts as inserted.

    Loading a file again stores nothing again. When this returns, the stored events are as durable as the store is, and
    the quarantine is on the disk. Raises :class:`~penstock.errors.NotFound` before anything is stored when a file is
    missing, and any other :class:`~penstock.ExportError`.
    """
    from penstock.loading import inputs, load, settle
    from penstock.loading import quarantine as aside
    from penstock.loading.mapping import FieldMap

    named = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    fields = FieldMap(paths=dict(mapping or {}))
    rules = settle.Rules(max_depth=max_depth, max_record_bytes=max_record_bytes)
    places = wiring.store_files(store)
    bad = Path(quarantine) if quarantine is not None else aside.beside(places[0])
    aside.check(bad, apart_from=places)
    surveyed = inputs.survey(named, format=format, source=source, reserved=[*places, bad])
    storage: AnalyticsStorage | None = None
    if dry_run:
        wiring.check_store(store, config)
    else:
        storage = wiring.create_store(store, config)
    try:
        return load.load(
            storage,
            surveyed,
            fields=fields,
            rules=rules,
            quarantine=aside.Quarantine(None if dry_run else bad, most=max_quarantine_bytes),
            observer=observer,
        )
    finally:
        if storage is not None:
            storage.close()


def inspect(store: str | os.PathLike[str], *, config: StorageConfig | None = None) -> StorageStats:
    """Open a store, count and measure it, close it. Raises what :class:`~penstock.SqliteAnalyticsStorage` raises."""
    from penstock.pipeline.summary import survey

    with closing(wiring.open_source(store, config)) as source:
        return survey(source, ExportFilter())[0]


def verify(
    destination: str | os.PathLike[str] | ExportDestination | LineageDestination,
    *,
    quick: bool = False,
    sample: str | None = None,
    clock: Clock | None = None,
    observer: Observer | None = None,
) -> VerifyResult:
    """Check an export, a lineage, or a file's manifest by name, down to the last event; needs no store.

    ``quick`` only looks whether every part is there with its size. ``sample`` reads a share of the parts and only looks
    at the others: ``1/7`` that of today (``clock`` says which day that is), so that seven days in a row read every part
    once, ``3:1/7`` the third of seven. Returns what was found; ``result.ok`` only if every
    byte and every count holds. Raises :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.ManifestError`,
    :class:`~penstock.errors.NewerVersion`, :class:`~penstock.errors.UsageError`.
    """
    from penstock.reading.verify import verify as verify_export
    from penstock.reading.verify_chain import verify_chain

    if quick and sample is not None:
        raise UsageError("quick reads no part, a sample reads some", hint="leave one of them out")
    now = (clock if clock is not None else wiring.SystemClock()).now()
    share = None if sample is None else parse_sample(sample, now=now)
    place = wiring.resolve_published(destination)
    if isinstance(place, LineageDestination):
        return verify_chain(place, quick=quick, sample=share, observer=observer)
    return verify_export(place, quick=quick, sample=share, observer=observer)


def restore(
    source: str | os.PathLike[str] | ExportDestination | LineageDestination,
    into: str | os.PathLike[str] | AnalyticsStorage,
    *,
    filter: ExportFilter | None = None,
    on_conflict: OnConflict = "fail",
    dry_run: bool = False,
    observer: Observer | None = None,
) -> RestoreResult:
    """Put the events of an export, a directory or a whole lineage back into a store, which is created if it is missing.

    Nothing of a part is stored before its bytes verified. Events that are there already stay, so an interrupted restore
    is simply run again. ``on_conflict`` decides about an event whose id is stored with other content. ``dry_run`` reads
    and checks everything and stores nothing. Raises :class:`~penstock.errors.IntegrityError`,
    :class:`~penstock.errors.UsageError`.
    """
    from penstock.reading import restore as restoring

    place = wiring.resolve_published(source)
    parts = restoring.restorable(place)
    wanted = filter if filter is not None else ExportFilter()
    if dry_run:
        return restoring.restore(place, parts, None, filter=wanted, on_conflict=on_conflict, observer=observer)
    storage = into if isinstance(into, AnalyticsStorage) else wiring.create_store(into)
    try:
        return restoring.restore(place, parts, storage, filter=wanted, on_conflict=on_conflict, observer=observer)
    finally:
        if storage is not into:
            storage.close()


def diff(
    a: str | os.PathLike[str] | ExportDestination | LineageDestination | Source,
    b: str | os.PathLike[str] | ExportDestination | LineageDestination | Source,
    *,
    filter: ExportFilter | None = None,
    config: StorageConfig | None = None,
    found: Callable[[Difference], None] | None = None,
    observer: Observer | None = None,
) -> DiffResult:
    """Compare the rows of two exports, lineages or stores, whatever their formats, by key and canonical bytes.

    ``found`` gets each row that B has and A has not (added), the other way round (removed), or that both have with
    other content (changed), in order of keys, after both sides were read and verified to their end. Rows are compared
    as multisets: a key that is there twice counts twice. What a store assigns does not count. ``config`` says how
    to open the sides that are stores. Memory does not follow the data; what does not fit waits in ``TMPDIR``. Raises
    :class:`~penstock.errors.IntegrityError` for a damaged export, :class:`~penstock.errors.UsageError` for one without
    ids, :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.NoSpace`.
    """
    from penstock.reading import diff as comparing

    with ExitStack() as stack:
        sides = [stack.enter_context(wiring.opened_events(source, config)) for source in (a, b)]
        if config is not None and config.table and not any(isinstance(side, Source) for side in sides):
            raise UsageError("a table was named, but neither side is a store", hint="leave --table out")
        return comparing.diff(
            *sides, filter=filter if filter is not None else ExportFilter(), found=found, observer=observer
        )


def gaps(
    directory: str | os.PathLike[str] | ExportDestination | LineageDestination,
    *,
    window: Window = "day",
    filter: ExportFilter | None = None,
) -> GapsResult:
    """List what is missing from a directory that holds a lineage or an export, or several in directories; needs no
    store, and without a ``filter`` decodes nothing.

    ``result.ok`` says whether nothing is missing. Windows of event time (``hour`` or ``day``, UTC) without an event
    (that matches the filter) between others are named too, and are suspicious only. Raises
    :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.UsageError`, :class:`~penstock.errors.NewerVersion`,
    :class:`~penstock.errors.IntegrityError` for a part that is read and is not whole.
    """
    from penstock.reading import gaps as surveying

    wanted = filter if filter is not None else ExportFilter()
    return surveying.gaps(wiring.published_in(directory), window=window, filter=wanted)


def resume(
    store: str | os.PathLike[str] | Source,
    directory: str | os.PathLike[str] | ExportDestination | LineageDestination,
    *,
    options: ExportOptions | None = None,
    config: StorageConfig | None = None,
    full: bool = False,
    observer: Observer | None = None,
) -> ResumeResult:
    """Take up a lineage: clear what a crash left, verify what is there, and add the next run as the runs before it.

    Filter, format, compression, columns, and of an adopted table its name and mapping, are those that the last run's
    manifest records. ``options`` says what no manifest pins: sizes of parts, workers, memory, ``verify_written``;
    ``config`` how to open the store. The parts that are there are checked for presence and size, with ``full`` down to
    the last event. Adding a run by :func:`export` with the same settings does the same, without the check.

    Raises :class:`~penstock.errors.NotFound` if there is no lineage, :class:`~penstock.errors.IntegrityError` if it is
    not whole, :class:`~penstock.errors.UsageError` for options or a store that are not the lineage's,
    :class:`~penstock.errors.Locked`.
    """
    from penstock.exporting import resume as resuming
    from penstock.reading.chain import chain_of

    lineage = wiring.existing_lineage(directory)
    given = options if options is not None else ExportOptions()
    with ExitStack() as stack:
        # A lineage that is damaged is told before a store that is not there.
        plan = resuming.plan(chain_of(lineage), given)
        if not isinstance(store, Source):
            store = stack.enter_context(closing(wiring.open_source(store, plan.opening(config))))
        workers = stack.enter_context(hired(given))
        clock = wiring.SystemClock()
        return resuming.resume(store, lineage, plan, clock=clock, workers=workers, full=full, observer=observer)


def repair(
    lineage: str | os.PathLike[str] | ExportDestination | LineageDestination,
    store: str | os.PathLike[str] | Source,
    *,
    options: ExportOptions | None = None,
    config: StorageConfig | None = None,
    observer: Observer | None = None,
) -> RepairResult:
    """Make the parts, rolls and runs of a lineage again that are missing or damaged, from the store of their rows.

    Every part is read. What the store gives for one counts only if it has as many rows with the same digest: if its
    bytes are those of the part, they go back under its name; else a run of maintenance removes the part and adds
    another one with the same rows. A run whose manifest was lost is waived by such a run, by name, if the store holds
    as many rows in its stretch, and those that the next run names. A roll goes back only if its very bytes come out.
    What cannot be proven is in ``result.left``, and stays as it was. ``options`` says what no manifest records, as for
    :func:`resume`: with the sizes of parts that the runs were made with, bytes come out the same.

    Raises :class:`~penstock.errors.NotFound` if there is no lineage, :class:`~penstock.errors.UsageError` for an export
    that is none, :class:`~penstock.errors.ManifestError` if no manifest is left, :class:`~penstock.errors.Locked`.
    """
    from penstock.exporting import repair as repairing
    from penstock.exporting import resume as resuming
    from penstock.reading.chain import links_left

    place = wiring.resolve_published(lineage)
    if not isinstance(place, LineageDestination) and place.lies_there():
        raise UsageError(
            f"{place.place} is an export that is not incremental: it is made again as a whole",
            hint="export it again with --overwrite",
        )
    found = wiring.existing_lineage(lineage)
    given = options if options is not None else ExportOptions()
    with ExitStack() as stack:
        plan = resuming.plan(links_left(found), given)
        if not isinstance(store, Source):
            store = stack.enter_context(closing(wiring.open_source(store, plan.opening(config))))
        workers = stack.enter_context(hired(given))
        clock = wiring.SystemClock()
        return repairing.repair(store, found, plan, clock=clock, workers=workers, observer=observer)
