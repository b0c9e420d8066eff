"""Times of any spelling: one rule for one text, for a column, and for a table's values, however each is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidEvent
from penstock.model import times
from penstock.model.times import TimeUnit
from penstock.pipeline.moments import moment, read_times, together, unreadable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
MICROS = (MOMENT - EPOCH) // timedelta(microseconds=1)
UNITS = [each for each in TimeUnit if each is not TimeUnit.ISO]


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01 01:00:00.000001+01:00", 1),
        ("1970-01-02", 86_400_000_000),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1700000000", 1_700_000_000_000_000),
        ("1700000000.1234567", 1_700_000_000_123_457),
        ("1700000000.1234565", 1_700_000_000_123_456),
        ("1700000000123", 1_700_000_000_123_000),
        ("1700000000123.4567", 1_700_000_000_123_457),
        ("1.7000000001234567e9", 1_700_000_000_123_457),
        ("1.7e+18", 1_700_000_000_000_000),
        ("1700000000123456", 1_700_000_000_123_456),
        ("1700000000123456789", 1_700_000_000_123_456),
    ],
)
def test_times_and_epoch_numbers_that_have_one_meaning(text: str, micros: int) -> None:
    assert moment(text)[0] == micros


@pytest.mark.parametrize(
    ("text", "unit", "micros"),
    [
        ("0", "s", 0),
        ("-1.5", "s", -1_500_000),
        ("20150517", "s", 20_150_517_000_000),
        ("5", "ms", 5_000),
        ("-1", "ns", -1),
        ("1999", "ns", 1),
        ("2.5", "us", 2),
        ("-2.5", "us", -2),
        ("2.51", "us", 3),
        ("1e-400", "s", 0),
        ("1700000000", "ms", 1_700_000_000_000),
    ],
)
def test_a_named_unit_reads_any_number(text: str, unit: str, micros: int) -> None:
    assert moment(text, TimeUnit(unit))[0] == micros


@pytest.mark.parametrize("text", ["20150517", "170000000", "0700000000", "-1700000000", "17000000001", "5", "1" * 18])
def test_a_number_that_could_mean_several_times_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent, match="does not say its unit"):
        moment(text)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "1.7e8", "1e999", "nan", "2026-02-30", "9" * 22, "0x10", "１７００００００００"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent):
        moment(text)


@pytest.mark.parametrize(("text", "unit"), [("300000000000", "s"), ("-99999999999", "s"), ("1" * 19, "us")])
def test_numbers_outside_the_years_that_can_be_written_are_refused(text: str, unit: str) -> None:
    with pytest.raises(InvalidEvent, match="outside the years"):
        moment(text, TimeUnit(unit))


def in_column(column: pa.Array, unit: TimeUnit) -> tuple[list[int | None], set[int]]:
    """What a column is read as, and the rows that have a reason for not being a time."""
    micros = read_times(column, unit).micros
    return micros.to_pylist(), {row for row, _ in unreadable(column, micros, unit)}


def one_by_one(texts: list[str | None], unit: TimeUnit) -> tuple[list[int | None], set[int]]:
    micros: list[int | None] = []
    faults = set()
    for row, text in enumerate(texts):
        try:
            micros.append(None if text is None else moment(text, unit)[0])
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
    @given(st.lists(texts, max_size=6), st.sampled_from(TimeUnit))
    def holds(column: list[str | None], unit: TimeUnit) -> None:
        assert in_column(pa.array(column, pa.string()), unit) == one_by_one(column, unit)

    holds()


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(10**9, 2 * 10**9) | st.none(), max_size=6))
def test_integers_are_read_as_their_texts_are(column: list[int | None]) -> None:
    for unit in UNITS:
        assert in_column(pa.array(column, pa.int64()), unit) == one_by_one(
            [None if number is None else str(number) for number in column], unit
        )


@given(
    st.lists(
        st.floats(1e9, 1e10) | st.floats(1e12, 1e13) | st.floats(1e18, 9e18) | st.floats(allow_nan=False) | st.none(),
        max_size=6,
    )
)
def test_floats_are_read_as_their_texts_are(column: list[float | None]) -> None:
    texts = [None if number is None else repr(number) for number in column]
    for unit in UNITS:
        wanted = one_by_one(texts, unit)
        assert in_column(pa.array(column, pa.float64()), unit) == wanted
        assert in_column(pa.array(texts, pa.string()), unit) == wanted


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_typed_times_are_instants_and_cut_to_the_microsecond(unit: str, zone: str | None) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    numbers = [-1, 0, 1_700_000_000 * per_second + 1, None]

    micros, faults = in_column(pa.array(numbers, pa.int64()).cast(pa.timestamp(unit, zone)), TimeUnit.AUTO)

    assert micros == [None if n is None else n * 10**6 // per_second for n in numbers]
    assert not faults


def test_a_typed_time_beyond_all_years_spoils_only_its_own_row() -> None:
    column = pa.array([2**62, 5], pa.int64()).cast(pa.timestamp("s"))

    assert in_column(column, TimeUnit.AUTO) == ([None, 5_000_000], {0})
    reasons = unreadable(column, read_times(column).micros, TimeUnit.AUTO)
    assert list(reasons) == [(0, "outside the years 0001 to 9999")]


def test_dates_are_midnights() -> None:
    assert read_times(pa.array([date(2026, 11, 1), date(1969, 12, 31)])).micros.to_pylist() == [
        (datetime(2026, 11, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1),
        -86_400_000_000,
    ]


def read(*values: int | float | str | bytes | None, unit: TimeUnit = TimeUnit.AUTO) -> list[int | None]:
    """The times of a column with these values."""
    return found(values, unit)[0]


def found(values: tuple[int | float | str | bytes | None, ...], unit: TimeUnit) -> tuple[list[int | None], list[bool]]:
    texts = [v.encode() if isinstance(v, str) else v if isinstance(v, bytes) else None for v in values]
    columns = (
        pa.array([v if isinstance(v, int) else None for v in values], pa.int64()),
        pa.array([v if isinstance(v, float) else None for v in values], pa.float64()),
        pa.array(texts, pa.binary()).view(pa.string()),
    )
    result = together([read_times(column, unit) for column in columns], len(values))
    cut = [False] * len(values) if result.cut is None else result.cut.to_pylist()
    return result.micros.to_pylist(), cut


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        (MICROS // 10**6, MICROS // 10**6 * 10**6),
        (MICROS // 10**3, MICROS // 10**3 * 10**3),
        (MICROS, MICROS),
        (MICROS * 1000, MICROS),
        (MICROS / 10**6, MICROS),
        (MICROS / 10**3, MICROS),
        (float(MICROS), MICROS),
        (str(MICROS // 10**3), MICROS // 10**3 * 10**3),
        (f"{MICROS // 10**6}.{MICROS % 10**6:06d}", MICROS),
        ("2026-11-01T12:30:15.123456Z", MICROS),
        ("2026-11-01 12:30:15.123456", MICROS),
        ("2026-11-01T13:30:15.123456+01:00", MICROS),
        ("2026-11-01T12:30:15.123456+00:00", MICROS),
        (" 2026-11-01t12:30:15.123456z ", MICROS),
        ("2026-11-01T12:30:15.1234569Z", MICROS),
        ("2026-11-01", MICROS // 86_400_000_000 * 86_400_000_000),
    ],
)
def test_spellings_of_one_moment(value: int | float | str, micros: int) -> None:
    assert read(value) == [micros]
    assert read(None, value, 5, "2026-11-01", value) == [
        None,
        micros,
        None,
        times.parse_timestamp("2026-11-01"),
        micros,
    ]


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        999_999_999,
        10**10,
        10**11,
        10**13,
        10**17,
        -(1 << 63),
        -MICROS,
        0.0,
        float("inf"),
        -float("inf"),
        1e308,
        2_460_000.5,
        "",
        "yesterday",
        "20261101",
        "0000000000",
        "-1793536215",
        "2026-02-30 00:00:00",
        "2026-11-01 12:30:60",
        "0000-01-01 00:00:00",
        "0001-01-01T00:00:00+01:00",
        b"2026-11-01\xff",
        b"\xff",
    ],
)
def test_what_is_no_time_alone_is_none_beside_others(value: int | float | str | bytes) -> None:
    assert read(value) == [None]
    assert read("2026-11-01T00:00:00", value, MICROS)[1] is None


def test_borders_of_the_units() -> None:
    assert read(10**9, 10**10 - 1) == [10**15, (10**10 - 1) * 10**6]
    assert read(10**12, 10**13 - 1) == [10**15, (10**13 - 1) * 1000]
    assert read(10**15, 10**16 - 1) == [10**15, 10**16 - 1]
    assert read(10**18, (1 << 63) - 1) == [10**15, ((1 << 63) - 1) // 1000]


@pytest.mark.parametrize(("unit", "scale"), [(TimeUnit.S, 10**6), (TimeUnit.MS, 10**3), (TimeUnit.US, 1)])
def test_a_given_unit_reads_every_number_in_range(unit: TimeUnit, scale: int) -> None:
    last, first = times.MAX_MICROS // scale, -(-times.MIN_MICROS // scale)
    assert read(0, -1, 1, last, first, unit=unit) == [0, -scale, scale, last * scale, first * scale]
    assert read(last + 1, first - 1, (1 << 63) - 1, -(1 << 63), unit=unit) == [None] * 4
    assert read("0", "-1", "+1.5", str(last), unit=unit)[:2] == [0, -scale]
    assert read("2026-11-01", unit=unit) == [times.parse_timestamp("2026-11-01")]


def test_nanoseconds_are_cut_downwards_and_counted() -> None:
    assert found((1_500, -1_500, 2_000, "1999", "-1999"), TimeUnit.NS) == (
        [1, -2, 2, 1, -2],
        [True, True, False, True, True],
    )


def test_digits_behind_the_microsecond_are_counted_as_cut() -> None:
    values = ("2026-11-01T00:00:00.1234561Z", "2026-11-01T00:00:00.1234560Z", "1793536215.0000001", 1793536215.5)
    assert found(values, TimeUnit.AUTO)[1] == [True, False, True, False]


def test_iso_alone_refuses_numbers() -> None:
    assert read(MICROS, 1793536215.5, "1793536215", "2026-11-01", unit=TimeUnit.ISO) == [
        None,
        None,
        None,
        times.parse_timestamp("2026-11-01"),
    ]


Value = int | float | str | bytes | None
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([9, 10, 12, 13, 15, 16, 18]).flatmap(lambda power: st.integers(10**power - 2, 10**power + 2)),
    st.floats(allow_nan=False),
    st.floats(1e9, 1e10),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(str),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda moment: moment.isoformat() + "Z"),
    st.from_regex(r"\A\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?\Z"),
    st.from_regex(r"\A[+-]?\d{1,25}(\.\d{0,9})?\Z"),
    st.text(max_size=5),
    st.binary(max_size=5),
)


@given(st.lists(VALUES, max_size=8), st.sampled_from(TimeUnit))
def test_a_value_is_read_alone_as_it_is_among_others(values: list[Value], unit: TimeUnit) -> None:
    together = found(tuple(values), unit)
    alone = [found((value,), unit) for value in values]

    assert together == ([each[0][0] for each in alone], [each[1][0] for each in alone])
    for micros in together[0]:
        assert micros is None or times.MIN_MICROS <= micros <= times.MAX_MICROS


def test_reals_are_rounded_to_the_nearest_microsecond() -> None:
    assert read(1793536215.0000007, 1793536215.0000002, 1793536215000.0007) == [
        1793536215000001,
        1793536215000000,
        1793536215000001,
    ]
