"""Times: what is read, what is refused, and the one way in which they are written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidEvent, InvalidFilter
from penstock.model import times

NOON = times.to_micros(datetime(2026, 11, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-11-01T12:00:00Z", NOON),
        ("2026-11-01t12:00:00z", NOON),
        ("2026-11-01 12:00:00", NOON),
        ("2026-11-01T12:00", NOON),
        ("  2026-11-01T12:00:00 Z\n", NOON),
        ("2026-11-01T14:00:00+02:00", NOON),
        ("2026-11-01T14:00:00+0200", NOON),
        ("2026-11-01T14:00:00+02", NOON),
        ("2026-11-01T06:30:00-05:30", NOON),
        ("2026-11-01T12:00:00-00:00", NOON),
        ("2026-11-01T12:00:00.1Z", NOON + 100_000),
        ("2026-11-01T12:00:00,000001Z", NOON + 1),
        ("2026-11-01T12:00:00.000001999Z", NOON + 1),
        ("2026-11-01", NOON - 12 * 3_600_000_000),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", times.MIN_MICROS),
        ("9999-12-31T23:59:59.999999Z", times.MAX_MICROS),
        ("2024-02-29", times.to_micros(datetime(2024, 2, 29))),
    ],
)
def test_times_that_are_read(text: str, micros: int) -> None:
    assert times.parse_timestamp(text) == micros
    assert times.parse_time(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026",
        "2026-11",
        "2026-13-01",
        "2026-02-29",
        "2026-11-01T24:00:00Z",
        "2026-11-01T12:60:00Z",
        "2026-12-31T23:59:60Z",
        "2026-11-01T12:00:00+24:00",
        "2026-11-01T12:00:00+02:60",
        "2026-11-01T12:00:00.Z",
        "2026-11-01T12:00:00.1234567890Z",
        "2026-11-01T12:00:00Zulu",
        "0000-01-01",
        "10000-01-01",
        "-001-01-01",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-1-1",
        "٢٠٢٦-11-01",
        "20261101T120000Z",
        "1700000000",
    ],
)
def test_times_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidEvent):
        times.parse_timestamp(text)
    with pytest.raises(InvalidFilter, match=r"cannot read the time|outside"):
        times.parse_time(text)


@given(st.integers(times.MIN_MICROS, times.MAX_MICROS))
def test_every_moment_is_written_with_27_characters_and_read_back(micros: int) -> None:
    text = times.render(micros)
    assert len(text) == 27
    assert times.parse_timestamp(text) == micros
    assert times.to_micros(times.from_micros(micros)) == micros
    assert times.to_micros(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")) == micros


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("24h ago", timedelta(hours=24)),
        ("24h", timedelta(hours=24)),
        ("90min ago", timedelta(minutes=90)),
        ("5m", timedelta(minutes=5)),
        ("7 d ago", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("0h", timedelta(0)),
    ],
)
def test_spans_are_counted_back_from_now(text: str, back: timedelta) -> None:
    now = datetime(2026, 11, 23, 8, 30, tzinfo=timezone(timedelta(hours=1)))
    assert times.parse_time(text, now=now) == times.to_micros(now - back)


@pytest.mark.parametrize(
    "value",
    [
        "24 hours ago",
        "h ago",
        "-1h",
        "1.5h",
        "999999w ago",
        "1000000h",
        10**30,
        times.MAX_MICROS + 1,
        times.MIN_MICROS - 1,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        True,
        1.5,
        date(2026, 11, 1),
        b"2026-11-01",
    ],
)
def test_bounds_that_are_no_moment_between_the_years_are_refused(value: Any) -> None:
    with pytest.raises(InvalidFilter):
        times.parse_time(value)


def test_bounds_may_be_datetimes_and_microseconds() -> None:
    assert times.parse_time(datetime(2026, 11, 1, 13, tzinfo=timezone(timedelta(hours=1)))) == NOON
    assert times.parse_time(NOON) == NOON
