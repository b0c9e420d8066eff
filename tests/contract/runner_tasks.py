"""What the tests of runners have workers do: plain functions, which another process can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from penstock.errors import StorageError

_seen: list[str] = []


def square(number: int) -> int:
    return number * number


def slow_at_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise StorageError("three is damaged", hint="count differently")
    return number


def process(_: object) -> int:
    return os.getpid()


def remember(name: str) -> int:
    _seen.append(name)
    return os.getpid()


def remembered(_: object) -> list[str]:
    return list(_seen)


def die_once(mark: str) -> str:
    """Killed by nobody's fault in the first process that does it, well in the next."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_memory_once(mark: str) -> str:
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return "done"
    raise MemoryError
