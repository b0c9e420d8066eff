"""More sweeps over the publication of one run of a lineage: operations that fail with any error, short writes, power
loss, and the order of the operations; and all of them with a defect planted."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from crash_defects import planted
from crash_errors import ERRORS, Outcome
from crash_sweeps import SEED, Count, every
from lineage_stage import Stage, add_run, build, judge, settled

from penstock.errors import ExportError, IoError, Unconfirmed
from penstock.testing.faults import Fail, Fault, FaultyOps, Operation, Short
from penstock.testing.forks import ChildFailed, run_forked
from penstock.testing.ordering import order_problems
from penstock.testing.powerloss import Disk, Tree, lay_out

_BATCH = 8
_OTHER_ROWS = 18


def _prepared(name: str, root: Path) -> Stage:
    """As ``lineage_sweeps.prepare``: a child opens the stores."""
    run_forked(lambda _: build(name, root))
    stage = Stage(name, root)
    stage.reset()
    return stage


def _recorded(stage: Stage, *, defect: str | None = None, keep_data: bool = False) -> list[Operation]:
    """The operations of a run that nothing disturbs."""

    def work(_: int) -> list[Operation]:
        ops = FaultyOps(keep_data=keep_data)
        with planted(defect):
            add_run(stage.root / "store.db", stage.base, ops)
        return ops.log

    log: list[Operation] = run_forked(work).value
    return log


def lineage_error_sweep(
    name: str, root: Path, *, codes: Sequence[str], step: int = 1, defect: str | None = None
) -> Count:
    """Each error at every ``step``-th operation: it is of the right kind, it tells the truth, and the same process can
    run again."""
    stage = _prepared(name, root)
    plan = [
        (code, Fail(nth=operation.number, code=getattr(errno, code)), operation)
        for operation in every(_recorded(stage, defect=defect), step, defect=defect)
        for code in codes
    ]
    count = Count(f"{_label(stage, defect)}: {'/'.join(codes)}", planned=len(plan))
    for start in range(0, len(plan), _BATCH):
        batch = plan[start : start + _BATCH]
        work = partial(_errors, stage, batch, defect)
        for outcome in run_forked(lambda _, work=work: work()).value:
            count.add(*outcome)
    return count


def _label(stage: Stage, defect: str | None) -> str:
    return stage.label + (f", with the defect {defect}" if defect is not None else "")


def _errors(stage: Stage, batch: Sequence[tuple[str, Fault, Operation]], defect: str | None) -> list[Outcome]:
    outcomes = []
    for code, fault, operation in batch:
        raised = _disturbed(stage, fault, defect)
        state, wrong = judge(stage)
        vital = operation.name in ("fsync", "write") and "/put-" not in operation.path
        if raised is None and (state != "new" or vital):
            wrong.append(f"no error was raised, and the {state} events are there")
        if raised is not None and state != "new" and not isinstance(raised, (ERRORS[code][0], IoError)):
            wrong.append(f"raised {type(raised).__name__}: {raised}")
        if raised is not None and state == "new" and not isinstance(raised, Unconfirmed):
            wrong.append(f"the run is there, but the error says: {raised}")
        if isinstance(raised, Unconfirmed) and b'"penstock_manifest"' not in raised.manifest:
            wrong.append("the error does not carry the manifest")
        outcomes.append((f"{code} at {operation}", fault.fired > 0, wrong + _next_run(stage, defect)))
    return outcomes


def _disturbed(stage: Stage, fault: Fault, defect: str | None) -> ExportError | None:
    stage.reset()
    try:
        with planted(defect):
            stage.export(fault)
    except ExportError as error:
        return error
    return None


def _next_run(stage: Stage, defect: str | None) -> list[str]:
    try:
        with planted(defect):
            stage.export(rows=_OTHER_ROWS)
    except ExportError as error:
        return [f"the next run failed: {type(error).__name__}: {error}"]
    return settled(stage)


def lineage_short_write_sweep(name: str, root: Path, *, defect: str | None = None) -> Count:
    """Each write in turn takes 1, 7, 100 or 4095 bytes of what it is given."""
    stage = _prepared(name, root)
    writes = sum(operation.name == "write" for operation in _recorded(stage, defect=defect))
    plan = [
        Short(on=("write",), nth=number, take=take) for number in range(1, writes + 1) for take in (1, 7, 100, 4095)
    ]
    count = Count(f"{_label(stage, defect)}: short writes", planned=len(plan))
    for start in range(0, len(plan), _BATCH):
        work = partial(_shorts, stage, plan[start : start + _BATCH], defect)
        for outcome in run_forked(lambda _, work=work: work()).value:
            count.add(*outcome)
    return count


def _shorts(stage: Stage, batch: Sequence[Short], defect: str | None) -> list[Outcome]:
    outcomes = []
    for fault in batch:
        raised = _disturbed(stage, fault, defect)
        wrong = [f"raised {type(raised).__name__}: {raised}"] if raised is not None else _whole(stage)
        outcomes.append((f"write {fault.nth} takes {fault.take}", fault.fired > 0, wrong))
    return outcomes


def _whole(stage: Stage) -> list[str]:
    state, wrong = judge(stage)
    return wrong or ([] if state == "new" else [f"the {state} events are there"]) or settled(stage)


def lineage_order_check(name: str, root: Path, *, defect: str | None = None) -> Count:
    """The order of a clean run's operations."""
    stage = _prepared(name, root)
    log = _recorded(stage, defect=defect)
    wrong = order_problems(log, stage.base, _manifest(stage))
    count = Count(f"{_label(stage, defect)}: order of {len(log)} operations", planned=1)
    count.add("clean run", True, wrong)
    return count


