"""Arrow columns as JSON texts, for what goes into ``data`` from files that are not JSON.

Integers and decimals keep every digit; floats are spelled as short as they are exact; times, dates and UUIDs become
text; bytes become base64 text; lists and structures become arrays and objects. Text stays text: a CSV value is a JSON
string even if it looks like a number.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from penstock.pipeline.canonical import escaped

_UUID_BYTES = 16
#: Bytes become base64 text, decimals numbers.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _text(value: str) -> pa.Scalar:
    """Arrow takes some 50 µs to tell the type of a bare value; of a text with its type it takes 3."""
    return pa.scalar(value, pa.string())


_QUOTE, _COMMA, _OPEN, _CLOSE, _NULL, _NOTHING = (_text(mark) for mark in ('"', ",", "{", "}", "null", ""))


def plain(column: pa.Array) -> pa.Array:
    """A column in the plain layout of what it means: no dictionary, no runs, no wide or view text; UUIDs as text."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return uuid_texts(column.storage) if kind.extension_name == "arrow.uuid" else plain(column.storage)
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary).take(column.indices)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(column))
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return column


def uuid_texts(column: pa.Array) -> pa.StringArray:
    """16 bytes each as the text of a UUID."""
    return pa.array(
        [None if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()], pa.string()
    )


def is_uuid_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type can only hold UUIDs where one is wanted."""
    return bool(pa.types.is_fixed_size_binary(kind)) and bool(kind.byte_width == _UUID_BYTES)


def objects(columns: Sequence[tuple[str, pa.Array]], *, optional: Collection[str] = ()) -> pa.StringArray:
    """A JSON object a row, with a member a column; null is ``null``, or no member for the ``optional`` columns.

    A row with a number that JSON cannot hold is null.
    """
    members = []
    broken: pa.BooleanArray | None = None
    for name, column in columns:
        texts, unfit = json_texts(column)
        if unfit is not None:
            broken = unfit if broken is None else pc.or_(broken, unfit)
        if name not in optional and texts.null_count:
            texts = pc.coalesce(texts, _NULL)
        lead = _text(json.dumps(name, ensure_ascii=False) + ":")
        members.append(pc.binary_join_element_wise(lead, texts, _NOTHING))
    joined = pc.binary_join_element_wise(*members, _COMMA, null_handling="skip")
    made = pc.binary_join_element_wise(_OPEN, joined, _CLOSE, _NOTHING)
    return made if broken is None else pc.if_else(broken, pa.scalar(None, pa.string()), made)


def json_texts(column: pa.Array) -> tuple[pa.StringArray, pa.BooleanArray | None]:
    """The JSON text of every value, null where there is none; and which rows JSON cannot hold, if any."""
    column = plain(column)
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.string()), None
    if pa.types.is_floating(kind):
        wide = column.cast(pa.float32()) if kind == pa.float16() else column
        finite = pc.fill_null(pc.is_finite(wide), True)
        return wide.cast(pa.string()), None if pc.all(finite, min_count=0).as_py() else pc.invert(finite)
    if pa.types.is_string(kind):
        return _quoted(escaped(column)), None
    if pa.types.is_timestamp(kind):
        zoned = column.cast(pa.timestamp(kind.unit, "UTC")) if kind.tz is not None else column
        return _quoted(pc.replace_substring(zoned.cast(pa.string()), " ", "T", max_replacements=1)), None
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return _quoted(column.cast(pa.string())), None
    return _one_by_one(column)


def _quoted(column: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise(_QUOTE, column, _QUOTE, _NOTHING)


def _one_by_one(column: pa.Array) -> tuple[pa.StringArray, pa.BooleanArray | None]:
    texts: list[str | None] = []
    unfit: list[bool] = []
    for value in column:
        try:
            texts.append(json_text(_python(value)) if value.is_valid else None)
            unfit.append(False)
        except (ValueError, TypeError, OverflowError, LookupError, RecursionError, msgspec.MsgspecError):
            texts.append(None)
            unfit.append(True)
    return pa.array(texts, pa.string()), pa.array(unfit) if any(unfit) else None


def _python(value: pa.Scalar) -> Any:
    """Maps as objects, or, where a key is not unique, as pairs of key and value."""
    try:
        return value.as_py(maps_as_pydicts="strict")
    except KeyError:
        return value.as_py()


def json_text(value: Any, *, strict: bool = True) -> str:
    """Compact JSON text of a Python value. A number that JSON cannot hold is a ``ValueError`` when ``strict``, and
    becomes text otherwise."""
    return _ENCODER.encode(_spelled(value, strict)).decode()


def _spelled(value: Any, strict: bool) -> Any:
    if isinstance(value, dict):
        return {str(name): _spelled(inner, strict) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(inner, strict) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        if strict:
            raise ValueError(f"{value} is no JSON number")
        return str(value)
    if value is None or isinstance(value, (str, bool, int, float, bytes, Decimal)):
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
