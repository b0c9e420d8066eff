"""The hidden folder ``.ATTEMPT`` on a server, and the lock on what lies in it.

All that an attempt lays down lies in one folder inside: ``open`` while nobody holds the attempt, ``held-…`` with a name
of the holder's own while somebody does. To take the attempt is to rename that folder, which one alone can do. The
holder shows that it lives by changing the folder's time. Whoever sees no sign of life for :attr:`Lease.seconds` renames
the folder again: every change of a holder goes through its folder, so that one who wakes up after that can change
nothing any more, and learns it (:class:`~penstock.errors.Locked`).
"""

from __future__ import annotations

import itertools
import random
import re
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

import asyncssh

from penstock.backends.sftp.server import GONE, Found, Server
from penstock.errors import ExportError, IoError, Locked, UsageError

OPEN, _HELD = "open", "held-"
#: How often a folder may go or come between two steps before it is called another's.
TURNS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Seconds: between two signs of life, between two looks for one, and without any before a holder is dead."""

    beat: float = 2
    look: float = 0.5
    seconds: float = 30


class Root:
    """The directory of a backend, created if it is missing; it goes again if it stays empty."""

    def __init__(self, server: Server, path: str) -> None:
        self.path = path
        self._server = server
        #: What was created, from the outermost on.
        self._made: list[str] = []

    def ensure(self) -> None:
        """Be there. Raises :class:`~penstock.errors.UsageError` where a file is in the way."""
        missing: list[str] = []
        path = self.path
        while (there := self._server.look(path, follow=True)) is None:
            missing.append(path)
            path = path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")
        if not there.is_folder:
            raise UsageError(f"{path} is a file, a directory is meant", hint="choose another name")
        for path in reversed(missing):
            if self._server.make_folder(path):
                self._made.append(path)
            self._server.sync(path.rpartition("/")[0] or ("/" if path.startswith("/") else "."))

    def discard(self) -> None:
        """Go again, as far as it was made here and nothing lies in it."""
        while self._made and self._server.remove_folder(self._made[-1]):
            self._made.pop()


class Attempts:
    """The folders of attempts at one directory, and which of them are held by this client."""

    def __init__(self, server: Server, root: Root, lease: Lease) -> None:
        self._server, self._root, self._lease = server, root, lease
        self._held: dict[str, str] = {}

    @property
    def held(self) -> Sequence[str]:
        """The attempts that are held here."""
        return tuple(self._held)

    def around(self, attempt: str) -> str:
        return f"{self._root.path}/.{attempt}"

    def mine(self, attempt: str | None = None) -> str | None:
        """The folder of an attempt that is held here; without a name that of the one that was taken last."""
        return self._held.get(attempt) if attempt is not None else next(reversed(self._held.values()), None)

    def folders(self, attempt: str) -> list[str]:
        """Where something of an attempt may lie: only in the holder's folder, for the holder."""
        mine = self.mine(attempt)
        if mine is not None:
            return [mine]
        around = self.around(attempt)
        return [f"{around}/{name}" for name in sorted(self._names(around))]

    def _names(self, around: str) -> list[str]:
        there = self._server.entries(around)
        return [name for name, found in there.items() if found.is_folder and (name == OPEN or name.startswith(_HELD))]

    def within(self, attempt: str) -> Iterator[str]:
        """The folder to lay something down in, made if it is missing; again, as long as it goes meanwhile."""
        for _ in range(TURNS):
            mine = self.mine(attempt)
            if mine is not None:
                yield mine
                raise self._superseded()
            there = self.folders(attempt)
            if not there:
                self._root.ensure()
                there = [f"{self.around(attempt)}/{OPEN}"]
                with suppress(*GONE):
                    self._server.make_folder(self.around(attempt))
                    self._server.make_folder(there[0])
            yield there[0]
        raise IoError(f"{self.around(attempt)} goes whenever it is made", hint="look who removes it")

    def check(self, attempt: str | None) -> None:
        """Raise :class:`~penstock.errors.Locked` if an attempt was held here, and another took it over."""
        mine = self.mine(attempt)
        if mine is not None and self._server.look(mine) is None:
            raise self._superseded()

    def _superseded(self) -> Locked:
        return Locked(
            f"another process took over {self._root.path}: this one showed no sign of life for too long",
            hint="run it again",
        )

    def names(self, attempt: str) -> Iterator[tuple[str, Found]]:
        """Every file that an attempt laid down, by path."""
        for folder in self.folders(attempt):
            for name, there in sorted(self._server.entries(folder).items()):
                if there.is_file:
                    yield f"{folder}/{name}", there

    def remove_if_empty(self, attempt: str) -> None:
        """Go, if nothing lies there and nobody here holds it, and so may the directory. Never raises."""
        if self.mine(attempt) is None:
            around = self.around(attempt)
            if self._server.remove_folder(f"{around}/{OPEN}") and self._server.remove_folder(around):
                self._root.discard()

    def sync(self, attempt: str) -> None:
        """Make the names of all that an attempt laid down durable. Those around a holder's folder are already."""
        for folder in self.folders(attempt):
            self._server.sync(folder)
        if self.mine(attempt) is None:
            self._server.sync(self.around(attempt))
            self._server.sync(self._root.path)

    def lock(self, attempt: str) -> SftpLock:
        """Hold an attempt alone. Raises :class:`~penstock.errors.Locked` once another showed a sign of life."""
        if attempt in self._held:
            raise self._busy()
        around = self.around(attempt)
        for turn in range(TURNS):
            self._root.ensure()
            dead: frozenset[str] = frozenset()
            try:
                self._server.make_folder(around)
                names = self._names(around)
                if any(name.startswith(_HELD) for name in names):
                    dead = self._dead(around)
                    if not dead:
                        continue  # it was let go meanwhile
                else:
                    self._server.make_folder(f"{around}/{OPEN}")
                taken = min(dead, default=OPEN)
                token = max([time.time_ns(), *(_token(name) + 1 for name in dead)])
                mine = f"{_HELD}{token:016x}-{uuid4().hex[:8]}"
                self._server.rename(f"{around}/{taken}", f"{around}/{mine}")
            except GONE:
                continue  # another was faster
            others = set(self._names(around)) - {mine, OPEN}
            if not others <= dead:
                self._let_go(attempt, f"{around}/{mine}")
                if turn > TURNS // 2:
                    raise self._busy()
                time.sleep(random.random() * self._lease.look)  # noqa: S311  # only to come at different times
                continue
            for name in [*others, OPEN]:
                self._take_in(f"{around}/{name}", f"{around}/{mine}")
            return SftpLock(self, attempt, f"{around}/{mine}", token)
        raise self._busy()

    def _busy(self) -> Locked:
        return Locked(f"another process works at {self._root.path} on {self._server.host}", hint="wait for it to end")

    def _dead(self, around: str) -> frozenset[str]:
        """The folders of holders that show no sign of life; none, if one was let go meanwhile. Raises
        :class:`~penstock.errors.Locked` as soon as there is one."""
        before = self._signs(around)
        end = time.monotonic() + self._lease.seconds
        while time.monotonic() < end:
            time.sleep(self._lease.look)
            now = self._signs(around)
            if now.keys() != before.keys():
                return frozenset()
            if now != before:
                raise self._busy()
        return frozenset(before)

    def _signs(self, around: str) -> dict[str, object]:
        """What changes in the folder of each holder while it lives: its time, and what it writes there."""
        there = {name: found for name, found in self._server.entries(around).items() if name.startswith(_HELD)}
        return {
            name: (found.changed, {one: sign.size for one, sign in self._server.entries(f"{around}/{name}").items()})
            for name, found in there.items()
        }

    def _take_in(self, folder: str, mine: str) -> None:
        """Have in one folder what lies in another that nobody holds."""
        inside = f"{mine}/.{folder.rpartition('/')[2]}"
        try:
            self._server.rename(folder, inside)
        except GONE:
            return
        for name in self._server.entries(inside).keys() - self._server.entries(mine).keys():
            with suppress(*GONE):
                self._server.rename(f"{inside}/{name}", f"{mine}/{name}")
        for name in self._server.entries(inside):
            self._server.remove(f"{inside}/{name}")
        self._server.remove_folder(inside)

    def hold(self, attempt: str, folder: str) -> Callable[[], object]:
        """Begin to show signs of life; gives what ends that. Raises :class:`~penstock.errors.UsageError` where the
        server shows none."""
        seconds = itertools.count(int(time.time()))

        async def beat(client: asyncssh.SFTPClient) -> None:
            now = next(seconds)
            await client.utime(folder, (now, now))

        try:
            self._server.ask(f"cannot show in {folder} that somebody works there", beat)
        except GONE:
            raise self._superseded() from None
        self._held[attempt] = folder
        self._server.sync(folder)
        self._server.sync(self.around(attempt))
        self._server.sync(self._root.path)
        return self._server.session.keep_doing(beat, every=self._lease.beat)

    def release(self, attempt: str, folder: str) -> None:
        """Let an attempt go, if it is still held. Never raises."""
        self._held.pop(attempt, None)
        with suppress(ExportError, asyncssh.SFTPError):
            self._let_go(attempt, folder)

    def _let_go(self, attempt: str, folder: str) -> None:
        around = self.around(attempt)
        if not self._server.remove_folder(folder):
            with suppress(*GONE):
                self._server.rename(folder, f"{around}/{OPEN}")
        elif self._server.remove_folder(around):
            self._root.discard()


class SftpLock:
    """An attempt that is held alone; see :class:`penstock.ports.backend.Lock`. Tokens are of the holder's clock, and
    above those of whoever was found dead."""

    def __init__(self, attempts: Attempts, attempt: str, folder: str, token: int) -> None:
        self.token = token
        self._attempts, self._attempt, self._folder = attempts, attempt, folder
        self._end = attempts.hold(attempt, folder)
        weakref.finalize(self, self._end)
        self._released = False

    def release(self) -> None:
        if not self._released:
            self._released = True
            self._end()
            self._attempts.release(self._attempt, self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _token(name: str) -> int:
    match = re.match(rf"{_HELD}([0-9a-f]{{16}})-", name)
    return int(match[1], 16) if match else 0
