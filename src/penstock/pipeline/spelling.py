"""Typed columns as text and back, for what the native library does not spell itself: one spelling in every format.

The native library writes text, JSON text, 64-bit integers and UTC times from Arrow's own memory; those columns pass
through untouched. All others become text here, which stands in a line as it is (numbers, booleans) or as a string.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model import times
from penstock.model.dataset import Dataset, is_json, type_name

_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Way:
    """How a type is spelled: which of the native library's kinds it is, how it becomes text if it is none of them, and
    how it comes back from text."""

    kind: str
    spell: Callable[[pa.Array], pa.StringArray] | None = None
    read: Callable[[pa.StringArray, pa.DataType], pa.Array] = lambda texts, wanted: texts.cast(wanted)


def _spell_decimals(column: pa.Array) -> pa.StringArray:
    """All digits behind the point, and never an exponent, which Arrow's own text has for small numbers."""
    scale = column.type.scale
    if not scale:
        return column.cast(pa.string())
    whole = pa.decimal128(38, 0) if pa.types.is_decimal128(column.type) else pa.decimal256(76, 0)
    digits = pa.Array.from_buffers(whole, len(column), column.buffers(), offset=column.offset).cast(pa.string())
    sign = pc.if_else(pc.starts_with(digits, "-"), "-", "")
    padded = pc.utf8_lpad(pc.utf8_ltrim(digits, "-"), scale + 1, "0")
    before, behind = pc.utf8_slice_codeunits(padded, 0, stop=-scale), pc.utf8_slice_codeunits(padded, -scale)
    return pc.binary_join_element_wise(sign, before, pa.scalar("."), behind, "")


def _spell_floats(column: pa.DoubleArray) -> pa.StringArray:
    if pc.any(pc.invert(pc.is_finite(column))).as_py():
        raise pa.ArrowInvalid("a number is not finite")
    return column.cast(pa.string())


def _spell_binary(column: pa.BinaryArray) -> pa.StringArray:
    values = column.to_pylist()
    return pa.array(
        [None if value is None else binascii.b2a_base64(value, newline=False).decode() for value in values], pa.string()
    )


def _read_binary(texts: pa.StringArray, type: pa.DataType) -> pa.Array:
    try:
        values = [None if text is None else binascii.a2b_base64(text, strict_mode=True) for text in texts.to_pylist()]
    except ValueError as error:
        raise pa.ArrowInvalid(f"not base64: {error}") from None
    return pa.array(values, type)


def _spell_times(column: pa.TimestampArray) -> pa.StringArray:
    return pc.binary_replace_slice(_within_years(column).cast(pa.string()), 10, 11, "T")


def _spell_dates(column: pa.Date32Array) -> pa.StringArray:
    return _within_years(column).cast(pa.string())


_WAYS: Mapping[str, Way] = {
    "text": Way("text"),
    "json": Way("verbatim"),
    "int64": Way("int64"),
    "timestamp_utc": Way("time"),
    "timestamp": Way("text", _spell_times),
    "date": Way("text", _spell_dates),
    "binary": Way("text", _spell_binary, _read_binary),
    "bool": Way("verbatim", lambda column: column.cast(pa.string())),
    "float64": Way("verbatim", _spell_floats),
    "decimal": Way("verbatim", _spell_decimals),
}


def way_of(field: pa.Field) -> Way:
    """How a column of a dataset is spelled."""
    name = type_name(field)
    assert name is not None
    return _WAYS[name.partition("(")[0]]


class Spelling:
    """The spelling of a dataset's columns: their ``kinds`` for the native library, and the ways there and back."""

    def __init__(self, dataset: Dataset) -> None:
        self.schema = dataset.schema
        self._ways = [way_of(field) for field in dataset.schema]
        self.kinds = tuple(way.kind for way in self._ways)
        self._as_it_is = all(way.spell is None for way in self._ways)

    def spelled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of the dataset with text in place of what the native library does not spell. Raises
        ``pyarrow.ArrowInvalid`` for a value that no export has."""
        if self._as_it_is:
            return batch
        columns = [
            column if way.spell is None else way.spell(column)
            for column, way in zip(batch.columns, self._ways, strict=True)
        ]
        return pa.record_batch(columns, names=batch.schema.names)

    def typed(self, columns: list[pa.Array]) -> pa.RecordBatch:
        """Columns as they were spelled, or as text, back to a batch of the dataset. Raises ``pyarrow.ArrowInvalid`` for
        what is no value of its type; another spelling of a value shows when the result is spelled again."""
        arrays = [
            column if column.type == field.type else _read(column, way, field)
            for column, way, field in zip(columns, self._ways, self.schema, strict=True)
        ]
        for field, array in zip(self.schema, arrays, strict=True):
            if array.null_count and not field.nullable:
                raise pa.ArrowInvalid(f"a null in {field.name}")
        return pa.record_batch(arrays, schema=self.schema)


def _read(column: pa.Array, way: Way, field: pa.Field) -> pa.Array:
    try:
        return way.read(column, field.type)
    except pa.ArrowException as error:
        raise pa.ArrowInvalid(f"{field.name}: {error}") from None


def check_values(batch: pa.RecordBatch) -> None:
    """Raise ``pyarrow.ArrowInvalid`` for a value that a type of Arrow has and no export: a number that is not finite, a
    time outside the years 0001 to 9999, a JSON ``null``."""
    for field in batch.schema:
        column = batch.column(field.name)
        if pa.types.is_floating(field.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
            raise pa.ArrowInvalid(f"{field.name}: a number is not finite")
        if pa.types.is_temporal(field.type):
            _within_years(column)
        if is_json(field) and pc.any(pc.equal(column, "null")).as_py():
            raise pa.ArrowInvalid(f"{field.name}: null as a text of JSON")


def instants(column: pa.Array) -> pa.Int64Array:
    """Times or dates as microseconds since 1970-01-01; without a zone they are taken as UTC."""
    if pa.types.is_date(column.type):
        return pc.multiply(column.cast(pa.int32()).cast(pa.int64()), _DAY)
    return column.cast(pa.int64())


def _within_years(column: pa.Array) -> pa.Array:
    extremes = pc.min_max(instants(column)).as_py()
    if extremes["min"] is not None and not times.MIN_MICROS <= extremes["min"] <= extremes["max"] <= times.MAX_MICROS:
        raise pa.ArrowInvalid("a time is outside the years 0001 to 9999")
    return column
