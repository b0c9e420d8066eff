"""An object on its way: pieces that are sent while more is written, and never more of them than a service takes."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from penstock.errors import ExportError, IoError, UsageError
from penstock.ports.backend import Staged
from penstock.ports.format import Buffer

if TYPE_CHECKING:
    from penstock.backends.objects.backend import ObjectBackend

#: An upload goes in at most so many pieces of at least so many bytes, and so many of them at once.
_MOST, _LEAST, AT_ONCE = 10_000, 8 << 20, 3


def piece_of(size: int, *, spare: int = 1) -> int:
    """Bytes of a piece of an object of about this size, which may also get ``spare`` times as large."""
    return max(_LEAST, -(-size * spare // _MOST))


class ObjectUpload:
    """An object on its way, in pieces that are sent while more is written; see :class:`penstock.ports.backend.Upload`.

    A mark has its name until it is whole: who looks finds one that is not finished.
    """

    def __init__(self, backend: ObjectBackend, staged: Staged, name: str, piece: int) -> None:
        self._backend, self._staged, self._name, self._piece = backend, staged, name, piece
        self._writer = backend.send(name, piece)
        self._size = 0

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        self._size += view.nbytes
        if self._size > self._piece * _MOST:
            raise UsageError(
                f"{self._staged.name} is larger than {self._piece * _MOST} bytes, no object is sent in more pieces",
                hint="export to a directory, in parts: end the name with /",
            )
        for begin in range(0, view.nbytes, self._piece):
            piece = bytes(view[begin : begin + self._piece])
            self._backend.sent(self._name, partial(self._writer.write, piece))

    def finish(self) -> Staged:
        try:
            self._backend.sent(self._name, self._writer.close)
        except ExportError:
            # A completion whose answer was lost may say anything: what lies there tells. No mark has so many bytes.
            if self._size <= 16 or self._backend.size(self._name) != self._size:
                raise
        if self._backend.size(self._name) != self._size:
            raise IoError(f"{self._name} does not have the {self._size} bytes that were sent", hint="run it again")
        return Staged(attempt=self._staged.attempt, name=self._staged.name, size=self._size)

    def abort(self) -> None:
        with suppress(Exception):
            self._writer.__exit__(RuntimeError, RuntimeError(), None)
        self._backend.discard(self._name)
