"""Work in a forked child: the fast way to let a process die at a chosen point, thousands of times.

Only a process with one thread may fork here, counted by the kernel too: a child of more inherits locks that nobody
will ever release. Libraries start threads of their own; :data:`QUIET` is the environment that keeps Arrow and OpenBLAS
from it. A child that hangs is killed, and told from one that died as it was meant to.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: Environment in which importing penstock starts no thread.
QUIET: Mapping[str, str] = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
_SECONDS = 120.0
_DESCRIPTORS = "/proc/self/fd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a child ended: by ``signal``, or with ``value``. ``marks`` are the lines it wrote to its marker."""

    signal: int | None
    value: Any
    marks: tuple[str, ...]

    @property
    def killed(self) -> bool:
        """Whether it died by the SIGKILL that it announced."""
        return self.signal == signal.SIGKILL and len(self.marks) == 1


class ChildFailed(AssertionError):
    """The child raised what its work should have dealt with, or hung; the text is its traceback."""


def assert_can_fork(*forbidden_endings: str) -> None:
    """Raise unless this process has one thread, and no open file whose name ends with one of ``forbidden_endings``."""
    assert threading.active_count() == 1, threading.enumerate()
    tasks = os.listdir("/proc/self/task")
    assert len(tasks) == 1, f"{len(tasks)} threads, {threading.active_count()} of them of Python: set {dict(QUIET)}"
    for descriptor in os.listdir(_DESCRIPTORS):
        try:
            name = os.readlink(f"{_DESCRIPTORS}/{descriptor}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        assert not name.endswith(forbidden_endings), f"{name} is open"


def run_forked(work: Callable[[int], Any], *, seconds: float = _SECONDS) -> Ending:
    """Run ``work`` in a child and wait for it. ``work`` gets the marker's descriptor; what it returns is pickled.

    Raises :class:`ChildFailed` if it raised, exited by itself or took longer than ``seconds``.
    """
    assert_can_fork(".db", ".db-wal", ".db-shm")
    value_in, value_out = os.pipe()
    marks_in, marks_out = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(work, value_out, marks_out)
    os.close(value_out)
    os.close(marks_out)
    try:
        value, marks = _drain(child, (value_in, marks_in), seconds)
    finally:
        os.close(value_in)
        os.close(marks_in)
    _, status = os.waitpid(child, 0)
    if value is None:
        raise ChildFailed(f"the child hung for {seconds} seconds and was killed; marks: {marks!r}")
    lines = tuple(marks.decode().splitlines())
    if os.WIFSIGNALED(status):
        return Ending(signal=os.WTERMSIG(status), value=None, marks=lines)
    if not value:
        raise ChildFailed(f"the child left with {os.waitstatus_to_exitcode(status)} and said nothing")
    good, found = pickle.loads(value)  # noqa: S301  # written by our own child, over a pipe
    if not good:
        raise ChildFailed(found)
    return Ending(signal=None, value=found, marks=lines)


def _be_child(work: Callable[[int], Any], value_out: int, marks_out: int) -> None:
    """Never returns: neither the caller's cleanup nor its output buffers belong to the child."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            said = pickle.dumps((True, work(marks_out)))
        except BaseException:
            said = pickle.dumps((False, traceback.format_exc()))
        while said:
            said = said[os.write(value_out, said) :]
    finally:
        os._exit(0)


def _drain(child: int, pipes: tuple[int, int], seconds: float) -> tuple[bytes | None, bytes]:
    """Read both pipes to their ends; ``None`` for the first if the child had to be killed for taking too long."""
    texts = {pipe: bytearray() for pipe in pipes}
    unread = list(pipes)
    hung = False
    while unread:
        ready, _, _ = select.select(unread, [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
            hung = True
        for pipe in ready:
            text = os.read(pipe, 1 << 16)
            texts[pipe] += text
            if not text:
                unread.remove(pipe)
    return (None if hung else bytes(texts[pipes[0]])), bytes(texts[pipes[1]])
