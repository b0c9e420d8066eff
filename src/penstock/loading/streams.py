"""Reading a text file piece by piece: what was read before a damage is given out before the damage is told."""

from __future__ import annotations

from typing import BinaryIO

from penstock.errors import SerializationError

BLOCK = 2 << 20


class Pieces:
    """A stream in pieces of a wanted size. Memory: one piece."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._damage: SerializationError | None = None

    def read(self, size: int = BLOCK) -> bytes:
        """The next ``size`` bytes; fewer before the end or a damage; ``b""`` at the end.

        Raises :class:`SerializationError` when all that is left is damaged.
        """
        if self._damage is not None:
            raise self._damage
        found: list[bytes] = []
        while size > 0:
            try:
                # A plain read would drop what it has when the next step of a decompressor fails.
                data = self._stream.read1(size)  # type: ignore[attr-defined]  # every buffered reader has it
            except SerializationError as error:
                self._damage = error
                if not found:
                    raise
                break
            if not data:
                break
            found.append(data)
            size -= len(data)
        return b"".join(found)
