"""What the tests of known incidents share: a store, a place, runs of a lineage, and reading them back."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

import foreign_readers
import sample_events
from penstock import (
    DirectoryDestination,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
)
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.options import ExportFormat
from penstock.runners.threads import ThreadRunner
from penstock.testing.faults import Fault, FaultyOps, Meddle

EVENTS = sample_events.varied(300)
IDS = Counter(event.id for event in EVENTS)


class Clock:
    """A clock that is set by hand."""

    time = datetime(2026, 11, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


def add(store: SqliteAnalyticsStorage, runs: Path, *faults: Fault, rows: int = 50, clock: Clock | None = None) -> int:
    """Add a run of plain NDJSON; the number of its events."""
    options = ExportOptions(workers=1, part_rows=rows)
    result = export_incremental(
        store,
        DirectoryDestination(runs, ops=FaultyOps(*faults)).lineage(),
        layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
        filter=ExportFilter(),
        options=options,
        clock=clock or Clock(),
        workers=Workers(threads=ThreadRunner(1)),
    )
    return result.manifest.rows


def ids_in_files(place: Path) -> Counter[str]:
    """The ids in every data file of a directory, whether a manifest names it or not."""
    files = sorted(path for path in place.rglob("*") if path.suffix == ".ndjson")
    return Counter(row["id"] for path in files for row in foreign_readers.read(path))


def tree(place: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in sorted(place.rglob("*"))
    }


class Dead(BaseException):
    """The process ends here."""


def die(*_: object) -> None:
    raise Dead


def attempt(store: SqliteAnalyticsStorage, runs: Path, nth: int, rows: int) -> None:
    """A run that ends like a killed process: nothing is done to any file from the ``nth`` operation on."""
    with pytest.raises(Dead):
        add(store, runs, Meddle(nth=nth, lasting=True, action=die), rows=rows)
    lock = str(runs / ".penstock" / "lock")
    for name in os.listdir("/proc/self/fd"):
        if os.path.islink(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}") == lock:
            os.close(int(name))
