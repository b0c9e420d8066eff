"""Values out of a JSON text that somebody else may have written: each is a claim until it is of the type it has to be.

Every function gives back what it was given, or raises ``ValueError`` with the value.
"""

from __future__ import annotations

import re
from typing import Any


def integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"not an integer: {value!r}")
    return value


def count(value: Any) -> int:
    """An integer from 0 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"not a count: {value!r}")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"not a text: {value!r}")
    return value


def hex_digits(value: Any, length: int) -> str:
    """So many digits in lower case."""
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{length}}}", value):
        raise ValueError(f"not {length} hex digits: {value!r}")
    return value


def members(value: Any) -> dict[str, Any]:
    """The members of an object."""
    if not isinstance(value, dict):
        raise ValueError(f"not an object: {value!r}")
    return value


def items(value: Any) -> list[Any]:
    """The items of a list."""
    if not isinstance(value, list):
        raise ValueError(f"not a list: {value!r}")
    return value


def texts(value: Any) -> list[str]:
    """The items of a list of texts."""
    return [text(item) for item in items(value)]


def named_texts(value: Any) -> dict[str, str]:
    """The members of an object of texts."""
    return {name: text(member) for name, member in members(value).items()}
