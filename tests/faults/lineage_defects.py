"""Defects to plant in what keeps a lineage whole for years: repair, and the runs of maintenance that it adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from penstock.exporting import compared, incremental, repair
from penstock.model import manifest, result
from penstock.model.arrival import Key
from penstock.pipeline import rolls
from penstock.publishing.lineage import LineageDestination
from penstock.reading import chain, cursor, published, verify, verify_chain
from penstock.sources.tables import keyed, keys, plain
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

    def unknown(self: Any, numbers: Iterable[int]) -> dict[int, int]:
        asked = list(numbers)
        hashes = self.hashes(asked)
        return {seq: many for seq, many in late(self, asked).items() if seq not in hashes}

    return [(compared.Compared, "late", unknown)]


def _returned_rows_exported_again() -> Patches:
    """What vanished and came back is taken for new."""
    return [(compared.Compared, "was_held", lambda self, record: False)]


def _vanished_rows_stay_known() -> Patches:
    """Rows that vanished are told, and kept on the roll."""
    return [(compared.Compared, "went", lambda self: iter(()))]


def _old_late_rows_forgotten() -> Patches:
    """Late rows that are older than the overlap are told once, and known from then on."""
    leave = compared.Compared.leave

    def forgotten(self: Any, floor: Any) -> int:
        put = self.put
        with patch.object(self, "put", lambda rows: put([(seq, 0, compared._NEW) for seq, _, _ in rows])):
            return leave(self, floor)

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


def _ties_of_a_key_left() -> Patches:
    """A key that rows may share is one row's all the same."""
    return [(plain, "unique_order", lambda shape, columns: keys.KeyOrder(shape=shape, columns=tuple(columns)))]


def _keys_column_by_column() -> Patches:
    """A row lies above another if each of its values does."""

    def each(self: Any, after: Any, upto: Any = None) -> str:
        bounds = [(">", after), ("<=", upto)]
        terms = [
            f"{name} {sign} {keys._literal(value)}"
            for sign, key in bounds
            if isinstance(key, Key)
            for name, value in zip(self.values, key.values, strict=True)
        ]
        return " AND ".join(terms) or "1"

    return [(keys.KeyOrder, "stretch", each)]


def _keys_that_move_break() -> Patches:
    """A row that left the place by which a run is known again is taken for one that a backup lost."""
    return [(keyed.KeyedView, "moved_up", lambda *_: ())]


def _mixed_keys_let_in() -> Patches:
    """Whatever a column of a key holds, its rows are ordered by it."""
    return [(keys.KeyOrder, "_refuse", lambda *_: None)]


def _new_columns_compared() -> Patches:
    """A row is another one as soon as its table got a column."""
    parse = manifest.parse_lineage
    return [(manifest, "parse_lineage", lambda raw: replace(parse(raw), compared=1 << 16))]


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
        _ties_of_a_key_left,
        _keys_column_by_column,
        _keys_that_move_break,
        _mixed_keys_let_in,
        _new_columns_compared,
    )
}
