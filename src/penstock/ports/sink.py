"""Where bytes go that nobody can take back: standard output above all."""

from __future__ import annotations

from typing import Protocol

from penstock.ports.format import Buffer


class Sink(Protocol):
    """Bytes in order, without a commit."""

    def write(self, data: Buffer) -> None:
        """Pass all of ``data`` on; the caller may reuse the buffer afterwards. Raises
        :class:`~penstock.errors.ReaderGone` when nobody reads any more."""
        ...
