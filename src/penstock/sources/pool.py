"""The connections of one view, lent to the threads that read and closed when they have come back.

Where readers keep writers out, as in a database with a rollback journal, a connection holds a lock only while it is
lent, and looks each time whether anything was committed since the view was pinned."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from penstock.errors import ExportError
from penstock.sources.connection import Connection

#: How long closing waits for a reader that was interrupted in the middle of a range.
_PATIENT_SECONDS = 30.0
#: For how long a writer may be kept out, and after what part of that nothing more is asked for.
TURN_SECONDS = 0.25
_ENOUGH = 0.4
_VERSION = "PRAGMA data_version"


class Pool:
    """Lends connections; nobody has one that another thread has."""

    def __init__(self) -> None:
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._size = 0
        #: Of each connection that is lent in turns, what it saw of the file when it was put in.
        self._versions: dict[Connection, int] = {}
        #: Whether anything was committed between what was read.
        self.moved = False

    def fill(self, connections: Sequence[Connection], *, turns: bool = False) -> None:
        """Put connections in, ready to be lent, each in a transaction; with ``turns`` that ends now, and whoever is
        lent one begins another."""
        for connection in connections:
            if turns:
                self._versions[connection] = _version(connection)
                connection.execute("COMMIT")
            self._idle.put(connection)
        self._size += len(connections)

    @property
    def turns(self) -> bool:
        """Whether what was lent has to be given back soon: after :data:`TURN_SECONDS` at the latest."""
        return bool(self._versions)

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """A connection, given back at the end; waits while all are lent."""
        connection = self._idle.get()
        try:
            with self._turn(connection):
                yield connection
        finally:
            self._idle.put(connection)

    @contextmanager
    def _turn(self, connection: Connection) -> Iterator[None]:
        before = self._versions.get(connection)
        if before is None:
            yield
            return
        connection.execute("BEGIN")
        try:
            if _version(connection) != before:
                self.moved = True
            yield
        finally:
            with suppress(ExportError):  # after some errors SQLite has ended it
                connection.execute("COMMIT")

    def clock(self) -> Callable[[], bool]:
        """Begin a turn, and tell from then on whether it should end."""
        end = time.monotonic() + _ENOUGH * TURN_SECONDS if self.turns else math.inf
        return lambda: time.monotonic() >= end

    def drain(self) -> None:
        """Wait until every connection came back, for at most 30 seconds; from then on nothing is lent."""
        deadline = time.monotonic() + _PATIENT_SECONDS
        while self._size:
            self._size -= 1
            with suppress(queue.Empty):
                self._idle.get(timeout=max(deadline - time.monotonic(), 0))


def _version(connection: Connection) -> int:
    """Another one after any other connection has committed; asked in a transaction, it also begins to see."""
    return int(connection.query(_VERSION)[0]["data_version"])
