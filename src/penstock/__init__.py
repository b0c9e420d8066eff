"""Penstock gets analytics events out of the store an application writes to: filtered, verified, in any format.

These are the public names; each is loaded when it is first used, so that ``import penstock`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from penstock.model import version

__version__ = version.VERSION

_HOMES = {
    "AnalyticsEvent": "penstock.model.event",
    "AnalyticsStorage": "penstock.ports",
    "AppendResult": "penstock.model.result",
    "EventBatch": "penstock.model.event",
    "EventCategory": "penstock.model.event",
    "EventPriority": "penstock.model.event",
    "ExportDestination": "penstock.ports",
    "ExportError": "penstock.errors",
    "ExportFilter": "penstock.model.filter",
    "ExportFormat": "penstock.model.options",
    "ExportMetadata": "penstock.model.result",
    "ExportOptions": "penstock.model.options",
    "ExportResult": "penstock.model.result",
    "Exporter": "penstock.api",
    "FileDestination": "penstock.destinations.local",
    "DirectoryDestination": "penstock.destinations.local",
    "SqliteAnalyticsStorage": "penstock.storage.sqlite",
    "StorageConfig": "penstock.model.storage_config",
    "StorageStats": "penstock.model.result",
    "VerifyResult": "penstock.model.result",
    "export": "penstock.api",
    "inspect": "penstock.api",
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
    from penstock.api import Exporter as Exporter, export as export, inspect as inspect, verify as verify
    from penstock.destinations.local import (
        DirectoryDestination as DirectoryDestination,
        FileDestination as FileDestination,
    )
    from penstock.errors import ExportError as ExportError
    from penstock.model.event import (
        AnalyticsEvent as AnalyticsEvent,
        EventBatch as EventBatch,
        EventCategory as EventCategory,
        EventPriority as EventPriority,
    )
    from penstock.model.filter import ExportFilter as ExportFilter
    from penstock.model.options import ExportFormat as ExportFormat, ExportOptions as ExportOptions
    from penstock.model.result import (
        AppendResult as AppendResult,
        ExportMetadata as ExportMetadata,
        ExportResult as ExportResult,
        StorageStats as StorageStats,
        VerifyResult as VerifyResult,
    )
    from penstock.model.storage_config import StorageConfig as StorageConfig
    from penstock.ports import AnalyticsStorage as AnalyticsStorage, ExportDestination as ExportDestination
    from penstock.storage.sqlite import SqliteAnalyticsStorage as SqliteAnalyticsStorage
