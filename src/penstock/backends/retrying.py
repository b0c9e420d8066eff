"""A backend that is asked again while it fails for a while: what may be repeated is, with pauses that grow and vary.

Only a :class:`~penstock.errors.TemporaryError` is answered by another try, since it says that nothing changed; never
:class:`~penstock.errors.Unknown`, after which a repeated create would take its own first try for somebody else's. Bytes
that are written are not kept, so that an upload is begun again, but not written again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import BinaryIO, TypeAlias, TypeVar

from penstock.errors import Changed, NoSpace, TemporaryError
from penstock.model.location import Location
from penstock.ports.backend import Backend, Expectation, Lock, Move, Staged, Stat, Traits, Upload

Result = TypeVar("Result")
Stats: TypeAlias = list[Stat]


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Pauses in seconds: ``first`` after the first failure, doubled after each, up to ``longest``, each shortened at
    random by up to a half. No pause begins that ends more than ``total`` after the call."""

    first: float = 0.1
    longest: float = 5.0
    total: float = 60.0


class RetryingBackend:
    """``inner``, asked again within some patience; see :class:`penstock.ports.backend.Backend`."""

    def __init__(
        self,
        inner: Backend,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._inner = inner
        self._patience = patience if patience is not None else Patience()
        self._clock, self._sleep, self._chance = clock, sleep, chance

    @property
    def location(self) -> Location:
        return self._inner.location

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    def _again(self, call: Callable[[], Result]) -> Result:
        end = self._clock() + self._patience.total
        pause = self._patience.first
        while True:
            try:
                return call()
            except (Changed, NoSpace):
                raise  # the next answer would be the same
            except TemporaryError:
                shortened = pause * (1 - self._chance() / 2)
                if self._clock() + shortened > end:
                    raise
            self._sleep(shortened)
            pause = min(2 * pause, self._patience.longest)

    def stat(self, key: str) -> Stat | None:
        return self._again(partial(self._inner.stat, key))

    def list(self, prefix: str) -> Iterator[Stat]:
        """As every listing. One that breaks off is begun again, and goes on after the last key it gave."""
        listing: Iterator[Stat] | None = None
        last = ""

        def step() -> Stat | None:
            nonlocal listing
            try:
                listing = iter(self._inner.list(prefix)) if listing is None else listing
                return next((stat for stat in listing if stat.key > last), None)
            except TemporaryError:
                listing = None
                raise

        while (stat := self._again(step)) is not None:
            last = stat.key
            yield stat

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._again(partial(self._inner.open, key, version=version, start=start, stop=stop))

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        return self._again(partial(self._inner.put, key, data, expect=expect, attempt=attempt))

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> Upload:
        return self._again(partial(self._inner.stage, attempt, name, size_hint=size_hint))

    def open_staged(self, staged: Staged) -> BinaryIO:
        return self._again(partial(self._inner.open_staged, staged))

    def staged(self, attempt: str) -> Iterator[Staged]:
        return iter(self._again(lambda: tuple(self._inner.staged(attempt))))

    def attempts(self) -> Iterator[str]:
        return iter(self._again(lambda: tuple(self._inner.attempts())))

    def drop(self, staged: Staged) -> None:
        self._again(partial(self._inner.drop, staged))

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        placed: Stats = []

        def rest() -> None:
            left = moves[len(placed) :]
            try:
                placed.extend(self._inner.place(left))
            except TemporaryError:
                placed.extend(self._placed(left))
                raise

        self._again(rest)
        return placed

    def _placed(self, moves: Sequence[Move]) -> Iterator[Stat]:
        """What the moves before one that failed gave: their bytes are staged no more."""
        attempts = {move.staged.attempt for move in moves}
        lying = {(staged.attempt, staged.name) for attempt in attempts for staged in self.staged(attempt)}
        for move in takewhile(lambda move: (move.staged.attempt, move.staged.name) not in lying, moves):
            there = self.stat(move.key)
            if there is not None:
                yield there

    def settle(self, keys: Sequence[str]) -> None:
        self._again(partial(self._inner.settle, keys))

    def delete(self, key: str, *, version: str | None = None) -> bool:
        return self._again(partial(self._inner.delete, key, version=version))

    def lock(self, attempt: str) -> Lock:
        return self._again(partial(self._inner.lock, attempt))
