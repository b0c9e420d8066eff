"""Processes of this machine, spawned and never forked: each is a new interpreter that is sent what it has to do.

A worker answers one message with one. It ends by itself as soon as the process that started it is gone. It takes no
part in the signals of a terminal: whoever started it decides when it ends.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Generic

from penstock.errors import UsageError, WorkerLost
from penstock.ports.runner import Outcome, Task

#: How often a task is begun before it is given up: what ends its worker each time would do so again.
_TRIES = 3
#: What errors say, beside ``MemoryError``, where there is no memory left: those of Python, SQLite, system and loader.
_OUT_OF_MEMORY = ("can't start new thread", "out of memory", "Cannot allocate memory", "failed to map segment")
_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]);"
    " from penstock.runners.processes import serve; serve(int(sys.argv[1]))"
)


class ProcessRunner:
    """A number of processes, started when they are first needed; a :class:`~penstock.ports.runner.Runner`.

    A task whose worker ran out of memory, or was killed, is done again by one that is started anew, twice at most.
    """

    def __init__(self, workers: int) -> None:
        self.count = workers
        self._workers: list[_Worker] = []
        self._joining: bytes | None = None

    def together(self, work: Callable[[Task], Outcome], given: Task) -> Sequence[Outcome]:
        self._joining = _packed(work, given)
        while len(self._workers) < self.count:
            self._workers.append(_Worker())
        for worker in self._workers:
            worker.send(self._joining)
        answers = []
        for place, worker in enumerate(self._workers):
            try:
                answers.append(worker.answer())
            except WorkerLost:
                worker.end()
                self._workers[place], answer = self._joined()
                answers.append(answer)
        return answers

    def map(
        self,
        work: Callable[[Task], Outcome],
        tasks: Iterable[Task],
        *,
        in_flight: int,
        admits: Callable[[], bool] | None = None,
    ) -> Generator[Outcome, None, None]:
        while len(self._workers) < self.count:
            self._workers.append(self._joined()[0])
        orders: deque[_Order[Task]] = deque()
        coming = iter(tasks)
        exhausted = False
        try:
            while True:
                idle = [worker for worker in self._workers if worker.order is None]
                for worker in idle:
                    order = next((each for each in orders if each.waits), None)
                    if order is None and not exhausted and len(orders) < in_flight:
                        order = next((_Order(each, _packed(work, each)) for each in coming), None)
                        exhausted = order is None
                        orders.extend([] if order is None else [order])
                    if order is not None:
                        worker.begin(order)
                if not orders:
                    return
                if orders[0].done:
                    yield orders.popleft().outcome()
                    continue
                self._await(admits)
        finally:
            for worker in [each for each in self._workers if each.order is not None]:
                self._drop(worker)

    def _await(self, admits: Callable[[], bool] | None) -> None:
        """Take the answers that are there, at least one; put another in the place of whoever was lost."""
        busy = {worker.line: worker for worker in self._workers if worker.order is not None}
        for line in wait(list(busy)):
            worker = busy[line]  # type: ignore[index]  # it gives back what it was given
            order = worker.order
            assert order is not None
            try:
                order.answer = worker.receive()
                order.done = order.answer[0] or not isinstance(order.answer[1], MemoryError)
                lost = "" if order.done else "ran out of memory"
            except WorkerLost as error:
                lost = error.message
            worker.order = None
            if not order.done:
                self._drop(worker)
                self._again(order, lost, admits)

    def _again(self, order: _Order[Any], lost: str, admits: Callable[[], bool] | None) -> None:
        """Have a task done again, by a worker that sees what the lost one saw."""
        hint = "nothing was published; run it again, with fewer workers if memory is short"
        if order.tries == _TRIES:
            raise WorkerLost(f"{order.task}: a worker process {lost}, {_TRIES} times in a row", hint=hint)
        self._workers.append(self._joined()[0])
        if admits is not None and not admits():
            raise WorkerLost(
                f"{order.task}: a worker process {lost}, and the source changed since: no other sees the same",
                hint=hint,
            )
        order.waits = True

    def _joined(self) -> tuple[_Worker, Any]:
        """A new worker, and what it made of what all did together."""
        for left in reversed(range(_TRIES)):
            worker = _Worker()
            try:
                if self._joining is None:
                    return worker, None
                worker.send(self._joining)
                return worker, worker.answer()
            except BaseException as error:
                worker.end()
                if not left or not isinstance(error, WorkerLost):
                    raise
        raise AssertionError("the last try ended the loop")

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.end()

    def close(self) -> None:
        while self._workers:
            self._workers.pop().end()


class _Order(Generic[Task]):
    """A task on its way: it ``waits`` for a worker, is with one, or is ``done``."""

    def __init__(self, task: Task, packed: bytes) -> None:
        self.task = task
        self.packed = packed
        self.tries = 0
        self.waits = True
        self.done = False
        self.answer: tuple[bool, Any] = (False, None)

    def outcome(self) -> Any:
        well, what = self.answer
        if not well:
            raise what
        return what


class _Worker:
    """One process, and the line to it. A failed send shows when the answer is awaited: the line is at its end."""

    def __init__(self) -> None:
        self.order: _Order[Any] | None = None
        self.line, theirs = Pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, and what is written here
                [sys.executable, "-c", _MAIN, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self.line.close()
            raise WorkerLost(f"a worker process cannot be started: {error}", hint="use threads") from None
        finally:
            theirs.close()

    def begin(self, order: _Order[Any]) -> None:
        order.tries += 1
        order.waits = False
        self.order = order
        self.send(order.packed)

    def send(self, packed: bytes) -> None:
        try:
            self.line.send_bytes(packed)
        except OSError:
            self._process.kill()

    def receive(self) -> tuple[bool, Any]:
        """What came of the last message: whether it went well, and the outcome or the error."""
        try:
            answer: tuple[bool, Any] = pickle.loads(self.line.recv_bytes())  # noqa: S301  # from a process of ours
        except (EOFError, OSError):
            self._process.kill()
            code = self._process.wait()
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise WorkerLost(how) from None
        return answer

    def answer(self) -> Any:
        try:
            well, what = self.receive()
        except WorkerLost as error:
            raise WorkerLost(f"a worker process {error.message} before its first task", hint="run it again") from None
        if not well:
            raise what
        return what

    def end(self) -> None:
        self.line.close()
        self._process.kill()
        self._process.wait()


def _packed(work: Callable[[Task], Any], task: Task) -> bytes:
    try:
        return pickle.dumps((work, task))
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{task} cannot be sent to another process: {error}", hint="use threads, or what can be opened by its name"
        ) from None


def serve(descriptor: int) -> None:
    """What a worker process does until the line to whoever started it is cut."""
    line = Connection(descriptor)
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(line, messages), daemon=True).start()
    while True:
        line.send_bytes(_done(messages.get()))


def _listen(line: Connection, messages: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            messages.put(line.recv_bytes())
    finally:
        os._exit(1)


def _done(message: bytes) -> bytes:
    """Do what a message asks for, and answer."""
    try:
        work, given = pickle.loads(message)  # noqa: S301  # from the process that started this one
    except Exception as error:
        return pickle.dumps((False, UsageError(f"another process cannot read its task: {error}", hint="use threads")))
    try:
        return pickle.dumps((True, work(given)))
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            return pickle.dumps((False, MemoryError()))
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)  # noqa: S301  # made a line above
        except Exception:
            answer = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return answer
