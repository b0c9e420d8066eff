"""Threads of this process: they share its memory, so that nothing has to be sent."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from penstock.pipeline.ordered import ordered_map
from penstock.ports.runner import Outcome, Task


class ThreadRunner:
    """A number of threads; a :class:`~penstock.ports.runner.Runner`."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="penstock")

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
        return ordered_map(self._pool, work, tasks, in_flight=in_flight)

    def close(self) -> None:
        self._pool.shutdown()
