"""One view that several exports read, each row once.

Every export asks for slices as if it were alone; what the first of them reads waits for the others. Who is ahead waits
too, so that memory holds a few slices, however differently fast they are.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

import pyarrow as pa

from penstock.model.filter import ExportFilter
from penstock.pipeline.onward import Onward
from penstock.ports.source import Reading, Rows, Slice


@dataclass(slots=True)
class _Piece:
    """What was read of a slice, or why it could not be, until all have it that are in ``left``."""

    left: set[int]
    ready: bool = False
    batches: Sequence[pa.RecordBatch] = ()
    counts: dict[str, int] = field(default_factory=dict)
    rest: Slice | None = None
    error: BaseException | None = None

    def reading(self) -> Reading:
        if self.error is not None:
            raise self.error
        return Reading(iter(self.batches), self.counts, lambda: self.rest)


class SharedView:
    """Hands the rows of a view under one filter to as many exports as it is told of, which all ask for the same slices.
    At most ``most`` slices wait for somebody."""

    def __init__(self, rows: Rows, filter: ExportFilter, *, count: int, most: int) -> None:
        self._rows = rows
        self.filter = filter
        self._most = most
        self._changed = Condition()
        self._reading = set(range(count))
        self._plan: Iterator[Slice] | None = None
        self._spans: list[Slice] = []
        self._planning = self._planned = False
        self._error: BaseException | None = None
        self._pieces: dict[Any, _Piece] = {}

    def members(self) -> Sequence[Member]:
        """The view as each export sees it."""
        return [Member(self._rows, self, number) for number in sorted(self._reading)]

    def span(self, place: int, **limits: Any) -> Slice | None:
        """A slice of the one plan; ``None`` behind the last. Whoever needs it first has it planned."""
        with self._changed:
            while len(self._spans) <= place and not self._planned:
                if self._planning:
                    self._changed.wait()
                    continue
                self._planning = True
                self._changed.release()  # others read on
                try:
                    if self._plan is None:
                        self._plan = self._rows.plan(self.filter, **limits)
                    found = next(self._plan, None)
                except BaseException as error:
                    found, self._error = None, error
                finally:
                    self._changed.acquire()
                    self._planning = False
                    self._changed.notify_all()
                self._planned = found is None
                if found is not None:
                    self._spans.append(found)
            if place < len(self._spans):
                return self._spans[place]
            if self._error is not None:
                raise self._error
            return None

    def read(self, number: int, span: Slice) -> Reading:
        """The rows of a slice, for one of the exports: read now, or by another before."""
        with self._changed:
            while (piece := self._pieces.get(span.after)) is None and len(self._pieces) >= self._most:
                self._changed.wait()
            if piece is None:
                piece = self._pieces[span.after] = _Piece(set(self._reading))
                self._changed.release()
                try:
                    self._fill(piece, span)
                finally:
                    self._changed.acquire()
                    piece.ready = True
                    self._changed.notify_all()
            while not piece.ready:
                self._changed.wait()
            self._taken(span.after, piece, number)
            return piece.reading()

    def _fill(self, piece: _Piece, span: Slice) -> None:
        try:
            reading = self._rows.read(span, self.filter)
            piece.batches = list(reading)
            piece.counts, piece.rest = dict(reading.counts), reading.rest()
        except BaseException as error:
            piece.error = error

    def _taken(self, after: Any, piece: _Piece, number: int) -> None:
        piece.left.discard(number)
        if piece.ready and not piece.left:
            self._pieces.pop(after, None)
            self._changed.notify_all()

    def leave(self, number: int) -> None:
        """Wait for one of the exports no longer: it is done, or has failed. Safe to call twice."""
        with self._changed:
            self._reading.discard(number)
            for after, piece in list(self._pieces.items()):
                self._taken(after, piece, number)
            self._changed.notify_all()

    def close(self) -> None:
        """End the plan, which may hold a connection, once nobody reads any more."""
        if isinstance(self._plan, Generator):
            self._plan.close()


class Member(Onward):
    """A view as one of several exports sees it, until it has ended it."""

    def __init__(self, rows: Rows, shared: SharedView, number: int) -> None:
        super().__init__(rows)
        self._shared = shared
        self._number = number

    def plan(self, filter: ExportFilter, **limits: Any) -> Iterator[Slice]:
        place = 0
        while (span := self._shared.span(place, **limits)) is not None:
            yield span
            place += 1

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        if filter != self._shared.filter:  # the first rows of a slice, where a limit is reached in it
            return self._rows.read(span, filter)
        return self._shared.read(self._number, span)

    def end(self) -> None:
        """Read no more."""
        self._shared.leave(self._number)
