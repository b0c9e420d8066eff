"""Threads of this process: they share its memory, so that nothing has to be sent, and other work can be given to them
beside tasks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

from penstock.pipeline.ordered import ordered_map
from penstock.ports.runner import Outcome, Task


class ThreadRunner:
    """A number of threads, which are there while there is work; a :class:`~penstock.ports.runner.Runner`."""

    def __init__(self, workers: int) -> None:
        self.count = workers
        self._lent: Executor | None = None

    @contextmanager
    def lent(self) -> Iterator[Executor]:
        with ThreadPoolExecutor(self.count, thread_name_prefix="penstock") as pool:
            self._lent = pool
            try:
                yield pool
            finally:
                self._lent = None

    def together(self, work: Callable[[Task], Outcome], given: Task) -> Sequence[Outcome]:
        """Nothing: no worker is outside of this process."""
        return ()

    def map(
        self,
        work: Callable[[Task], Outcome],
        tasks: Iterable[Task],
        *,
        in_flight: int,
        admits: Callable[[], bool] | None = None,
    ) -> Generator[Outcome, None, None]:
        with nullcontext(self._lent) if self._lent is not None else self.lent() as pool:
            yield from ordered_map(pool, work, tasks, in_flight=in_flight)

    def close(self) -> None:
        """Nothing is open between two calls."""
