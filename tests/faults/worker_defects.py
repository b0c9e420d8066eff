"""Defects to plant in the work beside other processes, those that share it and those that write; see
``crash_defects``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.ports.task import PartReceipt
from penstock.runners.processes import ProcessRunner
from penstock.sources import pool
from penstock.sources.sqlite.view import EventsView
from penstock.sources.watch import Watch

Patches = list[tuple[Any, str, Any]]


def _lost_task_forgotten() -> Patches:
    """What a worker that was killed had to do is left undone."""

    def again(self: Any, order: Any, *given: Any) -> None:
        order.done, order.answer = True, (True, PartReceipt(parts=(), counts={}, moved=False))
        self._workers.append(self._joined()[0])

    return [(ProcessRunner, "_again", again)]


def _anyone_admitted() -> Patches:
    """A worker that is started anew works, whatever was committed since the others pinned their views."""
    return [(EventsView, "unmoved", lambda self: True)]


def _barrier_not_watched() -> Patches:
    """That nobody commits while all pin their views is taken for granted."""
    return [(Watch, "unmoved", lambda self: True)]


def _writers_not_noticed() -> Patches:
    """What is read in turns is taken for one moment, whoever wrote in between."""
    return [(pool, "_version", lambda connection: 0)]


WORKER_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (_lost_task_forgotten, _anyone_admitted, _barrier_not_watched, _writers_not_noticed)
}
