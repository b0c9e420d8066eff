"""The work of a part, wherever it is done: a worker joins a view, makes parts of it, and hands back receipts.

What a task names is opened here by plain names, as :mod:`penstock.wiring` opens what a user names.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

from penstock import wiring
from penstock.addresses import backend_at
from penstock.errors import ExportError, StorageError
from penstock.exporting.crew import Crew, Workers
from penstock.exporting.run import Run
from penstock.model.dataset import Dataset
from penstock.model.manifest import PartEntry
from penstock.model.options import ExportOptions
from penstock.pipeline.steps import stepped
from penstock.ports.backend import Backend, Staged, Upload
from penstock.ports.source import Ticket, View
from penstock.ports.task import Joining, PartReceipt, PartTask
from penstock.publishing.around import Stored, stored_part
from penstock.publishing.place import staged_name
from penstock.runners.threads import ThreadRunner

#: The views that this process has pinned, by the name that tasks have for them.
_views: dict[str, View] = {}


def join(joining: Joining) -> Ticket:
    """Pin a view of the source, in place of one of the same name, and show what it sees."""
    before = _views.pop(joining.name, None)
    if before is not None:
        before.close()
    view = wiring.open_source(joining.source.where, joining.source.config).pin()
    ticket = view.ticket
    if ticket is None:
        raise StorageError(f"{joining.source.where} shows nothing by which two processes could agree on it")
    _views[joining.name] = view
    return ticket


def make_part(task: PartTask) -> PartReceipt:
    """Read, write and stage what a task asks for. An error names the task."""
    try:
        staging = _Staging(backend_at(task.place), task)
        rows = stepped(_views[task.view], task.steps)
        run = Run(
            rows, task.layout, task.filter, task.options, slices=task.slices, source=task.source, steps=task.steps
        )
        entries = run.write(staging, ThreadRunner(1), None, single=False, keep_empty=False)
        return PartReceipt(
            parts=tuple(
                (entry, staging.staged(index, entry), size)
                for index, (entry, size) in enumerate(zip(entries, run.sizes, strict=True))
            ),
            counts=run.counts,
            moved=_views[task.view].moved,
        )
    except ExportError as error:
        error.message = f"{task}: {error.message}"
        raise


class _Staging:
    """The parts of one task, under names that no other worker has, also not one that does the same task again."""

    def __init__(self, backend: Backend, task: PartTask) -> None:
        self._backend = backend
        self._attempt = task.attempt
        self._who = uuid.uuid4().hex
        self._count = 0

    def stage(self, dataset: Dataset | None = None) -> Upload:
        self._count += 1
        return self._backend.stage(self._attempt, staged_name(self._count - 1, self._who))

    def staged(self, index: int, entry: PartEntry) -> Staged:
        return Staged(attempt=self._attempt, name=staged_name(index, self._who), size=entry.bytes)

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        return stored_part(self._backend, self.staged(index, entry))

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return ""


@contextmanager
def hired(options: ExportOptions) -> Iterator[Workers]:
    """Who does the work of an export, until the block ends."""
    threads = ThreadRunner(options.threads)
    if options.runner == "threads":
        yield Workers(threads=threads)
        return
    from penstock.runners.processes import ProcessRunner  # loaded where processes are asked for

    with closing(ProcessRunner(options.processes)) as runner:
        yield Workers(threads=threads, crew=Crew(runner, join, make_part))
