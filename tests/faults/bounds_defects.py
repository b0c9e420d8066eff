"""Defects to plant in what is read of files that claim more than they hold; see ``crash_defects``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from penstock.formats import arrow_messages, csv, parquet_footer
from penstock.formats import columnar as decoded
from penstock.loading import columnar
from penstock.loading.quarantine import Quarantine
from penstock.model import manifest

Patches = list[tuple[Any, str, Any]]


def _messages_believed() -> Patches:
    """An Arrow message is unpacked before it is known what it unpacks to."""
    return [(arrow_messages, "_unpacked_size", lambda message, mapped: 0)]


def _pages_not_looked_at() -> Patches:
    """A Parquet file's columns are as large as its footer says."""
    return [(parquet_footer, "_pages", lambda stream, begin, end: iter(()))]


def _values_counted_once() -> Patches:
    """Rows are taken for as large as they lie in the file, however often a value stands in them."""
    return [(columnar, "cuts", lambda batch, most: iter([batch.num_rows]))]


def _size_before_validation() -> Patches:
    """Rows are cut by their size, which is read before it is known where they point."""

    def slices(batch: Any) -> Iterator[tuple[Any, bool]]:
        while batch.num_rows > 1 and batch.nbytes > 8 << 20:
            batch = batch.slice(0, batch.num_rows // 2)
        batch.validate(full=True)
        yield batch, True

    return [(columnar, "_slices", slices)]


def _quarantine_without_end() -> Patches:
    real = Quarantine.__init__

    def made(self: Quarantine, path: Any, *, most: int = 0) -> None:
        real(self, path, most=1 << 60)

    return [(Quarantine, "__init__", made)]


def _payloads_trusted() -> Patches:
    """Any text is read back where a payload belongs."""
    return [(module, "check_payloads", lambda batch: None) for module in (decoded, csv)]


def _manifest_built_first() -> Patches:
    """A manifest is built in memory, whatever it holds, before it is known to be one."""
    return [(manifest, "_MOST_TOKENS", 1 << 60)]


BOUNDS_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _messages_believed,
        _pages_not_looked_at,
        _values_counted_once,
        _size_before_validation,
        _quarantine_without_end,
        _payloads_trusted,
        _manifest_built_first,
    )
}
