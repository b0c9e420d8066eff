"""The footer of a Parquet file, as far as it says how its columns are laid out: read here, since the library ends the
whole process over some damaged ones when it is asked. It is a structure in Thrift's compact protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from penstock.errors import SerializationError

_MOST_BYTES = 64 << 20
_MOST_LEVELS = 32
_MOST_VALUES = 2_000_000
_ROW_GROUPS, _COLUMNS, _META_DATA, _ENCODINGS, _PATH, _UNCOMPRESSED = 4, 1, 3, 2, 3, 6


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one row group: ``encodings`` are Parquet's numbers, ``size`` is in bytes, uncompressed."""

    group: int
    name: str
    encodings: frozenset[int]
    size: int


def columns_of(stream: BinaryIO) -> Iterator[Column]:
    """Every column of every row group. Raises :class:`SerializationError` for a footer that cannot be read."""
    try:
        for number, group in enumerate(_footer(stream)[_ROW_GROUPS]):
            for chunk in group[_COLUMNS]:
                facts = chunk[_META_DATA]
                name = b".".join(facts[_PATH]).decode()
                yield Column(number, name, frozenset(facts[_ENCODINGS]), int(facts[_UNCOMPRESSED]))
    except (KeyError, IndexError, TypeError, ValueError, struct.error) as error:
        raise SerializationError(f"damaged Parquet data: its footer cannot be read: {error!r}") from None


def _footer(stream: BinaryIO) -> dict[int, Any]:
    size = stream.seek(0, 2)
    stream.seek(max(size - 8, 0))
    (length,) = struct.unpack("<I4x", stream.read(8))
    if length > min(size - 8, _MOST_BYTES):
        raise ValueError(f"{length} bytes")
    stream.seek(size - 8 - length)
    found: dict[int, Any] = _Compact(stream.read(length)).structure(0)
    return found


class _Compact:
    """A reader of Thrift's compact protocol: structures as dictionaries by field number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = _MOST_VALUES

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _number(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a number without an end")

    def _signed(self) -> int:
        value = self._number()
        return (value >> 1) ^ -(value & 1)

    def structure(self, level: int) -> dict[int, Any]:
        if level > _MOST_LEVELS:
            raise ValueError("too many levels")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 0x0F
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, level + 1)
        return fields

    def _value(self, kind: int, level: int) -> Any:
        self._left -= 1
        if not self._left:
            raise ValueError("too many values")
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            length = 8 if kind == 7 else self._number()
            self._at += length
            if self._at > len(self._data):
                raise IndexError("text that is longer than the footer")
            return self._data[self._at - length : self._at]
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._number()
            return [self._value(head & 0x0F, level + 1) for _ in range(count)]
        if kind == 12:
            return self.structure(level)
        raise ValueError(f"a value of kind {kind}")
