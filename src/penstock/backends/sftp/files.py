"""Bytes on their way to a server, several requests ahead of its answers, and bytes that are read from it."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

import asyncssh

from penstock.backends.sftp.server import Server
from penstock.errors import Changed, ExportError, IoError
from penstock.ports.backend import Staged
from penstock.ports.format import Buffer

#: Bytes of a request, which every server has to take, and how many of these are on their way: a slow line has to carry
#: all of them within a timeout.
_BLOCK, _AHEAD = 1 << 15, 64
_READ = 1 << 20


class SftpUpload:
    """A file that is new, in an attempt's folder; see :class:`penstock.ports.backend.Upload`."""

    def __init__(
        self, server: Server, file: asyncssh.SFTPClientFile, path: str, staged: Staged, emptied: Callable[[], None]
    ) -> None:
        self._server, self._file, self._path, self._staged, self._emptied = server, file, path, staged, emptied
        self._block = bytearray()
        self._sent = 0
        self._ahead: deque[Future[int]] = deque()

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        while view.nbytes:
            taken = min(_BLOCK - len(self._block), view.nbytes)
            self._block += view[:taken]
            view = view[taken:]
            if len(self._block) == _BLOCK:
                self._send()

    def _send(self) -> None:
        while len(self._ahead) >= _AHEAD:
            self._answered()
        block, self._block = bytes(self._block), bytearray()
        self._ahead.append(self._server.session.begin(self._file.write(block, self._sent)))
        self._sent += len(block)

    def _answered(self) -> None:
        try:
            self._ahead.popleft().result()
        except asyncssh.SFTPError as error:
            folder = self._path.rpartition("/")[0]
            raise self._server.refused_bytes(error, f"cannot write {self._path}", folder) from None

    def finish(self) -> Staged:
        if self._block:
            self._send()
        while self._ahead:
            self._answered()
        session = self._server.session
        try:
            size = session.use(self._file.stat()).size
            if size != self._sent:
                raise IoError(
                    f"{self._path} on {self._server.host} has {size} bytes, {self._sent} were written",
                    hint="nothing was published; run the command again",
                )
            with suppress(asyncssh.SFTPOpUnsupported):
                session.use(self._file.fsync())
            session.use(self._file.close())
        except asyncssh.SFTPError as error:
            folder = self._path.rpartition("/")[0]
            raise self._server.refused_bytes(error, f"cannot end {self._path}", folder) from None
        return Staged(attempt=self._staged.attempt, name=self._staged.name, size=self._sent)

    def abort(self) -> None:
        for one in self._ahead:
            one.cancel()
        self._server.session.leave(self._file.close())
        with suppress(asyncssh.SFTPError, ExportError):
            self._server.remove(self._path)
            self._emptied()


class _Reading(io.RawIOBase):
    def __init__(self, server: Server, file: asyncssh.SFTPClientFile, path: str, size: int) -> None:
        super().__init__()
        self._server, self._file, self._path, self._size = server, file, path, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        wanted = min(len(buffer), max(self._size - self._at, 0))
        if wanted == 0:
            return 0
        try:
            piece = self._server.session.use(self._file.read(wanted, self._at))
        except asyncssh.SFTPError as error:
            raise self._server.told(error, f"cannot read {self._path}") from None
        if not piece:
            raise Changed(f"{self._path} was cut off while it was read", hint="look what stands there now")
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._server.session.leave(self._file.close())
        super().close()


def reading(server: Server, file: asyncssh.SFTPClientFile, path: str, *, start: int, stop: int) -> io.BufferedReader:
    """An open file from ``start`` up to ``stop``, which closes it."""
    raw = _Reading(server, file, path, stop)
    raw.seek(start)
    return io.BufferedReader(raw, _READ)
