"""Ids that are made here: their version and variant, their order, and what an id or a session may be."""

from __future__ import annotations

import os
import time
import unicodedata
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidEvent
from penstock.model.ids import allowed_ids, check_id, new_id, stable_id

DIGEST = bytes(range(200, 216))


@pytest.mark.parametrize(("version", "make"), [(7, new_id), (8, lambda: stable_id(1_793_534_400_123_456, DIGEST))])
def test_ids_have_the_bits_of_their_version(version: int, make: Callable[[], str]) -> None:
    id = uuid.UUID(make())
    assert (str(id), id.version, id.variant) == (make() if version == 8 else str(id), version, uuid.RFC_4122)


def test_an_id_begins_with_the_time_of_its_making() -> None:
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(new_id()).int >> 80
    # ids that were made quickly may run ahead of the clock, but not by a day
    assert before <= stamp < before + 86_400_000


def test_ids_that_many_threads_make_ascend_in_each_and_are_all_different() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [new_id() for _ in range(12_500)], range(8)))

    for ids in made:
        assert ids == sorted(ids)
    assert len({id for ids in made for id in ids}) == 100_000


@pytest.mark.parametrize("step", [0, -3_600_000_000_000])
def test_ids_ascend_while_the_clock_stands_or_goes_back(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    clock = [time.time_ns() + 10**12]

    def tick() -> int:
        clock[0] += step
        return clock[0]

    monkeypatch.setattr(time, "time_ns", tick)
    ids = [new_id() for _ in range(10_000)]

    assert all(one < other for one, other in pairwise(ids))


def test_a_forked_process_does_not_go_on_with_the_counter_of_its_parent() -> None:
    read, write = os.pipe()
    new_id()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(new_id() for _ in range(100)).encode())
        os._exit(0)
    ours = [new_id() for _ in range(100)]
    os.waitpid(child, 0)
    theirs = os.read(read, 3600).decode()
    os.close(read)
    os.close(write)

    counters = [
        {uuid.UUID(id).int >> 32 for id in ids} for ids in (ours, [theirs[n : n + 36] for n in range(0, 3600, 36)])
    ]
    assert len(counters[1]) == 100
    assert not counters[0] & counters[1]


@given(st.integers(-(10**15), 253_402_300_799_999_999), st.binary(min_size=10, max_size=16))
def test_a_stable_id_is_made_of_its_time_and_digest_alone(micros: int, digest: bytes) -> None:
    bits = uuid.UUID(stable_id(micros, digest)).int

    assert bits >> 80 == max(0, micros // 1000)
    kept = (bits >> 64 & 0xFFF) << 62 | bits & (1 << 62) - 1
    assert kept == int.from_bytes(digest[:10], "big") >> 6


@given(st.text(max_size=8) | st.sampled_from(["x" * 1024, "x" * 1025, "é" * 512, "é" * 513, "😀" * 257]))
def test_one_id_and_a_column_of_them_are_held_to_the_same_rule(text: str) -> None:
    may_be = 1 <= len(text.encode()) <= 1024 and not any(unicodedata.category(letter) == "Cc" for letter in text)

    assert allowed_ids(pa.array([text, None])).to_pylist() == [may_be, True]
    if may_be:
        assert check_id(text, what="id") == text
    else:
        with pytest.raises(InvalidEvent):
            check_id(text, what="id")
