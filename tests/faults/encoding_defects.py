"""Defects to plant in how row groups become one file; see ``crash_defects``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.formats.parquet_joined import Entry
from penstock.pipeline.ordered import Ahead

Patches = list[tuple[Any, str, Any]]


def _places_not_moved() -> Patches:
    """A row group is said to lie where it lay in the file that it was encoded as."""
    real = Entry.moved
    return [(Entry, "moved", lambda self, by, ordinal: real(self, 0, ordinal))]


def _places_off_by_one() -> Patches:
    real = Entry.moved
    return [(Entry, "moved", lambda self, by, ordinal: real(self, by + (by > 0), ordinal))]


def _groups_out_of_order() -> Patches:
    """Whatever row group was encoded last is written first."""

    def settle(self: Any) -> None:
        while self._waiting:
            self._take(self._waiting.pop().result())

    return [(Ahead, "settle", settle)]


ENCODING_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (_places_not_moved, _places_off_by_one, _groups_out_of_order)
}
