"""Whether a table that is not ours only grew, and what a run makes of it if it did not.

The last run says how many rows the lineage knows at or below its cursor, and the sum of the hashes of their numbers.
Where the table holds the same, nothing came late and nothing vanished. Else, and within the overlap that was asked for,
the table is compared with the rolls of the runs. What the next run has to know is written into a roll of its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeAlias

import pyarrow as pa

from penstock.errors import StoreBusy, UsageError
from penstock.exporting.compared import Changed, Compared, Late
from penstock.exporting.noting import Noted
from penstock.exporting.run import Run
from penstock.exporting.staging import Behind
from penstock.model.arrival import BEGINNING, Arrival
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.lineage import Lineage
from penstock.model.manifest import PartEntry
from penstock.model.options import ExportOptions, Layout
from penstock.model.overlap import parse_overlap
from penstock.model.roll import RECORD_BYTES, Growth, Known, Roll
from penstock.pipeline.closing import Closing
from penstock.pipeline.flattening import Flattening
from penstock.pipeline.rolls import NOTHING, Record, Tally, packed, unpacked
from penstock.pipeline.steps import stepped
from penstock.ports.backend import Staged
from penstock.ports.runner import Threads
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Rows, Slice, View
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.publication import RunPublication
from penstock.reading.chain import Link, chain_of

_AT_ONCE = 65_536
#: Where parts go, who makes them, and how many there are.
_Work: TypeAlias = tuple[RunPublication, Threads, int]


def growth_of(view: View, last: Lineage | None, options: ExportOptions) -> Growth:
    """On what a lineage's growing rests. The first run decides: by what the source offers, or since an overlap was
    asked for. Raises :class:`~penstock.errors.UsageError` for an overlap where nothing is checked."""
    if view.growth is Growth.PROVEN or view.streams:
        growth = view.growth
    elif last is not None:
        growth = Growth.ASSUMED if last.known is None else Growth.CHECKED
    else:
        growth = view.growth if options.overlap is None else Growth.CHECKED
    if growth is not Growth.CHECKED and options.overlap is not None:
        why, hint = "the lineage was begun without checking", "begin a new lineage with --overlap in another directory"
        if growth is Growth.PROVEN or view.streams:
            why = "the store proves what is new" if growth is Growth.PROVEN else "the rows come by once"
            hint = "leave it out"
        raise UsageError(f"{why}: there is no overlap to look at", hint=hint)
    return growth


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a check found: parts of what no run held, what is to be told, by name, what the lineage knows now, and the
    roll that says so, if there is anything to say."""

    entries: Sequence[PartEntry]
    counts: Mapping[str, int]
    known: Known
    roll: Roll | None


