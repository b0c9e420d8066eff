"""One export after the other, of which none keeps the next from being made: of each table, or to each destination."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from penstock.errors import Cancelled, ExportError, ReaderGone
from penstock.model.result import ExportResult, ExportsResult


def export_each(names: Iterable[str], export: Callable[[str], ExportResult]) -> ExportsResult:
    """Export by names; see :func:`penstock.export_tables`. Ends where nobody wants more, or nobody reads it."""
    exported: dict[str, ExportResult] = {}
    failed: dict[str, ExportError] = {}
    for name in names:
        try:
            exported[name] = export(name)
        except (Cancelled, ReaderGone):
            raise
        except ExportError as error:
            failed[name] = error
    return ExportsResult(exported=exported, failed=failed)
