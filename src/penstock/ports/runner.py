"""Who does the work: threads of this process, or other processes, now or one day on other machines."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


class Runner(Protocol):
    """Some workers. What is given to those outside of this process, functions and tasks, is plain data: it is sent.

    ``count`` is how many there are.
    """

    @property
    def count(self) -> int: ...

    def together(self, work: Callable[[Task], Outcome], given: Task) -> Sequence[Outcome]:
        """Do one thing in every worker outside of this process, at the same time, and what each made of it.

        Whoever is started anew later does it too, before any task. Raises :class:`~penstock.errors.WorkerLost`, and
        what ``work`` raises.
        """
        ...

    def map(
        self,
        work: Callable[[Task], Outcome],
        tasks: Iterable[Task],
        *,
        in_flight: int,
        admits: Callable[[], bool] | None = None,
    ) -> Generator[Outcome, None, None]:
        """Do ``work`` for each task, and give what came of it in the tasks' order.

        At most ``in_flight`` tasks are running or finished and not yet taken. The first failure is raised at its place
        in the order; nothing is running any more when it is, nor after the generator was closed. A worker that is lost
        is started anew, and its task done again, if ``admits``, which is asked then, allows it; else
        :class:`~penstock.errors.WorkerLost` is raised. Raises :class:`~penstock.errors.UsageError` for what cannot be
        sent.
        """
        ...

    def close(self) -> None:
        """End all workers. Safe to call twice."""
        ...


class Threads(Runner, Protocol):
    """A runner of this process."""

    def lent(self) -> AbstractContextManager[Executor]:
        """Its threads, for work beside tasks, until the block ends; what is mapped meanwhile is done by the same."""
        ...
