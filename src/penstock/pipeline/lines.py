"""Whole lines, found in a stream; and what stands in place of a record that is too long or cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penstock.errors import SerializationError

#: How much is kept of a record that is not kept whole, in bytes.
SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Overlong:
    """A record that is over the limit: its beginning, and how many bytes it has."""

    head: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Where no more records can be found, and what was read and belongs to no whole one."""

    error: SerializationError
    rest: bytes


def line_blocks(read: Callable[[int], bytes], *, limit: int) -> Iterator[tuple[int, bytes | Overlong | Broken]]:
    """Blocks of whole lines, each with the number of its first line, from 1; the last line may lack its line feed.

    ``read`` gives the next bytes of the stream, none at its end, and is told how many are held. When it raises
    :class:`SerializationError`, the unfinished line comes last.
    """
    held: list[bytes] = []
    size = 0
    skipping = False
    line = 1
    while True:
        try:
            data = read(size)
        except SerializationError as error:
            yield line, Broken(error, b"".join(held))
            return
        if not data:
            break
        end = data.find(b"\n") + 1
        if skipping:
            held = [(held[0] + data[: end - 1 if end else SAMPLE][:SAMPLE])[:SAMPLE]]
        if skipping and end:
            yield line, Overlong(held[0], size + end - 1)
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
        yield line, Overlong(held[0], size)
    elif held:
        yield line, b"".join(held)


def _within(text: bytes, first: int, limit: int) -> Iterator[tuple[int, bytes | Overlong]]:
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
            yield number, Overlong(head, end - 1 - position)
            begin, number = end, number + 1
        position = end
    if begin < len(text):
        yield number, text[begin:]
