"""How large rows become when every value is written out: one may stand in a file once for any number of rows."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from penstock.formats.bounds import MAX_RECORD_BYTES

#: What a number, a time, a member or a Python object costs, about and at least.
_PLAIN = pa.scalar(32, pa.int64())
_VIEWS = (pa.string_view(), pa.binary_view())
_TEXTS = (pa.string(), pa.binary(), pa.large_string(), pa.large_binary(), *_VIEWS)
#: So many values alone become more than a row may have.
_MOST_VALUES = MAX_RECORD_BYTES // 32
_ZERO = pa.scalar(0, pa.int64())


def cuts(batch: pa.RecordBatch, most: int) -> Iterator[int]:
    """Numbers of rows after which a batch, validated in full, is to be cut, so that no piece becomes more than ``most``
    bytes, unless it is one row."""
    sizes = row_sizes(batch)
    if batch.num_rows < 2 or (pc.sum(sizes).as_py() or 0) <= most:
        yield batch.num_rows
        return
    begin = size = 0
    for row, one in enumerate([*sizes.to_pylist(), most]):
        if row > begin and size + one > most:
            # Where lists were too long to be looked into, their size is told now that there are fewer of them.
            yield from cuts(batch.slice(begin, row - begin), most)
            begin, size = row, 0
        size += one


def written_size(column: pa.Array) -> int:
    """What the values of a column of text become together, in bytes. It has to be valid but for what is not UTF-8."""
    return sum(pc.sum(_lengths(piece)).as_py() or 0 for piece in _pieces(column))


def row_sizes(batch: pa.RecordBatch) -> pa.Int64Array:
    """What each row becomes. The name of a column stands in every row."""
    total = pa.repeat(pa.scalar(sum(map(len, batch.schema.names)), pa.int64()), batch.num_rows)
    for column in batch.columns:
        total = pc.add(total, _widths(column))
    return total


def _widths(column: pa.Array) -> pa.Int64Array:
    """What each value of a column becomes."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _widths(column.storage)
    if pa.types.is_dictionary(kind):
        if len(column.dictionary) > _MOST_VALUES:
            return _all(column, column.dictionary)
        return _known(_widths(column.dictionary).take(column.indices))
    if pa.types.is_run_end_encoded(kind):
        return _all(column, column.values)
    if pa.types.is_union(kind):
        return _all(column, *(column.field(number) for number in range(kind.num_fields)))
    if pa.types.is_struct(kind):
        names = sum(len(kind.field(number).name) for number in range(kind.num_fields))
        total = pc.add(_base(column), pa.scalar(names, pa.int64()))
        for number in range(kind.num_fields):
            total = pc.add(total, _widths(pc.struct_field(column, [number])))
        return total
    if pa.types.is_fixed_size_binary(kind):
        return pa.repeat(pa.scalar(32 + kind.byte_width, pa.int64()), len(column))
    if pa.types.is_nested(kind):
        return pc.add(_base(column), _inside(column))
    if kind in _TEXTS:
        return pc.add(_base(column), _known(_lengths(column).cast(pa.int64())))
    return _base(column)


def _inside(column: pa.Array) -> pa.Int64Array:
    """What the lists of a column hold."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return pc.multiply(_all(column, column.values), pa.scalar(kind.list_size, pa.int64()))
    begins = column.offsets.cast(pa.int64())
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        lengths = column.sizes.cast(pa.int64())
        if len(column.values) > _MOST_VALUES:
            return _known(pc.multiply(_all(column, column.values), lengths))
        ends = _sums(_widths(column.values))
        return _known(pc.subtract(ends.take(pc.add(begins, lengths)), ends.take(begins)))
    first, last = begins[0].as_py(), begins[-1].as_py()
    if last - first > _MOST_VALUES:
        return pc.multiply(pc.subtract(begins.slice(1), begins.slice(0, len(column))), _PLAIN)
    ends = _sums(_widths(column.values.slice(first, last - first))).take(pc.subtract(begins, first))
    return pc.subtract(ends.slice(1), ends.slice(0, len(column)))


def _lengths(column: pa.Array) -> pa.Array:
    """How many bytes each text has. Views begin with it, and Arrow does not tell otherwise."""
    if column.type not in _VIEWS:
        return pc.binary_length(column)
    words = pa.Array.from_buffers(pa.int32(), 4 * len(column), [None, column.buffers()[1]], offset=4 * column.offset)
    return pc.if_else(column.is_valid(), words.take(pa.array(range(0, 4 * len(column), 4), pa.int64())), 0)


def _base(column: pa.Array) -> pa.Int64Array:
    return pa.repeat(_PLAIN, len(column))


def _all(column: pa.Array, *parts: pa.Array) -> pa.Int64Array:
    """For every value as much as the largest of some may become."""
    largest = [pc.max(_widths(piece)).as_py() or 0 for part in parts for piece in _pieces(part)]
    return pa.repeat(pa.scalar(32 + max(largest, default=0), pa.int64()), len(column))


def _pieces(column: pa.Array) -> Iterator[pa.Array]:
    """A column in pieces that are not too many to be looked at together."""
    return (column.slice(begin, _MOST_VALUES) for begin in range(0, len(column), _MOST_VALUES))


def _known(sizes: pa.Array) -> pa.Int64Array:
    return pc.fill_null(sizes, _ZERO)


def _sums(sizes: pa.Int64Array) -> pa.Int64Array:
    """From 0, the sums of all before."""
    return pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)])
