"""Keys: plain names joined by a slash, which lead nowhere but into their place."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.model.location import Location, check_key, check_plain


@pytest.mark.parametrize("key", ["a", "a/b", "data/day=2024-01-01/part-0.csv", ".hidden.csv", "data/.x", "ä b", "..a"])
def test_plain_names_are_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "/", "/etc/passwd", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a\0b", ".staged/a", "a/.b/c"],
)
def test_what_could_lead_elsewhere_is_no_key(key: str) -> None:
    with pytest.raises(UsageError):
        check_key(key)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "\0"])
def test_a_plain_name_has_no_folder(name: str) -> None:
    with pytest.raises(UsageError):
        check_plain(name)
    assert check_plain("data-00000") == "data-00000"


def test_a_location_is_shown_as_people_write_it() -> None:
    assert str(Location("file", "/srv/out")) == "/srv/out"
    assert str(Location("memory", "out")) == "memory://out"
