"""Signals to the command: the first ends it, unless what it was asked for is done; those behind it find it ending."""

from __future__ import annotations

import signal
from types import FrameType

from penstock.errors import Cancelled

_SIGNALS = {signal.SIGINT: ("cancelled", 130), signal.SIGTERM: ("terminated", 143)}


class Stopping:
    """What came, and whether it came too late. ``arm`` begins a command; a signal that was ignored when the process
    began, as for a job in the background, stays ignored."""

    def __init__(self) -> None:
        self._came = self._done = False

    def arm(self) -> None:
        """From now on the first signal raises :class:`~penstock.errors.Cancelled`."""
        self._came = self._done = False
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def done(self) -> None:
        """What the command was asked for is committed: a signal no longer changes it."""
        self._done = True

    @property
    def late(self) -> bool:
        """Whether a signal came when all was done."""
        return self._came and self._done

    def _stop(self, number: int, frame: FrameType | None) -> None:
        first, self._came = not self._came, True
        if first and not self._done:
            word, code = _SIGNALS[signal.Signals(number)]
            stop = Cancelled(f"{word}; nothing half-written was left behind")
            stop.exit_code = code
            raise stop


stopping = Stopping()
