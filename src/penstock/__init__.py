"""Penstock gets analytics events out of the store an application writes to: filtered, verified, in any format.

These are the public names; each is loaded when it is first used, so that ``import penstock`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from penstock.model import version

__version__ = version.VERSION

_HOMES = {
    "AdoptedTable": "penstock.sources.tables.source",
    "AnalyticsEvent": "penstock.model.event",
    "AnalyticsStorage": "penstock.ports.source",
    "AppendResult": "penstock.model.result",
    "DiffResult": "penstock.model.result",
    "Difference": "penstock.model.result",
    "EventBatch": "penstock.model.event",
    "EventCategory": "penstock.model.event",
    "EventPriority": "penstock.model.event",
    "ExportDestination": "penstock.publishing.destination",
    "ExportError": "penstock.errors",
    "ExportFilter": "penstock.model.filter",
    "ExportFormat": "penstock.model.options",
    "ExportMetadata": "penstock.model.result",
    "ExportOptions": "penstock.model.options",
    "ExportResult": "penstock.model.result",
    "Observer": "penstock.ports.observer",
    "Progress": "penstock.ports.observer",
    "RestoreResult": "penstock.model.result",
    "RepairResult": "penstock.model.result",
    "ResumeResult": "penstock.model.result",
    "Exporter": "penstock.api",
    "FileDestination": "penstock.addresses",
    "DirectoryDestination": "penstock.addresses",
    "Gap": "penstock.model.gaps",
    "GapKind": "penstock.model.gaps",
    "GapsResult": "penstock.model.gaps",
    "IngestResult": "penstock.model.result",
    "SqliteAnalyticsStorage": "penstock.sources.sqlite.store",
    "StorageConfig": "penstock.model.storage_config",
    "StorageStats": "penstock.model.result",
    "Unconfirmed": "penstock.errors",
    "ExportsResult": "penstock.model.result",
    "VerifyResult": "penstock.model.result",
    "diff": "penstock.api",
    "export": "penstock.api",
    "export_tables": "penstock.several",
    "export_to_each": "penstock.several",
    "gaps": "penstock.api",
    "ingest": "penstock.api",
    "inspect": "penstock.api",
    "restore": "penstock.api",
    "repair": "penstock.api",
    "resume": "penstock.api",
    "verify": "penstock.api",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604  # the table above is the list; a test compares the two


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}") from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    from penstock.addresses import DirectoryDestination as DirectoryDestination
    from penstock.addresses import FileDestination as FileDestination
    from penstock.api import (
        Exporter as Exporter,
    )
    from penstock.api import (
        diff as diff,
    )
    from penstock.api import (
        export as export,
    )
    from penstock.api import (
        gaps as gaps,
    )
    from penstock.api import (
        ingest as ingest,
    )
    from penstock.api import (
        inspect as inspect,
    )
    from penstock.api import (
        repair as repair,
    )
    from penstock.api import (
        restore as restore,
    )
    from penstock.api import (
        resume as resume,
    )
    from penstock.api import (
        verify as verify,
    )
    from penstock.errors import ExportError as ExportError
    from penstock.errors import Unconfirmed as Unconfirmed
    from penstock.model.event import (
        AnalyticsEvent as AnalyticsEvent,
    )
    from penstock.model.event import (
        EventBatch as EventBatch,
    )
    from penstock.model.event import (
        EventCategory as EventCategory,
    )
    from penstock.model.event import (
        EventPriority as EventPriority,
    )
    from penstock.model.filter import ExportFilter as ExportFilter
    from penstock.model.gaps import Gap as Gap
    from penstock.model.gaps import GapKind as GapKind
    from penstock.model.gaps import GapsResult as GapsResult
    from penstock.model.options import ExportFormat as ExportFormat
    from penstock.model.options import ExportOptions as ExportOptions
    from penstock.model.result import (
        AppendResult as AppendResult,
    )
    from penstock.model.result import (
        Difference as Difference,
    )
    from penstock.model.result import (
        DiffResult as DiffResult,
    )
    from penstock.model.result import (
        ExportMetadata as ExportMetadata,
    )
    from penstock.model.result import (
        ExportResult as ExportResult,
    )
    from penstock.model.result import (
        ExportsResult as ExportsResult,
    )
    from penstock.model.result import (
        IngestResult as IngestResult,
    )
    from penstock.model.result import (
        RepairResult as RepairResult,
    )
    from penstock.model.result import (
        RestoreResult as RestoreResult,
    )
    from penstock.model.result import (
        ResumeResult as ResumeResult,
    )
    from penstock.model.result import (
        StorageStats as StorageStats,
    )
    from penstock.model.result import (
        VerifyResult as VerifyResult,
    )
    from penstock.model.storage_config import StorageConfig as StorageConfig
    from penstock.ports.observer import Observer as Observer
    from penstock.ports.observer import Progress as Progress
    from penstock.ports.source import AnalyticsStorage as AnalyticsStorage
    from penstock.publishing.destination import ExportDestination as ExportDestination
    from penstock.several import (
        export_tables as export_tables,
    )
    from penstock.several import (
        export_to_each as export_to_each,
    )
    from penstock.sources.sqlite.store import SqliteAnalyticsStorage as SqliteAnalyticsStorage
    from penstock.sources.tables.source import AdoptedTable as AdoptedTable
