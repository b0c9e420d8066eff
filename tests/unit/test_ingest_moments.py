"""Timestamps of any spelling: one rule for one text, and the same rule for a column."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidEvent, UsageError
from penstock.loading.moments import check_unit, moment, read_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01 01:00:00.000001+01:00", 1),
        ("1970-01-02", 86_400_000_000),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1700000000", 1_700_000_000_000_000),
        ("1700000000.1234567", 1_700_000_000_123_456),
        ("1700000000123", 1_700_000_000_123_000),
        ("1700000000123.4567", 1_700_000_000_123_456),
        ("1700000000123456", 1_700_000_000_123_456),
        ("1700000000123456789", 1_700_000_000_123_456),
    ],
)
def test_times_and_epoch_numbers_that_have_one_meaning(text: str, micros: int) -> None:
    assert moment(text) == micros


@pytest.mark.parametrize(
    ("text", "unit", "micros"),
    [
        ("0", "s", 0),
        ("-1.5", "s", -1_500_000),
        ("20150517", "s", 20_150_517_000_000),
        ("5", "ms", 5_000),
        ("-1", "ns", -1),
        ("1999", "ns", 1),
        ("2.9", "us", 2),
        ("1700000000", "ms", 1_700_000_000_000),
    ],
)
def test_a_named_unit_reads_any_number(text: str, unit: str, micros: int) -> None:
    assert moment(text, unit) == micros


@pytest.mark.parametrize("text", ["20150517", "170000000", "0700000000", "-1700000000", "17000000001", "5", "1" * 18])
def test_a_number_that_could_mean_several_times_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent, match="does not say its unit"):
        moment(text)


@pytest.mark.parametrize(
    "text", ["", "soon", "1.7e9", "nan", "2026-02-30", "9999999999999999999999", "0x10", "１７００００００００"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent):
        moment(text)


@pytest.mark.parametrize(("text", "unit"), [("300000000000", "s"), ("-99999999999", "s"), ("1" * 19, "us")])
def test_numbers_outside_the_years_that_can_be_written_are_refused(text: str, unit: str) -> None:
    with pytest.raises(InvalidEvent, match="outside the years"):
        moment(text, unit)


def test_an_unknown_unit_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown time unit 'h'"):
        check_unit("h")


def one_by_one(texts: list[str | None], unit: str | None) -> tuple[list[int | None], set[int]]:
    micros: list[int | None] = []
    faults = set()
    for row, text in enumerate(texts):
        try:
            micros.append(None if text is None else moment(text, unit))
        except InvalidEvent:
            micros.append(None)
            faults.add(row)
    return micros, faults


zones = st.sampled_from(["Z", "+00:00", "-05:30", "+23:59", "+24:00", "z", ""])
clocks = st.builds(
    "{:04d}-{:02d}-{:02d}{}{:02d}:{:02d}:{:02d}{}{}".format,
    st.integers(0, 9999),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from("T "),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 61),
    st.sampled_from(["", ".5", ".123456", ".1234567", "."]),
    zones,
)
numbers = st.integers(-(10**20), 10**20).map(str) | st.integers(10**9, 10**10 - 1).map(str)


@pytest.mark.parametrize("texts", [clocks, numbers, clocks | numbers | st.none() | st.text(max_size=5)])
def test_a_column_is_read_as_each_of_its_texts_is(texts: st.SearchStrategy[str | None]) -> None:
    @given(st.lists(texts, max_size=6), st.sampled_from([None, "s", "ms", "us", "ns"]))
    def holds(column: list[str | None], unit: str | None) -> None:
        micros, faults = read_times(pa.array(column, pa.string()), unit)

        assert (micros.to_pylist(), set(faults)) == one_by_one(column, unit)

    holds()


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(10**9, 2 * 10**9) | st.none(), max_size=6))
def test_integers_are_read_as_their_texts_are(column: list[int | None]) -> None:
    for unit in (None, "s", "ms", "us", "ns"):
        micros, faults = read_times(pa.array(column, pa.int64()), unit)

        assert (micros.to_pylist(), set(faults)) == one_by_one(
            [None if number is None else str(number) for number in column], unit
        )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_typed_times_are_instants_and_cut_to_the_microsecond(unit: str, zone: str | None) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    numbers = [-1, 0, 1_700_000_000 * per_second + 1, None]

    micros, faults = read_times(pa.array(numbers, pa.int64()).cast(pa.timestamp(unit, zone)), None)

    assert micros.to_pylist() == [None if n is None else n * 10**6 // per_second for n in numbers]
    assert not faults


def test_a_typed_time_beyond_all_years_spoils_only_its_own_row() -> None:
    micros, faults = read_times(pa.array([2**62, 5], pa.int64()).cast(pa.timestamp("s")), None)

    assert micros.to_pylist() == [None, 5_000_000]
    assert list(faults) == [0]


def test_dates_are_midnights_and_floats_are_exact() -> None:
    days, _ = read_times(pa.array([date(2026, 11, 1), date(1969, 12, 31)]), None)
    floats, faults = read_times(pa.array([1_700_000_000.5, 1.7e18]), None)

    assert days.to_pylist() == [
        (datetime(2026, 11, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1),
        -86_400_000_000,
    ]
    assert floats.to_pylist() == [1_700_000_000_500_000, None]
    assert list(faults) == [1]
