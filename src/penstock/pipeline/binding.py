"""Columns of any Arrow types on their way into a dataset: cast to the types that exports have, each change counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent, StorageError
from penstock.model import jsontext, times
from penstock.model.dataset import bound, is_json

#: How many microseconds a unit of a timestamp has; a nanosecond has less than one.
_MICROS_IN = {"s": 1_000_000, "ms": 1_000, "us": 1}
_FIRST_DAY, _LAST_DAY = times.MIN_MICROS // 86_400_000_000, times.MAX_MICROS // 86_400_000_000


class Binding:
    """A source's columns, bound to the types that exports have. ``schema`` is that of the batches that come out.

    Raises :class:`~penstock.errors.UsageError` for a column whose type no export has; ``json`` names text that is JSON.
    """

    def __init__(self, schema: pa.Schema, *, json: Iterable[str] = ()) -> None:
        self.schema = bound(schema, json=json)

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Mapping[str, int]]:
        """The batch in the bound types, and how many values were changed, by reason.

        What a text cannot spell becomes null: ``coerced_not_finite``, ``coerced_out_of_range`` (times outside the years
        0001 to 9999), ``coerced_json_null``. ``coerced_nanoseconds`` lost digits below the microsecond. White space
        outside the strings of JSON goes uncounted. Raises :class:`~penstock.errors.StorageError` for text that is not
        UTF-8 or not JSON, and for any other value that does not fit.
        """
        counts: Counter[str] = Counter()
        arrays = []
        for column, field in zip(batch.columns, self.schema, strict=True):
            try:
                array = _bound(column, field, counts)
                array.validate(full=True)
            except pa.ArrowException as error:
                raise StorageError(
                    f"column {field.name!r} has a value that does not fit {field.type}: {error}",
                    hint="mend the value, or leave the column out",
                ) from None
            if array.null_count and not field.nullable:
                raise StorageError(f"column {field.name!r} is said to have no nulls, and has one")
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.schema), {name: count for name, count in counts.items() if count}


def _bound(column: pa.Array, field: pa.Field, counts: Counter[str]) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if is_json(field):
        return _json(column.cast(pa.string()), counts)
    if pa.types.is_timestamp(field.type):
        return _times(column, counts).cast(field.type)
    if pa.types.is_date(field.type):
        days = column.cast(pa.date32()).cast(pa.int32())
        return _between(days, _FIRST_DAY, _LAST_DAY, counts).cast(pa.date32())
    if pa.types.is_floating(field.type):
        numbers = column.cast(pa.float64())
        finite = pc.is_finite(numbers)
        counts["coerced_not_finite"] += len(numbers) - numbers.null_count - (pc.sum(finite).as_py() or 0)
        return pc.if_else(finite, numbers, None)
    return column.cast(field.type)


def _times(column: pa.TimestampArray, counts: Counter[str]) -> pa.Int64Array:
    """Microseconds of timestamps of any unit; what is below them is cut off."""
    numbers = column.cast(pa.int64())
    if column.type.unit == "ns":
        micros = pc.divide(numbers, 1000)
        rest = pc.subtract(numbers, pc.multiply(micros, 1000))
        counts["coerced_nanoseconds"] += pc.sum(pc.not_equal(rest, 0)).as_py() or 0
        return pc.if_else(pc.less(rest, 0), pc.subtract(micros, 1), micros)
    width = _MICROS_IN[column.type.unit]
    inside = _between(numbers, -(-times.MIN_MICROS // width), times.MAX_MICROS // width, counts)
    return pc.multiply(inside, pa.scalar(width, pa.int64()))


def _between(numbers: pa.Array, first: int, last: int, counts: Counter[str]) -> pa.Array:
    inside = pc.and_(pc.greater_equal(numbers, first), pc.less_equal(numbers, last))
    counts["coerced_out_of_range"] += len(numbers) - numbers.null_count - (pc.sum(inside).as_py() or 0)
    return pc.if_else(inside, numbers, None)


def _json(column: pa.StringArray, counts: Counter[str]) -> pa.StringArray:
    texts: list[bytes | None] = []
    for text in column.cast(pa.binary()).to_pylist():
        try:
            compact = None if text is None else jsontext.compact(text)
        except InvalidEvent as error:
            raise pa.ArrowInvalid(f"{error.message}: {text[:60]!r}") from None
        counts["coerced_json_null"] += compact == b"null"
        texts.append(None if compact == b"null" else compact)
    return pa.array(texts, pa.binary()).cast(pa.string())
