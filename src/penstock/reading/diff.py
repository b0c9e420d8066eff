"""Diff: which rows one side holds and the other does not; each side an export, a lineage or a source."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import pyarrow as pa

from penstock.errors import InvalidFilter, UsageError
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.result import Difference, DifferenceKind, DiffResult
from penstock.pipeline.flattening import parse_steps
from penstock.pipeline.matching import Matcher
from penstock.pipeline.rowtext import KeyText, RowText
from penstock.pipeline.steps import bound_by, stepped
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Source
from penstock.ports.step import Step
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.reading.balance import Balance
from penstock.reading.published import manifests_of, parts_of

#: Whatever holds rows.
Rows: TypeAlias = ExportDestination | LineageDestination | Source


@dataclass(slots=True)
class _Reading:
    """How far the reading of both sides is: rows, and bytes of the work."""

    rows: int = 0
    done: int = 0
    total: int = 0


def diff(
    a: Rows,
    b: Rows,
    *,
    filter: ExportFilter,
    found: Callable[[Difference], None] | None = None,
    observer: Observer | None = None,
) -> DiffResult:
    """Compare the rows of two sides as multisets: by key, and by their canonical bytes where the key is on both.

    A source is first flattened as the export on the other side is. Columns that one side lacks are compared on neither,
    which is noted. ``found`` gets each difference, in order of
    keys, once both sides were read to their end and everything that was read proved whole. Raises
    :class:`~penstock.errors.IntegrityError` for a damaged export, :class:`~penstock.errors.UsageError` for one without
    its key, or without a column that the filter needs, and for sides that are of two datasets.
    """
    sides = _sides(a, b, filter)
    columns = _compared(sides)
    counts: Counter[DifferenceKind] = Counter()
    with Balance() as balance:
        events_a, events_b = _weigh(balance, sides, columns, filter, observer)
        for difference in balance.differences():
            counts[difference.kind] += 1
            if found is not None:
                found(difference)
    return DiffResult(
        events_a=events_a,
        events_b=events_b,
        added=counts[DifferenceKind.ADDED],
        removed=counts[DifferenceKind.REMOVED],
        changed=counts[DifferenceKind.CHANGED],
        columns=tuple(columns),
        notes=tuple(_notes(sides, columns)),
    )


class _Side(Protocol):
    """One of the two: the dataset with what it has of it, what had to be left out, and its matching rows."""

    name: str
    dataset: Dataset
    skipped: Mapping[str, int]

    def batches(self, filter: ExportFilter, at: _Reading) -> Generator[pa.RecordBatch, None, None]: ...


class _Published:
    """An export or a lineage. Its manifests are checked at once, its parts as they are read."""

    def __init__(self, source: ExportDestination | LineageDestination, filter: ExportFilter) -> None:
        self.name = str(source.place)
        self.skipped: Mapping[str, int] = {}
        self._source = source
        self._manifests = manifests_of(source)
        self.dataset = self._manifests[-1].dataset
        self.steps = parse_steps(self._manifests[0].steps)
        ours = EVENTS.columns if self.dataset.name == EVENTS.name else ()
        why = {name: "the filter needs it" for name in ours if name in filter.columns(self.dataset)}
        why |= dict.fromkeys(self.dataset.key, "its rows cannot be told apart")
        for name in why:
            if name not in self.dataset.columns:
                laid_open = any(name in step.asked.columns for step in self.steps)
                how = f"without --flatten {name}" if laid_open else f"with {name} among the columns"
                raise UsageError(
                    f"{self.name} was exported without the column {name}: {why[name]}", hint=f"export again {how}"
                )
        self._matcher = _matcher(self.name, filter, self.dataset)

    def batches(self, filter: ExportFilter, at: _Reading) -> Generator[pa.RecordBatch, None, None]:
        parts = parts_of(self._manifests)
        at.total += sum(part.entry.bytes for part in parts)
        for part in parts:
            for batch in part.rows(self._source):
                yield self._matcher.rows(batch)
            at.done += part.entry.bytes


class _Stored:
    """A source, as one view shows it. What of an adopted table is no event cannot be compared, and is counted."""

    def __init__(self, source: Source, filter: ExportFilter, steps: Sequence[Step]) -> None:
        self.name = str(getattr(source, "path", "the source"))
        _matcher(self.name, filter, source.dataset)
        self.dataset = bound_by(steps, source.dataset)
        self._steps = steps
        self.skipped: Mapping[str, int] = {}
        self._source = source

    def batches(self, filter: ExportFilter, at: _Reading) -> Generator[pa.RecordBatch, None, None]:
        with self._source.pin() as view:
            plan = view.plan(filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES)
            spans = plan if view.streams else list(plan)
            at.total += 0 if view.streams else sum(span.bytes_hint for span in spans)
            skipped = Counter(view.unread)
            rows = stepped(view, self._steps)
            for span in spans:
                reading = rows.read(span, filter)
                yield from reading
                skipped.update(reading.counts)
                at.done += span.bytes_hint
        self.skipped = {name: count for name, count in sorted(skipped.items()) if name.startswith("skipped_")}


def _matcher(name: str, filter: ExportFilter, dataset: Dataset) -> Matcher:
    """The filter over the columns that one side has."""
    try:
        return Matcher(filter, dataset)
    except InvalidFilter as error:
        raise InvalidFilter(f"{name}: {error.message}", hint=error.hint) from None


def _sides(a: Rows, b: Rows, filter: ExportFilter) -> tuple[_Side, _Side]:
    """Exports first: how one is flattened says how a source is."""
    sides: dict[int, _Side] = {}
    steps: Sequence[Step] = ()
    for place, source in sorted(enumerate((a, b)), key=lambda one: isinstance(one[1], Source)):
        if isinstance(source, Source):
            sides[place] = _Stored(source, filter, steps)
        else:
            sides[place] = published = _Published(source, filter)
            steps = published.steps
    return sides[0], sides[1]


def _compared(sides: tuple[_Side, _Side]) -> list[str]:
    """The own columns that both have. Raises :class:`UsageError` unless the two are one dataset."""
    a, b = (side.dataset for side in sides)
    if a.name != b.name:
        raise UsageError(
            f"{a.name} and {b.name} are two datasets: their rows cannot be compared",
            hint="compare what was exported of one table, view or query",
        )
    if a.key != b.key:
        keys = [", ".join(one.key) or "nothing" for one in (a, b)]
        exported = next((side.dataset.key for side in sides if isinstance(side, _Published)), a.key)
        raise UsageError(
            f"rows of {a.name} are identified by {keys[0]} on one side and by {keys[1]} on the other",
            hint=f"give a table the key of the export: --key {shlex.quote(','.join(exported))}",
        )
    if not a.key:
        raise UsageError(f"{a.name} has no key: its rows cannot be told apart")
    types = [{one["name"]: one["type"] for one in side.to_json()["schema"]} for side in (a, b)]
    for name in types[0].keys() & types[1].keys():
        if types[0][name] != types[1][name]:
            raise UsageError(f"the column {name} is {types[0][name]} on one side and {types[1][name]} on the other")
    return [name for name in a.own if name in b.own]


def _weigh(
    balance: Balance,
    sides: tuple[_Side, _Side],
    columns: list[str],
    filter: ExportFilter,
    observer: Observer | None,
) -> tuple[int, int]:
    """Read both sides to their end; how many events each has.

    The one that is behind is read next, so that what is equal and stands in the same order cancels out soon.
    """
    at = _Reading()
    rows = [0, 0]
    text = RowText(sides[0].dataset.select(columns))
    keys = [KeyText(side.dataset) for side in sides]
    with ExitStack() as stack:
        batches = [stack.enter_context(closing(_limited(side.batches(filter, at), filter.limit))) for side in sides]
        waiting = [0, 1]
        while waiting:
            number = min(waiting, key=lambda one: rows[one])
            batch = next(batches[number], None)
            if batch is None:
                waiting.remove(number)
                continue
            rows[number] += batch.num_rows
            at.rows += batch.num_rows
            balance.add(keys[number](batch), text.hashes(batch.select(columns)), sign=-1 if number else 1)
            tell(observer, Progress(rows=at.rows, done=at.done, total=at.total))
    tell(observer, Progress(rows=at.rows, done=at.done, total=at.total))
    return rows[0], rows[1]


def _limited(
    batches: Generator[pa.RecordBatch, None, None], limit: int | None
) -> Generator[pa.RecordBatch, None, None]:
    """The first ``limit`` rows; none of the batches is empty."""
    left = limit
    with closing(batches):
        for batch in batches:
            if left == 0:
                return
            wanted = batch if left is None else batch.slice(0, left)
            left = None if left is None else left - wanted.num_rows
            if wanted.num_rows:
                yield wanted


def _notes(sides: tuple[_Side, _Side], columns: list[str]) -> list[str]:
    notes = []
    left_out = [
        name for name in dict.fromkeys(name for side in sides for name in side.dataset.own) if name not in columns
    ]
    if left_out:
        lacking = [side.name for side in sides if not set(left_out) <= set(side.dataset.own)]
        notes.append(f"compared without {', '.join(left_out)}: not in {' and '.join(lacking)}")
    for side in sides:
        notes += [f"{side.name}: {name.replace('_', ' ')}: {count:,}" for name, count in side.skipped.items()]
    return notes
