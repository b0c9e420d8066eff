"""A file in the making: small ones are written as they come, large ones past the page cache."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.naming import open_plain
from penstock.errors import Exists, IoError, from_os_error
from penstock.ports.format import Buffer

#: From this size on a file is written directly: in whole blocks, from memory that is aligned to pages, at offsets that
#: are. The kernel then neither copies the bytes nor finds pages for them, and ``fsync`` has nothing to wait for.
_DIRECT_FROM = 8 << 20
_BLOCK = 4 << 20
_PAGE = 4096


class LocalStagedFile:
    """A part in the staging directory.

    What was written of a large file may wait in a block of 4 MiB until ``finish``. Where the file system cannot write
    directly, all of it goes through the page cache.
    """

    def __init__(self, path: Path, ops: FileOps) -> None:
        self.path = path
        self._ops = ops
        self._accepted = self._written = 0
        self._block: mmap.mmap | None = None
        self._filled = 0
        self._may_be_direct = True
        try:
            self._fd = ops.create(path)
        except FileExistsError:
            raise Exists(f"{path} exists", hint="use each name once in an attempt") from None
        except OSError as error:
            raise from_os_error(error, f"cannot write {path}") from None

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        self._accepted += view.nbytes
        try:
            while view.nbytes:
                taken = self._take(view)
                view = view[taken:]
        except OSError as error:
            raise from_os_error(error, f"cannot write {self.path}") from None

    def _take(self, view: memoryview) -> int:
        """Write or keep some of ``view``; returns how much."""
        if self._block is not None:
            taken = min(view.nbytes, _BLOCK - self._filled)
            self._block[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            if self._filled == _BLOCK:
                self._flush()
            return taken
        if not self._may_be_direct or self._written < _DIRECT_FROM:
            return self._put(view)
        if self._written % _PAGE:
            return self._put(view[: _PAGE - self._written % _PAGE])
        self._begin_direct()
        return 0

    def _put(self, view: memoryview) -> int:
        """One write, which may take less than all."""
        taken = self._ops.write(self._fd, view)
        if taken == 0:
            raise IoError(f"cannot write {self.path}: the disk takes no more bytes", hint="check the disk")
        self._written += taken
        return taken

    def _begin_direct(self) -> None:
        try:
            self._ops.set_direct(self._fd, True)
        except OSError:
            self._may_be_direct = False  # this file system has only the other way
        else:
            self._block = mmap.mmap(-1, _BLOCK)

    def _flush(self) -> None:
        """Write what the block holds. What is no whole page, at the end or after a short write, goes the other way."""
        assert self._block is not None
        with memoryview(self._block) as block:
            done = 0
            while done < self._filled:
                direct = self._may_be_direct and not self._written % _PAGE and self._filled - done >= _PAGE
                if self._may_be_direct and not direct:
                    self._end_direct()
                stop = self._filled - (self._filled - done) % _PAGE if direct else self._filled
                try:
                    with block[done:stop] as piece:
                        done += self._put(piece)
                except OSError as error:
                    if not direct or error.errno != errno.EINVAL:
                        raise
                    self._end_direct()
        self._filled = 0
        if not self._may_be_direct:
            self._drop_block()

    def _end_direct(self) -> None:
        self._may_be_direct = False
        self._ops.set_direct(self._fd, False)

    def _drop_block(self) -> None:
        if self._block is not None:
            self._block.close()
            self._block = None

    def finish(self) -> int:
        try:
            if self._block is not None:
                self._flush()
            self._ops.fsync(self._fd)
            size = os.fstat(self._fd).st_size
            fd, self._fd = self._fd, -1
            self._ops.close(fd)
        except OSError as error:
            raise from_os_error(error, f"cannot finish {self.path}") from None
        self._drop_block()
        if size != self._accepted:
            raise IoError(f"{self.path} has {size} bytes, {self._accepted} were written", hint="check the disk")
        return size

    def abort(self) -> None:
        self._drop_block()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._ops.close(fd)
            except OSError:
                return  # the file is dropped with the staging directory, whatever its descriptor said

    @contextmanager
    def read_back(self) -> Iterator[BinaryIO]:
        with open_plain(self.path, follow=False) as file:
            yield file
