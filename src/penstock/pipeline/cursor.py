"""The rows of a query of SQLite, gathered into Arrow columns by the native library, or cut into slices.

What is gathered is ``gathering``; a cursor, and why it cannot go on, belong here.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping, Sequence
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent
from penstock.model.times import TimeUnit
from penstock.pipeline import native
from penstock.pipeline.gathering import NOTES, Gather, Gathered, GatherKind, Misfit, Note, Notes
from penstock.pipeline.moments import moment


class Fault(IntEnum):
    """Why a cursor cannot go on."""

    MEMORY = 1
    SQLITE = 2
    INTERRUPTED = 3
    DENIED = 4
    BLANK = 5
    SEVERAL = 6
    RESULTLESS = 7
    WRITES = 8
    COLUMNS = 9
    REPEATED = 10
    PARAMETERS = 11


class CursorFault(Exception):
    """A cursor cannot go on; ``said`` is what SQLite said, what was denied, or the number that came twice."""

    def __init__(self, fault: Fault, said: str) -> None:
        super().__init__(f"{fault.name.lower()}: {said}")
        self.fault = fault
        self.said = said


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows from number ``first`` to ``last``, and the first and last place among them."""

    first: int
    last: int
    bytes: int
    rows: int
    places: tuple[int, int]


#: As which type a column comes, where that is not its own.
_COMES: Mapping[GatherKind, pa.DataType] = {
    GatherKind.BOOL: pa.int64(),
    GatherKind.DECIMAL: pa.string(),
}
_KINDS = {kind: number for number, kind in enumerate(GatherKind)}
_MEMBER = len(_KINDS)
_UNITS = {unit: number for number, unit in enumerate(TimeUnit)}
_STORAGES = ("", "integer", "real", "text", "blob", "null")
_INTEGER, _REAL, _TEXT, _BLOB, _NULL = range(1, 6)


class _Gather(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p),
        ("name_length", c_int64),
        ("kind", c_int32),
        ("unit", c_int32),
        ("precision", c_int32),
        ("scale", c_int32),
    )


class _Bound(ctypes.Structure):
    _fields_ = (
        ("type", c_int64),
        ("integer", c_int64),
        ("real", c_double),
        ("bytes", c_char_p),
        ("length", c_int64),
    )


class _Cut(ctypes.Structure):
    _fields_ = tuple((name, c_int64) for name in ("first", "last", "bytes", "rows", "first_place", "last_place"))


class _Taken(ctypes.Structure):
    _fields_ = (("rows", c_int64), ("notes", c_int64))


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "penstock_loaded": (c_void_p, ()),
    "penstock_cursor_open": (c_void_p, (c_void_p, c_char_p, c_void_p, c_int64, c_void_p, c_int64, c_bool)),
    "penstock_cursor_close": (None, (c_void_p,)),
    "penstock_cursor_fault": (c_int32, (c_void_p, POINTER(c_char_p))),
    "penstock_cursor_column": (c_bool, (c_void_p, c_int64, POINTER(c_char_p), POINTER(c_char_p))),
    "penstock_cursor_take": (c_bool, (c_void_p, c_int64, c_int64, c_void_p, c_void_p, c_void_p)),
    "penstock_cursor_cut": (c_int64, (c_void_p, *[c_int64] * 4, c_void_p, c_int64)),
    "penstock_cursor_interrupt": (None, (c_void_p,)),
}


@cache
def _library() -> ctypes.CDLL:
    library = native.library()
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def loaded() -> int:
    """The connection that this thread loaded the library into last, asked once, right after."""
    database: int | None = _library().penstock_loaded()
    if database is None:
        raise ValueError("the native library was loaded into no connection")
    return database


