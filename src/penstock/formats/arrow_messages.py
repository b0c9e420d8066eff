"""Arrow IPC messages, looked at before the library unpacks them: it takes as much memory as a message claims."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.formats.bounds import MAX_GROUP_BYTES, check_columns, check_group

#: Fields of Arrow's flat buffers by their place: of message, record batch, dictionary, schema, field, footer.
_VERSION, _HEADER, _CUSTOM = 0, 2, 4
_BUFFERS, _COMPRESSION = 2, 3
_DATA = 1
_FIELDS, _CHILDREN = 1, 5
_FOOTER_SCHEMA, _FOOTER_DICTIONARIES, _FOOTER_BATCHES = 1, 2, 3
#: Bytes of an entry in a footer: where a message lies, and how long its two pieces are.
_BLOCK = 24
_VERSION_5 = 4
_MOST_LEVELS = 64
_FOOTER_END = struct.Struct("<i6s")
_MAGIC = b"ARROW1"
_FRAME = struct.Struct("<Ii")
_CONTINUED = 0xFFFFFFFF


def _message(content: pa.Buffer) -> pa.ipc.Message:
    try:
        return pa.ipc.read_message(content)
    except EOFError:
        raise SerializationError("damaged Arrow data: a message is missing") from None


@contextmanager
def _as_damage() -> Iterator[None]:
    """What is not laid out as Arrow lays it out is damaged."""
    try:
        yield
    except (struct.error, IndexError) as error:
        raise SerializationError(f"damaged Arrow data: {error}") from None


def messages(source: Any, *, mapped: bool = False, most: int = MAX_GROUP_BYTES) -> Iterator[pa.ipc.Message]:
    """The messages of a stream, the schema first; no other takes more than ``most`` bytes when it is unpacked, with all
    dictionaries before it. What is ``mapped`` to memory and not compressed takes none.

    Raises :class:`SerializationError` and what pyarrow raises.
    """
    found = iter(pa.ipc.MessageReader.open_stream(source if mapped else _Guarded(source, most)))
    first = next(found, None)
    if first is None:
        raise SerializationError("damaged Arrow data: it is empty")
    if first.type != "schema":
        raise SerializationError(f"damaged Arrow data: it begins with a {first.type}")
    _check_fields(first.metadata, _HEADER)
    yield first
    yield from _bounded(found, mapped, most)


def _bounded(found: Iterable[pa.ipc.Message], mapped: bool, most: int) -> Iterator[pa.ipc.Message]:
    dictionaries = 0
    for message in found:
        if message.type not in ("record batch", "dictionary"):
            raise SerializationError(f"damaged Arrow data: a message of the kind {message.type!r}")
        size = dictionaries + _unpacked_size(message, mapped)
        check_group(size, most)
        if message.type == "dictionary":
            dictionaries = size
        yield message


def stream_batches(source: Any, *, mapped: bool, most: int) -> Iterator[pa.RecordBatch]:
    """The record batches of a stream of any schema, with dictionaries or not, as :func:`messages` lets them through."""
    if not mapped:
        yield from pa.ipc.open_stream(_Fed(messages(source, most=most)))
        return
    rest = source.read_buffer()
    reader = None
    for message in messages(pa.BufferReader(rest), mapped=True, most=most):
        reader = reader or pa.ipc.open_stream(pa.BufferReader(rest))
        if message.type == "record batch":
            yield reader.read_next_batch()


def file_batches(file: pa.BufferReader, *, most: int) -> Iterator[pa.RecordBatch]:
    """The record batches of a whole file that is mapped to memory, in the order of its footer; as above."""
    dictionaries, batches = footer_blocks(file)
    file.seek(0)
    content = file.read_buffer()
    reader = pa.ipc.open_file(content)
    number = 0
    for message in _bounded(map(_message, map(content.slice, (*dictionaries, *batches))), True, most):
        if message.type == "record batch":
            yield reader.get_batch(number)
            number += 1


@_as_damage()
def footer_blocks(stream: Any) -> tuple[list[int], list[int]]:
    """Where the dictionaries and the record batches of a file are, by its footer, whose schema can then be read."""
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(max(size - _FOOTER_END.size, 0))
    length, magic = _FOOTER_END.unpack(stream.read(_FOOTER_END.size))
    if magic != _MAGIC or not 0 < length <= min(size - _FOOTER_END.size, MAX_GROUP_BYTES):
        raise struct.error("it has no footer")
    stream.seek(size - _FOOTER_END.size - length)
    footer = stream.read(length)
    _check_fields(footer, _FOOTER_SCHEMA)
    found = []
    for vector in (_root(footer, _FOOTER_DICTIONARIES), _root(footer, _FOOTER_BATCHES)):
        count = struct.unpack_from("<I", footer, vector)[0] if vector else 0
        places = [struct.unpack_from("<q", footer, (vector or 0) + 4 + _BLOCK * number)[0] for number in range(count)]
        if any(not 0 <= place < size for place in places):
            raise struct.error("a block lies outside of it")
        found.append(places)
    return found[0], found[1]


class _Guarded:
    """A stream of which nothing is read that is larger than it may be."""

    closed = False

    def __init__(self, stream: Any, most: int) -> None:
        self._stream = stream
        self._most = most

    def read(self, size: int) -> Any:
        check_group(size, self._most)
        return self._stream.read(size)


class _Fed:
    """Messages as the stream that they came from, each taken when it is asked for."""

    closed = False

    def __init__(self, source: Iterator[pa.ipc.Message]) -> None:
        self._source = source
        self._pieces: list[memoryview] = []

    def read(self, size: int) -> bytes | memoryview:
        while not self._pieces:
            message = next(self._source, None)
            if message is None:
                return b""
            pieces = (_FRAME.pack(_CONTINUED, message.metadata.size), message.metadata, message.body)
            self._pieces = [view for piece in pieces if (view := memoryview(piece or b"").cast("B"))]
        piece, self._pieces[0] = self._pieces[0][:size], self._pieces[0][size:]
        if not self._pieces[0]:
            del self._pieces[0]
        return piece


@_as_damage()
def _unpacked_size(message: pa.ipc.Message, mapped: bool) -> int:
    """How many bytes a message takes when it is uncompressed, by what stands in front of its buffers."""
    metadata, body = memoryview(message.metadata), memoryview(message.body or b"")
    batch = _root(metadata, _HEADER)
    if batch and message.type == "dictionary":
        batch = _table(metadata, batch, _DATA)
    buffers = _table(metadata, batch, _BUFFERS) if batch else None
    if not batch or not buffers:
        return 0
    if not _table(metadata, batch, _COMPRESSION) and not _compressed_of_old(metadata):
        return 0 if mapped else body.nbytes
    (count,) = struct.unpack_from("<I", metadata, buffers)
    total = 0
    for number in range(count):
        offset, length = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * number)
        if length and offset >= 0:
            (claimed,) = struct.unpack_from("<q", body, offset)
            total += max(length if claimed == -1 else claimed, 0)
    return total


def _compressed_of_old(metadata: Any) -> bool:
    """Whether a message may be compressed in the way of Arrow 0.17, which named the codec in its custom metadata."""
    place = _place(metadata, _start(metadata), _VERSION)
    version = struct.unpack_from("<h", metadata, place)[0] if place else 0
    return version < _VERSION_5 and _root(metadata, _CUSTOM) is not None


@_as_damage()
def _check_fields(metadata: Any, place_of_schema: int) -> None:
    """Raise for more fields than a file may have. In a flat buffer a few bytes may stand for many of them."""
    schema = _root(metadata, place_of_schema)
    left = [(schema, _FIELDS, 0)] if schema else []
    count = 0
    while left:
        table, place, level = left.pop()
        vector = _table(metadata, table, place)
        if not vector:
            continue
        (inside,) = struct.unpack_from("<I", metadata, vector)
        count += inside
        check_columns(count)
        if level > _MOST_LEVELS:
            raise struct.error("too many levels")
        for at in range(vector + 4, vector + 4 + 4 * inside, 4):
            left.append((at + struct.unpack_from("<I", metadata, at)[0], _CHILDREN, level + 1))


def _start(metadata: Any) -> int:
    return int(struct.unpack_from("<I", metadata)[0])


def _root(metadata: Any, field: int) -> int | None:
    return _table(metadata, _start(metadata), field)


def _place(metadata: Any, table: int, field: int) -> int | None:
    """Where a field of a flat buffer's table lies; ``None`` if it is not there."""
    entries = table - struct.unpack_from("<i", metadata, table)[0]
    if entries < 0 or struct.unpack_from("<H", metadata, entries)[0] < 4 + 2 * (field + 1):
        return None
    offset = struct.unpack_from("<H", metadata, entries + 4 + 2 * field)[0]
    return table + int(offset) if offset else None


def _table(metadata: Any, table: int, field: int) -> int | None:
    """Where a field that refers to something refers to."""
    place = _place(metadata, table, field)
    return None if place is None else place + int(struct.unpack_from("<I", metadata, place)[0])
