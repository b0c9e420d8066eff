"""The power-loss sweeps: every state that a disk may be found in, at every moment of an export or of a recovery, laid
out on a real disk and judged like a crash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from crash_judge import NEW, judge
from crash_scenarios import Stage
from crash_sweeps import SEED, Count, judged, kill_points, killed_at, next_run, prepare, record

from penstock.testing.faults import Operation
from penstock.testing.forks import run_forked
from penstock.testing.ordering import order_problems
from penstock.testing.powerloss import Disk, Tree, lay_out, tree_of


def order_check(name: str, root: Path, *, no_links: bool = False, defect: str | None = None) -> Count:
    """The order of a clean run's operations."""
    stage = prepare(name, root, defect=defect, no_links=no_links)
    log = record(stage)
    wrong = order_problems(log, stage.base, stage.base / stage.manifest)
    count = Count(f"{stage.name}: order of {len(log)} operations", planned=1)
    count.add("clean run", True, wrong)
    return count


def power_sweep(name: str, root: Path, *, most: int, step: int = 1, defect: str | None = None) -> Count:
    """The power fails after each operation of an export. ``most`` bounds the states at one moment, ``step`` takes every
    so many of the distinct ones; those after the end are all taken, and have to show the new export."""
    stage = prepare(name, root, defect=defect)
    log = record(stage, keep_data=True)
    stage.reset()
    disk = Disk(stage.place)
    count = Count(f"{stage.name}: power loss")
    found = _Found(step)
    for operation in log:
        disk.apply(operation)
        last = operation is log[-1]
        for tree in found.new(disk.after_power_loss(most=most, seed=SEED), last):
            _judge_tree(stage, count, f"after {operation}", tree, acknowledged=last)
    _check_model(stage, log, count)
    return count


def power_in_recovery_sweep(
    name: str, root: Path, *, most: int, first: int = 1, step: int = 1, at: str = "", defect: str | None = None
) -> Count:
    """A kill, and then a power loss after each operation of the run that recovers from it. Until then nothing that the
    killed run left unsynced is safe. ``first`` takes every so many kills, ``at`` those after operations of this kind,
    ``step`` every so many distinct states."""
    stage = prepare(name, root, defect=defect)
    log = record(stage, keep_data=True)
    count = Count(f"{stage.name}: power loss in recovery")
    found = _Found(step)
    points = [point for point in kill_points(log) if point[1] == "after" and at in str(log[point[0] - 1])]
    for number, when in points[::first]:
        stage.reset()
        disk = Disk(stage.place)
        for operation in log[:number]:
            disk.apply(operation)
        if not killed_at(stage, (number, when)):
            count.wrong.append(f"no kill {when} {log[number - 1]}")
        recovery = run_forked(lambda _: next_run(stage, keep_data=True)).value
        for operation in recovery:
            disk.apply(operation)
            last = operation is recovery[-1]
            label = f"killed {when} {log[number - 1]}, then power loss after {operation}"
            for tree in found.new(disk.after_power_loss(most=most, seed=SEED), last):
                _judge_tree(stage, count, label, tree, acknowledged=last)
    return count


class _Found:
    """States that were seen; every ``step``-th new one is taken."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._marks: set[bytes] = set()

    def new(self, trees: Iterable[Tree], last: bool) -> Iterator[Tree]:
        for tree in trees:
            mark = hashlib.sha256(repr((last, sorted(tree.items()))).encode()).digest()
            if mark not in self._marks:
                self._marks.add(mark)
                if last or len(self._marks) % self._step == 0:
                    yield tree


def _judge_tree(stage: Stage, count: Count, label: str, tree: Tree, *, acknowledged: bool) -> None:
    def check() -> tuple[str, list[str]]:
        lay_out(tree, stage.place)
        stage.know_again()
        state, wrong = judge(stage)
        if acknowledged and state != NEW:
            wrong.append(f"the export was acknowledged, and the {state} one is there")
        return state, wrong

    count.planned += 1
    _, wrong = judged(stage, check)
    here = ", ".join(sorted(Path(path).name for path in tree))
    count.add(f"{label}, leaving {here}", True, wrong)


def _check_model(stage: Stage, log: Sequence[Operation], count: Count) -> None:
    """The model sees what the real file system shows after a kill, or it proves nothing."""
    for number in [operation.number for operation in log if not operation.failed][::5]:
        stage.reset()
        disk = Disk(stage.place)
        for operation in log[:number]:
            disk.apply(operation)
        killed_at(stage, (number, "after"))
        if _without_versions(disk.now()) != _without_versions(tree_of(stage.place)):
            count.wrong.append(f"after {log[number - 1]} the model and the file system differ")


def _without_versions(tree: Tree) -> Tree:
    """A file that is laid out anew has another inode than the one that an intent tells of."""
    return {path: None if text is None else re.sub(rb'"data": "[^"]*"', b"", text) for path, text in tree.items()}