class NativeCursor:
    """The rows of one statement, in turn, of a connection that :func:`loaded` gave. One thread's at a time, and to be
    closed before its connection. Without ``columns`` the rows can be described and cut only.

    Raises :class:`CursorFault`, as do its methods.
    """

    def __init__(
        self, database: int, sql: str, parameters: Sequence[Any], columns: Sequence[Gather], *, guarded: bool
    ) -> None:
        self._columns = tuple(columns)
        self._lock = threading.Lock()
        flat = [(place, each) for place, column in enumerate(columns) for each in _flattened(column)]
        self._places = [place for place, _ in flat]
        self._comes = pa.schema([(each.name, _COMES.get(each.kind, each.type)) for each in columns])
        self._schema = pa.schema([(each.name, each.type) for each in columns])
        gathers = (_Gather * len(flat))(*[gather for _, gather in flat])
        bound = (_Bound * len(parameters))(*map(_bound, parameters))
        self._cursor: int | None = _library().penstock_cursor_open(
            database, sql.encode("utf-8", "surrogateescape"), gathers, len(flat), bound, len(parameters), guarded
        )
        if self._cursor is None:
            raise MemoryError
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        said = c_char_p()
        fault = _library().penstock_cursor_fault(self._cursor, byref(said))
        if fault == Fault.MEMORY:
            raise MemoryError
        if fault:
            raise CursorFault(Fault(fault), (said.value or b"").decode("utf-8", "replace"))

    @property
    def described(self) -> Sequence[tuple[str, str | None]]:
        """The name and the declared type, if it has one, of each column of the query."""
        found: list[tuple[str, str | None]] = []
        name, declared = c_char_p(), c_char_p()
        while _library().penstock_cursor_column(self._cursor, len(found), byref(name), byref(declared)):
            kind = declared.value
            found.append((_decoded(name.value or b""), None if kind is None else _decoded(kind)))
        return found

    def take(self, rows: int, size: int) -> Gathered | None:
        """The next rows, at most so many, of at most so many bytes but for the first; ``None`` behind the last."""
        batch, notes, taken = (c_void_p * 10)(), (c_void_p * 10)(), _Taken()
        if not _library().penstock_cursor_take(self._cursor, rows, size, batch, notes, ctypes.addressof(taken)):
            self._check()
        if taken.rows == 0:
            return None
        found = pa.RecordBatch._import_from_c(ctypes.addressof(batch), self._comes)
        noted = pa.RecordBatch._import_from_c(ctypes.addressof(notes), NOTES) if taken.notes else None
        arrays = [_typed(array, field.type) for array, field in zip(found.columns, self._schema, strict=True)]
        misfits: list[Misfit] = []
        if noted is not None:
            arrays, noted, misfits = self._settled(arrays, noted)
        return Gathered(
            pa.record_batch(arrays, schema=self._schema) if arrays else found, Notes(noted, self._places), misfits
        )

    def _settled(
        self, arrays: list[pa.Array], noted: pa.RecordBatch
    ) -> tuple[list[pa.Array], pa.RecordBatch, list[Misfit]]:
        """Times that the library left to us are settled; what is left are misfits."""
        odd = noted.filter(pc.and_(pc.equal(noted["what"], Note.MISFIT), pc.is_valid(noted["shown"])))
        misfits: list[Misfit] = []
        settled: dict[int, dict[int, int]] = {}
        notes: dict[tuple[int, int], Note | None] = {}
        readings: dict[tuple[int, bytes], tuple[int, bool] | None] = {}
        for row, column, _, storage, shown in zip(*(each.to_pylist() for each in odd.columns), strict=True):
            place = self._places[column]
            if self._columns[place].kind is GatherKind.TIME and storage == _TEXT:
                if (place, shown) not in readings:
                    readings[place, shown] = _read(shown, self._columns[place].unit)
                read = readings[place, shown]
                if read is not None:
                    settled.setdefault(place, {})[row] = read[0]
                    notes[row, column] = Note.CUT if read[1] else None
                    continue
            misfits.append(Misfit(row, place, _STORAGES[storage], shown))
        for place, found in settled.items():
            rows = sorted(found)
            where = pc.is_in(_numbers(len(arrays[place])), pa.array(rows, pa.int64()))
            arrays[place] = pc.replace_with_mask(
                arrays[place], where, pa.array([found[row] for row in rows], pa.int64())
            )
        return arrays, _renoted(noted, notes) if notes else noted, misfits

    def cut(self, rows: int, size: int, *, overhead: int, most: int, ties: int = 0) -> Iterator[Sequence[Cut]]:
        """The next ``most`` slices, again and again, of a query whose columns are an ascending number, a place, a size
        in bytes, and values that are measured beside: none has more rows or bytes than these but for a single row.
        ``overhead`` counts for each row too. So many more rows as ``ties`` may have the number of another; those of one
        number are never cut apart."""
        cuts = (_Cut * most)()
        while True:
            found = _library().penstock_cursor_cut(self._cursor, rows, size, overhead, ties, cuts, most)
            if found < 0:
                self._check()
            if found:
                yield [
                    Cut(each.first, each.last, each.bytes, each.rows, (each.first_place, each.last_place))
                    for each in cuts[:found]
                ]
            if found < most:
                return

    def interrupt(self) -> None:
        """End what the cursor does: it raises a fault from now on. Safe from any thread, until it is closed."""
        with self._lock:
            if self._cursor is not None:
                _library().penstock_cursor_interrupt(self._cursor)

    def close(self) -> None:
        """Finish the statement. Safe to call twice."""
        with self._lock:
            cursor, self._cursor = self._cursor, None
        if cursor is not None:
            _library().penstock_cursor_close(cursor)


def _flattened(column: Gather) -> Iterator[_Gather]:
    for number, name in enumerate((column.name, *column.members)):
        encoded = name.encode()
        kind = _MEMBER if number else _KINDS[column.kind]
        yield _Gather(encoded, len(encoded), kind, _UNITS[column.unit], column.precision, column.scale)


def _bound(value: Any) -> _Bound:
    match value:
        case None:
            return _Bound(_NULL, 0, 0.0, None, 0)
        case int():
            return _Bound(_INTEGER, value, 0.0, None, 0)
        case float():
            return _Bound(_REAL, 0, value, None, 0)
        case bytes():
            return _Bound(_BLOB, 0, 0.0, value, len(value))
        case str():
            encoded = value.encode()
            return _Bound(_TEXT, 0, 0.0, encoded, len(encoded))
    raise TypeError(f"SQLite has no value like {value!r}")


def _typed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    return array.cast(pa.int32()).cast(wanted) if pa.types.is_date(wanted) else array.cast(wanted)


def _read(shown: bytes, unit: TimeUnit) -> tuple[int, bool] | None:
    try:
        return moment(shown.decode("utf-8"), unit)
    except (UnicodeDecodeError, InvalidEvent):
        return None


def _renoted(noted: pa.RecordBatch, changed: Mapping[tuple[int, int], Note | None]) -> pa.RecordBatch:
    """The notes with others in the place of some, or with none."""
    pairs = zip(noted["row"].to_pylist(), noted["column"].to_pylist(), noted["what"].to_pylist(), strict=True)
    whats = [changed.get((row, column), what) for row, column, what in pairs]
    renoted = noted.set_column(2, "what", pa.array(whats, pa.int64()))
    return renoted.filter(pc.is_valid(renoted["what"]))


def _numbers(count: int) -> pa.Int64Array:
    return pa.array(range(count), pa.int64())


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
