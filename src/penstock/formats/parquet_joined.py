"""Row groups that were each encoded as a Parquet file of its own, and the one file that they become: their bytes follow
each other, and its footer has their entries, with all places moved. What a footer says besides is copied, known here or
not."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pyarrow as pa

from penstock.errors import SerializationError, UsageError
from penstock.formats.compact import Compact, Path, list_head, spelled
from penstock.formats.parquet_footer import MOST_FOOTER_BYTES

MAGIC = b"PAR1"
#: Most row groups of a file: many readers, and Parquet where it numbers them, have 16 bits for that.
MOST_GROUPS = (1 << 15) - 1
_ROWS, _GROUPS = 3, 4
#: Fields of a row group that are places in the file: its own, its columns', their indices', pages' and filters'.
_PLACES = frozenset({(5,), (1, 2), (1, 4), (1, 6), (1, 3, 9), (1, 3, 10), (1, 3, 11), (1, 3, 14)})
_PAGE_INDICES = frozenset({(1, 4), (1, 6)})
_ORDINAL = (7,)
#: Most bytes of the counts of rows and groups.
_COUNTS = 16
_END = struct.Struct("<I4s")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a footer says of one row group; ``numbers`` are those in it that change with its place: their path, where
    they begin and end, and what they are."""

    text: bytes
    numbers: tuple[tuple[Path, int, int, int], ...]

    def moved(self, by: int, ordinal: int) -> bytes:
        """The entry of the same group ``by`` bytes further on in a file. A place of 0 is none."""
        out, at = bytearray(), 0
        for path, begin, end, value in self.numbers:
            out += self.text[at:begin] + spelled(ordinal if path == _ORDINAL else value and value + by)
            at = end
        return bytes(out + self.text[at:])


@dataclass(frozen=True, slots=True)
class GroupFile:
    """A Parquet file of some rows. ``data`` lies between its first bytes and its footer; ``frame`` is what the footer
    says before, between and after the count of the rows and the ``entries`` of the row groups."""

    data: memoryview
    rows: int
    entries: tuple[Entry, ...]
    frame: tuple[bytes, bytes, bytes]

    @property
    def indexed(self) -> bool:
        """Whether there is an index of its pages."""
        return any(path in _PAGE_INDICES for entry in self.entries for path, *_ in entry.numbers)


def taken_apart(file: pa.Buffer) -> GroupFile:
    """A file that was encoded here, and is not doubted."""
    whole = memoryview(file).toreadonly()
    (length, _) = _END.unpack(whole[-_END.size :])
    begin = whole.nbytes - _END.size - length
    footer = bytes(whole[begin : -_END.size])
    reader = Compact(footer)
    rows, cuts = 0, []
    entries: tuple[Entry, ...] = ()
    for number, kind in reader.fields():
        at = reader.at
        if number == _ROWS:
            rows = reader.value(kind)
        elif number == _GROUPS:
            entries = tuple(_entry(reader, footer) for _ in range(reader.elements()[1]))
        else:
            reader.value(kind)
            continue
        cuts += [at, reader.at]
    frame = footer[: cuts[0]], footer[cuts[1] : cuts[2]], footer[cuts[3] :]
    return GroupFile(whole[len(MAGIC) : begin], rows, entries, frame)


def _entry(reader: Compact, footer: bytes) -> Entry:
    begin = reader.at
    numbers = tuple(
        (path, at - begin, end - begin, value)
        for path, at, end, value in reader.numbers()
        if path in _PLACES or path == _ORDINAL
    )
    return Entry(footer[begin : reader.at], numbers)


class JoinedFile:
    """One file in the making, which begins with ``MAGIC``. All that is added has to be like ``empty``, a file without
    rows."""

    def __init__(self, empty: GroupFile) -> None:
        self._frame = empty.frame
        self._indexed: bool | None = None
        self._size = len(MAGIC)
        self._rows = 0
        self._entries: list[bytes] = []
        #: How long the footer is with none, one, two, … of the groups that were added.
        self.footer_sizes = [sum(map(len, empty.frame)) + _COUNTS]

    def add(self, file: GroupFile) -> memoryview:
        """The bytes that come next.

        Raises :class:`SerializationError` for a file with another schema, or the only one with or without a page index,
        and :class:`~penstock.errors.UsageError` for one too many.
        """
        if file.frame != self._frame:
            raise SerializationError(f"row group {len(self._entries)} has another schema than its file")
        if self._indexed not in (None, file.indexed):
            raise SerializationError(f"row group {len(self._entries)} has another kind of page index than its file")
        self._indexed = file.indexed
        for entry in file.entries:
            self._entries.append(entry.moved(self._size - len(MAGIC), len(self._entries)))
            self.footer_sizes.append(self.footer_sizes[-1] + len(self._entries[-1]))
        if len(self._entries) > MOST_GROUPS or self.footer_sizes[-1] > MOST_FOOTER_BYTES:
            raise UsageError(
                f"one Parquet file would have more than {MOST_GROUPS:,} row groups, or more than"
                f" {MOST_FOOTER_BYTES >> 20} MiB about them",
                hint="write a directory: 'DEST/' instead of 'DEST.parquet'",
            )
        self._rows += file.rows
        self._size += file.data.nbytes
        return file.data

    def end(self) -> bytes:
        """The footer, the last bytes of the file."""
        before, between, after = self._frame
        groups = b"".join([list_head(len(self._entries)), *self._entries])
        footer = before + spelled(self._rows) + between + groups + after
        return footer + _END.pack(len(footer), MAGIC)
