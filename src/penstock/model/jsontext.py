"""Payload text: JSON that is checked once and then carried verbatim.

The canonical form of a payload is the incoming JSON with the white space outside strings removed and nothing else
changed (key order, number spelling and escapes stay). Numbers are never parsed on the way, so ``1.50`` stays ``1.50``
and an integer of any length survives. What is not strict JSON (RFC 8259: NaN, lone surrogates, raw control characters)
is refused, and so is nesting deeper than :data:`MAX_DEPTH`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.errors import InvalidEvent

#: Deepest nesting of arrays and objects in one record that is taken by default.
MAX_DEPTH = 500


def compact(text: bytes, *, max_depth: int = MAX_DEPTH) -> bytes:
    """Check one JSON value and return it without white space outside strings; every other byte stays as it came.

    Raises :class:`InvalidEvent` with the reason: not UTF-8, not strict JSON, or too deep.
    """
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidEvent(f"invalid UTF-8 at byte {error.start}") from None
    if text.count(b"[") + text.count(b"{") > max_depth and depth(text) > max_depth:
        raise InvalidEvent(f"nested deeper than {max_depth} levels")
    try:
        return msgspec.json.format(text, indent=-1)
    except msgspec.DecodeError as error:
        raise InvalidEvent(_reason(error)) from None
    except RecursionError:
        raise InvalidEvent("nested too deeply to be read") from None


def compact_object(text: bytes | str, *, what: str, max_depth: int = MAX_DEPTH) -> bytes:
    """Like :func:`compact`, and the value must be a JSON object; ``what`` names the field in the error."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        out = compact(raw, max_depth=max_depth)
    except InvalidEvent as error:
        raise InvalidEvent(f"{what}: {error.message}") from None
    if out[:1] != b"{":
        raise InvalidEvent(f"{what} must be a JSON object, not {out[:20].decode('utf-8', 'replace')}")
    return out


def encode_object(value: Mapping[str, Any] | str | bytes, *, what: str) -> bytes:
    """Payload text of a Python mapping, or of JSON text that is already there. Raises :class:`InvalidEvent`."""
    if isinstance(value, (str, bytes)):
        return compact_object(value, what=what)
    try:
        text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return compact_object(text.encode("utf-8"), what=what)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"{what} cannot be written as strict JSON: {error}") from None


def depth(text: bytes) -> int:
    """Deepest nesting of arrays and objects in ``text``, which need not be valid JSON."""
    level = deepest = 0
    inside = escaped = False
    for byte in text:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


def _reason(error: msgspec.DecodeError) -> str:
    text = str(error)
    if text == "Input data was truncated":
        return "not strict JSON: it ends early, or holds half of a surrogate pair"
    return "not strict JSON: " + text.removeprefix("JSON is malformed: ")
