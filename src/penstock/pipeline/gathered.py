"""Columns that the native module gathered, as Arrow arrays over the same memory."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from penstock.pipeline import _native


def arrays_of(columns: Iterable[_native.Column]) -> list[pa.Array]:
    """One array a column: text where there are offsets, 64-bit integers otherwise."""
    arrays = []
    for valid, offsets, values, nulls in columns:
        validity = None if valid is None else pa.py_buffer(valid)
        if offsets is None:
            rows = memoryview(values).nbytes // 8
            arrays.append(pa.Array.from_buffers(pa.int64(), rows, [validity, pa.py_buffer(values)], null_count=nulls))
        else:
            rows = memoryview(offsets).nbytes // 4 - 1
            buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(values)]
            arrays.append(pa.Array.from_buffers(pa.string(), rows, buffers, null_count=nulls))
    return arrays
