"""Digests: SHA-256 over bytes in order, and how the events digest is written, which does not depend on order."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

MODULUS = 1 << 128


def digest_hex(total: int) -> str:
    """An events digest as the manifest writes it: 32 hex digits."""
    return f"{total % MODULUS:032x}"


class Meter:
    """Counts bytes and hashes them on the way."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sha = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview | pa.Buffer) -> None:
        view = memoryview(data)
        self.bytes += view.nbytes
        self._sha.update(view)

    @property
    def sha256(self) -> str:
        """Hex digest of what was counted so far."""
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
