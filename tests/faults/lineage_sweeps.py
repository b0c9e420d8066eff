"""Sweeps over the publication of one run of a lineage: killed, killed twice, and failing at every operation.

Run as a program it answers one request: a JSON object on standard input with ``sweep``, ``name``, ``root`` and
``arguments``, and the outcome on standard output. It forks, so it has to be a process of its own.
"""

from __future__ import annotations

import errno
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from crash_server import warm_up
from crash_sweeps import Count, Point, kill_points
from lineage_stage import Stage, build, judge, settled

from penstock.errors import ExportError, IoError, NoSpace, Unconfirmed
from penstock.testing.faults import Fail, Kill, Operation
from penstock.testing.forks import ChildFailed, run_forked

_BATCH = 8
#: Of the run after a crash: its parts have other names than those that the crash left.
_OTHER_ROWS = 18


def prepare(name: str, root: Path, *, no_links: bool) -> Stage:
    """A scenario's scratch directory, built by a child."""
    run_forked(lambda _: build(name, root))
    return Stage(name, root, no_links)


def record(stage: Stage) -> list[Operation]:
    """The operations of a run that nothing disturbs."""
    log: list[Operation] = run_forked(lambda _: stage.export()).value
    return log


def killed_at(stage: Stage, point: Point) -> bool:
    """Add a run and be killed there; whether it died of that."""
    return run_forked(lambda marker: stage.export(Kill(nth=point[0], when=point[1], marker=marker))).killed


def judged(stage: Stage) -> tuple[str, list[str]]:
    """In a child: what a reader finds, then another run, and what that leaves."""

    def work(_: int) -> tuple[str, list[str]]:
        state, wrong = judge(stage)
        try:
            stage.export(rows=_OTHER_ROWS)
        except ExportError as error:
            return state, [*wrong, f"the next run failed: {type(error).__name__}: {error}"]
        return state, [*wrong, *settled(stage)]

    try:
        state, wrong = run_forked(work).value
    except ChildFailed as failed:
        return "unknown", [str(failed)]
    return state, wrong


def kill_sweep(name: str, root: Path, *, step: int = 1, no_links: bool = False) -> Count:
    """SIGKILL before, in and after every operation of a run, or at every ``step``-th of these points."""
    stage = prepare(name, root, no_links=no_links)
    stage.reset()
    log = record(stage)
    points = kill_points(log)[::step]
    count = Count(f"{stage.label}: killed", planned=len(points))
    seen = set()
    for point in points:
        stage.reset()
        died = killed_at(stage, point)
        state, wrong = judged(stage)
        seen.add(state)
        count.add(f"killed {point[1]} {log[point[0] - 1]}", died, wrong)
    stage.reset()
    if killed_at(stage, (len(log) + 1, "before")):
        count.wrong.append("there are more operations than were planned for")
    if len(points) > len(log) // 2 and seen != {"old", "new"}:
        count.wrong.append(f"these states were seen: {sorted(seen)}")
    return count


def double_sweep(name: str, root: Path, *, first: int, second: int, no_links: bool = False) -> Count:
    """SIGKILL, then SIGKILL of the run that follows, then a third: every ``first``-th point with every ``second``-th
    point of the run that recovers from it."""
    stage = prepare(name, root, no_links=no_links)
    stage.reset()
    log = record(stage)
    count = Count(f"{stage.label}: killed twice")
    for turn, point in enumerate(kill_points(log)[::first]):
        stage.reset()
        killed_at(stage, point)
        recovery = record(stage)
        for place in kill_points(recovery)[turn % second :: second]:
            count.planned += 1
            stage.reset()
            died = killed_at(stage, point) and killed_at(stage, place)
            _, wrong = judged_twice(stage)
            label = f"killed {point[1]} {log[point[0] - 1]}, then {place[1]} {recovery[place[0] - 1]}"
            count.add(label, died, wrong)
    return count


def judged_twice(stage: Stage) -> tuple[str, list[str]]:
    """As :func:`judged`; an empty run more or less is in order after two attempts."""

    def work(_: int) -> tuple[str, list[str]]:
        stage.export(rows=_OTHER_ROWS)
        return "new", settled(stage)

    try:
        state, wrong = run_forked(work).value
    except ChildFailed as failed:
        return "unknown", [str(failed)]
    return state, wrong


def error_sweep(
    name: str, root: Path, *, step: int = 1, late: bool = False, lasting: bool = False, no_links: bool = False
) -> Count:
    """A full disk at every ``step``-th operation: before its effect, ``late`` after it, or ``lasting`` from there on.

    The error tells the truth, and the same process can run again.
    """
    stage = prepare(name, root, no_links=no_links)
    stage.reset()
    log = record(stage)
    kind = " from there on" * lasting + " although it happened" * late
    plan = log[::step]
    count = Count(f"{stage.label}: no space{kind}", planned=len(plan))
    for start in range(0, len(plan), _BATCH):
        batch = plan[start : start + _BATCH]
        for outcome in run_forked(lambda _, batch=batch: [_failing(stage, one, late, lasting) for one in batch]).value:
            count.add(*outcome)
    return count


def _failing(stage: Stage, operation: Operation, late: bool, lasting: bool) -> tuple[str, bool, list[str]]:
    fault = Fail(nth=operation.number, code=errno.ENOSPC, late=late, lasting=lasting)
    stage.reset()
    raised: ExportError | None = None
    try:
        stage.export(fault)
    except ExportError as error:
        raised = error
    state, wrong = judge(stage)
    if raised is None and state != "new":
        wrong.append("no error was raised, and nothing was committed")
    if raised is not None and state != "new" and not isinstance(raised, (NoSpace, IoError)):
        wrong.append(f"raised {type(raised).__name__}: {raised}")
    if raised is not None and state == "new" and not isinstance(raised, Unconfirmed):
        wrong.append(f"the run is there, but the error says: {raised}")
    stage.export(rows=_OTHER_ROWS)
    return f"no space at {operation}", fault.fired > 0, wrong + settled(stage)


SWEEPS: dict[str, Callable[..., Count]] = {one.__name__: one for one in (kill_sweep, double_sweep, error_sweep)}


def main(requests: Sequence[str]) -> None:
    """Answer a request."""
    warm_up()
    for text in requests:
        request = json.loads(text)
        try:
            count = SWEEPS[request["sweep"]](request["name"], Path(request["root"]), **request["arguments"])
            answer = {"count": count.to_json()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
