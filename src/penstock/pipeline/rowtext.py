"""The rows of a dataset as text and back, whatever their types: one spelling in every format.

The native library writes text, JSON text, 64-bit integers, reals and UTC times from Arrow's own memory; those columns
pass through untouched. All others become text here, which stands in a line as it is (numbers, booleans) or as a string.
"""

from __future__ import annotations

import binascii
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model import times
from penstock.model.dataset import Dataset, instants, is_json, type_name
from penstock.model.spelling import Kind, Spelling
from penstock.pipeline import native
from penstock.pipeline.canonical import NotCanonical, Rendered, parse_lines, render_csv, render_lines, rows_digest

_LINES_AT_ONCE = 4096
_Spell: TypeAlias = Callable[[pa.Array], pa.StringArray]


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


def _read_binary(texts: pa.StringArray) -> pa.BinaryArray:
    try:
        values = [None if text is None else binascii.a2b_base64(text, strict_mode=True) for text in texts.to_pylist()]
    except ValueError as error:
        raise pa.ArrowInvalid(f"not base64: {error}") from None
    return pa.array(values, pa.binary())


def _spell_times(column: pa.TimestampArray) -> pa.StringArray:
    return pc.binary_replace_slice(_within_years(column).cast(pa.string()), 10, 11, "T")


def _spell_dates(column: pa.Date32Array) -> pa.StringArray:
    return _within_years(column).cast(pa.string())


#: How types become text for which the native library has no kind, or that it does not read.
_SPELL: Mapping[str, _Spell] = {
    "timestamp": _spell_times,
    "date": _spell_dates,
    "binary": _spell_binary,
    "bool": lambda column: column.cast(pa.string()),
    "float64": _spell_floats,
    "decimal": _spell_decimals,
}


def spell(column: pa.Array, type: str) -> pa.StringArray:
    """The text of a column of a type, named without its digits, that the native library has no kind for; of any other
    the column itself. Raises ``pyarrow.ArrowInvalid`` for a value that no export has."""
    known = _SPELL.get(type)
    return column if known is None else known(column)


class RowText:
    """The text of a dataset's rows, and their digest. Batches have all columns of the dataset, and their types.

    What is given raises ``pyarrow.ArrowInvalid`` where it has a value that no export has.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.schema = dataset.schema
        self.spelling = dataset.spelling
        names = [str(type_name(field)).partition("(")[0] for field in dataset.schema]
        self._spell = [_SPELL.get(name) for name in names]
        self._as_it_is = not any(self._spell)
        reals = [name == "float64" for name in names]
        columns = zip(self.spelling.columns, reals, strict=True)
        #: What is written otherwise than it is read: reals need no text.
        self._written = Spelling(tuple(replace(one, kind=Kind.REAL) if real else one for one, real in columns))
        self._unwritten = [None if real else spell for spell, real in zip(self._spell, reals, strict=True)]

    def lines(self, batch: pa.RecordBatch, *, end: bytes = b"\n") -> Rendered:
        """NDJSON lines, each with ``end`` behind it."""
        return render_lines(*self._native(batch), end=end)

    def csv(self, batch: pa.RecordBatch, *, null: str) -> Rendered:
        """CSV rows without a header, in which ``null`` stands for a null."""
        return render_csv(*self._native(batch), null=null)

    def digest(self, batch: pa.RecordBatch) -> int:
        """The rows digest alone."""
        return rows_digest(*self._native(batch))

    def numbers(self, batch: pa.RecordBatch) -> array[int]:
        """What stands for the content of each row, a signed 64-bit number: the lower half of the hash that the rows
        digest sums."""
        return native.row_hashes(*self._native(batch))

    def hashes(self, batch: pa.RecordBatch) -> list[bytes]:
        """What stands for the content of each row, 16 bytes: a hash of its line, in which a line feed is always
        escaped."""
        hashes: list[bytes] = []
        for start in range(0, batch.num_rows, _LINES_AT_ONCE):
            lines = bytes(self.lines(batch.slice(start, _LINES_AT_ONCE)).text).split(b"\n")
            hashes += [blake2b(line, digest_size=16).digest() for line in lines[:-1]]
        return hashes

    def parse(self, text: bytes) -> pa.RecordBatch:
        """Whole NDJSON lines back to rows: the inverse of :meth:`lines`, and strict.

        Raises :class:`~penstock.pipeline.canonical.NotCanonical` for whatever :meth:`lines` would have written
        otherwise.
        """
        found = parse_lines(text, self.spelling).batch
        if self._as_it_is:
            return pa.record_batch(found.columns, schema=self.schema)
        try:
            batch = self.typed(found.columns)
            again = self.spelled(batch)
        except pa.ArrowInvalid as error:
            raise NotCanonical(0, f"it has no value of its type, or one of the next has none: {error}") from None
        for name in found.schema.names:
            if again[name] != found[name]:
                row = pc.index(pc.not_equal(again[name], found[name]), True).as_py()
                raise NotCanonical(max(row, 0), f"{name} is spelled otherwise")
        return batch

    def spelled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch with text in place of what the native library does not read."""
        return _with_text(batch, self._spell)

    def _native(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Spelling]:
        """A batch with text in place of what the native library does not write, and how it writes that."""
        return _with_text(batch, self._unwritten), self._written

    def typed(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        """Columns as they were spelled, or all as text, back to a batch. Another spelling of a value than ours is not
        refused here: it shows when the result is spelled again."""
        arrays = [_typed(column, field) for column, field in zip(columns, self.schema, strict=True)]
        return pa.record_batch(arrays, schema=self.schema)


class KeyText:
    """The text of each row's key: its value as a line spells it, or the line of its columns where these are several."""

    def __init__(self, dataset: Dataset) -> None:
        self._names = list(dataset.key)
        self._text = RowText(dataset.select(dataset.key))
        self._begin = len(json.dumps(dataset.key[0], ensure_ascii=False)) + 2
        self._plain = [column.kind for column in self._text.spelling.columns] == [Kind.TEXT]

    def __call__(self, batch: pa.RecordBatch) -> list[str]:
        key = batch.select(self._names)
        if self._plain:
            return ["null" if text is None else text for text in self._text.spelled(key)[0].to_pylist()]
        lines = bytes(self._text.lines(key).text).decode().split("\n")[:-1]
        return lines if len(self._names) > 1 else [line[self._begin : -1].strip('"') for line in lines]


def _with_text(batch: pa.RecordBatch, spell: Sequence[_Spell | None]) -> pa.RecordBatch:
    if not any(spell):
        return batch
    columns = [column if each is None else each(column) for column, each in zip(batch.columns, spell, strict=True)]
    return pa.record_batch(columns, names=batch.schema.names)


def _typed(column: pa.Array, field: pa.Field) -> pa.Array:
    try:
        if column.type != field.type:
            column = _read_binary(column) if pa.types.is_binary(field.type) else column.cast(field.type)
        if column.null_count and not field.nullable:
            raise pa.ArrowInvalid("it is null")
    except pa.ArrowException as error:
        raise pa.ArrowInvalid(f"{field.name}: {error}") from None
    return column


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


def _within_years(column: pa.Array) -> pa.Array:
    extremes = pc.min_max(instants(column)).as_py()
    if extremes["min"] is not None and not times.MIN_MICROS <= extremes["min"] <= extremes["max"] <= times.MAX_MICROS:
        raise pa.ArrowInvalid("a time is outside the years 0001 to 9999")
    return column
