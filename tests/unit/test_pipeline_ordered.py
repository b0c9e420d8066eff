"""Parallel work in order: never out of order, never too much at once, and failures at their place."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from penstock.pipeline.ordered import Ahead, ordered_map


@pytest.mark.parametrize("in_flight", [1, 2, 5])
@pytest.mark.parametrize("tasks", [0, 1, 4, 50])
def test_results_come_in_the_order_of_the_tasks(in_flight: int, tasks: int) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert list(ordered_map(pool, lambda n: n * n, range(tasks), in_flight=in_flight)) == [
            n * n for n in range(tasks)
        ]


def test_a_slow_first_task_holds_the_others_back_within_the_bound() -> None:
    gate, begun = threading.Event(), []

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            gate.wait(10)
        return number

    with ThreadPoolExecutor(2) as pool:
        results = ordered_map(pool, work, count(), in_flight=3)
        threading.Timer(0.2, gate.set).start()
        assert next(results) == 0
        assert max(begun) <= 2
        assert next(results) == 1
        results.close()
    assert max(begun) <= 4


def test_a_failure_is_raised_at_its_place_and_ends_the_work() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("the third")
        return number

    with ThreadPoolExecutor(2) as pool:
        results = ordered_map(pool, work, range(1000), in_flight=4)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="the third"):
            next(results)
    assert len(begun) < 20


def test_closing_waits_for_what_has_begun_and_begins_nothing_more() -> None:
    running = threading.Semaphore(0)
    ended = []

    def work(number: int) -> int:
        running.release()
        threading.Event().wait(0.05)
        ended.append(number)
        return number

    with ThreadPoolExecutor(2) as pool:
        results = ordered_map(pool, work, range(100), in_flight=2)
        next(results)
        results.close()
        done = len(ended)
        assert done <= 4
    assert len(ended) == done


def test_results_that_are_handed_on_come_in_order_and_no_more_are_in_flight() -> None:
    begun: list[int] = []
    taken: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    with ThreadPoolExecutor(3) as pool:
        ahead = Ahead(pool, taken.append, most=2)
        for number in range(9):
            ahead.submit(work, number)
            assert len(taken) >= number - 1
        ahead.settle()
        assert taken == list(range(9))
        assert sorted(begun) == taken


def test_what_was_handed_out_and_given_up_is_not_taken_and_has_ended() -> None:
    gate, ended, taken = threading.Event(), threading.Event(), list[None]()

    def work() -> None:
        gate.wait(10)
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        ahead = Ahead(pool, taken.append, most=3)
        for _ in range(3):
            ahead.submit(work)
        threading.Timer(0.1, gate.set).start()
        ahead.drop()
        assert ended.is_set()
        ahead.settle()
    assert taken == []


def test_a_failure_beside_is_raised_at_its_place() -> None:
    taken: list[float] = []
    with ThreadPoolExecutor(2) as pool:
        ahead = Ahead(pool, taken.append, most=5)
        for number in (2, 0, 1):
            ahead.submit(lambda number: 1 / number, number)
        with pytest.raises(ZeroDivisionError):
            ahead.settle()
        ahead.drop()
    assert taken == [0.5]
