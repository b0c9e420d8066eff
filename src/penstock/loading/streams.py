"""Reading a text file piece by piece, without its byte order mark; what stands before a damage comes before it."""

from __future__ import annotations

from typing import BinaryIO

from penstock.errors import SerializationError

BLOCK = 2 << 20
BOM = b"\xef\xbb\xbf"


class Pieces:
    """A stream in pieces of a wanted size. Memory: one piece."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._damage: SerializationError | None = None
        self._begun = False

    def read(self, size: int = BLOCK) -> bytes:
        """The next ``size`` bytes, of the first ones some more; fewer before the end or a damage; ``b""`` at the end.

        Raises :class:`SerializationError` when all that is left is damaged.
        """
        found: list[bytes] = []
        wanted = size if self._begun else size + len(BOM)
        while wanted > 0 and self._damage is None:
            try:
                # A plain read would drop what it has when the next step of a decompressor fails.
                data = self._stream.read1(wanted)  # type: ignore[attr-defined]  # every buffered reader has it
            except SerializationError as error:
                self._damage = error
                break
            if not data:
                break
            found.append(data)
            wanted -= len(data)
        text = b"".join(found)
        if not self._begun:
            text, self._begun = text.removeprefix(BOM), True
        if not text and self._damage is not None:
            raise self._damage
        return text
