"""Several exports in one call: of every table of a file, or of one source to several destinations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from penstock import wiring
from penstock.api import export
from penstock.errors import UsageError
from penstock.exporting import each, several
from penstock.model.filter import ExportFilter
from penstock.model.options import LEAST_MEMORY, ExportOptions
from penstock.model.result import ExportResult, ExportsResult
from penstock.model.storage_config import StorageConfig
from penstock.ports.observer import Observer
from penstock.runners.threads import ThreadRunner


def export_to_each(
    store: str | os.PathLike[str],
    destinations: Sequence[str | os.PathLike[str]],
    *,
    filter: ExportFilter | None = None,
    options: ExportOptions | None = None,
    config: StorageConfig | None = None,
    overwrite: bool = False,
    incremental: bool = False,
    observer: Observer | None = None,
) -> ExportsResult:
    """Export the same rows to several files and directories, reading them once.

    Each destination is committed by itself, as :func:`penstock.export` does it, and all manifests carry the same rows
    digest. One that fails keeps no other from being exported; the result is by the names that were given. The slowest
    sets the pace; the memory limit is shared. Runs of lineages (``incremental``) are made one after the other, since
    each begins where the last one at its place ended. Raises what is wrong with options, with the source, or with any
    destination's name, before anything is written; and :class:`~penstock.errors.Cancelled`, when those that were
    committed by then stand.
    """
    chosen = options if options is not None else ExportOptions()
    asked = filter if filter is not None else ExportFilter()
    names = [os.fspath(destination) for destination in destinations]
    _check_several(names, chosen)
    if incremental:

        def run(name: str) -> ExportResult:
            return export(
                store,
                name,
                filter=filter,
                options=options,
                config=config,
                overwrite=overwrite,
                incremental=True,
                observer=observer,
            )

        return each.export_each(names, run)
    share = replace(chosen, memory_limit=max(chosen.memory_limit // len(names), LEAST_MEMORY))
    opening = chosen.opening(config, asked) if config is not None else None
    with closing(wiring.open_source(store, opening)) as storage:
        wanted: dict[str, several.Wanted] = {}
        for name in names:
            target = wiring.resolve_target(name, share, dataset=storage.dataset)
            wiring.keep_apart(storage, target.destination)
            threads = ThreadRunner(share.threads)
            wanted[name] = several.Wanted(destination=target.destination, layout=target.layout, threads=threads)
        return several.export_to_each(
            storage,
            wanted,
            filter=asked,
            options=share,
            clock=wiring.SystemClock(),
            overwrite=overwrite,
            observer=observer,
        )


def _check_several(names: Sequence[str], options: ExportOptions) -> None:
    if not names:
        raise UsageError("no destination is named", hint="name one or more")
    if wiring.STREAM in names:
        raise UsageError("standard output is no destination beside others", hint="write a file, and read that")
    places = [os.path.realpath(name) if "://" not in name else name.rstrip("/") for name in names]
    for place, name in zip(places, names, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{name} is named twice", hint="name each destination once")
    if options.runner != "threads":
        raise UsageError("several destinations share one reader", hint="leave --runner out")
    if options.flatten is not None and options.flatten_schema is None:
        raise UsageError("a first pass that finds columns is made for each destination", hint="add --flatten-schema")


def export_tables(
    store: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    options: ExportOptions | None = None,
    config: StorageConfig | None = None,
    overwrite: bool = False,
    incremental: bool = False,
    observer: Observer | None = None,
) -> ExportsResult:
    """Export each table of a SQLite file as it is into a directory called like it. One that fails keeps no other from
    being exported. Raises :class:`~penstock.errors.UsageError` for a file without tables, and settings of one table."""
    opening = config if config is not None else StorageConfig()
    if opening.foreign:
        raise UsageError("one table is named, all are asked for", hint="leave --table or --all-tables out")
    names = [table.name for table in wiring.list_tables(store, opening) or () if table.kind == "table"]
    if not names:
        raise UsageError(f"{os.fspath(store)} holds no table that is not an event store's", hint="export it whole")

    def one(name: str) -> ExportResult:
        return export(
            store,
            wiring.destination_in(directory, name),
            options=options,
            config=replace(opening, table=name),
            overwrite=overwrite,
            incremental=incremental,
            observer=observer,
        )

    return each.export_each(names, one)
