"""Times of adopted tables: every spelling alone and beside others, the borders of the units, and what is no time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.model import times
from penstock.sources.tables.times import Unit, read_times

MOMENT = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
MICROS = int((MOMENT - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def read(*values: int | float | str | bytes | None, unit: Unit = Unit.AUTO) -> list[int | None]:
    """The times of a column with these values."""
    return found(values, unit)[0]


def found(values: tuple[int | float | str | bytes | None, ...], unit: Unit) -> tuple[list[int | None], list[bool]]:
    texts = [v.encode() if isinstance(v, str) else v if isinstance(v, bytes) else None for v in values]
    result = read_times(
        pa.array([v if isinstance(v, int) else None for v in values], pa.int64()),
        pa.array([v if isinstance(v, float) else None for v in values], pa.float64()),
        pa.array(texts, pa.binary()).view(pa.string()),
        unit,
    )
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


@pytest.mark.parametrize(("unit", "scale"), [(Unit.S, 10**6), (Unit.MS, 10**3), (Unit.US, 1)])
def test_a_given_unit_reads_every_number_in_range(unit: Unit, scale: int) -> None:
    last, first = times.MAX_MICROS // scale, -(-times.MIN_MICROS // scale)
    assert read(0, -1, 1, last, first, unit=unit) == [0, -scale, scale, last * scale, first * scale]
    assert read(last + 1, first - 1, (1 << 63) - 1, -(1 << 63), unit=unit) == [None] * 4
    assert read("0", "-1", "+1.5", str(last), unit=unit)[:2] == [0, -scale]
    assert read("2026-11-01", unit=unit) == [times.parse_timestamp("2026-11-01")]


def test_nanoseconds_are_cut_downwards_and_counted() -> None:
    assert found((1_500, -1_500, 2_000, "1999", "-1999"), Unit.NS) == (
        [1, -2, 2, 1, -2],
        [True, True, False, True, True],
    )


def test_digits_behind_the_microsecond_are_counted_as_cut() -> None:
    values = ("2026-11-01T00:00:00.1234561Z", "2026-11-01T00:00:00.1234560Z", "1793536215.0000001", 1793536215.5)
    assert found(values, Unit.AUTO)[1] == [True, False, True, False]


def test_iso_alone_refuses_numbers() -> None:
    assert read(MICROS, 1793536215.5, "1793536215", "2026-11-01", unit=Unit.ISO) == [
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


@given(st.lists(VALUES, max_size=8), st.sampled_from(Unit))
def test_a_value_is_read_alone_as_it_is_among_others(values: list[Value], unit: Unit) -> None:
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
