"""Work done by an executor, its results in order, a bounded number of them in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def ordered_map(
    executor: Executor, work: Callable[[Task], Outcome], tasks: Iterable[Task], *, in_flight: int
) -> Generator[Outcome, None, None]:
    """Run ``work`` over ``tasks`` and yield results in the tasks' order.

    At most ``in_flight`` tasks are running or finished and not yet taken, so memory is bounded by what that many hold.
    The first failure is raised at its place in the order; what had not begun is then cancelled, what had is waited for.
    """
    waiting: deque[Future[Outcome]] = deque()
    try:
        for task in tasks:
            waiting.append(executor.submit(work, task))
            if len(waiting) >= in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        _give_up(waiting)


class Ahead(Generic[Outcome]):
    """Work that an executor does while whoever gave it goes on. ``take`` gets the results in order, in the thread of
    who calls; at most ``most`` are in flight. The first failure is raised at its place in the order."""

    def __init__(self, executor: Executor, take: Callable[[Outcome], object], *, most: int) -> None:
        self._executor = executor
        self._take = take
        self._most = most
        self._waiting: deque[Future[Outcome]] = deque()

    def submit(self, work: Callable[..., Outcome], *given: Any) -> None:
        """Have ``work`` done. When it returns, all but the last ``most`` results were taken."""
        while len(self._waiting) >= self._most:
            self._take(self._waiting.popleft().result())
        self._waiting.append(self._executor.submit(work, *given))

    def settle(self) -> None:
        """Take all results."""
        while self._waiting:
            self._take(self._waiting.popleft().result())

    def drop(self) -> None:
        """Take none any more. What had begun has ended then."""
        _give_up(self._waiting)
        self._waiting.clear()


def _give_up(waiting: Iterable[Future[Any]]) -> None:
    """Cancel what had not begun, and wait for what had."""
    for future in waiting:
        future.cancel()
    for future in waiting:
        if not future.cancelled():
            future.exception()
