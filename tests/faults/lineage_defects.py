"""Defects to plant in what keeps a lineage whole for years: repair, and the runs of maintenance that it adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from penstock.exporting import compared, incremental, repair
from penstock.model import manifest, result
from penstock.pipeline import rolls
from penstock.publishing.lineage import LineageDestination
from penstock.reading import chain, cursor, published, verify, verify_chain
from penstock.sources.tables.source import AdoptedTable

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


def _counts_alone_compared() -> Patches:
    """As many rows are taken for the same rows."""
    known = rolls.Tally.known

    def rows_alone(self: Any) -> Any:
        return replace(known.fget(self), numbers="0" * 32)

    return [(rolls.Tally, "known", property(rows_alone))]


def _late_rows_by_number_alone() -> Patches:
    """A row whose number is known is not looked at, though it ties with another."""
    late = compared.Compared.late

    def unknown(self: Any, first: int, last: int) -> dict[int, int]:
        hashes = self.hashes(first, last)
        return {seq: many for seq, many in late(self, first, last).items() if seq not in hashes}

    return [(compared.Compared, "late", unknown)]


def _returned_rows_exported_again() -> Patches:
    """What vanished and came back is taken for new."""
    return [(compared.Compared, "was_held", lambda self, record: False)]


def _vanished_rows_stay_known() -> Patches:
    """Rows that vanished are told, and kept on the roll."""
    return [(compared.Compared, "went", lambda self: iter(()))]


def _old_late_rows_forgotten() -> Patches:
    """Late rows that are older than the overlap are told once, and known from then on."""
    late = compared.Compared.late

    def forgotten(self: Any, floor: int) -> int:
        rows = late(self, compared._FIRST, floor)
        self.put([(seq, 0, compared._NEW) for seq, many in rows.items() for _ in range(many)])
        return sum(rows.values())

    return [(compared.Compared, "leave", forgotten)]


def _assumed_in_silence() -> Patches:
    """That growing is assumed stands in the manifest alone."""
    return [(result.ExportResult, "growth", property(lambda self: "checked")), (incremental, "_told", lambda *_: ())]


def _new_columns_let_in() -> Patches:
    """A table is read with the columns that it has now."""

    def with_all(self: Any, said: Any) -> Any:
        return self, ()

    return [(AdoptedTable, "continuing", with_all)]


def _any_store_accepted() -> Patches:
    """A store that is to be accepted is not asked for its rows."""
    rules = cursor._RULES
    following = cursor.next_lineage

    def unasked(chain_: Any, now: Any, *, accept: bool = False) -> Any:
        with patch.object(cursor, "_RULES", () if accept else rules):
            return following(chain_, now, accept=accept)

    return [(incremental, "next_lineage", unasked)]


LINEAGE_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _store_is_believed,
        _removed_parts_are_held,
        _waived_runs_are_counted,
        _removed_files_stay,
        _counts_alone_compared,
        _late_rows_by_number_alone,
        _returned_rows_exported_again,
        _vanished_rows_stay_known,
        _old_late_rows_forgotten,
        _assumed_in_silence,
        _new_columns_let_in,
        _any_store_accepted,
    )
}
