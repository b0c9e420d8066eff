"""Where the checks of a backend are made, and what they are made with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from penstock.errors import ExportError
from penstock.ports.backend import Backend, Staged

Connect: TypeAlias = Callable[[], Backend]
#: How many work at the same time, and how long anything may take before it hangs.
WRITERS = 4
SECONDS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a backend is tried: ``connect`` gives one more client of the same place. ``elsewhere``, if there is another
    way to it, gives one that goes that way. ``processes``: ``connect`` can be pickled, and works in another process.
    ``lies_there`` names all that lies at the place, keys or not, where that can be seen."""

    connect: Connect
    elsewhere: Connect | None = None
    processes: bool = False
    lies_there: Callable[[], Iterable[str]] | None = None


@contextmanager
def refused(kind: type[ExportError]) -> Iterator[None]:
    """Fail unless the block raises this error."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected, and nothing was raised")


def staged(backend: Backend, name: str, data: bytes, *, attempt: str = "try") -> Staged:
    """Some bytes, laid down."""
    upload = backend.stage(attempt, name)
    upload.write(data)
    return upload.finish()


def read(backend: Backend, key: str, **given: Any) -> bytes:
    """What an open gives."""
    with backend.open(key, **given) as file:
        return file.read()


def keys(backend: Backend, prefix: str = "") -> Sequence[str]:
    return [stat.key for stat in backend.list(prefix)]


def start_all(children: Iterable[Any]) -> None:
    for child in children:
        child.start()


def side_by_side(work: Sequence[Callable[[], Any]]) -> Sequence[Any]:
    """What each thread gives. Raises what one of them raised."""
    results: list[Any] = [None] * len(work)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            results[number] = work[number]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(work))]
    start_all(threads)
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    return results
