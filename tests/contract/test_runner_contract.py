"""What every runner promises; and of processes, that a worker may go at any time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import runner_tasks

from penstock.errors import StorageError, UsageError, WorkerLost
from penstock.ports.runner import Runner
from penstock.runners.processes import ProcessRunner
from penstock.runners.threads import ThreadRunner


@pytest.fixture(scope="module", params=["threads", "processes"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    made: Runner = ThreadRunner(2) if request.param == "threads" else ProcessRunner(2)
    yield made
    made.close()
    made.close()


@pytest.fixture
def processes() -> Iterator[ProcessRunner]:
    made = ProcessRunner(2)
    yield made
    made.close()


@pytest.mark.parametrize("in_flight", [1, 2, 7])
def test_results_come_in_the_order_of_the_tasks(runner: Runner, in_flight: int) -> None:
    found = list(runner.map(runner_tasks.slow_at_first, range(9), in_flight=in_flight))
    assert found == list(range(9))
    assert list(runner.map(runner_tasks.square, [], in_flight=in_flight)) == []


def test_no_more_tasks_are_taken_than_may_be_in_flight(runner: Runner) -> None:
    taken = count()
    results = runner.map(runner_tasks.square, (next(taken) for _ in range(100)), in_flight=3)
    assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    results.close()
    assert next(taken) <= 4 + 3


def test_a_failure_comes_at_its_place_and_ends_the_work(runner: Runner) -> None:
    results = runner.map(runner_tasks.fail_at_three, range(10), in_flight=5)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StorageError, match="three is damaged") as caught:
        next(results)
    assert caught.value.hint == "count differently"
    assert list(results) == []
    assert list(runner.map(runner_tasks.square, [3], in_flight=2)) == [9], "and the next work is done"


def test_processes_are_spawned_ones_of_their_own(processes: ProcessRunner) -> None:
    found = processes.together(runner_tasks.process, None)
    assert len({*found, os.getpid()}) == 3
    for pid in found:
        assert b"serve(int(sys.argv[1]))" in Path(f"/proc/{pid}/cmdline").read_bytes()
    processes.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def test_what_cannot_be_sent_is_refused_by_name(processes: ProcessRunner) -> None:
    with pytest.raises(UsageError, match=r"41 cannot be sent to another process"):
        list(processes.map(lambda number: number, [41], in_flight=1))
    with open(os.devnull) as file, pytest.raises(UsageError, match="cannot be sent to another process"):
        list(processes.map(runner_tasks.process, [file], in_flight=1))


@pytest.mark.parametrize("work", [runner_tasks.die_once, runner_tasks.fill_memory_once])
def test_a_lost_task_is_done_again_by_a_worker_that_did_what_all_did(
    processes: ProcessRunner, tmp_path: Path, work: object
) -> None:
    before = processes.together(runner_tasks.remember, "all")
    asked: list[bool] = []
    marks = [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c")]
    found = list(processes.map(work, marks, in_flight=3, admits=lambda: asked.append(True) or True))  # type: ignore[arg-type,func-returns-value]
    assert found == ["done"] * 3
    assert len(asked) == 3, "each of three losses was asked about"
    assert list(processes.map(runner_tasks.remembered, range(6), in_flight=2)) == [["all"]] * 6
    assert not {*before} & {*processes.together(runner_tasks.process, None)}


def test_a_lost_task_fails_where_no_other_may_join(processes: ProcessRunner, tmp_path: Path) -> None:
    with pytest.raises(WorkerLost, match="SIGKILL, and the source changed since"):
        list(processes.map(runner_tasks.die_once, [str(tmp_path / "a")], in_flight=1, admits=lambda: False))
    assert list(processes.map(runner_tasks.square, [2], in_flight=1)) == [4]


def test_a_task_that_ends_every_worker_is_given_up(processes: ProcessRunner) -> None:
    with pytest.raises(WorkerLost, match=r"6: a worker process was ended by SIGKILL, 3 times") as caught:
        list(processes.map(runner_tasks.die, [6], in_flight=1))
    assert caught.value.exit_code == 5
