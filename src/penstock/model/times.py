"""Points in time: microseconds since 1970-01-01 UTC inside Penstock, RFC 3339 text with six digits and ``Z`` outside.

Everything that reads a time from a person or a file goes through :func:`parse_time` or :func:`parse_timestamp`, so that
"offset-less means UTC" is decided in one place.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from penstock.errors import InvalidEvent, InvalidFilter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z, in microseconds: the years that RFC 3339 can spell.
MIN_MICROS = -62_135_596_800_000_000
MAX_MICROS = 253_402_300_799_999_999

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(?:([Zz])|([+-])(\d\d):?(\d\d)?)?\Z",
    re.ASCII,
)
_AGO = re.compile(r"(\d{1,6})\s*(m|min|h|d|w)(?:\s+ago)?\Z", re.ASCII)
_AGO_MICROS = {"m": 60_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}


class TimeUnit(StrEnum):
    """How a number is a time. Text that is no number is always read as ISO 8601; ``ISO`` reads nothing else."""

    AUTO = "auto"
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    ISO = "iso"


def to_micros(moment: datetime) -> int:
    """Microseconds since the epoch of a datetime; one without an offset is taken as UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=micros)


def render(micros: int) -> str:
    """RFC 3339 text with exactly six fractional digits and ``Z``, the one spelling used in every output."""
    moment = from_micros(micros)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"


def parse_timestamp(text: str) -> int:
    """Read an ISO 8601 / RFC 3339 date or date-time; no offset means UTC; digits past the sixth are cut off.

    Raises :class:`InvalidEvent` with the reason for anything else, for 60th seconds and for years outside 0001–9999.
    """
    match = _RFC3339.match(text.strip())
    if match is None:
        raise InvalidEvent(f"not an RFC 3339 time: {text[:40]!r}")
    year, month, day, hour, minute, second, fraction, _z, sign, off_h, off_m = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError as error:
        raise InvalidEvent(f"not a real time: {text[:40]!r}: {error}") from None
    micros = to_micros(moment) + int((fraction or "0").ljust(6, "0")[:6])
    if sign:
        hours, minutes = int(off_h), int(off_m or 0)
        if hours > 23 or minutes > 59:
            raise InvalidEvent(f"not a real offset: {text[:40]!r}")
        offset = (hours * 60 + minutes) * 60_000_000
        micros += -offset if sign == "+" else offset
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise InvalidEvent(f"outside the years 0001 to 9999 in UTC: {text[:40]!r}")
    return micros


def parse_time(value: str | datetime | int, *, now: datetime | None = None) -> int:
    """Read a filter bound: a datetime, microseconds, RFC 3339 text, or ``24h`` / ``7d ago`` counted back from ``now``.

    Returns microseconds, UTC. Raises :class:`InvalidFilter`.
    """
    if isinstance(value, datetime):
        return _in_range(to_micros(value), value)
    if isinstance(value, int) and not isinstance(value, bool):
        return _in_range(value, value)
    if not isinstance(value, str):
        raise InvalidFilter(f"cannot read the time {value!r}", hint="give a datetime, microseconds or text")
    ago = _AGO.match(value.strip())
    if ago is not None:
        reference = now if now is not None else datetime.now(UTC)
        return _in_range(to_micros(reference) - int(ago[1]) * _AGO_MICROS[ago[2]], value)
    try:
        return parse_timestamp(value)
    except InvalidEvent as error:
        raise InvalidFilter(
            f"cannot read the time {value!r}: {error.message}",
            hint="write 2026-11-01, 2026-11-01T12:30:00Z, or '24h ago'; a time without an offset is UTC",
        ) from None


def _in_range(micros: int, value: object) -> int:
    if not MIN_MICROS <= micros <= MAX_MICROS:
        raise InvalidFilter(f"outside the years 0001 to 9999 in UTC: {str(value)[:40]!r}")
    return micros
