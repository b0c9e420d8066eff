"""CSV to portions of rows, as spreadsheets and careless programs write it.

A header is required. The separator is the comma, or, where the header has none outside quotes, the semicolon or the tab
that it has. Lines end with LF, CRLF or CR; a byte order mark is dropped; lines with nothing but separators are not
records. A quote opens a field only at its beginning, as in RFC 4180; one that is never closed spoils its own line and
no other.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from penstock.errors import SerializationError
from penstock.formats.bounds import check_columns
from penstock.loading.rows import Portion, Reject, damage, oversize
from penstock.loading.streams import BLOCK, Pieces
from penstock.loading.tables import TableReader, repeated
from penstock.loading.widths import cuts
from penstock.pipeline.lines import SAMPLE

_SEPARATORS = b",;\t"
_ROWS = 8192
_BYTES = 8 << 20
_EMPTY = pa.scalar("", pa.string())


class Shape:
    """How records look with one separator: patterns for one record, for several, and for one that ends the file."""

    def __init__(self, separator: bytes) -> None:
        mark = re.escape(separator)
        quoted = rb'"[^"]*+(?:""[^"]*+)*+"[^' + mark + rb"\r\n]*+"
        bare = rb'[^"' + mark + rb"\r\n][^" + mark + rb"\r\n]*+"
        field = rb"(?:" + quoted + rb"|" + bare + rb")?+"
        record = field + rb"(?:" + mark + field + rb")*+"
        end = rb"(?:\r\n|\n|\r(?=[^\n]))"
        self.separator = separator.decode()
        self.one = re.compile(record + end)
        self.many = re.compile(rb"(?:" + record + end + rb"){0,%d}+" % _ROWS)
        self.last = re.compile(record + rb"\r?\Z")

    def records(self, text: bytes, start: int, end: int) -> Iterator[re.Match[bytes]]:
        """The whole records that lie between two places."""
        while start < end and (found := self.one.match(text, start)) is not None:
            yield found
            start = found.end()


def read_csv(pieces: Pieces, tables: TableReader, *, limit: int) -> Iterator[Portion]:
    """The records of a CSV file, portion by portion, numbered by the line they begin on."""
    records = _Records(pieces, limit)
    try:
        header = records.header()
    except SerializationError as error:
        yield Portion(rejects=[damage(1, tables.unit, error, records.rest)])
        return
    if header is None:
        return
    names = [name or f"column_{place}" for place, name in enumerate(header, 1)]
    twice = repeated(names)
    if twice is not None:
        yield Portion(rejects=[damage(1, tables.unit, f"the header has the name {twice!r} twice", records.rest)])
        return
    unnamed = {given for name, given in zip(header, names, strict=True) if not name}
    reader = TableReader(fields=tables.fields, unit=tables.unit, text=True, optional=unnamed, found=tables.found)
    for block in records.blocks():
        if isinstance(block, Reject):
            yield Portion(rejects=[block])
        else:
            yield from _Block(block[1], block[0], names, records.shape).portions(reader)


class _Records:
    """Cuts the stream into blocks of whole records. ``rest`` is what was read and not given out yet."""

    def __init__(self, pieces: Pieces, limit: int) -> None:
        self.shape = Shape(b",")
        self._pieces = pieces
        self._limit = limit
        self._line = 1
        self._buffer = b""
        self._start = 0

    @property
    def rest(self) -> bytes:
        return self._buffer[self._start :]

    def header(self) -> list[str] | None:
        """The names in the first record, taken off the stream; ``None`` if there is nothing at all."""
        found = None
        while found is None and len(self.rest) <= self._limit and (more := self._pieces.read()):
            self._buffer += more
            self._take(len(self._buffer) - len(self._buffer[self._start :].lstrip(b"\r\n")))
            self.shape = Shape(_separator(self.rest))
            found = self.shape.one.match(self._buffer, self._start)
        if not self.rest.strip():
            return None
        found = found or self.shape.last.match(self._buffer, self._start)
        if found is None:
            raise SerializationError("the CSV header is not one record")
        try:
            text = found[0].decode()
        except UnicodeDecodeError as error:
            raise SerializationError(f"the CSV header is not UTF-8, from byte {error.start} on") from None
        if "\x00" in text:
            raise SerializationError("the CSV header holds a NUL; it may be UTF-16, save it as UTF-8")
        self._take(found.end())
        try:
            names = next(csv.reader(io.StringIO(text, newline=""), delimiter=self.shape.separator), [])
        except csv.Error as error:
            raise SerializationError(f"the CSV header cannot be read: {error}") from None
        check_columns(len(names))
        return names

    def blocks(self) -> Iterator[tuple[int, bytes] | Reject]:
        """Blocks with the line each begins on; what is no record, or over the limit, as rejects."""
        while True:
            end = self._end_of_records()
            if end > self._start:
                yield from self._within(end)
            elif len(self._buffer) - self._start > self._limit:
                yield self._stray_quote() if self._end_of_line() else self._skipped()
            else:
                try:
                    more = self._pieces.read(max(BLOCK, len(self._buffer) - self._start))
                except SerializationError as error:
                    yield damage(self._line, "line", error, self.rest)
                    return
                self._buffer, self._start = self.rest + more, 0
                if not more:
                    break
        while self._start < len(self._buffer):
            if self.shape.last.match(self._buffer, self._start):
                yield self._line, self.rest
                return
            if not self._end_of_line():
                self._buffer += b"\n"
            yield self._stray_quote()
            while (end := self._end_of_records()) > self._start:
                yield from self._within(end)

    def _end_of_records(self) -> int:
        """Where some whole records at the start of the buffer end."""
        found = self.shape.many.match(self._buffer, self._start)
        return found.end() if found is not None else self._start

    def _end_of_line(self) -> int:
        """Where the first line of the buffer ends, quotes or not; 0 if it does not."""
        return self._buffer.find(b"\n", self._start) + 1

    def _take(self, end: int) -> bytes:
        text = self._buffer[self._start : end]
        self._line += _line_ends(text)
        self._start = end
        return text

    def _within(self, end: int) -> Iterator[tuple[int, bytes] | Reject]:
        """The whole records of the buffer up to ``end``, cut at those over the limit."""
        if end - self._start > self._limit:
            for found in self.shape.records(self._buffer, self._start, end):
                if len(found[0].rstrip(b"\r\n")) <= self._limit:
                    continue
                if self._start < found.start():
                    yield self._line, self._take(found.start())
                number, text = self._line, self._take(found.end()).rstrip(b"\r\n")
                yield oversize(number, "line", self._limit, text, len(text))
        if self._start < end:
            yield self._line, self._take(end)

    def _stray_quote(self) -> Reject:
        number, line = self._line, self._take(self._end_of_line()).rstrip(b"\r\n")
        if len(line) > self._limit:
            return oversize(number, "line", self._limit, line, len(line))
        return Reject(number=number, unit="line", reason="a quoted field is not closed", raw=line)

    def _skipped(self) -> Reject:
        """Let a line that is over the limit pass by."""
        head, length, number = self.rest[:SAMPLE], len(self.rest), self._line
        self._buffer, self._start, end = b"", 0, -1
        try:
            while end < 0 and (data := self._pieces.read()):
                end = data.find(b"\n")
                passed = data[:end] if end >= 0 else data
                head, length = (head + passed[:SAMPLE])[:SAMPLE], length + len(passed)
                self._buffer, self._start = (data, end + 1) if end >= 0 else (b"", 0)
        except SerializationError as error:
            return damage(number, "line", error, head)
        self._line = number + 1
        return oversize(number, "line", self._limit, head, length)


def _separator(text: bytes) -> bytes:
    line = re.sub(rb'"[^"]*"', b"", text.partition(b"\n")[0])
    found = max(_SEPARATORS[1:], key=line.count)
    return bytes([found]) if b"," not in line and line.count(found) else b","


def _line_ends(text: bytes) -> int:
    return text.count(b"\n") + (text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else 0)


class _Block:
    """Whole records, parsed together; when some of them cannot be, the others are parsed without them."""

    def __init__(self, text: bytes, line: int, names: Sequence[str], shape: Shape) -> None:
        self.text = text
        self.line = line
        self.names = names
        self.shape = shape
        self.records = cache(self._split)
        self.lines = cache(self._numbers)

    def portions(self, tables: TableReader) -> Iterator[Portion]:
        """The rows, in pieces that stay small with the names of the columns in each of them."""
        faults: dict[int, str] = {}
        text = self.text
        places: Sequence[int] | None = None
        if b"\x00" in text or not _is_utf8(text):
            faults = {place: fault for place, record in enumerate(self.records()) if (fault := _unreadable(record))}
            places = [place for place in range(len(self.records())) if place not in faults]
            text = b"".join(self.records()[place] for place in places)
        batch, ragged = self._parse(text)
        for place, fault in ragged.items():
            faults[places[place] if places is not None else place] = fault
        if faults:
            whole = range(len(self.records())) if places is None else places
            places = [place for place in whole if place not in faults]
        used = _rows_with_values(batch)
        if used is not None:
            rows = pc.indices_nonzero(used).to_pylist()
            places = rows if places is None else [places[row] for row in rows]
            batch = batch.filter(used)
        rejects = [self._reject(place, faults[place], tables) for place in sorted(faults)]
        begin = 0
        for size in cuts(batch, _BYTES):
            locate = partial(self._locate, places, begin)
            yield Portion(rows=tables.read(batch.slice(begin, size), locate), rejects=rejects, names=self.names)
            begin, rejects = begin + size, []

    def _parse(self, text: bytes) -> tuple[pa.RecordBatch, dict[int, str]]:
        """The records as text columns, and those that have too few or too many fields."""
        ragged: dict[int, str] = {}

        def skip(row: pa_csv.InvalidRow) -> str:
            counts = f"{row.actual_columns} fields instead of {row.expected_columns}"
            ragged[row.number - 1] = f"the fields do not fit the header: {counts}"
            return "skip"

        kind = pa.string()
        schema = pa.schema([(name, kind) for name in self.names])
        if not text:
            return pa.RecordBatch.from_pylist([], schema=schema), ragged
        table = pa_csv.read_csv(
            pa.py_buffer(text),
            read_options=pa_csv.ReadOptions(column_names=self.names, block_size=len(text) + 1, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.shape.separator,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema), ragged

    def _split(self) -> list[bytes]:
        records = [found[0] for found in self.shape.records(self.text, 0, len(self.text))]
        rest = self.text[sum(map(len, records)) :]
        return [*records, rest] if rest else records

    def _numbers(self) -> list[int]:
        return list(accumulate(map(_line_ends, self.records()), initial=self.line))

    def _locate(self, places: Sequence[int] | None, begin: int, row: int) -> tuple[int, bytes]:
        """Number and text of a row that lies behind ``begin`` others; ``places`` are theirs among the records."""
        place = begin + row if places is None else places[begin + row]
        return self.lines()[place], self.records()[place].rstrip(b"\r\n")

    def _reject(self, place: int, fault: str, tables: TableReader) -> Reject:
        number, raw = self._locate(None, 0, place)
        reason, _, detail = fault.partition(": ")
        return Reject(number=number, unit=tables.unit, reason=reason, detail=detail, raw=raw)


def _is_utf8(text: bytes) -> bool:
    return text.isascii() or _unreadable(text) is None


def _unreadable(text: bytes) -> str | None:
    if b"\x00" in text:
        return "a raw NUL"
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"invalid UTF-8: at byte {error.start}"
    return None


def _rows_with_values(batch: pa.RecordBatch) -> pa.BooleanArray | None:
    """Which rows have a value in any column; ``None`` if all have."""
    if not all(column.null_count or pc.any(pc.equal(column, _EMPTY)).as_py() for column in batch.columns):
        return None
    used = pc.fill_null(pc.not_equal(batch.column(0), _EMPTY), False)
    for column in batch.columns[1:]:
        used = pc.or_(used, pc.fill_null(pc.not_equal(column, _EMPTY), False))
    return None if pc.all(used, min_count=0).as_py() else used
