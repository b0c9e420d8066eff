"""Gaps: what is missing from a destination, or looks as if it were, told from what lies there alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import pyarrow.compute as pc

from penstock.errors import ManifestError, UsageError
from penstock.model import times
from penstock.model.dataset import instants
from penstock.model.filter import ExportFilter
from penstock.model.gaps import Gap, GapKind, GapsResult
from penstock.model.lineage import run_name, run_number
from penstock.model.manifest import Manifest, PartEntry, held_parts, parse_manifest
from penstock.pipeline.matching import Matcher
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import Link, faults, read_link, without_waived
from penstock.reading.part import damage
from penstock.reading.published import parts_of
from penstock.reading.verify import sums_up
from penstock.reading.verify_chain import contradictions

Window: TypeAlias = Literal["hour", "day"]
WINDOWS: dict[Window, int] = {"hour": 3_600_000_000, "day": 86_400_000_000}

_NO_FILTER = ExportFilter()
_KINDS = {
    "predecessor": GapKind.PREDECESSOR,
    "gap": GapKind.SEQ_GAP,
    "overlap": GapKind.SEQ_OVERLAP,
    "other": GapKind.BAD_MANIFEST,
}


def gaps(
    places: Sequence[ExportDestination | LineageDestination],
    *,
    window: Window = "day",
    filter: ExportFilter = _NO_FILTER,
) -> GapsResult:
    """Look for gaps in lineages and other exports, each by itself, without a store and without decoding anything.

    Runs and manifests that are missing or do not follow each other, parts that are missing or have another size, and
    windows of event time, whole hours or days in UTC, that no part reaches into though there are events before and
    after. The last are suspicious only. With a ``filter`` they are windows without an event that matches, for which
    what is whole is read. Raises :class:`~penstock.errors.NewerVersion`, :class:`~penstock.errors.UsageError`, and with
    a filter :class:`~penstock.errors.IntegrityError`.
    """
    if window not in WINDOWS:
        raise UsageError(f"unknown window {window!r}", hint="it is hour or day")
    if filter.limit is not None:
        raise UsageError("a limit leaves gaps by itself", hint="leave it out")
    found: list[Gap] = []
    parts: list[PartEntry] = []
    notes: list[str] = []
    runs = 0
    for place in places:
        survey = _Lineage(place) if isinstance(place, LineageDestination) else _Single(place)
        missing = [*survey.missing(), *_parts(survey)]
        by_rows = filter != _NO_FILTER and not missing
        spans = _windows(survey, window, filter) if by_rows else _reaches(survey, window)
        found += [*missing, *_quiet(survey, window, spans)]
        parts += [entry for _, entry in held_parts(survey.manifests)]
        if not missing:  # else the parts of a missing run would be called strangers
            notes += [f"{survey.path}: {note}" for note in survey.notes()]
        runs += len(survey.manifests) if isinstance(survey, _Lineage) else 0
    return GapsResult(
        places=tuple(place.place for place in places),
        runs=runs,
        parts=len(parts),
        event_count=sum(entry.rows for entry in parts),
        gaps=tuple(found),
        notes=tuple(notes),
    )


class _Single:
    """An export that is no lineage: one manifest, or none."""

    def __init__(self, place: ExportDestination) -> None:
        self.place = place
        self.path = place.place
        self.manifests: list[Manifest] = []
        self._wrong: list[str] = []
        try:
            manifest = parse_manifest(place.read_manifest(), where=place.manifest_name)
        except ManifestError as error:
            self._wrong = [error.message]
            return
        self.manifests = [manifest]
        self._wrong = [f"{place.manifest_name}: {text}" for text in sums_up(manifest, single=place.single)]

    def notes(self) -> Sequence[str]:
        return self.place.inspect(self.manifests[0])[1]

    def missing(self) -> Iterator[Gap]:
        for message in self._wrong:
            yield Gap(kind=GapKind.BAD_MANIFEST, place=self.path, message=message)


class _Lineage:
    """A lineage, as far as its manifests can be read: a damaged chain is what is looked for."""

    def __init__(self, place: LineageDestination) -> None:
        self.place = place
        self.path = place.place
        self._links: list[Link] = []
        self._damaged: dict[int, str] = {}
        for name, text in place.runs():
            try:
                self._links.append(read_link(name, text))
            except ManifestError as error:
                self._damaged[run_number(name) or 0] = error.message
        self._links = without_waived(self._links)
        self._waived = {one.run for link in self._links[-1:] for one in link.lineage.waived}
        self.manifests = [link.manifest for link in self._links]

    def notes(self) -> Sequence[str]:
        return self.place.inspect(self.manifests)[1]

    def missing(self) -> Iterator[Gap]:
        """Runs that are not there or cannot be read, and what neighbours say against each other."""
        last: Link | None = None
        for link in self._links:
            yield from self._between(last, link)
            last = link
        traces = self.place.traces()
        known = max([last.lineage.run if last is not None else 0, *self._damaged])
        yield from self._absent(last.lineage.run + 1 if last is not None else 1, max([known, *traces]) + 1, last, None)
        for problem in contradictions(self._links):
            yield Gap(kind=GapKind.BAD_MANIFEST, place=self.path, message=f"{problem.part}: {problem.message}")

    def _between(self, last: Link | None, link: Link) -> Iterator[Gap]:
        run = link.lineage.run
        first = last.lineage.run + 1 if last is not None else 1
        yield from self._absent(first, run, last, link)
        if last is None:
            return
        for fault in faults(last, link):
            stretch = sorted((last.lineage.upto, link.lineage.follows))
            yield Gap(
                kind=_KINDS[fault.what],
                place=self.path,
                message=fault.message,
                runs=(last.lineage.run, run),
                seq=(stretch[0], stretch[1]) if fault.what in ("gap", "overlap") else None,
            )

    def _absent(self, first: int, stop: int, last: Link | None, link: Link | None) -> Iterator[Gap]:
        """The runs of these numbers, of which there is no readable manifest."""
        traces = self.place.traces() if link is None else {}
        stretch = None if link is None else (last.lineage.upto if last is not None else None, link.lineage.follows)
        for damaged, numbers in _stretches(first, stop, self._damaged, self._waived):
            low, high = numbers
            if damaged:
                kind, message = GapKind.BAD_MANIFEST, self._damaged[low]
            else:
                kind = GapKind.MISSING_RUN
                names = run_name(low) if low == high else f"{run_name(low)} to {run_name(high)}"
                told = f": {traces[high]} tells of it" if high in traces else ""
                message = f"{names} {'is' if low == high else 'are'} missing{told}"
            if stretch is not None:
                message += f", {_stretch_text(*stretch)}"
            yield Gap(kind=kind, place=self.path, message=message, runs=numbers, seq=stretch)


def _stretches(
    first: int, stop: int, damaged: dict[int, str], waived: set[int]
) -> Iterator[tuple[bool, tuple[int, int]]]:
    """The numbers in order without those that are waived: each damaged one by itself, those between as one."""
    low = first
    for number in sorted(number for number in {*damaged, *waived} if first <= number < stop):
        if low < number:
            yield False, (low, number - 1)
        if number not in waived:
            yield True, (number, number)
        low = number + 1
    if low < stop:
        yield False, (low, stop - 1)


def _stretch_text(after: int | None, upto: int) -> str:
    if after is None:
        return f"and with it what arrived up to number {upto}"
    return f"and with it what arrived after number {after}, up to {upto}" if after < upto else "of no arrival"


def _parts(survey: _Single | _Lineage) -> Iterator[Gap]:
    for manifest, entry in held_parts(survey.manifests):
        for text in damage(survey.place.part(entry.name), manifest.layout, entry, quick=True):
            spans = entry.seq_range, entry.time_range
            yield Gap(
                kind=GapKind.MISSING_PART,
                place=survey.path,
                message=f"{entry.name}: {text}, with {entry.rows} rows",
                runs=None if manifest.lineage is None else (manifest.lineage.run, manifest.lineage.run),
                seq=None if spans[0] is None else (spans[0].first - 1, spans[0].last),
                time=None if spans[1] is None else (spans[1].first, spans[1].last),
                part=entry.name,
            )


def _reaches(survey: _Single | _Lineage, window: Window) -> set[tuple[int, int]]:
    """The windows that parts reach into, from the first to the last. A part says its first and its last event only, so
    that a window within a part is never reported, and a reported one has no event for sure."""
    width = WINDOWS[window]
    return {
        (entry.time_range.first // width, entry.time_range.last // width)
        for _, entry in held_parts(survey.manifests)
        if entry.time_range is not None
    }


def _windows(survey: _Single | _Lineage, window: Window, filter: ExportFilter) -> set[tuple[int, int]]:
    """The windows with an event that matches."""
    found: set[int] = set()
    for part in parts_of(survey.manifests):
        dataset = part.dataset
        if dataset.time not in dataset.columns:
            raise UsageError(f"{survey.path} has no time of its rows", hint="look for gaps without a filter")
        matcher = Matcher(filter, dataset)
        for batch in part.rows(survey.place):
            moments = instants(matcher.rows(batch)[dataset.time])
            found.update(moment // WINDOWS[window] for moment in pc.unique(moments).to_pylist() if moment is not None)
    return {(each, each) for each in found}


def _quiet(survey: _Single | _Lineage, window: Window, spans: Iterable[tuple[int, int]]) -> Iterator[Gap]:
    """Windows between others that nothing reaches into."""
    width = WINDOWS[window]
    reached: int | None = None
    for first, last in sorted(spans):
        if reached is not None and first > reached + 1:
            start, end = (reached + 1) * width, first * width
            count = first - reached - 1
            yield Gap(
                kind=GapKind.QUIET,
                place=survey.path,
                message=f"no row from {times.render(start)} to {times.render(end)},"
                f" {count} {window}{'s' if count > 1 else ''}",
                time=(start, end),
            )
        reached = last if reached is None else max(reached, last)
