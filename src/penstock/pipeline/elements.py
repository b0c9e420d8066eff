"""The elements of a JSON array, or JSON values one after another, found in a stream that holds one of them at a time.

An element need not be valid JSON itself. What is one is decided by brackets, commas and strings alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from penstock.errors import SerializationError
from penstock.pipeline.lines import SAMPLE, Broken, Overlong

SPACE = b" \t\r\n"
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


def elements(read: Callable[[int], bytes], *, limit: int, array: bool) -> Iterator[bytes | Overlong | Broken]:
    """The text of each element, in order, without white space around it; elements over ``limit`` bytes are not held.

    ``read`` gives the next bytes of the stream, none at its end, and is told how many are held. When it raises
    :class:`SerializationError`, or the text is cut short, or goes on after the end of the array, the rest comes last.
    """
    cutter = _Cutter(limit, array=array)
    rest = b""
    try:
        data = read(0).lstrip(SPACE)
        while not data and (more := read(0)):
            data = more.lstrip(SPACE)
        if array and data[:1] != b"[":
            yield Broken(SerializationError("not a JSON array: it does not begin with ["), data)
            return
        cutter.buffer = data
        cutter.begin = cutter.position = 1 if array else 0
        while True:
            yield from cutter.cut()
            if cutter.closed:
                break
            more = read(len(cutter.buffer))
            if not more:
                break
            cutter.buffer += more
        rest = cutter.rest()
        while cutter.closed and not rest.strip(SPACE) and (more := read(0)):
            rest = more
    except SerializationError as error:
        yield Broken(error, cutter.rest())
        return
    if cutter.closed and rest.strip(SPACE):
        yield Broken(SerializationError("there are bytes after the end of the JSON array"), rest)
    elif not cutter.closed and (array or rest.strip(SPACE)):
        what = "the JSON array is cut short: its closing bracket is missing" if array else "the last value is cut short"
        yield Broken(SerializationError(what), rest)


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
        self.closed = False
        self._head = b""
        self._dropped = 0
        self._any = False

    def cut(self) -> Iterator[bytes | Overlong]:
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
                    if self._any or self._dropped or self.buffer[self.begin : token.start()].strip(SPACE):
                        yield self._element(token.start(), token.end())
                    self.begin, self.closed = token.end(), True
                    return
                if not self.array and self.level <= 0:
                    self.level = 0
                    yield self._element(token.end(), token.end())
            self.position = token.end()
        self._shorten()

    def _element(self, end: int, after: int) -> bytes | Overlong:
        text = self.buffer[self.begin : end]
        self.begin = after
        if self._dropped or len(text) > self.limit:
            head, length = self._head or text[:SAMPLE], self._dropped + len(text)
            self._head, self._dropped = b"", 0
            return Overlong(head, length)
        return text.strip(SPACE)

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
