"""Values of adopted columns as text and JSON that is always valid: payload objects, members of ``data``, ids.

What an event cannot hold as it is stored is kept in another spelling and counted:

- a blob, and text that is not UTF-8: base64 (``coerced_blob``, ``coerced_invalid_utf8``);
- an infinity: the string ``Infinity`` or ``-Infinity`` (``coerced_infinity``);
- JSON that is not an object, in the column that is ``data``: ``{"data":VALUE}`` (``coerced_data_not_object``);
- text that is not JSON, there: ``{"data":"TEXT"}`` (``coerced_data_not_json``); the same for ``metadata``;
- a column whose name is a member of the row's ``data`` already: ``NAME_column`` (``coerced_member_name``).
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model import jsontext

_INFINITIES = {b"Inf": b'"Infinity"', b"-Inf": b'"-Infinity"'}
#: Constants are typed scalars: pyarrow looks for pandas, in vain, whenever it has to find out a type.
NOTHING = pa.scalar("", pa.string())
_OPENED = pa.scalar("{", pa.string())
_CLOSED = pa.scalar("}", pa.string())
#: How a member that is no JSON begins; JSON begins with none of these.
_ODD = ("x", "I", "-I")


def texts(
    column: pa.StringArray, blobs: pa.BooleanArray | None
) -> tuple[pa.StringArray, list[tuple[str, pa.BooleanArray]]]:
    """A text column in valid UTF-8, and by count where a value was changed. ``blobs`` says where a value is the hex
    digits of a blob."""
    if blobs is None and is_utf8(column):
        return column, []
    marks = [False] * len(column) if blobs is None else blobs.to_pylist()
    counted: list[Counter[str]] = [Counter() for _ in marks]
    kept = [_text(*given) for given in zip(_bytes(column), marks, counted, strict=True)]
    names = sorted({name for one in counted for name in one})
    return pa.array(kept, pa.string()), [(name, pa.array([name in one for one in counted])) for name in names]


def _text(value: bytes | None, blob: bool, counts: Counter[str]) -> str | None:
    if value is None:
        return None
    if blob:
        counts["coerced_blob"] += 1
        return base64.b64encode(bytes.fromhex(value.decode())).decode()
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        counts["coerced_invalid_utf8"] += 1
        return base64.b64encode(value).decode()


def objects(column: pa.StringArray, blobs: pa.BooleanArray | None, field: str, counts: Counter[str]) -> pa.StringArray:
    """The column that is ``data`` or ``metadata`` as compact JSON objects; null is the empty one."""
    known: dict[tuple[bytes | None, bool], tuple[bytes, str | None]] = {}
    kept = []
    marks = [False] * len(column) if blobs is None else blobs.to_pylist()
    for given in zip(_bytes(column), marks, strict=True):
        if given not in known:
            known[given] = _object(*given, field)
        text, coerced = known[given]
        if coerced is not None:
            counts[coerced] += 1
        kept.append(text)
    return pa.array(kept, pa.binary()).cast(pa.string())


def _object(value: bytes | None, blob: bool, field: str) -> tuple[bytes, str | None]:
    """One payload, and what was done to it if anything was."""
    if value is None:
        return b"{}", None
    raw = bytes.fromhex(value.decode()) if blob else value
    whole = raw.lstrip(b" \t\r\n").startswith(b"{")
    try:
        found = jsontext.compact(raw, max_depth=jsontext.MAX_DEPTH - (not whole))
        if whole:
            return found, None
        if not blob:
            return b'{"%s":%s}' % (field.encode(), found), f"coerced_{field}_not_object"
    except InvalidEvent:
        pass
    counted: Counter[str] = Counter()
    text = json.dumps(_text(value, blob, counted), ensure_ascii=False)
    return b'{"%s":%s}' % (field.encode(), text.encode()), next(iter(counted), f"coerced_{field}_not_json")


class Members:
    """The columns that become members of ``data``, by name, in the table's order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._keys = [f"{json.dumps(name, ensure_ascii=False)}:" for name in names]
        self._pieces = [pa.scalar(f",{key}" if number else key, pa.string()) for number, key in enumerate(self._keys)]
        self._names = list(names)

    def objects(self, columns: Sequence[pa.StringArray], counts: Counter[str]) -> pa.StringArray:
        """An object a row, of nothing but the members."""
        return self._joined(_OPENED, [_mended(column, counts) for column in columns])

    def added(self, objects: pa.StringArray, columns: Sequence[pa.StringArray], counts: Counter[str]) -> pa.StringArray:
        """The objects with the members behind their own."""
        if not columns:
            return objects
        mended = [_mended(column, counts) for column in columns]
        bases: list[bytes] = objects.cast(pa.binary()).to_pylist()
        heads = pa.array([base[:-1] + (b"," if len(base) > 2 else b"") for base in bases], pa.binary())
        whole = self._joined(heads.cast(pa.string()), mended)
        everything = b"\n".join(bases)
        suspects = [key.encode() for key in self._keys if key.encode() in everything]
        if not suspects:
            return whole
        texts = whole.cast(pa.binary()).to_pylist()
        for row, base in enumerate(bases):
            if any(key in base for key in suspects):
                own = msgspec.json.decode(base, type=dict[str, msgspec.Raw])
                values = [column[row].as_py() for column in mended]
                texts[row] = heads[row].as_py() + self._renamed(set(own), values, counts) + b"}"
        return pa.array(texts, pa.binary()).cast(pa.string())

    def _joined(self, head: Any, columns: Sequence[pa.StringArray]) -> pa.StringArray:
        pieces = [head]
        for key, column in zip(self._pieces, columns, strict=True):
            pieces += [key, column]
        return pc.binary_join_element_wise(*pieces, _CLOSED, NOTHING)

    def _renamed(self, taken: set[str], values: Sequence[str], counts: Counter[str]) -> bytes:
        """The members of one row, none of which has a name that is taken."""
        members = []
        for name, value in zip(self._names, values, strict=True):
            free = name
            while free in taken or (free != name and free in self._names):
                free += "_column"
            if free != name:
                counts["coerced_member_name"] += 1
            members.append(f"{json.dumps(free, ensure_ascii=False)}:{value}")
        return ",".join(members).encode()


def _mended(column: pa.StringArray, counts: Counter[str]) -> pa.StringArray:
    """Members as SQLite gave them, with what is no JSON made so."""
    if is_utf8(column) and not any(pc.any(pc.starts_with(column, sign)).as_py() for sign in _ODD):
        return column
    kept = [_member(value, counts) for value in column.cast(pa.binary()).to_pylist()]
    return pa.array(kept, pa.binary()).cast(pa.string())


def _member(value: bytes, counts: Counter[str]) -> bytes:
    if value.startswith(b"x"):
        counts["coerced_blob"] += 1
        return b'"' + base64.b64encode(bytes.fromhex(value[1:].decode())) + b'"'
    if value in _INFINITIES:
        counts["coerced_infinity"] += 1
        return _INFINITIES[value]
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        counts["coerced_invalid_utf8"] += 1
        # the escapes are SQLite's own; every other byte, whatever it is, passes through
        text: str = json.loads(value.decode("utf-8", "surrogateescape"))
        return b'"' + base64.b64encode(text.encode("utf-8", "surrogateescape")) + b'"'
    return value


def is_utf8(column: pa.StringArray) -> bool:
    """Whether every value is valid UTF-8, which the driver does not check."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _bytes(column: pa.StringArray) -> list[bytes | None]:
    values: list[bytes | None] = column.cast(pa.binary()).to_pylist()
    return values
