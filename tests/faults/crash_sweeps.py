"""The sweeps: a fault at every step of an export, one process each, and the judgement of what it left.

Each sweep takes a scenario and a scratch directory and returns a :class:`Count`: how many faults were planned, how many
fired, how many left everything right, and what was wrong with the others. They run where forking is safe, in
``crash_server.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from crash_judge import NONE, OLD, judge, settle
from crash_scenarios import SCENARIOS, Stage, build

from penstock.errors import ExportError
from penstock.testing.faults import Kill, Operation
from penstock.testing.forks import ChildFailed, run_forked

Item = TypeVar("Item")
#: Where samples begin.
SEED = int(os.environ.get("PENSTOCK_PROOF_SEED", "0"))
#: The number of an operation, and when to die.
Point = tuple[int, Literal["before", "during", "after"]]


@dataclass
class Count:
    """The outcome of a sweep. It holds if every planned fault fired and nothing is wrong."""

    name: str
    planned: int = 0
    fired: int = 0
    passed: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, label: str, fired: bool, wrong: Sequence[str]) -> None:
        self.fired += fired
        self.passed += fired and not wrong
        self.wrong += [f"{label}: {text}" for text in wrong]
        if not fired:
            self.wrong.append(f"{label}: the fault did not fire")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def every(items: Sequence[Item], step: int, *, defect: str | None = None) -> Sequence[Item]:
    """Every ``step``-th of them; which ones, the seed says, unless it is a ``defect`` that they have to hit."""
    return items[SEED % step if defect is None else 0 :: step]


def prepare(name: str, root: Path, *, defect: str | None = None, no_links: bool = False) -> Stage:
    """A scenario's scratch directory, built by a child."""
    old, new = run_forked(lambda _: build(name, root)).value
    return Stage(SCENARIOS[name], root, old, new, defect=defect, no_links=no_links)


def record(stage: Stage, *, keep_data: bool = False) -> list[Operation]:
    """The operations of an export that is not disturbed."""
    stage.reset()
    log: list[Operation] = run_forked(lambda _: stage.export(keep_data=keep_data)).value
    return log


def kill_points(log: Sequence[Operation], *, most_writes: int | None = None) -> list[Point]:
    """Before every operation, after every one that has an effect, and in the middle of every write; of the writes at
    most so many, spread evenly."""
    writes = [operation for operation in log if operation.name == "write"]
    stride = 1 if most_writes is None else -(-len(writes) // most_writes)
    left_out = {operation.number for operation in writes} - {operation.number for operation in writes[::stride]}
    points: list[Point] = []
    for operation in log:
        if operation.number in left_out:
            continue
        points.append((operation.number, "before"))
        if operation.name == "write":
            points.append((operation.number, "during"))
        if not operation.failed:
            points.append((operation.number, "after"))
    return points


def killed_at(stage: Stage, point: Point) -> bool:
    """Run the export and kill it there; whether it died of that."""
    number, when = point

    def work(marker: int) -> None:
        stage.export(Kill(nth=number, when=when, marker=marker))

    return run_forked(work).killed


def judged(
    stage: Stage, check: Callable[[], tuple[str, list[str]]], *, overwrite: bool | None = None
) -> tuple[str, list[str]]:
    """In a child of its own: what a reader sees, then another run and what that leaves."""

    def work(_: int) -> tuple[str, list[str]]:
        state, wrong = check()
        return state, [*wrong, *settle(stage, state, overwrite=overwrite)]

    try:
        state, wrong = run_forked(work).value
    except ChildFailed as failed:
        return "unknown", [str(failed)]
    return state, wrong


def kill_sweep(
    name: str,
    root: Path,
    *,
    no_links: bool = False,
    then_plain: bool = False,
    defect: str | None = None,
    step: int = 1,
    most_writes: int | None = None,
) -> Count:
    """SIGKILL at every point of one export, or at every ``step``-th. ``then_plain`` runs the next export without
    ``overwrite``."""
    stage = prepare(name, root, defect=defect, no_links=no_links)
    log = record(stage)
    points = every(kill_points(log, most_writes=most_writes), step, defect=defect)
    count = Count(f"{stage.name}: killed" + ", then run without --overwrite" * then_plain, planned=len(points))
    seen = set()
    for point in points:
        stage.reset()
        died = killed_at(stage, point)
        state, wrong = judged(stage, lambda: judge(stage), overwrite=False if then_plain else None)
        seen.add(state)
        count.add(f"killed {point[1]} {log[point[0] - 1]}", died, wrong)
    stage.reset()
    if killed_at(stage, (len(log) + 1, "before")):
        count.wrong.append("there are more operations than were planned for")
    if defect is None and step == 1 and not {NONE if stage.scenario.none_allowed else OLD, "new"} <= seen:
        count.wrong.append(f"only these states were seen: {sorted(seen)}")
    return count


def double_sweep(
    name: str, root: Path, *, first: int, second: int, no_links: bool = False, defect: str | None = None
) -> Count:
    """SIGKILL, then SIGKILL of the run that recovers from it, then a third run: every ``first``-th point of the first
    run with every ``second``-th point of the recovery."""
    stage = prepare(name, root, defect=defect, no_links=no_links)
    log = record(stage)
    count = Count(f"{stage.name}: killed twice")
    for turn, point in enumerate(every(kill_points(log), first, defect=defect)):
        for place in _recovery_points(stage, point)[(turn + SEED) % second :: second]:
            count.planned += 1
            stage.reset()
            died = killed_at(stage, point) and killed_at(stage, place)
            _, wrong = judged(stage, lambda: judge(stage))
            count.add(f"killed {point[1]} {log[point[0] - 1]}, then {place[1]} operation {place[0]}", died, wrong)
    return count


def _recovery_points(stage: Stage, point: Point) -> list[Point]:
    """Where the run that follows a kill at ``point`` can be killed in turn."""
    stage.reset()
    killed_at(stage, point)
    return kill_points(run_forked(lambda _: next_run(stage)).value)


def next_run(stage: Stage, *, keep_data: bool = False) -> list[Operation]:
    """The operations of another run, which may end with a refusal to replace what is there."""
    try:
        stage.export(keep_data=keep_data)
    except ExportError:
        return stage.log
    return stage.log
