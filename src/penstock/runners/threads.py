"""Threads of this process: they share its memory, so that nothing has to be sent."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from penstock.pipeline.ordered import ordered_map
from penstock.ports.runner import Outcome, Task


class ThreadRunner:
    """A number of threads, which are there while there is work; a :class:`~penstock.ports.runner.Runner`."""

    def __init__(self, workers: int) -> None:
        self.count = workers

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
        with ThreadPoolExecutor(self.count, thread_name_prefix="penstock") as pool:
            yield from ordered_map(pool, work, tasks, in_flight=in_flight)

    def close(self) -> None:
        """Nothing is open between two calls."""
