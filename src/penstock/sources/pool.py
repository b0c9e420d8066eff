"""The connections of one view, lent to the threads that read and closed when they have come back."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from penstock.sources.connection import Connection

#: How long closing waits for a reader that was interrupted in the middle of a range.
_PATIENT_SECONDS = 30.0


class Pool:
    """Lends connections; nobody has one that another thread has."""

    def __init__(self) -> None:
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._size = 0

    def fill(self, connections: Sequence[Connection]) -> None:
        """Put connections in, ready to be lent."""
        for connection in connections:
            self._idle.put(connection)
        self._size += len(connections)

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """A connection, given back at the end; waits while all are lent."""
        connection = self._idle.get()
        try:
            yield connection
        finally:
            self._idle.put(connection)

    def drain(self) -> None:
        """Wait until every connection came back, for at most 30 seconds; from then on nothing is lent."""
        deadline = time.monotonic() + _PATIENT_SECONDS
        while self._size:
            self._size -= 1
            with suppress(queue.Empty):
                self._idle.get(timeout=max(deadline - time.monotonic(), 0))
