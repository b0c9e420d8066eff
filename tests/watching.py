"""An observer for tests: it keeps what it was told, and cancels once it was told something so often."""

from __future__ import annotations

from collections.abc import Callable

from penstock import Observer, Progress


class Watching(Observer):
    """Keeps every progress in ``seen``. ``enough`` is how many it lets pass before it cancels; ``then`` is called with
    each."""

    def __init__(self, *, enough: int | None = None, then: Callable[[Progress], object] | None = None) -> None:
        self.seen: list[Progress] = []
        self._enough = enough
        self._then = then

    def progress(self, at: Progress, /) -> None:
        self.seen.append(at)
        if self._then is not None:
            self._then(at)

    @property
    def cancelled(self) -> bool:
        return self._enough is not None and len(self.seen) >= self._enough
