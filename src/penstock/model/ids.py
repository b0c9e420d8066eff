"""Ids and sessions: the text that they may be, and the ids that are made here, whose order is that of their times.

An event that is made without an id gets a UUID of version 7 (RFC 9562): the time of its making in milliseconds, then a
counter, then chance. A record that comes without one gets a UUID of version 8: the event's own time in milliseconds,
then a digest, so that the same record gets the same id again.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidEvent

MAX_ID_BYTES = 1024
#: C0 and C1 control characters and DEL: allowed neither in ids and sessions nor in event types.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_RE2 = r"\p{Cc}"
_COUNTER_BITS = 42


def check_text(text: str, *, what: str) -> str:
    """Return the text if it can be written as UTF-8. Raises :class:`InvalidEvent` for a lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidEvent(f"{what} holds a lone surrogate") from None
    return text


def check_id(text: str | uuid.UUID, *, what: str) -> str:
    """Return an id or a session if it is text of 1 to 1,024 bytes of UTF-8 without control characters; a
    :class:`uuid.UUID` is taken as its text. Raises :class:`InvalidEvent`."""
    if isinstance(text, uuid.UUID):
        return str(text)
    if not isinstance(text, str):
        raise InvalidEvent(f"{what} must be text, not {str(text)[:60]!r}")
    if not text:
        raise InvalidEvent(f"{what} is empty", hint=f"leave {what} out where there is none")
    size = len(check_text(text, what=what).encode())
    if size > MAX_ID_BYTES:
        raise InvalidEvent(f"{what} has {size:,} bytes, more than {MAX_ID_BYTES:,}: {text[:40]!r}...")
    if CONTROL.search(text):
        raise InvalidEvent(f"{what} holds a control character: {text[:60]!r}")
    return text


def allowed_ids(column: pa.StringArray) -> pa.BooleanArray:
    """Where a column of valid UTF-8 holds what :func:`check_id` takes, or nothing."""
    size = pc.binary_length(column)
    fits = pc.and_(pc.greater(size, 0), pc.less_equal(size, MAX_ID_BYTES))
    return pc.fill_null(pc.and_not(fits, pc.match_substring_regex(column, _CONTROL_RE2)), True)


class _Clock:
    """Numbers that only grow: milliseconds, then a counter of 42 bits that begins at a random number in each of them.

    The counter runs over into the milliseconds, and goes on from there when the system's clock stands or is set back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def begin(self) -> None:
        """Forget all: a process that was forked off must not go on with its parent's counter, nor with its lock."""
        self._lock, self._last = threading.Lock(), 0

    def next(self) -> int:
        now = time.time_ns() // 1_000_000
        with self._lock:
            if now > self._last >> _COUNTER_BITS:
                # the first bit of the counter is 0, so that there is room to count
                self._last = now << _COUNTER_BITS | int.from_bytes(os.urandom(6), "big") >> (49 - _COUNTER_BITS)
            else:
                self._last += 1
            return self._last


_CLOCK = _Clock()
os.register_at_fork(after_in_child=_CLOCK.begin)


def new_id() -> str:
    """A UUID of version 7. In one process each is higher than all that were made before, whatever the clock does."""
    return _uuid(7, _CLOCK.next() << 32 | int.from_bytes(os.urandom(4), "big"))


def stable_id(micros: int, digest: bytes) -> str:
    """A UUID of version 8 from a time in microseconds and 10 bytes or more of a digest, of which 74 bits are used.

    Of times before 1970 the time is 0.
    """
    return _uuid(8, max(micros // 1000, 0) << 74 | int.from_bytes(digest[:10], "big") >> 6)


def _uuid(version: int, bits: int) -> str:
    """The 122 bits of a UUID around its version and its variant."""
    high, low = bits >> 62, bits & (1 << 62) - 1
    text = f"{(high >> 12) << 16 | version << 12 | high & 0xFFF:016x}{0b10 << 62 | low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
