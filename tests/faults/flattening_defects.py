"""Defects to plant in how payloads become columns; see ``crash_defects``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from penstock.exporting import incremental
from penstock.pipeline import flattening
from penstock.pipeline.members import ValueKind

Patches = list[tuple[Any, str, Any]]


def _rest_dropped() -> Patches:
    """What is in no column is gone."""
    real = flattening.member_columns

    def columns(texts: Any, *given: Any, **more: Any) -> Any:
        found, counts = real(texts, *given, **more)
        return [*found[:-1], pa.nulls(len(texts), pa.string())], counts

    return [(flattening, "member_columns", columns)]


def _long_integers_as_floats() -> Patches:
    """An integer of more than 15 digits among fractions is taken for a double."""
    kinds = frozenset({ValueKind.INT64, ValueKind.LONG, ValueKind.FLOAT64})
    rules = [(name, kinds if name == "float64" else fitting) for name, fitting in flattening._FITTING]
    return [(flattening, "_FITTING", rules)]


def _columns_settled_by_each_run() -> Patches:
    """A run of a lineage takes the members that are there now."""
    real = incremental.steps_of_lineage
    return [(incremental, "steps_of_lineage", lambda chain, *given: real((), *given))]


FLATTENING_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (_rest_dropped, _long_integers_as_floats, _columns_settled_by_each_run)
}
