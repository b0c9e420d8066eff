"""The members of a JSON object as texts: taken out one by one, and what is left put back together, byte for byte.

Two shapes behave alike. A plain ``dict`` of raw values serves objects whose text is exactly what it encodes to, which
is nearly always so. :class:`SpelledMembers` serves the others: names that are written with escapes, and names that
stand there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from penstock.errors import InvalidEvent

_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAME = msgspec.json.Decoder(str)
_ENCODE = msgspec.json.Encoder().encode
#: A whole string, or a mark of structure.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]', re.DOTALL)

Members: TypeAlias = "dict[str, msgspec.Raw] | SpelledMembers"


def members_of(text: bytes) -> Members:
    """The members of a compact, valid JSON object. Raises ``msgspec.ValidationError`` for any other JSON value."""
    members = _RAW_OBJECT.decode(text)
    return members if _ENCODE(members) == text else SpelledMembers(text)


def text_of(members: Members) -> bytes:
    """The compact text of the object that these members make."""
    return members.text() if isinstance(members, SpelledMembers) else _ENCODE(members)


def merged_object(data: bytes, more: bytes) -> bytes:
    """Two compact JSON objects as one, the members of ``data`` first. Raises :class:`InvalidEvent` for a member that
    both have: neither value may be lost."""
    if data == b"{}" or more == b"{}":
        return more if data == b"{}" else data
    both = _RAW_OBJECT.decode(data).keys() & _RAW_OBJECT.decode(more).keys()
    if both:
        raise InvalidEvent(f"data has the field already: {min(both)[:60]!r} stands both in data and beside it")
    return data[:-1] + b"," + more[1:]


class SpelledMembers:
    """The members of an object in their order, each name as it was spelled, also those that stand there twice.

    ``pop`` raises :class:`InvalidEvent` for a name that is not unique: it would be a guess which one is meant.
    """

    def __init__(self, text: bytes) -> None:
        self._members = [(_NAME.decode(spelled), spelled, value) for spelled, value in _split(text)]

    def __contains__(self, name: object) -> bool:
        return any(name == known for known, _, _ in self._members)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, _ in self._members)

    def __len__(self) -> int:
        return len(self._members)

    def pop(self, name: str, missing: None = None) -> msgspec.Raw | None:
        """Take a member out; its value, or ``missing``."""
        found = [place for place, member in enumerate(self._members) if member[0] == name]
        if len(found) > 1:
            raise InvalidEvent(f"a field is repeated: {name[:60]!r}")
        return msgspec.Raw(self._members.pop(found[0])[2]) if found else missing

    def __getitem__(self, name: str) -> msgspec.Raw:
        if sum(name == known for known, _, _ in self._members) > 1:
            raise InvalidEvent(f"a field is repeated: {name[:60]!r}")
        return next(msgspec.Raw(value) for known, _, value in self._members if known == name)

    def __setitem__(self, name: str, value: msgspec.Raw) -> None:
        self._members = [
            (known, spelled, bytes(value) if known == name else old) for known, spelled, old in self._members
        ]

    def repeated(self) -> str | None:
        """A name that stands there more than once, if there is one."""
        seen: set[str] = set()
        for name, _, _ in self._members:
            if name in seen:
                return name
            seen.add(name)
        return None

    def text(self) -> bytes:
        return b"{" + b",".join(spelled + b":" + value for _, spelled, value in self._members) + b"}"


def _split(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and value texts of the members of a compact JSON object."""
    level, begin, colon = 0, 1, 0
    for token in _TOKEN.finditer(text):
        mark = text[token.start()]
        if mark in b"{[":
            level += 1
        elif mark in b"}]":
            level -= 1
        elif mark == 0x3A and level == 1 and not colon:
            colon = token.start()
        if colon and (level == 0 or (mark == 0x2C and level == 1)):
            yield text[begin:colon], text[colon + 1 : token.start()]
            begin, colon = token.end(), 0
