"""Whether a SQLite file moved: a connection that only watches, outside of every transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock.errors import StoreBusy
from penstock.model.storage_config import StorageConfig
from penstock.ports.source import Ticket
from penstock.sources.connection import Connection


class Watch:
    """Sees every commit of others since ``begin``, once it is open; until then it knows nothing."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._version: int | None = None

    def open(self, path: Path, config: StorageConfig) -> None:
        self._connection = Connection(path, mode="ro", busy_timeout=config.busy_timeout)

    def begin(self) -> None:
        """Begin to watch, anew."""
        self._version = self._look()

    def unmoved(self) -> bool:
        """Whether nothing was committed since; ``False`` if nobody watched."""
        return self._version is not None and self._look() == self._version

    def _look(self) -> int | None:
        if self._connection is None:
            return None
        return int(self._connection.query("PRAGMA data_version")[0]["data_version"])

    def close(self) -> None:
        """Watch no more. Safe to call twice."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = None


def check_one_file(path: Path, tickets: Sequence[Ticket]) -> None:
    """See that all opened the same file under the path. Raises :class:`~penstock.errors.StoreBusy`."""
    if len({ticket.file for ticket in tickets}) > 1:
        raise StoreBusy(f"{path} was replaced by another file", hint="read again when it stays in its place")
