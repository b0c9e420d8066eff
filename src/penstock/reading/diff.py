"""Diff: which events one side holds and the other does not; each side an export, a lineage or a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, TypeAlias

import pyarrow as pa

from penstock.errors import UsageError
from penstock.model.columns import EVENT_FIELDS
from penstock.model.filter import ExportFilter
from penstock.model.result import Difference, DifferenceKind, DiffResult
from penstock.pipeline.canonical import render_lines
from penstock.pipeline.matching import matching
from penstock.ports.destination import ExportDestination, LineageDestination
from penstock.ports.source import AnalyticsStorage
from penstock.reading.balance import HASH_BYTES, Balance
from penstock.reading.published import manifests_of, parts_of, proven_events

#: Whatever holds events.
Events: TypeAlias = ExportDestination | LineageDestination | AnalyticsStorage

_RANGE_ROWS = 32_768
_RANGE_BYTES = 8 << 20
_LINES_AT_ONCE = 4096


@dataclass(slots=True)
class Progress:
    """How far the reading of both sides is. ``done`` of ``total`` is bytes, an estimate."""

    events: int = 0
    done: int = 0
    total: int = 0


def diff(
    a: Events,
    b: Events,
    *,
    filter: ExportFilter,
    found: Callable[[Difference], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> DiffResult:
    """Compare the events of two sides as multisets: by id, and by their canonical bytes where the id is on both.

    Columns that one side lacks are compared on neither, which is noted. ``found`` gets each difference, by id in order,
    once both sides were read to their end and everything that was read proved whole. Raises
    :class:`~penstock.errors.IntegrityError` for a damaged export, :class:`~penstock.errors.UsageError` for one without
    ids, or without a column that the filter needs.
    """
    sides = (_side(a, filter), _side(b, filter))
    columns = [name for name in EVENT_FIELDS if all(name in side.columns for side in sides)]
    counts: Counter[DifferenceKind] = Counter()
    with Balance() as balance:
        events_a, events_b = _weigh(balance, sides, columns, filter, progress)
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
    """One of the two: which of an event's fields it has, what had to be left out of it, and its matching events."""

    name: str
    columns: tuple[str, ...]
    skipped: Mapping[str, int]

    def batches(self, filter: ExportFilter, at: Progress) -> Generator[pa.RecordBatch, None, None]: ...


class _Published:
    """An export or a lineage. Its manifests are checked at once, its parts as they are read."""

    def __init__(self, source: ExportDestination | LineageDestination, filter: ExportFilter) -> None:
        self.name = str(source.path)
        self.skipped: Mapping[str, int] = {}
        self._source = source
        self._manifests = manifests_of(source)
        self.columns = tuple(
            name for name in EVENT_FIELDS if all(name in one.layout.columns for one in self._manifests)
        )
        asked = {term.field: "the filter needs it" for term in filter.terms}
        for needed, why in {"id": "its events cannot be told apart", **asked}.items():
            if needed not in self.columns:
                raise UsageError(
                    f"{self.name} was exported without the column {needed}: {why}",
                    hint=f"export again with {needed} among the columns",
                )

    def batches(self, filter: ExportFilter, at: Progress) -> Generator[pa.RecordBatch, None, None]:
        parts = parts_of(self._manifests)
        at.total += sum(part.entry.bytes for part in parts)
        for part in parts:
            for batch in proven_events(self._source, part):
                yield matching(batch, filter)
            at.done += part.entry.bytes


class _Stored:
    """A store, as one snapshot shows it. What of an adopted table is no event cannot be compared, and is counted."""

    def __init__(self, storage: AnalyticsStorage) -> None:
        self.name = str(getattr(storage, "path", "the store"))
        self.columns = EVENT_FIELDS
        self.skipped: Mapping[str, int] = {}
        self._storage = storage

    def batches(self, filter: ExportFilter, at: Progress) -> Generator[pa.RecordBatch, None, None]:
        with self._storage.snapshot() as snapshot:
            spans = list(snapshot.ranges(filter, max_rows=_RANGE_ROWS, max_bytes=_RANGE_BYTES))
            at.total += sum(span.bytes_hint for span in spans)
            for span in spans:
                yield from snapshot.read(span, filter)
                at.done += span.bytes_hint
            self.skipped = {name: count for name, count in snapshot.counts.items() if name.startswith("skipped_")}


def _side(source: Events, filter: ExportFilter) -> _Side:
    return _Stored(source) if isinstance(source, AnalyticsStorage) else _Published(source, filter)


def _weigh(
    balance: Balance,
    sides: tuple[_Side, _Side],
    columns: list[str],
    filter: ExportFilter,
    progress: Callable[[Progress], None] | None,
) -> tuple[int, int]:
    """Read both sides to their end; how many events each has.

    The one that is behind is read next, so that what is equal and stands in the same order cancels out soon.
    """
    at = Progress()
    rows = [0, 0]
    with ExitStack() as stack:
        events = [stack.enter_context(closing(_limited(side.batches(filter, at), filter.limit))) for side in sides]
        waiting = [0, 1]
        while waiting:
            number = min(waiting, key=lambda one: rows[one])
            batch = next(events[number], None)
            if batch is None:
                waiting.remove(number)
                continue
            rows[number] += batch.num_rows
            at.events += batch.num_rows
            balance.add(batch["id"].to_pylist(), _contents(batch.select(columns)), sign=-1 if number else 1)
            if progress is not None:
                progress(at)
    return rows[0], rows[1]


def _contents(batch: pa.RecordBatch) -> list[bytes]:
    """What stands for the content of each event: a hash of its line, in which a line feed is always escaped."""
    hashes: list[bytes] = []
    for start in range(0, batch.num_rows, _LINES_AT_ONCE):
        lines = bytes(render_lines(batch.slice(start, _LINES_AT_ONCE)).text).split(b"\n")
        hashes += [blake2b(line, digest_size=HASH_BYTES).digest() for line in lines[:-1]]
    return hashes


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
    left_out = [name for name in EVENT_FIELDS if name not in columns]
    if left_out:
        lacking = [side.name for side in sides if len(side.columns) < len(EVENT_FIELDS)]
        notes.append(f"compared without {', '.join(left_out)}: not in {' and '.join(lacking)}")
    for side in sides:
        notes += [f"{side.name}: {name.replace('_', ' ')}: {count:,}" for name, count in side.skipped.items()]
    return notes
