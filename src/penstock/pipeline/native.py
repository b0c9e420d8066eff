"""The native library (``native/``, ``_native.so`` beside this file), called by ctypes, without the interpreter's lock.

Batches go in and come out over the Arrow C data interface; this is the one place that hands its structures to Arrow.
"""

from __future__ import annotations

import ctypes
import json
from array import array
from collections.abc import Sequence
from ctypes import c_bool, c_char_p, c_int32, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.errors import ExportError
from penstock.model.spelling import Kind, Spelling

#: The library, which is an extension of SQLite too.
PATH = Path(__file__).with_name("_native.so")
_CODES = {Kind.TEXT: 0, Kind.VERBATIM: 1, Kind.INT64: 2, Kind.TIME: 3, Kind.NULL: 4, Kind.REAL: 5}
_NO_MEMORY = b"there is no memory"


class _Spelled(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        ("name_length", c_int64),
        ("kind", c_int32),
        ("own", c_bool),
        ("nullable", c_bool),
    )


class _Sum(ctypes.Structure):
    _fields_ = (("low", c_uint64), ("high", c_uint64))

    def __int__(self) -> int:
        return int(self.high) << 64 | int(self.low)


class _Parsed(ctypes.Structure):
    _fields_ = (("rows", c_int64), ("culprit", c_int64), ("settled", c_bool))


