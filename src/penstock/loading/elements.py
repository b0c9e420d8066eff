"""JSON that is not a record a line: the elements of an array, or values one after another, in any layout."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.loading.lines import OwnLines
from penstock.loading.records import RecordReader
from penstock.loading.rows import Portion, set_aside
from penstock.loading.streams import BLOCK, Pieces
from penstock.pipeline.elements import elements

_ROWS = 4096


def read_elements(pieces: Pieces, records: RecordReader, *, limit: int, array: bool) -> Iterator[Portion]:
    """The elements of a JSON array, or values one after another, portion by portion, numbered from 1."""
    own = OwnLines(records)
    held: list[tuple[int, bytes]] = []
    size = 0
    number = 0
    for element in elements(lambda held: pieces.read(max(BLOCK, held)), limit=limit, array=array):
        number += 1
        if not isinstance(element, bytes):
            yield from _portion(held, own, records)
            yield Portion(rejects=[set_aside(number, records.unit, element, limit)])
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
