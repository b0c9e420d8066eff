"""An open file descriptor, standard output above all, as a sink; see :class:`penstock.ports.sink.Sink`."""

from __future__ import annotations

import os
import select

from penstock.errors import IoError, ReaderGone, from_os_error
from penstock.ports.format import Buffer


class DescriptorSink:
    """Writes to a file descriptor as it goes, also to one that does not wait by itself."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        try:
            while view.nbytes:
                view = view[self._take(view) :]
        except BrokenPipeError:
            raise ReaderGone("the reader of the stream went away") from None
        except OSError as error:
            raise from_os_error(error, "cannot write the stream") from None

    def _take(self, view: memoryview) -> int:
        """One write, after waiting for the reader where that is needed."""
        while True:
            try:
                taken = os.write(self._fd, view)
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self._fd, select.POLLOUT)
                waiting.poll()
                continue
            if taken == 0:
                raise IoError("cannot write the stream: it takes no more bytes")
            return taken
