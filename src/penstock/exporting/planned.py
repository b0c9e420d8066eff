"""What a run reads: the slices of a view, how large they may be, and which of them become a part."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property

from penstock.errors import LimitReached
from penstock.exporting.extract import Chunk, ReadSlice
from penstock.model.arrival import Arrival
from penstock.model.filter import ExportFilter
from penstock.model.options import ExportOptions
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Rows, Slice

_LEAST_RANGE_BYTES = 1 << 20
#: A range is at most this share of the memory limit; about three are in flight, each in three shapes.
_RANGE_SHARE = 48
#: A range has at most so many values, nulls among them: each takes its room, whatever the payloads take.
_RANGE_VALUES = 1 << 20
#: Parts by bytes are planned so many at a time.
_PLANNED_PARTS = 4


class Planned:
    """The slices of one run, all of a view's that may match above ``after`` unless some are ``given``."""

    def __init__(
        self,
        view: Rows,
        filter: ExportFilter,
        options: ExportOptions,
        *,
        columns: int,
        after: Arrival | None,
        given: Sequence[Slice] | None,
    ) -> None:
        self._view = view
        self._filter = filter
        self._options = options
        self._after = after
        self._given = given
        range_bytes = max(min(options.memory_limit // _RANGE_SHARE, RANGE_BYTES), _LEAST_RANGE_BYTES)
        range_rows = max(min(RANGE_ROWS, _RANGE_VALUES // columns), 1)
        #: What is read at once has at most so many rows and bytes.
        self.most_rows = min(range_rows, options.part_rows or range_rows)
        self.most_bytes = min(range_bytes, max((options.part_bytes or range_bytes) // 2, 1))
        #: Slices that were handed out and did not come back as chunks yet, whether no other follows, and whether the
        #: last that came back is not read whole.
        self._reading: deque[Slice] = deque()
        self._ended = False
        self._rest = False
        #: Whether the time was over before the view gave all.
        self.cut_short = False

    @cached_property
    def slices(self) -> Sequence[Slice]:
        """All slices, before any is read; none where rows come by once."""
        if self._given is not None:
            return self._given
        return () if self._view.streams else list(self._plan())

    @property
    def size(self) -> int:
        """Payload bytes that there are to read, an estimate."""
        return sum(span.bytes_hint for span in self.slices)

    @property
    def rows(self) -> int:
        """How many rows there are at least, as far as the source says."""
        return sum(span.rows for span in self.slices)

    @property
    def measured(self) -> bool:
        """Whether every row was looked at for the sizes of slices."""
        return all(span.room is None for span in self.slices)

    def groups(self) -> list[tuple[Slice, ...]]:
        """The slices by the parts that they are planned to become: as many rows as a part may have, or a few times as
        many bytes, since the bytes that are planned are not those that are written."""
        groups: list[list[Slice]] = [[]]
        rows = size = 0
        most_rows, most_bytes = self._options.part_rows, self._options.part_bytes
        for span in self.slices:
            rows, size = rows + span.rows, size + span.bytes_hint
            over = most_rows is not None and rows > most_rows
            if groups[-1] and (over or (most_bytes is not None and size > most_bytes * _PLANNED_PARTS)):
                groups.append([])
                rows, size = span.rows, span.bytes_hint
            groups[-1].append(span)
        return [tuple(group) for group in groups if group]

    def handed(self) -> Generator[Slice, None, None]:
        """Each slice as it is handed out to be read."""
        slices = self._pulled() if self._view.streams and self._given is None else iter(self.slices)
        span = next(slices, None)
        self._ended = span is None
        while span is not None:
            following = next(slices, None)
            self._ended = following is None
            self._reading.append(span)
            yield span
            span = following

    def _pulled(self) -> Iterator[Slice]:
        try:
            yield from self._plan()
        except LimitReached:
            self.cut_short = True

    def returned(self, chunks: Iterator[Chunk], read: ReadSlice) -> Iterator[tuple[Slice, Chunk]]:
        """Each slice that was handed out with what it became; a rest that one leaves follows it, and is ``read`` here,
        while all others wait."""
        for chunk in chunks:
            span = self._reading.popleft()
            self._rest = chunk.rest is not None
            yield span, chunk
            while chunk.rest is not None:
                span = chunk.rest
                chunk = read(span)
                self._rest = chunk.rest is not None
                yield span, chunk

    @property
    def more(self) -> bool:
        """Whether there are rows behind those that were returned."""
        return self._rest or bool(self._reading) or not self._ended

    def _plan(self) -> Iterator[Slice]:
        most = {"max_rows": self.most_rows, "max_bytes": self.most_bytes}
        sampled = self._options.part_rows is None  # parts of so many rows are planned by the rows of slices
        return self._view.plan(self._filter, after=self._after, sampled=sampled, **most)
