"""Digests: SHA-256 over bytes in order, and how the events digest is written, which does not depend on order."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Executor, Future
from typing import Any

import pyarrow as pa

from penstock.ports.format import Buffer

MODULUS = 1 << 128
#: Bytes that are worth waking another thread for.
_HANDED_OVER = 1 << 20
_MOST_BEHIND = 3


def digest_hex(total: int) -> str:
    """An events digest as the manifest writes it: 32 hex digits."""
    return f"{total % MODULUS:032x}"


class Meter:
    """Counts bytes and hashes them on the way.

    With ``hashing``, an executor of one thread that several meters may share, bytes that never change are hashed there,
    while the caller goes on; it waits when a few pieces are behind.
    """

    def __init__(self, hashing: Executor | None = None) -> None:
        self.bytes = 0
        self._sha = hashlib.sha256()
        self._hashing = hashing
        self._behind: deque[Future[None]] = deque()
        self._held: list[memoryview] = []
        self._held_bytes = 0

    def update(self, data: Buffer) -> None:
        """Count ``data``, which the caller may reuse afterwards, unless it is ``bytes`` or a text that was rendered."""
        view = memoryview(data)
        self.bytes += view.nbytes
        if self._hashing is not None and view.readonly and isinstance(view.obj, bytes | pa.Buffer):
            self._held.append(view)
            self._held_bytes += view.nbytes
            if self._held_bytes >= _HANDED_OVER:
                self._hand_over(self._hashing)
            return
        self._catch_up()
        self._sha.update(view)

    def _hand_over(self, hashing: Executor) -> None:
        self._behind.append(hashing.submit(self._hash, self._held))
        self._held, self._held_bytes = [], 0
        if len(self._behind) > _MOST_BEHIND:
            self._behind.popleft().result()

    def _hash(self, pieces: list[memoryview]) -> None:
        for piece in pieces:
            self._sha.update(piece)

    def _catch_up(self) -> None:
        while self._behind:
            self._behind.popleft().result()
        self._hash(self._held)
        self._held, self._held_bytes = [], 0

    @property
    def sha256(self) -> str:
        """Hex digest of what was counted so far."""
        self._catch_up()
        return self._sha.hexdigest()


class MeteredReader:
    """A reader that meters what passes and refuses more than ``limit`` bytes, whatever the stream claims."""

    def __init__(self, stream: Any, meter: Meter, *, limit: int | None = None) -> None:
        self._stream = stream
        self._meter = meter
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self._meter.update(data)
        if self._limit is not None and self._meter.bytes > self._limit:
            raise OverLimit(f"more than {self._limit} bytes of content")
        return data

    def readable(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return False


class OverLimit(ValueError):
    """A stream gave more bytes than its manifest allows."""
