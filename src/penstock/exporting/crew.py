"""Parts made by other processes: planned here, and named and published here alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from penstock.errors import UsageError
from penstock.exporting.parts import named
from penstock.exporting.run import Run, check_number
from penstock.model.filter import ExportFilter
from penstock.model.manifest import PartEntry
from penstock.model.options import ExportOptions
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.runner import Runner, Threads
from penstock.ports.source import Slice, Source, Ticket, View
from penstock.ports.task import Joining, PartReceipt, PartTask
from penstock.publishing.publication import Publication


class Crew:
    """Workers in other processes: the ``runner`` that has them, what they do first, and what for each part."""

    def __init__(
        self, runner: Runner, join: Callable[[Joining], Ticket], make: Callable[[PartTask], PartReceipt]
    ) -> None:
        self._runner = runner
        self._join = join
        self._make = make
        #: By this name tasks mean the view that is exported.
        self._view = uuid.uuid4().hex

    def pin(self, source: Source) -> View:
        """A view that all workers see, or one without a ticket. Raises :class:`~penstock.errors.UsageError` for a
        source that no other process can open."""
        ref = source.ref
        if ref is None:
            raise UsageError("only the process that holds this source can read it", hint="export it with threads")
        joining = Joining(name=self._view, source=ref)
        return source.pin(peers=lambda: self._runner.together(self._join, joining))

    def write(self, run: Run, view: View, publication: Publication, observer: Observer | None) -> list[PartEntry]:
        """Have all parts made; returns their entries under their final names, none if no row matches."""
        groups = run.planned.groups()
        if run.filter == ExportFilter():
            check_number(len(groups))
        receipts = list(self._made(run, view, publication, groups, observer))
        if run.filter != ExportFilter():
            again = _too_small(groups, receipts, run.options)
            made = self._made(run, view, publication, [group for group, done in again if done is None], None)
            receipts = [done if done is not None else next(made) for _, done in again]
        entries: list[PartEntry] = []
        for receipt in receipts:
            run.counts.update(receipt.counts)
            run.moved |= receipt.moved
            for entry, staged, _ in receipt.parts:
                check_number(len(entries) + 1)
                publication.take(staged)
                entries.append(named(entry, publication.part_name(len(entries), entry, run.layout.file_ending)))
        return entries

    def _made(
        self,
        run: Run,
        view: View,
        publication: Publication,
        groups: Sequence[tuple[Slice, ...]],
        observer: Observer | None,
    ) -> Iterator[PartReceipt]:
        place, attempt = publication.elsewhere()
        tasks = [
            run.task(number, group, view=self._view, place=place, attempt=attempt)
            for number, group in enumerate(groups)
        ]
        rows = stored = done = 0
        many = 2 * self._runner.count
        with closing(self._runner.map(self._make, tasks, in_flight=many, admits=view.unmoved)) as receipts:
            for group, receipt in zip(groups, receipts, strict=True):
                yield receipt
                rows += sum(entry.rows for entry, _, _ in receipt.parts)
                stored += sum(entry.bytes for entry, _, _ in receipt.parts)
                done += sum(span.bytes_hint for span in group)
                tell(observer, Progress(rows=rows, bytes=stored, done=done, total=run.planned.size))


def _too_small(
    groups: Sequence[tuple[Slice, ...]], receipts: Sequence[PartReceipt], options: ExportOptions
) -> list[tuple[tuple[Slice, ...], PartReceipt | None]]:
    """The groups, with what became of them; or, if a filter left so little of them that there are more than twice the
    parts that are needed, larger ones: those without a receipt have to be made. What was made of them before stays
    staged, and goes with the attempt.
    """
    kept: list[tuple[tuple[Slice, ...], PartReceipt | None]] = list(zip(groups, receipts, strict=True))
    rows = [sum(entry.rows for entry, _, _ in receipt.parts) for receipt in receipts]
    sizes = [sum(size for _, _, size in receipt.parts) for receipt in receipts]
    most_rows, most_bytes = options.part_rows or sum(rows) + 1, options.part_bytes or sum(sizes) + 1
    needed = max(-(-sum(rows) // most_rows), -(-sum(sizes) // most_bytes), 1)
    if sum(len(receipt.parts) for receipt in receipts) <= 2 * needed:
        return kept
    larger: list[tuple[tuple[Slice, ...], PartReceipt | None]] = []
    begin = 0
    for end in range(1, len(groups) + 1):
        full = sum(rows[begin:end]) > most_rows or sum(sizes[begin:end]) > most_bytes
        if full or end == len(groups):
            whole = tuple(span for group in groups[begin:end] for span in group)
            larger.append((whole, receipts[begin] if end - begin == 1 else None))
            begin = end
    return larger


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """Who does the work of an export: ``threads`` of this process, and a ``crew`` of others if that was asked for."""

    threads: Threads
    crew: Crew | None = None

    def pin(self, source: Source) -> View:
        """A view that all of them see."""
        return self.crew.pin(source) if self.crew is not None else source.pin(readers=self.threads.count)

    def write(
        self,
        run: Run,
        view: View | None,
        publication: Publication,
        observer: Observer | None,
        *,
        single: bool,
        keep_empty: bool = True,
    ) -> list[PartEntry]:
        """Have all parts made and staged; returns their entries under their final names.

        A ``view`` that others cannot prove to see, or none, is read by this process alone.
        """
        if self.crew is None or view is None or view.ticket is None:
            return run.write(publication, self.threads, observer, single=single, keep_empty=keep_empty)
        entries = self.crew.write(run, view, publication, observer)
        if entries or not keep_empty:
            return entries
        nothing = Run(view, run.layout, run.filter, run.options, slices=())
        return nothing.write(publication, self.threads, None, single=single)
