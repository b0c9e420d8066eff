"""Defects to plant in what keeps a lineage whole for years: repair, and the runs of maintenance that it adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from penstock.exporting import repair
from penstock.model import manifest
from penstock.publishing.lineage import LineageDestination
from penstock.reading import chain, published, verify, verify_chain

Patches = list[tuple[Any, str, Any]]


def _store_is_believed() -> Patches:
    """Whatever the store gives in place of a part is taken for what the part held."""
    again = repair._Repair._again

    def believing(self: Any, link: Any, entry: Any) -> Any:
        made = again(self, link, entry)
        claimed = replace(made.entry, rows=entry.rows, rows_digest=entry.rows_digest, seq_range=entry.seq_range)
        return replace(made, entry=claimed)

    return [(repair._Repair, "_again", believing)]


def _removed_parts_are_held() -> Patches:
    """Readers take every part that a manifest names, also one that a later run removed."""

    def every(manifests: Any) -> Any:
        return [(one, entry) for one in manifests for entry in one.parts]

    return [(place, "held_parts", every) for place in (chain, manifest, published, verify, verify_chain)]


def _waived_runs_are_counted() -> Patches:
    """A manifest that comes back after it was waived is one of the chain again."""
    return [(chain, "without_waived", lambda links: links)]


def _removed_files_stay() -> Patches:
    """Maintenance commits, and never clears up."""
    return [(LineageDestination, "clear", lambda self, manifests: None)]


LINEAGE_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _store_is_believed,
        _removed_parts_are_held,
        _waived_runs_are_counted,
        _removed_files_stay,
    )
}
