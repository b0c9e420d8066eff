"""Parallel work, results in order, a bounded number in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

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
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()
