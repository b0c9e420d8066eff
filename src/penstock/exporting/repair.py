"""Repair: parts, rolls and runs of a lineage that are missing or damaged, made again from the store that still holds
their rows.

Nothing is believed of the store: what it gives counts only if it has the digest that the manifest names. Parts that
come out byte for byte go back under their names. Others become parts of a run of maintenance, which removes the old
ones, and does without manifests that are lost. No manifest is ever changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

from penstock.exporting.chosen import Counted, OfPartition, Rolled, Streamed, within
from penstock.exporting.committing import close, commit, uninterrupted
from penstock.exporting.crew import Workers
from penstock.exporting.growth import write_roll
from penstock.exporting.incremental import facts_at
from penstock.exporting.noting import Noted
from penstock.exporting.reread import without_held
from penstock.exporting.resume import Plan
from penstock.exporting.rolls_again import laid_again
from penstock.exporting.run import Run
from penstock.exporting.staging import Aside
from penstock.model.arrival import BEGINNING, Arrival, horizon, said
from penstock.model.dataset import Dataset
from penstock.model.lineage import NO_TOTALS, Lineage, run_name
from penstock.model.maintenance import Removed, Waived
from penstock.model.manifest import Manifest, PartEntry, RunKind, held_parts
from penstock.model.partition import split_name
from penstock.model.result import Problem, RepairResult
from penstock.pipeline.closing import Closing
from penstock.pipeline.digests import digest_hex
from penstock.pipeline.flattening import parse_steps
from penstock.pipeline.steps import bound_by, stepped
from penstock.ports.backend import Staged, Stat
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.source import Clock, Rows, Source, View
from penstock.publishing.attempt import Attempt
from penstock.publishing.lineage import LineageDestination, totals_of
from penstock.publishing.shapes import Run as RunShape
from penstock.reading.chain import Link, links_left
from penstock.reading.part import damage

_LAST_NUMBER = re.compile(r"-(-?\d+)-[0-9a-f]{8}(?:-[0-9a-f]{12})?(?:\.\w+)+\Z", re.ASCII)


def repair(
    storage: Source,
    destination: LineageDestination,
    plan: Plan,
    *,
    clock: Clock,
    workers: Workers,
    observer: Observer | None = None,
) -> RepairResult:
    """Make again what is missing or damaged; see :func:`penstock.repair`."""
    publication: Attempt | None = None
    try:
        with uninterrupted():
            publication = destination.begin_repair()
        storage, _ = storage.continuing(links_left(destination)[-1].manifest.source)
        storage = storage.narrowed(plan.options.read(storage.dataset, plan.filter))
        with workers.pin(storage) as view:
            with _Repair(view, storage.dataset, destination, plan, publication, workers) as work:
                work.look_after_parts(observer)
                work.look_after_runs()
                work.look_after_rolls()
                manifest = work.manifest(clock)
            if manifest is not None:
                manifest = commit(publication, manifest, 0, observer)
        publication.close()
        with uninterrupted():
            destination.clear([*(link.manifest for link in work.links), *([] if manifest is None else [manifest])])
            destination.drop(work.unwanted)
    finally:
        close(publication)
    return RepairResult(
        path=destination.place,
        restored=tuple(work.restored),
        replaced=tuple(removed.name for removed in work.removed),
        waived=tuple(lost.run for lost in work.waived),
        left=tuple(work.left),
        notes=(*publication.notes, *work.notes),
        manifest=manifest,
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """A part that was made again, and what it is staged as."""

    entry: PartEntry
    staged: Staged


class _Repair(Closing):
    """The work on one lineage. ``links`` are its readable runs, ``next`` is the number of the run to come; what was
    done and what could not be gathers in the other attributes."""

    def __init__(
        self,
        view: View,
        dataset: Dataset,
        destination: LineageDestination,
        plan: Plan,
        publication: Attempt,
        workers: Workers,
    ) -> None:
        self.links = links_left(destination)
        self._steps = parse_steps(self.links[-1].manifest.steps)
        self._pinned = view
        self._view = stepped(view, self._steps)
        self._destination = destination
        self._publication = publication
        self._threads = workers.threads
        self._filter = plan.filter
        self._options = plan.options
        layout = plan.options.resolve(format=plan.format, codec=None, dataset=dataset)
        self._layout = replace(layout, dataset=plan.options.written(bound_by(self._steps, dataset)))
        self._compared = self._layout.dataset.select(self._layout.columns[: self.links[-1].lineage.compared])
        self._given = dataset
        self._rows: dict[int, Rows] = {}
        self._numbers = view.arrivals
        #: The records of the rows of runs that are waived.
        self._rolls: list[Iterator[bytes]] = []
        self._closing = ExitStack()
        self.next = destination.following()
        self.restored: list[str] = []
        self.removed: list[Removed] = []
        self.waived: list[Waived] = []
        self.left: list[Problem] = []
        self.notes: list[str] = []
        #: Files of runs that are waived, whose very bytes came out again.
        self.unwanted: list[Stat] = []
        self._made: list[_Made] = []
        self._proven = True

    def close(self) -> None:
        """Drop what was laid down of rows. Safe to call twice."""
        self._closing.close()

    def look_after_parts(self, observer: Observer | None) -> None:
        """Read every part, and make those again that are not whole."""
        held = held_parts([link.manifest for link in self.links])
        links = {link.lineage.run: link for link in self.links}
        done, total = 0, sum(entry.bytes for _, entry in held)
        for manifest, entry in held:
            version = self._destination.version(entry)
            wrong = damage(self._destination.part(entry.name), manifest.layout, entry)
            if wrong:
                assert manifest.lineage is not None
                self._restore(links[manifest.lineage.run], entry, version, wrong[0])
            done += entry.bytes
            tell(observer, Progress(done=done, total=total))

    def _restore(self, link: Link, entry: PartEntry, version: str | None, why: str) -> None:
        made = self._again(link, entry)
        same = (made.entry.rows, made.entry.rows_digest, made.entry.seq_range) == (
            entry.rows,
            entry.rows_digest,
            entry.seq_range,
        )
        if not same:
            gone = f"{made.entry.rows:,} rows" if made.entry.rows != entry.rows else "as many rows, of other content,"
            self.left.append(
                Problem(
                    part=entry.name,
                    message=f"{why}; it held {entry.rows:,} rows, the store has {gone} in its place: not proven",
                )
            )
        elif made.entry.sha256 == entry.sha256:
            self._destination.put_back(entry, made.staged, over=version)
            self.restored.append(entry.name)
        elif link.manifest.dataset.columns != self._layout.columns:
            told = f"{why}; its rows came out in other bytes, and a run of columns that came later takes none of these"
            self.left.append(Problem(part=entry.name, message=told))
        else:
            folders, _ = split_name(entry.name)
            self._add(made, folders)
            self.removed.append(
                Removed(
                    name=entry.name,
                    rows=entry.rows,
                    bytes=entry.bytes,
                    sha256=entry.sha256,
                    rows_digest=entry.rows_digest,
                    why=why,
                )
            )

    def _add(self, made: _Made, folders: str) -> None:
        """Let it be a part of the run to come."""
        name = self._publication.part_name(len(self._made), made.entry, self._layout.file_ending, folders)
        self._made.append(_Made(replace(made.entry, name=name), made.staged))
        self._publication.take(made.staged)

    def _again(self, link: Link, entry: PartEntry) -> _Made:
        """The rows of a part, made a part again."""
        rows, by = self._rows_of(link), self._layout.partition_by
        if by is not None:
            time = None if entry.time_range is None else entry.time_range.first
            rows = OfPartition(rows, str(self._layout.dataset.time), by, time)
        staging = Aside(self._publication)
        given = {
            "layout": replace(self._layout, dataset=link.manifest.dataset, partition_by=None, partition_name=None),
            "source": link.manifest.source,
        }
        span = entry.seq_range
        if span is None or rows.streams:
            run = self._counted(link, entry, rows, given)
        else:
            begun = link.lineage.after if entry.mark is None else span.first - 1
            run = self._run(rows, span.first - 1, span.last, begun=begun, **given)
        made = run.write(staging, self._threads, None, single=True)
        return _Made(made[0], staging.parts[0])

    def _counted(self, link: Link, entry: PartEntry, rows: Rows, given: Mapping[str, Any]) -> Run:
        """The work on a part that no numbers find: its rows are behind those of the parts before it."""
        lineage, folders = link.lineage, split_name(entry.name)[0]
        after, upto = (lineage.after, lineage.upto) if entry.mark is None else (BEGINNING, lineage.after)
        parts = [one for one in link.manifest.parts if one.mark == entry.mark and split_name(one.name)[0] == folders]
        before = sum(one.rows for one in parts[: parts.index(entry)])
        if rows.streams:
            found = Streamed(rows, before=before, count=entry.rows)
            return Run(found, filter=self._filter, options=self._options, steps=self._steps, after=after, **given)
        stretch = self._run(rows, after, upto, **given)
        chosen = Counted(rows, stretch.planned.slices, self._filter, before=before, count=entry.rows)
        return self._run(chosen, after, upto, slices=chosen.slices, **given)

    def _rows_of(self, link: Link) -> Rows:
        """What a run had to read: where it read rows again, without those that the runs before it hold."""
        run = link.lineage.run
        if run not in self._rows:
            before = [one for one in self.links if one.lineage.run < run]
            again = link.lineage.broken is not None or any(link.lineage.after < one.lineage.reached for one in before)
            self._rows[run] = self._found(link)
            if again:
                self._rows[run] = without_held(
                    self._rows[run],
                    self._filter,
                    lineage=link.lineage,
                    chain=before,
                    destination=self._destination,
                    dataset=self._compared,
                    given=self._given,
                )
        return self._rows[run]

    def _found(self, link: Link) -> Rows:
        """The rows that a run found, as far as it says which these were."""
        roll = link.lineage.roll
        if roll is None or self._destination.holds(roll) is None:
            return self._view
        return self._closing.enter_context(Rolled(self._view, self._compared, self._destination, roll))

    def look_after_runs(self) -> None:
        """Read the rows of those runs again whose manifests are lost."""
        known = {link.lineage.run for link in self.links}
        known |= {lost.run for lost in self.links[-1].lineage.waived}
        lost = [number for number in range(1, self.next) if number not in known]
        for _, group in groupby(enumerate(lost), key=lambda each: each[1] - each[0]):
            self._waive([number for _, number in group])

    def look_after_rolls(self) -> None:
        """Make those rolls again that are missing or damaged, the first first: a later one is known by those before."""
        for link in self.links:
            roll = link.lineage.roll
            if roll is None or self._destination.holds(roll) is not None:
                continue
            given = (self._numbers, self._destination, self._filter, self._compared)
            staged = laid_again(self._publication, link, self.links, self._view, *given)
            if staged is not None:
                self._destination.put_back(roll, staged, over=self._destination.version(roll))
                self.restored.append(roll.name)
                continue
            told = "it is missing, or is not what the manifest names; nothing that is left tells what it held"
            self.left.append(Problem(part=roll.name, message=told))

    def _waive(self, lost: Sequence[int]) -> None:
        """Do without these runs, which follow each other, if the store holds as many rows in their stretch."""
        before = max((link for link in self.links if link.lineage.run < lost[0]), key=_run, default=None)
        behind = min((link for link in self.links if link.lineage.run > lost[-1]), key=_run, default=None)
        files = [stat for run in lost for stat in self._destination.parts_of_run(run)]
        after = BEGINNING if before is None else before.lineage.upto
        upto = behind.lineage.follows if behind is not None else max([after, *(_last_number(stat) for stat in files)])
        staging = Aside(self._publication, RunShape(lost[0]))
        # what an export says of itself inside its files
        source = {**self.links[-1].manifest.source, "horizon": horizon(upto)}
        noted: Noted | None = None
        if behind is not None and behind.lineage.known is not None:
            noted = self._closing.enter_context(Noted(self._view, self._compared))
            noted.begin()
        run = self._run(self._view if noted is None else noted, after, upto, source=source)
        entries = run.write(staging, self._threads, None, single=False, keep_empty=False)
        names = " to ".join(dict.fromkeys([run_name(lost[0]), run_name(lost[-1])]))
        why = "its manifest was lost; no other tells what it held: the next run begins where the run before it ended"
        if behind is not None:
            had = totals_of(behind.lineage.removed, behind.lineage.totals, behind.manifest.parts)
            base = NO_TOTALS if before is None else before.lineage.totals
            rows = sum(entry.rows for entry in entries)
            gone, same = had.rows - base.rows, totals_of(entries, base) == had
            other = None if same or rows != gone else self._other_row(behind.lineage, after, upto)
            if rows != gone or other is not None:
                there = f"{rows:,} in their place" if other is None else f"as many, but another one at {said(other)}"
                held = "rows that come by once are not counted" if self._view.streams else f"the store has {there}"
                told = f"was lost with {gone:,} rows; {held}: not proven"
                self.left.append(Problem(part=names, message=told))
                return
            how = "the very same parts came out" if same else "as many rows; that they are the same is not proven"
            why = f"its manifest was lost; its rows were read from the store again: {how}"
            self._proven &= same
            for entry, staged in zip(entries, staging.parts, strict=True):
                self._add(_Made(entry, staged), split_name(entry.name)[0])
            if noted is not None:
                begin = after if after > BEGINNING else None
                numbers = (number for each in self._numbers(begin, upto) for number in each.to_pylist())
                self._rolls.append(noted.with_untaken(numbers))
        self.notes.append(f"{names}: {why}")
        self._look_at_files(entries, files)
        for number in lost:
            last = behind is not None and number == lost[-1]
            mine = entries if last else []
            self.waived.append(
                Waived(
                    run=number,
                    manifest_sha256=behind.lineage.previous if behind is not None and last else None,
                    rows=sum(entry.rows for entry in mine),
                    rows_digest=digest_hex(sum(int(entry.rows_digest, 16) for entry in mine)),
                    by=self.next,
                    why=why,
                )
            )

    def _other_row(self, behind: Lineage, after: Arrival, upto: Arrival) -> Arrival | None:
        """Where in a stretch the store has not the row that the run behind knows it by, if it names any there."""
        named = [anchor for anchor in behind.anchors if after < anchor.seq <= upto]
        there = facts_at(self._pinned, [anchor.seq for anchor in named], self._given, self._compared, self._steps)
        return next((anchor.seq for anchor in named if anchor not in there.get(anchor.seq, ())), None)

    def _run(self, rows: Rows, after: Arrival, upto: Arrival, **more: Any) -> Run:
        """The work on the rows of a stretch, cut as a run that began there would cut them."""
        begun = more.pop("begun", after)
        given = {"layout": self._layout, "steps": self._steps, "source": self.links[-1].manifest.source, **more}
        if "slices" not in given:
            planned = Run(rows, self._layout, self._filter, self._options, after=begun).planned.slices
            given["slices"] = list(within(planned, after, upto))
        return Run(rows, filter=self._filter, options=self._options, **given)

    def _look_at_files(self, entries: Sequence[PartEntry], files: Sequence[Stat]) -> None:
        """Parts of a run that is waived go if their very bytes came out again; others are left, and told."""
        for stat in files:
            made = [replace(entry, name=stat.key) for entry in entries if entry.bytes == stat.size]
            if any(self._destination.holds(entry) == stat for entry in made):
                self.unwanted.append(stat)
            else:
                self.notes.append(f"{stat.key} is of no run any more and was left; its rows may lie in another part")

    def manifest(self, clock: Clock) -> Manifest | None:
        """The manifest of the run to come; ``None`` if there is nothing for it to do."""
        if not self._made and not self.waived:
            return None
        last = self.links[-1]
        entries = [made.entry for made in self._made]
        gone = {part.name for part in self.removed}
        held = [entry for _, entry in held_parts([link.manifest for link in self.links]) if entry.name not in gone]
        totals = totals_of(entries, last.lineage.totals, self.removed)
        lineage = replace(
            last.lineage,
            run=self.next,
            previous=last.digest,
            after=last.lineage.upto,
            broken=None,
            roll=write_roll(self._publication, chain.from_iterable(self._rolls)),
            totals=totals_of([*held, *entries], NO_TOTALS) if self.waived else totals,
            removed=tuple(self.removed),
            waived=(*last.lineage.waived, *self.waived),
        )
        run = self._run(self._view, last.lineage.upto, last.lineage.upto)
        made = run.manifest(entries, clock, single=False, lineage=lineage)
        guarantees = {} if self._proven else {"waived": "counted"}
        return replace(made, kind=RunKind.MAINTENANCE, counts={}, guarantees=guarantees)


def _run(link: Link) -> int:
    return link.lineage.run


def _last_number(stat: Stat) -> int:
    """The last arrival number that the name of a run's part tells."""
    match = _LAST_NUMBER.search(stat.key)
    return BEGINNING if match is None else int(match[1])
