"""Where bytes lie: what a backend promises. It keeps bytes under keys and knows no manifest.

A key is a relative path of plain names joined by ``/``, no folder in it begins with a dot
(:func:`~penstock.model.location.check_key`). Folders are no keys: a backend that has any makes them where a key needs
them, and removes those that a deletion leaves empty.

An **attempt** is known by a plain name. What it stages, what a ``put`` lays down in between, and its lock belong to it,
and lie, where there are folders, in the folder ``.ATTEMPT`` at the location: whoever holds the lock of that name may
drop all of it. What was staged is durable before the next key is given or taken.

Beside the errors that are named, every method may raise :class:`~penstock.errors.AccessDenied`,
:class:`~penstock.errors.NoSpace` and other children of :class:`~penstock.errors.TemporaryError`: then the change did
not happen. It may also raise :class:`~penstock.errors.Unknown`: the answer was lost, and the change happened, durably,
or did not; look before you repeat it, and delete nothing because of it. And :class:`~penstock.errors.NotDurable`: it
happened, but may not outlive a power failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeAlias, runtime_checkable

from penstock.model.location import Location
from penstock.ports.format import Buffer


class Expect(Enum):
    """What a put or a placement expects under its key, where that is no version."""

    ANY = "any"
    ABSENT = "absent"


#: ``ANY``, ``ABSENT``, or the version that has to stand there.
Expectation: TypeAlias = Expect | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stat:
    """What stands under a key: its size in bytes, and a version that changes whenever the bytes may have."""

    key: str
    size: int
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """Bytes that are durable under no name that a reader looks at: which attempt laid them down, under which name, and
    how many. Plain data: another process may place them."""

    attempt: str
    name: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Staged bytes get a key, if what they expect stands there."""

    staged: Staged
    key: str
    expect: Expectation = Expect.ABSENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a backend can do. ``max_put`` is the largest ``put`` in bytes, ``None`` if there is no limit.

    ``put_absent``, ``put_version``, ``place_absent``: whether that expectation is kept by the service itself against
    every other writer. ``lock``: whether ``lock`` keeps other processes out. ``durable``: whether what was acknowledged
    survives power loss. ``place_free``: whether a placement costs no copy of the bytes. ``apart``: whether attempts
    have names of their own, that tell what they lay down from each other's, because no lock ends with its holder.
    """

    put_absent: bool
    put_version: bool
    place_absent: bool
    place_free: bool
    readable: bool
    listable: bool
    durable: bool
    lock: bool
    apart: bool = False
    max_put: int | None = None


class Upload(Protocol):
    """Bytes on their way to where no reader looks. Exactly one of ``finish`` and ``abort`` ends it."""

    def write(self, data: Buffer) -> None:
        """Append all of ``data``; the caller may reuse the buffer afterwards."""
        ...

    def finish(self) -> Staged:
        """Make the bytes durable. Their number was checked against what is stored."""
        ...

    def abort(self) -> None:
        """Drop what was written. Never raises."""
        ...


class Lock(Protocol):
    """A place held alone until ``release``, by everyone who asks for the same name."""

    @property
    def token(self) -> int:
        """A number that is greater for whoever holds the lock later."""
        ...

    def release(self) -> None:
        """Let others in. Never raises; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Backend(Protocol):
    """Bytes under keys, at one location. Calls from several threads do not disturb each other."""

    @property
    def location(self) -> Location: ...

    @property
    def traits(self) -> Traits: ...

    def stat(self, key: str) -> Stat | None:
        """What stands under a key; ``None`` if nothing does."""
        ...

    def list(self, prefix: str) -> Iterator[Stat]:
        """Everything whose key begins with ``prefix``, in the order of the keys; what is staged is no part of it."""
        ...

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        """The bytes from ``start`` up to ``stop``, once through. Raises :class:`~penstock.errors.NotFound`, and
        :class:`~penstock.errors.Changed` if another version stands there."""
        ...

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        """Store a small whole, durably, on behalf of an attempt. Raises :class:`~penstock.errors.Exists` or
        :class:`~penstock.errors.Changed` if something else stands there than was expected; then nothing changed."""
        ...

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> Upload:
        """Begin to lay bytes down under no key. ``name`` is plain, and unique within the attempt. ``size_hint`` is
        about how many bytes come. Raises :class:`~penstock.errors.NoSpace` when they cannot fit, and
        :class:`~penstock.errors.Exists` for a name that was staged before."""
        ...

    def open_staged(self, staged: Staged) -> BinaryIO:
        """What was staged, seekable, from its start. Raises :class:`~penstock.errors.NotFound`."""
        ...

    def staged(self, attempt: str) -> Iterator[Staged]:
        """What an attempt of this name left staged, finished or not."""
        ...

    def attempts(self) -> Iterator[str]:
        """The names of attempts that left something staged, finished or not."""
        ...

    def drop(self, staged: Staged) -> None:
        """Remove staged bytes. Nothing happens if they are gone."""
        ...

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        """Give staged bytes their keys, durably, in order; then they are staged no more. Raises as :meth:`put` does,
        and :class:`~penstock.errors.NotFound` for what is not staged; the moves before it happened."""
        ...

    def settle(self, keys: Sequence[str]) -> None:
        """Make durable what stands under each key, or that nothing does: who changed it may have been killed before it
        was. Recovery builds on nothing that it has not settled."""
        ...

    def delete(self, key: str, *, version: str | None = None) -> bool:
        """Remove what stands under a key, durably; with ``version`` only that version. Whether it did."""
        ...

    def lock(self, attempt: str) -> Lock:
        """Be the only one of this name. Makes the location if it is missing; ``release`` removes it again if that left
        it empty. Raises :class:`~penstock.errors.Locked` at once if another holds it."""
        ...