class Check(Closing):
    """The check of one run. ``rows`` are those of the view; what the run reads of them is noted once they are told to
    begin. ``compared`` has the columns by which a row is told from what it was."""

    def __init__(
        self,
        view: View,
        steps: Sequence[Flattening],
        layout: Layout,
        compared: Dataset,
        filter: ExportFilter,
        options: ExportOptions,
    ) -> None:
        self._view = view
        self._steps = steps
        self._source = stepped(view, steps)
        self._layout = layout
        self._dataset = compared
        self._filter = filter
        self._options = options
        self._overlap = None if options.overlap is None else parse_overlap(options.overlap)
        self._compared: Compared | None = None
        self.rows = Noted(self._source, compared)

    def settle(
        self,
        lineage: Lineage,
        last: Link | None,
        destination: LineageDestination,
        publication: RunPublication,
        threads: Threads,
        *,
        before: int,
    ) -> Found:
        """Look at what lies at or below where the run begins, once the run itself was read. ``before`` parts are laid
        down already; those of rows that no run holds follow, and then the roll."""
        entries: list[PartEntry] = []
        counts: Counter[str] = Counter()
        if last is not None:
            tally, floor = self._counted(lineage.after)
            same = lineage.broken is None and tally.known == last.lineage.known
            if not same or self._overlap is not None:
                self._compared = self._compare(lineage, destination, floor=floor, same=same)
                links = chain_of(destination)
                work = (publication, threads, before)
                if not same:
                    entries += self._late(self._compared, links, floor, work, counts)
                if self._overlap is not None:
                    entries += self._changed(self._compared, links, floor, work, counts, len(entries))
        known = None if last is None else last.lineage.known
        settled, roll = self._write_roll(lineage, NOTHING if known is None else known, publication)
        return Found(entries=entries, counts=+counts, known=settled, roll=roll)

    def _counted(self, upto: Arrival) -> tuple[Tally, Arrival]:
        """The rows of the table up to a place, and the place above which those of the overlap lie."""
        tally = Tally()
        for numbers in self._view.arrivals(None, upto):
            tally.add(numbers)
        overlap = None if self._overlap is None else self._overlap.rows
        floor = None if overlap is None else self._view.back(upto, overlap)
        return tally, BEGINNING if floor is None else floor

    def _compare(self, lineage: Lineage, destination: LineageDestination, *, floor: Arrival, same: bool) -> Compared:
        rolls = [link.lineage.roll for link in chain_of(destination) if link.lineage.roll is not None]
        return Compared(self._view, destination, rolls, above=floor if same else BEGINNING, upto=lineage.after)

    def _late(
        self, compared: Compared, links: Sequence[Link], floor: Arrival, work: _Work, counts: Counter[str]
    ) -> list[PartEntry]:
        """Parts of the rows that came late, as far as they lie in the overlap."""
        late = Late(self._source, compared, self._dataset, self._oldest(links))
        counts["skipped_late"] = compared.leave(floor)
        wanted = list(self._view.around(_begin(floor), compared.upto, lambda some: compared.late(some.to_pylist())))
        made, coerced = self._write(late, wanted, work, 0)
        counts.update(coerced)
        counts["skipped_late"] += late.old
        counts["late"] = late.count
        counts["vanished"] = compared.vanished()
        return [replace(entry, mark="late") for entry in made]

    def _changed(
        self,
        compared: Compared,
        links: Sequence[Link],
        floor: Arrival,
        work: _Work,
        counts: Counter[str],
        late: int,
    ) -> list[PartEntry]:
        """Parts of the rows that were changed in the overlap, if updates are wanted; else they are only counted."""
        updates = self._options.updates
        changed = Changed(self._source, compared, self._dataset, self._oldest(links), updates=updates)
        slices = list(self._slices(floor, compared.upto))
        made: list[PartEntry] = []
        if updates:
            made, _ = self._write(changed, slices, work, late)
        else:
            for span in slices:
                deque(changed.read(span, self._filter), maxlen=0)
        counts["changed"] = changed.count
        return [replace(entry, mark="changed") for entry in made]

    def _oldest(self, links: Sequence[Link]) -> int | None:
        """Before which time rows are left out: the newest that the lineage holds, less the overlap."""
        if self._overlap is None or self._overlap.micros is None:
            return None
        spans = [link.manifest.time_range for link in links]
        newest = max((span.last for span in spans if span is not None), default=None)
        return None if newest is None else newest - self._overlap.micros

    def _write(
        self, rows: Rows, slices: list[Slice], work: _Work, late: int
    ) -> tuple[list[PartEntry], Mapping[str, int]]:
        publication, threads, before = work
        run = Run(rows, self._layout, self._filter, self._options, slices=slices, steps=self._steps)
        behind = Behind(publication, before + late)
        return run.write(behind, threads, None, single=False, keep_empty=False), run.counts

    def _slices(self, after: Arrival, upto: Arrival) -> Iterator[Slice]:
        for span in self._view.plan(self._filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES, after=_begin(after)):
            if span.after >= upto:
                return
            yield span if span.upto <= upto else replace(span, upto=upto, rows=0)

    def _write_roll(self, lineage: Lineage, known: Known, publication: RunPublication) -> tuple[Known, Roll | None]:
        """Write down what the run found and missed, as the last thing that it stages.

        A row that is there now and was not read was not taken. Where the table was written meanwhile it may have come
        since: then only what was read is known, and the next run looks at all else.
        """
        tally = Tally(known)
        rows = 0
        for numbers in self._view.arrivals(lineage.after, self._view.upto):
            tally.add(numbers)
            rows += len(numbers)
        moved = self._view.moved
        if moved:
            tally = Tally(known)
            stretch = _counted(chain.from_iterable(map(unpacked, self.rows.records())), tally, 1)
        elif rows == self.rows.count:
            stretch = self.rows.records()
        else:
            stretch = self.rows.with_untaken(self._numbers(lineage))
        came = () if self._compared is None else _counted(self._compared.came(untaken=not moved), tally, 1)
        went = () if self._compared is None else _counted(self._compared.went(), tally, -1)
        roll = write_roll(publication, chain(stretch, came), went)
        if self._view.moved and not moved:
            raise StoreBusy(
                "the table was written while its rows were counted", hint="nothing was published: try again"
            )
        return tally.known, roll

    def _numbers(self, lineage: Lineage) -> Iterator[int]:
        for numbers in self._view.arrivals(lineage.after, self._view.upto):
            yield from numbers.to_pylist()

    def close(self) -> None:
        """Forget what was noted. Safe to call twice."""
        self.rows.close()
        if self._compared is not None:
            self._compared.close()


def _begin(floor: Arrival) -> Arrival | None:
    """What a reading begins after that leaves out what lies at or below a floor."""
    return None if floor == BEGINNING else floor


def write_roll(publication: RunPublication, found: Iterable[bytes], missed: Iterable[bytes] = ()) -> Roll | None:
    """Let a roll be the next that the attempt publishes; none if there is no record."""
    laid = lay_down_roll(publication, publication.roll_name(), found, missed)
    if laid is None:
        return None
    roll, staged = laid
    publication.take(staged)
    return roll


def lay_down_roll(
    publication: RunPublication, name: str, found: Iterable[bytes], missed: Iterable[bytes]
) -> tuple[Roll, Staged] | None:
    """Stage a roll; none if there is no record."""
    digest, counts = hashlib.sha256(), [0, 0]
    upload = publication.lay_down()
    try:
        for place, records in enumerate((found, missed)):
            for piece in records:
                upload.write(piece)
                digest.update(piece)
                counts[place] += len(piece) // RECORD_BYTES
        if not any(counts):
            upload.abort()
            return None
        staged = upload.finish()
    except BaseException:
        upload.abort()
        raise
    return Roll(name=name, rows=counts[0], gone=counts[1], sha256=digest.hexdigest()), staged


def _counted(records: Iterable[Record], tally: Tally, sign: int) -> Iterator[bytes]:
    """Records as they lie in a roll, while their numbers are counted."""
    left = iter(records)
    while piece := list(islice(left, _AT_ONCE)):
        tally.add(pa.array([seq for seq, _ in piece], pa.int64()), sign=sign)
        yield packed(piece)
