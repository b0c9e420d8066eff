"""The footer of a Parquet file and the heads of its pages, as far as they say how its columns are laid out: read here,
since the library takes as much memory as they claim, and ends the whole process over some damaged ones when it is
asked. They are structures in Thrift's compact protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from penstock.errors import SerializationError
from penstock.formats.compact import MOST_VALUES, Compact

#: Largest footer that is read, and written.
MOST_FOOTER_BYTES = 64 << 20
#: The head of a page is read in the first of these sizes that it fits into.
_HEADS = (256, 1 << 16, 16 << 20)
#: Fields by number: of the footer, a row group, a column chunk, its facts, a page, and the heads of its kinds.
_SCHEMA, _ROW_GROUPS = 2, 4
_COLUMNS, _ROWS = 1, 3
_META_DATA = 3
_KIND, _ENCODINGS, _PATH, _VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_AT, _DICTIONARY_AT = 1, 2, 3, 5, 6, 7, 9, 11
_PAGE_UNCOMPRESSED, _PAGE_COMPRESSED, _PAGE_KINDS = 2, 3, (5, 7, 8)
_PAGE_DICTIONARY = 7
#: Where a head of each kind has its encoding.
_PAGE_ENCODING = {5: 2, 7: 2, 8: 4}
_TYPE_LENGTH, _CHILDREN = 2, 5
BYTE_ARRAY = 6
FIXED_BYTES = 7


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one row group, by its pages. Sizes are in bytes, uncompressed: of all pages, of the largest one, of
    the dictionary, and of a value in the page where they are largest. ``encodings`` and ``kind`` are Parquet's numbers.
    """

    name: str
    kind: int
    encodings: frozenset[int]
    values: int
    stored: int
    size: int
    largest: int
    dictionary: int
    mean: int


@dataclass(frozen=True, slots=True)
class Group:
    """One row group."""

    rows: int
    columns: tuple[Column, ...]


def groups_of(stream: BinaryIO) -> Iterator[Group]:
    """Every row group. Raises :class:`SerializationError` for a footer and pages that cannot be read."""
    try:
        footer = _footer(stream)
        for group in footer.groups():
            chunks = zip(group[_COLUMNS], footer.lengths, strict=True)
            yield Group(group[_ROWS], tuple(_column(stream, chunk[_META_DATA], length) for chunk, length in chunks))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise SerializationError(f"damaged Parquet data: its footer or its pages cannot be read: {error!r}") from None


def _column(stream: BinaryIO, facts: Mapping[int, Any], length: int) -> Column:
    begin = min(facts[_DATA_AT], facts.get(_DICTIONARY_AT) or facts[_DATA_AT])
    encodings = set(facts[_ENCODINGS])
    size = largest = dictionary = seen = mean = 0
    for page in _pages(stream, begin, begin + facts[_COMPRESSED]):
        kind = next((kind for kind in _PAGE_KINDS if kind in page), None)
        if kind is None:
            continue
        bytes = page[_PAGE_UNCOMPRESSED]
        encodings.add(page[kind][_PAGE_ENCODING[kind]])
        size += bytes
        if kind == _PAGE_DICTIONARY:
            dictionary += bytes
            continue
        values = page[kind][1]
        if values < 0:
            raise ValueError(f"{values} values")
        largest, seen, mean = max(largest, bytes), seen + values, max(mean, bytes // max(values, 1))
        if seen >= facts[_VALUES]:
            break
    return Column(
        name=b".".join(facts[_PATH]).decode(),
        kind=facts[_KIND],
        encodings=frozenset(encodings),
        values=seen,
        stored=facts[_COMPRESSED],
        size=max(size, facts[_UNCOMPRESSED]),
        largest=largest,
        dictionary=dictionary,
        mean=max(mean, length if facts[_KIND] == FIXED_BYTES else 0),
    )


def _pages(stream: BinaryIO, begin: int, end: int) -> Iterator[dict[int, Any]]:
    """The head of each page between two places."""
    if not 0 <= begin <= end <= stream.seek(0, 2):
        raise ValueError(f"a column from {begin} to {end}")
    while begin < end:
        for most in _HEADS:
            stream.seek(begin)
            head = Compact(stream.read(most))
            try:
                page = head.structure()
                break
            except IndexError:
                if most == _HEADS[-1]:
                    raise
        if page[_PAGE_UNCOMPRESSED] < 0 or page[_PAGE_COMPRESSED] < 0:
            raise ValueError("a page of negative size")
        yield page
        begin += head.at + page[_PAGE_COMPRESSED]


def _footer(stream: BinaryIO) -> _Footer:
    size = stream.seek(0, 2)
    stream.seek(max(size - 8, 0))
    (length,) = struct.unpack("<I4x", stream.read(8))
    if length > min(size - 8, MOST_FOOTER_BYTES):
        raise ValueError(f"{length} bytes")
    stream.seek(size - 8 - length)
    return _Footer(stream.read(length))


class _Footer(Compact):
    """The footer, of which one row group is held at a time. ``lengths`` are those of the values of each column that has
    values of a fixed length, known when the first row group is."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.lengths: list[int] = []

    def groups(self) -> Iterator[dict[int, Any]]:
        for number, kind in self.fields():
            if number != _ROW_GROUPS:
                value = self.value(kind)
                if number == _SCHEMA:
                    self.lengths = [one.get(_TYPE_LENGTH, 0) for one in value if not one.get(_CHILDREN)]
                continue
            for _ in range(self.elements()[1]):
                self.left = MOST_VALUES
                yield self.structure(1)
