"""NDJSON to records: a line a record, however it is spelled; lines in our own spelling go a faster way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

from penstock.loading.records import RecordReader
from penstock.loading.rows import Portion, Rows, set_aside
from penstock.loading.streams import Pieces
from penstock.model import jsontext
from penstock.model.columns import EVENT_FIELDS, EVENT_SPELLING
from penstock.pipeline.canonical import NotCanonical, parse_lines
from penstock.pipeline.lines import line_blocks

_SPACE = b" \t\r\n"
#: After this many blocks in a row that were not in our own spelling, it is not tried again.
_PATIENCE = 4
_ROWS = 8192
_CUT = 1 << 18


def read_lines(pieces: Pieces, records: RecordReader, *, limit: int) -> Iterator[Portion]:
    """The records of NDJSON, portion by portion; lines over ``limit`` bytes are set aside without being held."""
    own = OwnLines(records)
    for first, text in line_blocks(lambda _: pieces.read(), limit=limit):
        if not isinstance(text, bytes):
            yield Portion(rejects=[set_aside(first, records.unit, text, limit)])
            continue
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
