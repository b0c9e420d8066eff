"""Each table of a file: one export after the other, of which none keeps the next from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from penstock.errors import Cancelled, ExportError, ReaderGone
from penstock.model.result import ExportResult, ExportsResult


def export_each(names: Iterable[str], export: Callable[[str], ExportResult]) -> ExportsResult:
    """Export tables by their names; see :func:`penstock.export_tables`."""
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