def _manifest(stage: Stage) -> Path:
    """The manifest that the run commits with."""
    there = len(list((stage.root / "template" / "runs").glob("_penstock/runs/*.json")))
    return stage.base / f"_penstock/runs/{there + 1:06d}.json"


def lineage_power_sweep(name: str, root: Path, *, most: int, step: int = 1, defect: str | None = None) -> Count:
    """The power fails after each operation of a run; those states after its end have to show the run. ``most`` bounds
    the states at one moment, ``step`` takes every so many of the distinct ones."""
    stage = _prepared(name, root)
    log = _recorded(stage, defect=defect, keep_data=True)
    stage.reset()
    disk = Disk(stage.place)
    count = Count(f"{_label(stage, defect)}: power loss")
    seen: set[bytes] = set()
    for operation in log:
        disk.apply(operation)
        last = operation is log[-1]
        for tree in disk.after_power_loss(most=most, seed=SEED):
            mark = hashlib.sha256(repr((last, sorted(tree.items()))).encode()).digest()
            if mark not in seen and (last or len(seen) % step == 0):
                count.planned += 1
                count.add(f"after {operation}", True, _after_power_loss(stage, tree, defect, acknowledged=last))
            seen.add(mark)
    return count


def _after_power_loss(stage: Stage, tree: Tree, defect: str | None, *, acknowledged: bool) -> list[str]:
    def work(_: int) -> list[str]:
        lay_out(tree, stage.place)
        state, wrong = judge(stage)
        if acknowledged and state != "new":
            wrong.append(f"the run was acknowledged, and the {state} events are there")
        return wrong + _next_run(stage, defect)

    try:
        wrong: list[str] = run_forked(work).value
    except ChildFailed as failed:
        return [str(failed)]
    return wrong


def lineage_kill_sweep(name: str, root: Path, *, defect: str, step: int = 1) -> Count:
    """``lineage_sweeps.kill_sweep`` with a defect in every run, also in the one that recovers."""
    from lineage_sweeps import kill_sweep

    with planted(defect):
        count = kill_sweep(name, root, step=step)
    count.name += f", with the defect {defect}"
    return count
