"""Thrift's compact protocol, in which Parquet says how a file is laid out: structures as dictionaries by field number,
and where numbers stand in one, so that they can be changed without knowing what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

_MOST_LEVELS = 32
MOST_VALUES = 2_000_000
#: Kinds of values.
_TRUE, _BYTE, _DOUBLE, _BYTES, _STRUCTURE = 1, 3, 7, 8, 12
_BOOLEANS, _NUMBERS, _LISTS = (1, 2), (4, 5, 6), (9, 10)
#: The fields that lead to a value from the structure that was asked; elements of a list have its own.
Path: TypeAlias = tuple[int, ...]


class Compact:
    """A reader of the protocol. Raises ``IndexError`` and ``ValueError`` for what cannot be read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        self.left = MOST_VALUES

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
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

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and kind of each field of a structure. Its value has to be read before the next one is asked for."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            yield number, head & 0x0F

    def elements(self) -> tuple[int, int]:
        """Kind and count of what is in a list."""
        head = self._byte()
        return head & 0x0F, head >> 4 if head >> 4 < 15 else self._number()

    def structure(self, level: int = 0) -> dict[int, Any]:
        if level > _MOST_LEVELS:
            raise ValueError("too many levels")
        return {
            number: kind == _TRUE if kind in _BOOLEANS else self.value(kind, level + 1)
            for number, kind in self.fields()
        }

    def value(self, kind: int, level: int = 1) -> Any:
        self.left -= 1
        if not self.left:
            raise ValueError("too many values")
        if kind in _BOOLEANS or kind == _BYTE:
            return self._byte()
        if kind in _NUMBERS:
            return self._signed()
        if kind in (_DOUBLE, _BYTES):
            length = 8 if kind == _DOUBLE else self._number()
            self.at += length
            if self.at > len(self._data):
                raise IndexError("text that is longer than the footer")
            return self._data[self.at - length : self.at]
        if kind in _LISTS:
            inner, count = self.elements()
            return [self.value(inner, level + 1) for _ in range(count)]
        if kind == _STRUCTURE:
            return self.structure(level)
        raise ValueError(f"a value of kind {kind}")

    def numbers(self, path: Path = ()) -> Iterator[tuple[Path, int, int, int]]:
        """Every number of a structure: the fields that lead to it, where it begins and ends, and what it is."""
        for number, kind in self.fields():
            if kind not in _BOOLEANS:
                yield from self._numbers_in(kind, (*path, number))

    def _numbers_in(self, kind: int, path: Path) -> Iterator[tuple[Path, int, int, int]]:
        begin = self.at
        if kind in _NUMBERS:
            found = self._signed()
            yield path, begin, self.at, found
        elif kind == _STRUCTURE:
            yield from self.numbers(path)
        elif kind in _LISTS:
            inner, count = self.elements()
            for _ in range(count):
                yield from self._numbers_in(inner, path)
        else:
            self.value(kind)


def spelled(number: int) -> bytes:
    """A number that is not negative, as the protocol writes it."""
    return _digits(number << 1)


def list_head(count: int) -> bytes:
    """What stands before a list of so many structures."""
    return bytes([count << 4 | _STRUCTURE]) if count < 15 else bytes([0xF0 | _STRUCTURE]) + _digits(count)


def _digits(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
