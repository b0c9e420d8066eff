"""The bytes of one version of an object, fetched in pieces: what is read slowly holds no connection open."""

from __future__ import annotations

import io
from collections.abc import Callable

from penstock.ports.format import Buffer

#: Gives the bytes from one place to another.
Fetch = Callable[[int, int], bytes]
#: How much is fetched at once.
PIECE = 8 << 20


class Pieces(io.RawIOBase):
    """The bytes before ``end``, beginning with ``first``, which lie at ``start``."""

    def __init__(self, first: bytes, start: int, end: int, fetch: Fetch) -> None:
        super().__init__()
        self._piece, self._from = first, start
        self._at, self._end = start, end
        self._fetch = fetch

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        if self._at >= self._end:
            return 0
        if not self._from <= self._at < self._from + len(self._piece):
            self._piece = self._fetch(self._at, min(self._at + PIECE, self._end))
            self._from = self._at
        begin = self._at - self._from
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._piece) - begin)
        view[:count] = memoryview(self._piece)[begin : begin + count]
        self._at += count
        return count
