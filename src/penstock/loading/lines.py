"""NDJSON to records: a line a record, however it is spelled; lines in our own spelling go a faster way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

from penstock.errors import SerializationError
from penstock.loading.records import RecordReader
from penstock.loading.rows import SAMPLE, Portion, Reject, Rows, damage, oversize
from penstock.loading.streams import Pieces
from penstock.model import jsontext
from penstock.model.columns import EVENT_FIELDS, EVENT_SPELLING
from penstock.pipeline.canonical import NotCanonical, parse_lines

_SPACE = b" \t\r\n"
#: After this many blocks in a row that were not in our own spelling, it is not tried again.
_PATIENCE = 4
_ROWS = 8192
_CUT = 1 << 18


def read_lines(pieces: Pieces, records: RecordReader, *, limit: int) -> Iterator[Portion]:
    """The records of NDJSON, portion by portion; lines over ``limit`` bytes are set aside without being held."""
    own = OwnLines(records)
    for block in line_blocks(pieces, limit=limit):
        if isinstance(block, Reject):
            yield Portion(rejects=[block])
            continue
        first, text = block
        rows = own.read(text, first)
        if rows is not None:
            yield Portion(rows=rows)
            continue
        lines = _numbered(text, first)
        while some := list(islice(lines, _ROWS)):
            yield records.read(some)


def _numbered(text: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank; a block of tiny ones is not cut up all at once."""
    start, number = 0, first
    while start < len(text):
        end = text.rfind(b"\n", start, start + _CUT) + 1
        if not end:
            end = text.find(b"\n", start) + 1 or len(text)
        for line in text[start:end].removesuffix(b"\n").split(b"\n"):
            if line and not line.isspace():
                yield number, line.strip(_SPACE)
            number += 1
        start = end


def line_blocks(pieces: Pieces, *, limit: int) -> Iterator[tuple[int, bytes] | Reject]:
    """Blocks of whole lines, each with the number of its first line; lines over ``limit`` come as rejects.

    Damage of the stream comes last, as a reject with the unfinished line.
    """
    held: list[bytes] = []
    size = 0
    skipping = False
    line = 1
    while True:
        try:
            data = pieces.read()
        except SerializationError as error:
            yield damage(line, "line", error, b"".join(held))
            return
        if not data:
            break
        end = data.find(b"\n") + 1
        if skipping:
            held = [(held[0] + data[: end - 1 if end else SAMPLE][:SAMPLE])[:SAMPLE]]
        if skipping and end:
            yield oversize(line, "line", limit, held[0], size + end - 1)
            held, size, skipping, line = [], 0, False, line + 1
            data = data[end:]
        cut = 0 if skipping else data.rfind(b"\n") + 1
        if cut:
            text = b"".join([*held, data[:cut]])
            yield from _within(text, line, limit)
            line += text.count(b"\n")
            held, size, data = [], 0, data[cut:]
        size += len(data)
        if not skipping and size > limit:
            held, skipping = [b"".join([*held, data])[:SAMPLE]], True
        elif not skipping and data:
            held.append(data)
    if skipping:
        yield oversize(line, "line", limit, held[0], size)
    elif held:
        yield line, b"".join(held)


def _within(text: bytes, first: int, limit: int) -> Iterator[tuple[int, bytes] | Reject]:
    """A block of whole lines, cut at those that are over the limit; there are none in a block that is not over it."""
    if len(text) <= limit:
        yield first, text
        return
    begin, number = 0, first
    position = 0
    while position < len(text):
        end = text.index(b"\n", position) + 1
        if end - 1 - position > limit:
            if begin < position:
                yield number, text[begin:position]
                number += text.count(b"\n", begin, position)
            head = text[position : min(position + SAMPLE, end - 1)]
            yield oversize(number, "line", limit, head, end - 1 - position)
            begin, number = end, number + 1
        position = end
    if begin < len(text):
        yield number, text[begin:]


class OwnLines:
    """Lines exactly as our own export writes them, read by the strict decoder of the format."""

    def __init__(self, records: RecordReader) -> None:
        self._any_depth = records.max_depth == jsontext.MAX_DEPTH
        self._unit = records.unit
        self._patience = 0 if records.fields.mapped else _PATIENCE

    def read(self, text: bytes, first: int) -> Rows | None:
        """The rows of whole lines, numbered from ``first``; ``None`` when the lines are not of this kind."""
        if not self._patience:
            return None
        try:
            parsed = parse_lines(text, EVENT_SPELLING)
        except NotCanonical:
            self._patience -= 1
            return None
        self._patience = _PATIENCE
        lines = cache(lambda: text.split(b"\n"))
        return Rows(
            columns={name: parsed.batch.column(name) for name in EVENT_FIELDS},
            payloads_checked=parsed.settled and self._any_depth,
            unit=self._unit,
            locate=lambda row: (first + row, lines()[row]),
            contents=lambda places: [lines()[row] for row in places],
        )
