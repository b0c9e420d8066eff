"""What is said of a value that does not fit: the value, not too much of it, and the unit that makes a time of it."""

from __future__ import annotations

import pytest

from penstock.model.times import TimeUnit
from penstock.pipeline.gathering import Misfit
from penstock.sources.tables.misfits import proposed_unit, shown

#: The first second of 1980, and the last of 2099.
FIRST, LAST = 315_532_800, 4_102_444_799


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_a_number_is_a_time_by_the_unit_that_puts_it_into_our_days(unit: str, factor: int) -> None:
    for number in (FIRST, 1_793_536_215, LAST):
        assert proposed_unit(str(number * factor)) is TimeUnit(unit)
        assert proposed_unit(f"{number * factor}.0") is TimeUnit(unit)
    for beside in ((FIRST - 1) * factor, (LAST + 1) * factor):
        assert proposed_unit(str(beside)) is not TimeUnit(unit)


@pytest.mark.parametrize("number", ["0", "-1793536215", "99", "20261101", "1e300"])
def test_other_numbers_are_times_by_no_unit(number: str) -> None:
    assert proposed_unit(number) is None


@pytest.mark.parametrize(
    ("storage", "value", "said"),
    [
        ("integer", b"-12", "-12"),
        ("text", 'ü "x"\n'.encode(), '"ü \\"x\\"\\n"'),
        ("text", b"\xff", '"\\\\xff"'),
        ("text", b"x" * 60, f'"{"x" * 60}"'),
        ("text", b"x" * 61, f'"{"x" * 60}…"'),
        ("blob", b"\x00\xff", "x'00ff'"),
        ("blob", b"\x00" * 31, f"x'{'00' * 30}'"),
    ],
)
def test_a_value_is_shown_as_it_is_stored_and_no_more_than_sixty_characters(
    storage: str, value: bytes, said: str
) -> None:
    assert shown(Misfit(0, 0, storage, value)) == said