#: Room for the structures of the Arrow C data interface, which only Arrow and the library look into.
_Schema, _Array = c_void_p * 9, c_void_p * 10
_COLUMNS = (c_void_p, c_int64)
_BATCH = (*_COLUMNS, c_void_p, c_void_p)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "penstock_lines": (c_char_p, (*_BATCH, c_char_p, c_int64, c_void_p, c_void_p)),
    "penstock_csv": (c_char_p, (*_BATCH, c_char_p, c_int64, c_void_p, c_void_p)),
    "penstock_digest": (c_char_p, (*_BATCH, c_void_p, c_void_p)),
    "penstock_parse": (c_char_p, (*_COLUMNS, c_char_p, c_int64, c_int64, c_void_p, c_void_p)),
    "penstock_members_count": (c_char_p, (c_int64, c_void_p, c_void_p, c_void_p, c_void_p)),
    "penstock_members_columns": (c_char_p, (c_void_p, c_int64, c_bool, c_void_p, c_void_p, c_void_p, c_void_p)),
    "penstock_pick": (c_char_p, (*[c_void_p] * 3, c_int64, c_int64, c_char_p, c_int64, c_int32, c_void_p)),
    "penstock_sink_open": (c_int64, (*_COLUMNS, c_int64, c_int64)),
    "penstock_sink_take": (c_char_p, (c_int64, c_void_p)),
    "penstock_sink_close": (None, (c_int64,)),
}


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once. Raises :class:`~penstock.errors.ExportError` where it cannot be."""
    try:
        loaded = ctypes.CDLL(str(PATH))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise ExportError(
            f"the native library {PATH} cannot be loaded: {error}",
            hint="install Penstock again: pip install --force-reinstall penstock",
        ) from None
    return loaded


@lru_cache(maxsize=256)
def _columns(spelling: Spelling, names: tuple[str, ...]) -> ctypes.Array[_Spelled]:
    columns = []
    for column in spelling.select(names).columns:
        name = column.name.encode()
        columns.append(_Spelled(name, len(name), _CODES[column.kind], column.own, column.nullable))
    return (_Spelled * len(columns))(*columns)


def _check(complaint: bytes | None) -> None:
    if complaint == _NO_MEMORY:
        raise MemoryError
    if complaint is not None:
        raise pa.ArrowInvalid(complaint.decode())


def batch_of(name: str, given: tuple[Any, ...], texts: pa.Array, told: Any, schema: pa.Schema) -> pa.RecordBatch:
    """The batch that a function of the library makes of an array, told about in the structure ``told``.

    Raises :class:`ValueError` with what it complains of.
    """
    lent, array, batch = _Schema(), _Array(), _Array()
    texts._export_to_c(ctypes.addressof(array), ctypes.addressof(lent))
    _check(getattr(library(), name)(*given, lent, array, batch, ctypes.addressof(told)))
    return pa.RecordBatch._import_from_c(ctypes.addressof(batch), schema)


def _exported(batch: pa.RecordBatch, spelling: Spelling) -> tuple[Any, ...]:
    """The arguments that stand for a batch; the library releases it."""
    columns = _columns(spelling, tuple(batch.schema.names))
    schema, array = _Schema(), _Array()
    batch._export_to_c(ctypes.addressof(array), ctypes.addressof(schema))
    return columns, len(columns), schema, array


def _rendered(name: str, batch: pa.RecordBatch, spelling: Spelling, word: bytes) -> tuple[pa.Buffer, int]:
    render = getattr(library(), name)
    text, total = _Array(), _Sum()
    _check(render(*_exported(batch, spelling), word, len(word), text, ctypes.addressof(total)))
    return pa.Array._import_from_c(ctypes.addressof(text), pa.uint8()).buffers()[1], int(total)


def lines(batch: pa.RecordBatch, spelling: Spelling, end: bytes) -> tuple[pa.Buffer, int]:
    """Rows as NDJSON lines that end with ``end``, and the sum of the hashes of their canonical bytes.

    Raises :class:`ValueError` for a batch whose columns do not have the types of their kinds.
    """
    return _rendered("penstock_lines", batch, spelling, end)


def csv(batch: pa.RecordBatch, spelling: Spelling, null: bytes) -> tuple[pa.Buffer, int]:
    """Rows as lines of CSV with ``null`` for nulls, and the sum as :func:`lines` has it."""
    return _rendered("penstock_csv", batch, spelling, null)


def digest(batch: pa.RecordBatch, spelling: Spelling) -> int:
    """The sum alone."""
    total = _Sum()
    _check(library().penstock_digest(*_exported(batch, spelling), ctypes.addressof(total), None))
    return int(total)


def row_hashes(batch: pa.RecordBatch, spelling: Spelling) -> array[int]:
    """The lower 64 bits of the hash of each row's canonical bytes, as signed numbers."""
    each = array("q", bytes(8 * batch.num_rows))
    total = _Sum()
    _check(library().penstock_digest(*_exported(batch, spelling), ctypes.addressof(total), each.buffer_info()[0]))
    return each


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with which line, counted from 0."""

    line: int
    text: str


def parse(text: bytes, spelling: Spelling, max_depth: int) -> tuple[pa.RecordBatch, bool] | Complaint:
    """NDJSON lines as a batch of ``spelling.schema``, and whether they are settled (``penstock_parse``)."""
    columns = _columns(spelling, spelling.names)
    batch, found = _Array(), _Parsed()
    address = ctypes.addressof(batch)
    complaint = library().penstock_parse(
        columns, len(columns), text, len(text), max_depth, batch, ctypes.addressof(found)
    )
    if complaint is None:
        return pa.RecordBatch._import_from_c(address, spelling.schema), bool(found.settled)
    if complaint == _NO_MEMORY:
        raise MemoryError
    culprit = f"{spelling.columns[found.culprit].name} " if found.culprit >= 0 else ""
    return Complaint(found.rows, culprit + complaint.decode())


_PICKED = pa.schema([("integer", pa.int64()), ("real", pa.int64()), ("text", pa.string())])


def path_text(steps: Sequence[str | int]) -> str:
    """A path into JSON, as the library and its function in SQLite take it."""
    return json.dumps(steps, ensure_ascii=False, separators=(",", ":"))


def picked(column: pa.StringArray, steps: Sequence[str | int], wanted: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    """What JSON texts hold at a path: integers, floats and texts, of which at most one is not null in a row.

    ``wanted`` is 0 for numbers, 1 for texts, 2 for true (1) and false (0), 3 for 1 where there is anything but null.
    """
    valid, offsets, values = (0 if buffer is None else buffer.address for buffer in column.buffers())
    path, batch = path_text(steps).encode(), _Array()
    address = ctypes.addressof(batch)
    rows = len(column)
    call = library().penstock_pick
    _check(call(valid, offsets, values, column.offset, rows, path, len(path), wanted, address))
    integers, bits, texts = pa.RecordBatch._import_from_c(address, _PICKED).columns
    return integers, bits.view(pa.float64()), texts


class Sink:
    """Where ``penstock_scan(NUMBER, column, …)`` puts the rows of a query: texts, verbatim texts and int64 as
    ``spelling`` says. The column ``order`` has to ascend. ``bytes_hint`` is about how much verbatim text there is."""

    def __init__(self, spelling: Spelling, order: str, bytes_hint: int) -> None:
        columns, place = _columns(spelling, spelling.names), spelling.names.index(order)
        if spelling.columns[place].kind is not Kind.INT64 or spelling.columns[place].nullable:
            raise ValueError(f"rows cannot be ordered by {order}: it is no integer, or may be null")
        self._spelling = spelling
        self.number: int = library().penstock_sink_open(columns, len(columns), place, bytes_hint)
        if not self.number:
            raise MemoryError

    def take(self) -> pa.RecordBatch:
        """What a query gathered that is over. Closes the sink."""
        batch = _Array()
        _check(library().penstock_sink_take(self.number, batch))
        return pa.RecordBatch._import_from_c(ctypes.addressof(batch), self._spelling.schema)

    def close(self) -> None:
        """Drop what was gathered, if it was not taken. No query may be using the sink."""
        library().penstock_sink_close(self.number)
