"""JSON that is not a record a line: the elements of an array, or values one after another, in any layout."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.errors import SerializationError
from penstock.loading.lines import BOM, OwnLines
from penstock.loading.records import RecordReader
from penstock.loading.rows import SAMPLE, Portion, Reject, damage, oversize
from penstock.loading.streams import BLOCK, Pieces

_SPACE = b" \t\r\n"
_ROWS = 4096
_QUOTE = 0x22
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def _group(levels: int) -> bytes:
    """A pattern for a bracket, all that is in it and its end, where no more than so many levels are open."""
    inner = rb'[^\[\]{}"]++|' + _STRING
    for _ in range(levels - 1):
        inner = rb'[^\[\]{}"]++|' + _STRING + rb"|[\[{](?:" + inner + rb")*+[\]}]"
    return rb"[\[{](?:" + inner + rb")*+[\]}]"


#: What is skipped in one step (a whole string, a shallow value with all that is in it), or else a mark of structure, or
#: a quote whose string is not complete yet.
_TOKEN = re.compile(_STRING + rb"|" + _group(4) + rb'|[\[\]{},]|"', re.DOTALL)


def read_elements(pieces: Pieces, records: RecordReader, *, limit: int, array: bool) -> Iterator[Portion]:
    """The elements of a JSON array, or values one after another, portion by portion, numbered from 1."""
    own = OwnLines(records)
    held: list[tuple[int, bytes]] = []
    size = 0
    number = 0
    for element in elements(pieces, limit=limit, array=array):
        number += 1
        if isinstance(element, Reject):
            yield from _portion(held, own, records)
            yield Portion(rejects=[element])
            held, size = [], 0
            continue
        held.append((number, element))
        size += len(element)
        if size >= BLOCK or len(held) == _ROWS:
            yield from _portion(held, own, records)
            held, size = [], 0
    yield from _portion(held, own, records)


def _portion(held: list[tuple[int, bytes]], own: OwnLines, records: RecordReader) -> Iterator[Portion]:
    if not held:
        return
    rows = own.read(b"\n".join([*(element for _, element in held), b""]), held[0][0])
    yield Portion(rows=rows) if rows is not None and len(rows) == len(held) else records.read(held)


def elements(pieces: Pieces, *, limit: int, array: bool) -> Iterator[bytes | Reject]:
    """The raw text of each element, in order; an element need not be valid JSON itself.

    Elements over ``limit`` bytes come as rejects and are not held. When the text is cut short, or goes on after the
    end of the array, the rest comes as the last reject.
    """
    cutter = _Cutter(limit, array=array)
    try:
        data = pieces.read().removeprefix(BOM).lstrip(_SPACE)
        while not data and (more := pieces.read()):
            data = more.lstrip(_SPACE)
        if array and data[:1] != b"[":
            yield damage(1, "record", "not a JSON array: it does not begin with [", data)
            return
        cutter.buffer = data
        cutter.begin = cutter.position = 1 if array else 0
        while True:
            yield from cutter.cut()
            if cutter.closed:
                break
            more = pieces.read(max(BLOCK, len(cutter.buffer)))
            if not more:
                break
            cutter.buffer += more
        rest = cutter.rest()
        while cutter.closed and not rest.strip(_SPACE) and (more := pieces.read()):
            rest = more
    except SerializationError as error:
        yield damage(cutter.count + 1, "record", error, cutter.rest())
        return
    if cutter.closed and rest.strip(_SPACE):
        yield damage(cutter.count + 1, "record", "there are bytes after the end of the JSON array", rest)
    elif not cutter.closed and (array or rest.strip(_SPACE)):
        what = "the JSON array is cut short: its closing bracket is missing" if array else "the last value is cut short"
        yield damage(cutter.count + 1, "record", what, rest)


class _Cutter:
    """Finds the ends of elements in a growing buffer, and forgets what is over the limit.

    ``buffer[begin:]`` is the unfinished element, looked at up to ``position``; ``level`` is how many brackets are open.
    """

    def __init__(self, limit: int, *, array: bool) -> None:
        self.limit = limit
        self.array = array
        self.buffer = b""
        self.begin = self.position = 0
        self.level = 1 if array else 0
        self.count = 0
        self.closed = False
        self._head = b""
        self._dropped = 0
        self._any = False

    def cut(self) -> Iterator[bytes | Reject]:
        """The elements that end in the buffer; what is left of it then begins with the unfinished one."""
        for token in _TOKEN.finditer(self.buffer, self.position):
            mark = self.buffer[token.start()]
            if token.end() - token.start() > 1:
                if not self.array and self.level == 0 and mark != _QUOTE:
                    yield self._element(token.end(), token.end())
            elif mark == _QUOTE:
                self.position = token.start()
                break
            elif mark in b"[{":
                self.level += 1
            elif mark == 0x2C:
                if self.array and self.level == 1:
                    yield self._element(token.start(), token.end())
                    self._any = True
            else:
                self.level -= 1
                if self.array and self.level == 0:
                    if self._any or self._dropped or self.buffer[self.begin : token.start()].strip(_SPACE):
                        yield self._element(token.start(), token.end())
                    self.begin, self.closed = token.end(), True
                    return
                if not self.array and self.level <= 0:
                    self.level = 0
                    yield self._element(token.end(), token.end())
            self.position = token.end()
        self._shorten()

    def _element(self, end: int, after: int) -> bytes | Reject:
        self.count += 1
        text = self.buffer[self.begin : end]
        self.begin = after
        if self._dropped or len(text) > self.limit:
            head, length = self._head or text[:SAMPLE], self._dropped + len(text)
            self._head, self._dropped = b"", 0
            return oversize(self.count, "record", self.limit, head, length)
        return text.strip(_SPACE)

    def _shorten(self) -> None:
        self.buffer = self.buffer[self.begin :]
        self.position -= self.begin
        self.begin = 0
        if not self._dropped and len(self.buffer) <= self.limit:
            return
        self._head = self._head or self.buffer[:SAMPLE]
        rest = self.buffer[self.position :]
        # Of an unfinished string only the quote is needed, and whether the next byte is escaped.
        kept = b'"' + b"\\" * ((len(rest) - len(rest.rstrip(b"\\"))) % 2) if rest[:1] == b'"' else b""
        self._dropped += len(self.buffer) - len(kept)
        self.buffer, self.position = kept, 0

    def rest(self) -> bytes:
        """What belongs to no whole element."""
        return self._head or self.buffer[self.begin :]
