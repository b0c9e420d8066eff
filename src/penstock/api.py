"""The verbs in Python, with the argument names of the command: ``export``, ``verify``, ``ingest``, ``inspect``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from penstock import wiring
from penstock.errors import UsageError
from penstock.exporting import export as exporting
from penstock.exporting import verify as verifying
from penstock.model.filter import ExportFilter
from penstock.model.options import ExportOptions
from penstock.model.result import ExportResult, StorageStats, VerifyResult
from penstock.model.storage_config import StorageConfig
from penstock.ports import AnalyticsStorage, Clock, ExportDestination

if TYPE_CHECKING:
    from penstock.exporting.export import Progress


class Exporter:
    """Exports the events of one open store. Keeps nothing between calls; several may run at once."""

    def __init__(self, storage: AnalyticsStorage, *, clock: Clock | None = None) -> None:
        self.storage = storage
        self.clock: Clock = clock if clock is not None else wiring.SystemClock()

    def export(
        self,
        destination: str | os.PathLike[str] | ExportDestination,
        *,
        filter: ExportFilter | None = None,
        options: ExportOptions | None = None,
        overwrite: bool = False,
        manifest: str | os.PathLike[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ExportResult:
        """Write the matching events and publish them with a manifest.

        When this returns, the export is whole, committed and durable; when it raises, there is none, or, with
        ``overwrite``, the old one. ``destination`` is a file with a known ending, a directory, ``-`` for standard
        output (``manifest`` then names a file for the manifest), or an :class:`ExportDestination`. Memory is a
        function of ``options``, not of the data. Raises any :class:`~penstock.ExportError`.
        """
        chosen = options if options is not None else ExportOptions()
        target = wiring.resolve_target(destination, chosen, manifest=manifest)
        wiring.keep_apart(self.storage, target.destination)
        _keep_apart(self.storage, target.destination)
        return exporting.export(
            self.storage,
            target.destination,
            layout=target.layout,
            filter=filter if filter is not None else ExportFilter(),
            options=chosen,
            clock=self.clock,
            overwrite=overwrite,
            progress=progress,
        )


def _keep_apart(storage: AnalyticsStorage, destination: ExportDestination) -> None:
    """Refuse to put an export in the place of the store it comes from."""
    store, place = getattr(storage, "path", None), destination.path
    if store is not None and place is not None and place.exists() and os.path.samefile(store, place):
        raise UsageError(f"{place} is the store itself", hint="choose another destination")


def export(
    store: str | os.PathLike[str],
    destination: str | os.PathLike[str] | ExportDestination,
    *,
    filter: ExportFilter | None = None,
    options: ExportOptions | None = None,
    config: StorageConfig | None = None,
    overwrite: bool = False,
    manifest: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ExportResult:
    """Open a store, export from it, close it: :meth:`Exporter.export` in one call."""
    storage = wiring.open_store(store, config)
    try:
        return Exporter(storage).export(
            destination, filter=filter, options=options, overwrite=overwrite, manifest=manifest, progress=progress
        )
    finally:
        storage.close()


def inspect(store: str | os.PathLike[str], *, config: StorageConfig | None = None) -> StorageStats:
    """Open a store, count and measure it, close it. Raises what :class:`~penstock.SqliteAnalyticsStorage` raises."""
    storage = wiring.open_store(store, config)
    try:
        return storage.stats()
    finally:
        storage.close()


def verify(
    destination: str | os.PathLike[str] | ExportDestination, *, progress: Callable[[int, int], None] | None = None
) -> VerifyResult:
    """Check an export, or a file's manifest by name, down to the last event; needs no store.

    Returns what was found; ``result.ok`` only if every byte and every count holds. Raises
    :class:`~penstock.errors.NotFound`, :class:`~penstock.errors.ManifestError`, :class:`~penstock.errors.NewerVersion`.
    """
    if isinstance(destination, ExportDestination):
        return verifying.verify(destination, progress=progress)
    if os.fspath(destination) == wiring.STREAM:
        raise UsageError("standard output cannot be verified", hint="verify a file or a directory")
    text = os.fspath(destination)
    place = Path(text.removesuffix(".manifest.json")) if text.endswith(".manifest.json") else destination
    return verifying.verify(wiring.existing_destination(place), progress=progress)
