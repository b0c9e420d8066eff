"""The files of a load: all looked at before anything is stored, then opened one by one."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from penstock.errors import NotFound, UsageError, from_os_error
from penstock.loading.identity import source_name
from penstock.loading.recognise import HEAD, Layout, codec_of, layout_of
from penstock.model.options import ExportFormat, parse_format
from penstock.pipeline.compression import open_reader

STDIN = "-"
_BUFFER = 1 << 18
#: So many bytes of a pipe tell what it is, unless it is zstd.
_PIPE_HEAD = 1 << 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An open input: its content, how far its ``size`` bytes were read, and the memory it is mapped to, if so."""

    content: Any
    counted: Counted
    size: int
    mapped: mmap.mmap | None = None

    def passed(self, size: int) -> None:
        """Note that so many bytes of the content were used. Pages of a mapped file are given back: it may be large, and
        one batch of it may be all of it."""
        if self.mapped is not None:
            self.counted.position = max(self.counted.position, min(self.counted.position + size, self.size))
            self.mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One file to load. ``size`` is in bytes as stored, 0 where nobody knows; ids are made from ``source``.

    ``stream`` is set for what is not a file, and can be read once.
    """

    name: str
    source: str
    layout: Layout
    codec: str
    size: int
    path: Path | None = None
    stream: BinaryIO | None = field(default=None, repr=False)

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """The content from its start, seekable where the layout needs that.

        Raises :class:`~penstock.errors.SerializationError` when it has to be unpacked for that and is damaged.
        """
        with ExitStack() as stack:
            counted = Counted(stack.enter_context(self.stream) if self.stream is not None else self._file(stack))
            buffered: Any = io.BufferedReader(counted, _BUFFER)
            content: Any
            file: Any = counted
            if self.layout.seeks and (self.codec != "none" or self.stream is not None):
                content = file = stack.enter_context(tempfile.TemporaryFile(prefix="penstock-"))
                shutil.copyfileobj(open_reader(self.codec, buffered), file, _BUFFER)
                file.flush()
            else:
                content = open_reader(self.codec, buffered)
            size = file.seek(0, os.SEEK_END) if self.layout.seeks else 0
            if self.layout.seeks:
                file.seek(0)
            mapped = None
            if self.layout is Layout.ARROW_FILE and size:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                content = pa.BufferReader(pa.py_buffer(mapped))
            yield Opened(content=content, counted=counted, mapped=mapped, size=self.size)

    def _file(self, stack: ExitStack) -> BinaryIO:
        assert self.path is not None
        try:
            return stack.enter_context(self.path.open("rb", buffering=0))
        except OSError as error:
            raise from_os_error(error, f"cannot read {self.name}") from None


class Counted(io.RawIOBase):
    """A reader that counts what passes; ``position`` is in bytes."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._raw.seekable())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._raw.seek(offset, whence))

    def tell(self) -> int:
        return int(self._raw.tell())

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def readinto(self, target: Any) -> int:
        count = int(self._raw.readinto(target))
        self.position += count
        return count


class _Replayed(io.RawIOBase):
    """A stream from its start again, after its first bytes were read to see what it is."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._head:
            return int(self._stream.readinto1(target))
        count = min(len(target), len(self._head))
        target[:count] = self._head[:count]
        self._head = self._head[count:]
        return count

    def close(self) -> None:
        """Close the stream, unless it is standard input, which is not ours."""
        if self._stream is not sys.stdin.buffer:
            self._stream.close()
        super().close()


def survey(
    files: Sequence[str | os.PathLike[str]],
    *,
    format: ExportFormat | str | None,
    source: str | None,
    reserved: Sequence[Path],
) -> list[Input]:
    """All inputs, checked to be there, readable and of a known kind. ``-`` is standard input.

    ``reserved`` are files that the load itself writes: none of them is even opened. Raises
    :class:`~penstock.errors.NotFound`, :class:`UsageError`, :class:`~penstock.errors.AccessDenied`,
    :class:`~penstock.errors.InvalidFormat`.
    """
    if not files:
        raise UsageError("no file was named", hint="give the files to load, or - for standard input")
    names = [os.fspath(file) for file in files]
    if names.count(STDIN) > 1:
        raise UsageError("standard input was named twice", hint="it can be read once")
    wanted = parse_format(format) if format is not None else None
    return [_looked_at(name, wanted, source, reserved) for name in names]


def _looked_at(name: str, wanted: ExportFormat | None, source: str | None, reserved: Sequence[Path]) -> Input:
    if name == STDIN:
        if sys.stdin is None:
            raise UsageError("standard input is closed", hint="name a file")
        return _piped(name, sys.stdin.buffer, "stdin", wanted, source)
    if not name or "\x00" in name:
        raise UsageError("a file has an empty name, or a NUL in it")
    path = Path(name)
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise UsageError(f"{name} is a directory, not a file", hint="name the files in it")
        if any(_is_same(path, other) for other in reserved):
            raise UsageError(f"{name} is what this load writes to", hint="load another file, or write elsewhere")
        if not stat.S_ISREG(facts.st_mode):
            return _piped(name, path.open("rb"), path.name, wanted, source)
        with path.open("rb") as file:
            head = file.read(HEAD)
    except FileNotFoundError:
        raise NotFound(f"there is no file {name}", hint="nothing was stored; check the path") from None
    except OSError as error:
        raise from_os_error(error, f"cannot read {name}") from None
    codec = codec_of(name, head)
    return Input(
        name=name,
        source=source if source is not None else source_name(path.name),
        layout=layout_of(path.name, codec, head, wanted),
        codec=codec,
        size=facts.st_size,
        path=path,
    )


def _piped(name: str, stream: Any, called: str, wanted: ExportFormat | None, source: str | None) -> Input:
    head = _first_bytes(stream, _PIPE_HEAD)
    codec = codec_of(name, head)
    if codec == "zstd":
        head += _first_bytes(stream, HEAD)
    return Input(
        name=name,
        source=source if source is not None else source_name(called),
        layout=layout_of(called, codec, head, wanted),
        codec=codec,
        size=0,
        stream=_Replayed(head, stream),  # type: ignore[arg-type]  # a raw stream, which Counted buffers
    )


def _first_bytes(stream: Any, size: int) -> bytes:
    """At least ``size`` bytes, unless the stream ends before."""
    found = b""
    while len(found) < size and (data := stream.read1(HEAD)):
        found += data
    return found


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
