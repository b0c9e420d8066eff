"""Several exports of one source that is read once, each committed by itself: one that fails keeps no other from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass

from penstock.errors import Cancelled, ExportError
from penstock.exporting.committing import uninterrupted
from penstock.exporting.crew import Workers
from penstock.exporting.export import export_view
from penstock.exporting.shared import Member, SharedView
from penstock.model.filter import ExportFilter
from penstock.model.options import ExportOptions, Layout
from penstock.model.result import ExportResult, ExportsResult
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.runner import Threads
from penstock.ports.source import Clock, Source
from penstock.publishing.destination import Destination

#: How often who asked is told how far it is.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One of the exports: where it goes, in which layout, and with which threads."""

    destination: Destination
    layout: Layout
    threads: Threads


class _Watch:
    """What one of the exports tells, and whether it is to end: it does so from a thread of its own."""

    def __init__(self) -> None:
        self.at = Progress(done=0, total=0)
        self.cancelled = False

    def progress(self, at: Progress, /) -> None:
        self.at = at


def export_to_each(
    storage: Source,
    wanted: Mapping[str, Wanted],
    *,
    filter: ExportFilter,
    options: ExportOptions,
    clock: Clock,
    overwrite: bool,
    observer: Observer | None,
) -> ExportsResult:
    """Write the matching rows to all destinations, by their names; see :func:`penstock.export_to_each`."""
    filter.condition(storage.dataset)  # complains before anything is done
    storage = storage.narrowed(options.read(storage.dataset, filter), until=options.ending)
    readers = max(each.threads.count for each in wanted.values())
    with storage.pin(readers=readers) as view:
        shared = SharedView(view, filter, count=len(wanted), most=2 * readers + 1)
        watches = {name: _Watch() for name in wanted}

        def one(name: str, rows: Member) -> ExportResult:
            try:
                return export_view(
                    view,
                    rows,
                    storage.dataset,
                    wanted[name].destination,
                    layout=wanted[name].layout,
                    filter=filter,
                    options=options,
                    clock=clock,
                    workers=Workers(threads=wanted[name].threads),
                    overwrite=overwrite,
                    observer=watches[name],
                )
            finally:
                rows.end()

        with closing(shared), ThreadPoolExecutor(len(wanted), thread_name_prefix="penstock-export") as pool:
            try:
                with uninterrupted():  # a thread that is cut off while it begins is joined by nobody
                    members = zip(wanted, shared.members(), strict=True)
                    works = {name: pool.submit(one, name, rows) for name, rows in members}
                _watch(list(works.values()), list(watches.values()), observer)
            except BaseException:
                for watch in watches.values():
                    watch.cancelled = True
                raise
    return _settled(works)


def _watch(works: Sequence[Future[ExportResult]], watches: Sequence[_Watch], observer: Observer | None) -> None:
    """Wait for all of them, and say how far they are, from the thread that asked. Raises
    :class:`~penstock.errors.Cancelled` if that one wants no more."""
    left = set(works)
    while left:
        _, left = wait(left, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
        at = [watch.at for watch in watches]
        rows = max(each.rows or 0 for each in at)
        stored = sum(each.bytes or 0 for each in at)
        done, total = (sum(getattr(each, name) for each in at) for name in ("done", "total"))
        tell(observer, Progress(rows=rows, bytes=stored or None, done=done, total=total))


def _settled(works: Mapping[str, Future[ExportResult]]) -> ExportsResult:
    exported: dict[str, ExportResult] = {}
    failed: dict[str, ExportError] = {}
    for name, work in works.items():
        error = work.exception()
        if error is None:
            exported[name] = work.result()
        elif isinstance(error, ExportError) and not isinstance(error, Cancelled):
            failed[name] = error
        else:
            raise error
    return ExportsResult(exported=exported, failed=failed)
