"""The error sweeps: operations that fail, that take only a part, and names that somebody else takes first."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from crash_judge import NEW, NONE, OLD, judge, settle, settled
from crash_scenarios import Stage
from crash_sweeps import Count, every, prepare, record

from penstock.errors import AccessDenied, DestinationExists, ExportError, IoError, NoSpace, Unconfirmed
from penstock.testing.faults import Fail, Meddle, Operation, Short
from penstock.testing.forks import run_forked

#: What each error number has to become, and its exit code.
ERRORS: dict[str, tuple[type[ExportError], int]] = {
    "ENOSPC": (NoSpace, 5),
    "EDQUOT": (NoSpace, 5),
    "EIO": (IoError, 5),
    "EACCES": (AccessDenied, 7),
}
_BATCH = 8
_INTRUDER = b"I was here first\n"
When = Literal["before", "after"]
#: What a fault did: its label, whether it fired, and what is wrong.
Outcome = tuple[str, bool, list[str]]


def error_sweep(
    name: str,
    root: Path,
    *,
    codes: Sequence[str],
    lasting: bool = False,
    late: bool = False,
    turns: bool = False,
    step: int = 1,
    defect: str | None = None,
) -> Count:
    """An error at every operation in turn: once, or from there on (``lasting``), or although it had its effect
    (``late``). ``turns`` takes one of the ``codes`` for each operation, not all; ``step`` every so many operations."""
    stage = prepare(name, root, defect=defect)
    plan = [
        (operation, code)
        for operation in every(record(stage), step, defect=defect)
        for index, code in enumerate(codes)
        if not turns or operation.number % len(codes) == index
    ]
    kind = " from there on" * lasting + " although it happened" * late
    count = Count(f"{stage.name}: {'/'.join(codes)}{kind}", planned=len(plan))
    for start in range(0, len(plan), _BATCH):
        batch = plan[start : start + _BATCH]
        for outcome in run_forked(partial(_errors, stage, batch, lasting, late)).value:
            count.add(*outcome)
    return count


def _errors(
    stage: Stage, batch: Sequence[tuple[Operation, str]], lasting: bool, late: bool, marker: int
) -> list[Outcome]:
    return [_one_error(stage, operation, code, lasting, late) for operation, code in batch]


def _one_error(stage: Stage, operation: Operation, code: str, lasting: bool, late: bool) -> Outcome:
    fault = Fail(nth=operation.number, code=getattr(errno, code), lasting=lasting, late=late)
    stage.reset()
    raised: BaseException | None = None
    try:
        stage.export(fault)
    except BaseException as error:
        raised = error
    state, wrong = judge(stage)
    wrong += _told(code, raised, state, operation)
    if raised is not None and not lasting and state != NEW and not _may_leave(operation, late):
        wrong += settled(stage, state)
    done = Counter((entry.name, entry.path) for entry in stage.log)
    if any(times > done["create", path] for (name, path), times in done.items() if name == "fsync"):
        wrong.append("an fsync was tried again")
    return f"{code} at {operation}", fault.fired > 0, wrong + settle(stage, state)


def _told(code: str, raised: BaseException | None, state: str, operation: Operation) -> list[str]:
    """Whether the error is of the right kind, and tells the truth about what is there now."""
    if raised is None:
        # Sums are put after the commit, and whoever comes next puts those that lack.
        quiet = state == NEW and (operation.name not in ("write", "fsync") or "/put-" in operation.path)
        return [] if quiet else [f"no error was raised, and the {state} export is there"]
    if state == NEW:
        if not isinstance(raised, Unconfirmed):
            return [f"raised {type(raised).__name__}, but the new export is there: {raised}"]
        return [] if b'"penstock_manifest"' in raised.manifest else ["the error does not carry the manifest"]
    expected, exit_code = ERRORS[code]
    if isinstance(raised, IoError) and "nothing was published" in str(raised):
        return []  # names that were given and may not have been durable were taken back
    if not isinstance(raised, expected):
        return [f"raised {type(raised).__name__}: {raised}"]
    return [] if raised.exit_code == exit_code else [f"exit code {raised.exit_code}"]


def _may_leave(operation: Operation, late: bool) -> bool:
    """Where leftovers are in order: it was the tidying up that failed, or what was made is not known to be ours."""
    if late and operation.name in ("mkdir", "open_lock", "create"):
        return True
    return operation.name in ("unlink", "rmdir") and ".penstock" in operation.path


def short_write_sweep(name: str, root: Path, *, step: int = 1, defect: str | None = None) -> Count:
    """Each write in turn, or every ``step``-th case, takes 1, 7, 100 or 4095 bytes of what it is given; and no write
    ever more than 1000."""
    stage = prepare(name, root, defect=defect)
    writes = sum(operation.name == "write" for operation in record(stage))
    plan = [
        Short(on=("write",), nth=number, take=take) for number in range(1, writes + 1) for take in (1, 7, 100, 4095)
    ]
    plan = [*every(plan, step, defect=defect), Short(on=("write",), take=1000, lasting=True)]
    count = Count(f"{stage.name}: short writes", planned=len(plan))
    for start in range(0, len(plan), _BATCH):
        batch = plan[start : start + _BATCH]
        for outcome in run_forked(partial(_shorts, stage, batch)).value:
            count.add(*outcome)
    return count


def _shorts(stage: Stage, batch: Sequence[Short], marker: int) -> list[Outcome]:
    return [_one_short(stage, fault) for fault in batch]


def _one_short(stage: Stage, fault: Short) -> Outcome:
    label = f"write {fault.nth} takes {fault.take}"
    stage.reset()
    try:
        stage.export(fault)
    except ExportError as error:
        return label, fault.fired > 0, [f"raised {type(error).__name__}: {error}"]
    return label, fault.fired > 0, settled(stage, NEW)


class Interrupt(KeyboardInterrupt):
    """A signal that arrives between two system calls."""


def interrupt_sweep(name: str, root: Path, *, step: int = 1, defect: str | None = None) -> Count:
    """Ctrl-C right before and right after every operation: the export ends, there is nothing to tidy up, and it is an
    interrupt exactly if nothing was committed."""
    stage = prepare(name, root, defect=defect)
    plan: list[tuple[Operation, When]] = []
    for operation in record(stage):
        plan.append((operation, "before"))
        if not operation.failed:
            plan.append((operation, "after"))
    plan = list(every(plan, step, defect=defect))
    count = Count(f"{stage.name}: interrupted", planned=len(plan))
    for start in range(0, len(plan), _BATCH):
        for outcome in run_forked(partial(_interrupts, stage, plan[start : start + _BATCH])).value:
            count.add(*outcome)
    return count


def _interrupts(stage: Stage, batch: Sequence[tuple[Operation, When]], marker: int) -> list[Outcome]:
    return [_one_interrupt(stage, operation, when) for operation, when in batch]


def _one_interrupt(stage: Stage, operation: Operation, when: When) -> Outcome:
    def interrupt(_: Operation) -> None:
        raise Interrupt

    fault = Meddle(nth=operation.number, action=interrupt, when=when)
    stage.reset()
    wrong = []
    swallowed = False
    try:
        stage.export(fault)
        swallowed = True
    except Interrupt:
        pass
    except BaseException as error:
        wrong.append(f"raised {type(error).__name__}: {error}")
    state, seen = judge(stage)
    if swallowed and state != NEW:
        wrong.append("the interrupt was swallowed")
    if not swallowed and state == NEW:
        wrong.append("the new export is there, and was reported as an interrupt")
    if (operation.name, when) not in (("mkdir", "after"), ("open_lock", "after")):
        seen += settled(stage, state)
    return f"interrupted {when} {operation}", fault.fired > 0, wrong + seen + settle(stage, state)


def intruder_sweep(name: str, root: Path, *, no_links: bool = False, defect: str | None = None) -> Count:
    """Somebody else takes each of the export's names, right before it does, with other bytes and with the same.

    The export has to leave that file alone, take back what it had given out, and work once the intruder is gone. The
    one exception is a part of a directory with the very same bytes: then there is nothing to disagree about.
    """
    stage = prepare(name, root, defect=defect, no_links=no_links)
    log = record(stage)
    names = sorted({operation.target for operation in log if operation.target and ".penstock" not in operation.target})
    keys = {str(Path(target).relative_to(stage.base)): Path(target) for target in names}
    # Sums come after the commit; somebody else's are left alone then, and told.
    free = {key: target for key, target in keys.items() if key not in stage.old and "SHA256SUMS" not in key}
    count = Count(f"{stage.name}: names taken by others")
    for key, target in free.items():
        same = stage.new[key]
        texts = [_INTRUDER, same] if target.name == stage.scenario.dest else [_INTRUDER]
        for text in texts:
            count.planned += 1
            count.add(*run_forked(partial(_one_intruder, stage, target, text)).value)
    return count


def _one_intruder(stage: Stage, target: Path, text: bytes, marker: int) -> Outcome:
    ending = f"/{target.name}"
    fault = Meddle(on=("link", "rename", "rename_new"), ending=ending, action=lambda _: target.write_bytes(text))
    stage.reset()
    label = f"{target.name} taken by {len(text)} bytes"
    wrong = []
    try:
        stage.export(fault)
        wrong.append("the export went over a file that is not ours")
    except DestinationExists:
        pass
    except ExportError as error:
        wrong.append(f"raised {type(error).__name__}: {error}")
    if not target.exists() or target.read_bytes() != text:
        wrong.append("the foreign file was changed")
    target.unlink(missing_ok=True)
    for folder in (target.parent, *target.parent.parents):
        if folder.is_relative_to(stage.base) and folder != stage.place and not any(folder.iterdir()):
            folder.rmdir()  # it was made for the intruder, or for what was taken back
    wrong += settled(stage, OLD if stage.scenario.before == "export" else NONE)
    return label, fault.fired > 0, wrong + settle(stage, NONE if stage.scenario.none_allowed else OLD)
