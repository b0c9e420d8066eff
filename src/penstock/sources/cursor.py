"""A query of one connection, read in turn into Arrow columns, or measured and cut, with errors of our tree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from penstock.errors import LimitReached
from penstock.pipeline.cursor import CursorFault, Cut, Fault, NativeCursor
from penstock.pipeline.gathering import Gathered
from penstock.sources.complaints import of_cursor

_T = TypeVar("_T")
#: Between two looks at whether a query that may never end is still wanted.
_LOOK_SECONDS = 0.05


class Cursor:
    """The rows of one query; not for two threads at once, but for :meth:`interrupt`.

    ``guarded`` says that the query is somebody else's: it may never end. So it is ``watched``, as is what may take long
    before it gives a row: it runs on a thread of its own while the caller waits, whom a signal reaches. Whoever waits
    for a guarded one ends it once ``until`` (``time.monotonic``) has come.
    """

    def __init__(
        self,
        native: NativeCursor,
        path: Path,
        *,
        guarded: bool,
        watched: bool,
        until: float | None,
    ) -> None:
        self._native = native
        self._path = path
        self._guarded = guarded
        self._until = until if guarded else None
        self._over = False
        self._closing = ExitStack()
        self._closing.callback(native.close)
        self._thread: ThreadPoolExecutor | None = None
        if guarded or watched:
            self._thread = self._closing.enter_context(ThreadPoolExecutor(1, "penstock-query"))

    @property
    def described(self) -> Sequence[tuple[str, str | None]]:
        """The name and the declared type, if it has one, of each column of the query."""
        return self._native.described

    def take(self, rows: int, size: int) -> Gathered | None:
        """The next rows: at most so many, holding at most so many bytes, but for the first; ``None`` behind the last.

        Raises what SQLite says, in our tree, and :class:`~penstock.errors.Cancelled` once it was interrupted.
        """
        return self._run(lambda: self._native.take(rows, size))

    def cut(self, rows: int, size: int, *, overhead: int, most: int, ties: int = 0) -> Iterator[Sequence[Cut]]:
        """The next ``most`` slices of at most so many rows and bytes, again and again (:meth:`NativeCursor.cut`).
        Raises also :class:`~penstock.pipeline.cursor.CursorFault` for a number that comes too often."""
        cuts = self._native.cut(rows, size, overhead=overhead, most=most, ties=ties)
        while (found := self._run(lambda: next(cuts, None))) is not None:
            yield found

    def _run(self, step: Callable[[], _T]) -> _T:
        try:
            return step() if self._thread is None else self._watched(self._thread, step)
        except CursorFault as fault:
            if fault.fault is Fault.REPEATED:
                raise
            if fault.fault is Fault.INTERRUPTED and self._over:
                raise LimitReached(
                    "the query was ended: its time was over",
                    hint="give it more time; if its types are named it needs no pass to find them: --types",
                ) from None
            raise of_cursor(fault, self._path, guarded=self._guarded) from None

    def _watched(self, thread: ThreadPoolExecutor, step: Callable[[], _T]) -> _T:
        future = thread.submit(step)
        try:
            while True:
                try:
                    return future.result(_LOOK_SECONDS)
                except TimeoutError:
                    if future.done():
                        raise
                if self._until is not None and time.monotonic() >= self._until:
                    self._over = True
                    self._native.interrupt()  # it gives what it has by now
        finally:
            if not future.done():
                self._native.interrupt()

    def interrupt(self) -> None:
        """End what the cursor does, and whatever it would do. Safe from any thread, at any time."""
        self._native.interrupt()

    def close(self) -> None:
        """End the query. Safe to call twice."""
        self._closing.close()
