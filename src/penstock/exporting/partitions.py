"""Rows on their way into partitions: gathered by partition until there are enough of them to be worth a file each.

What arrives at about the same time mostly happened at about the same time: then few partitions fill the memory that
there is, and become parts at once. Rows that are scattered over many partitions would become very many small parts;
they are laid down in a scratch file, and become parts when all of them are there. Memory is bounded either way.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import from_os_error
from penstock.exporting.extract import Chunk
from penstock.model.filter import ExportFilter
from penstock.model.options import Layout
from penstock.model.partition import TIMELESS, partition_numbers
from penstock.ports.source import Rows, Slice

#: Partitions that have fewer bytes than this on average are not written yet.
_LEAST_PART = 1 << 20


class PartitionReader:
    """Reads ranges of one view, each batch in the order of its partitions, rows of one in ``seq`` order. Calls from
    several threads do not disturb each other."""

    def __init__(self, view: Rows, filter: ExportFilter, layout: Layout) -> None:
        self._view = view
        self._filter = filter
        self._layout = layout

    def __call__(self, span: Slice) -> Chunk:
        return self.extract(span, self._filter)

    def extract(self, span: Slice, filter: ExportFilter) -> Chunk:
        """The matching rows of a range, neither rendered nor digested."""
        reading = self._view.read(span, filter)
        batches = [self._ordered(batch) for batch in reading]
        rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
        counts = dict(reading.counts)
        return Chunk(
            rows=rows, size=size, digest=0, times=None, seqs=None, counts=counts, rest=reading.rest(), batches=batches
        )

    def _ordered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        numbers = _numbers(batch, self._layout)
        extremes = pc.min_max(numbers)
        if extremes["min"] == extremes["max"]:
            return batch
        return batch.take(pc.array_sort_indices(numbers))  # stable


def _numbers(batch: pa.RecordBatch, layout: Layout) -> pa.Int64Array:
    assert layout.dataset.time is not None
    assert layout.partition_by is not None
    return partition_numbers(batch[layout.dataset.time], layout.partition_by)


class Gathered:
    """Rows by partition: in memory up to ``room`` bytes, the rest, once ``spill`` was called, in a scratch file.

    ``rows`` counts what was put in, ``timeless`` how many of these have no time.
    """

    def __init__(self, layout: Layout, room: int) -> None:
        self.rows = self.timeless = 0
        self._layout = layout
        self._schema: pa.Schema | None = None
        self._room = room
        self._stack = ExitStack()
        self._scratch: IO[bytes] | None = None
        self._end = 0
        #: Of each partition, where its batches lie in the scratch file: begin and length, one after the other.
        self._laid: dict[int, array[int]] = {}
        self._size = 0
        self._batches: list[pa.RecordBatch] = []
        #: Of each partition, which rows of which batch it has: batch, first row and number, one after the other.
        self._slices: dict[int, array[int]] = {}

    def _forget(self) -> None:
        self._size, self._batches, self._slices = 0, [], {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, chunk: Chunk) -> None:
        """Put in what a :class:`PartitionReader` read."""
        for batch in chunk.batches:
            runs = pc.run_end_encode(_numbers(batch, self._layout))
            begin = 0
            for number, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                self._slices.setdefault(number, array("q")).extend((len(self._batches), begin, end - begin))
                self.timeless += end - begin if number == TIMELESS else 0
                begin = end
            self._batches.append(batch)
            self._schema = batch.schema
        self._size += chunk.size
        self.rows += chunk.rows

    @property
    def partitions(self) -> int:
        """How many partitions have rows that were not taken out: at least so many parts are to come."""
        few = max(len(self._slices), len(self._laid))
        return few if few == len(self._slices) + len(self._laid) else len(self._slices.keys() | self._laid.keys())

    @property
    def full(self) -> bool:
        """Whether the memory that there is for rows is used up."""
        return self._size >= self._room

    @property
    def scattered(self) -> bool:
        """Whether the rows in memory would make small parts."""
        return self._size < len(self._slices) * _LEAST_PART

    def spill(self) -> None:
        """Lay the rows in memory down on disk. Raises :class:`~penstock.errors.NoSpace` and other errors of disks."""
        try:
            if self._scratch is None:
                scratch = tempfile.TemporaryFile(prefix="penstock-")  # noqa: SIM115  # the stack closes it
                self._scratch = self._stack.enter_context(scratch)
            for number in sorted(self._slices):
                data = pa.concat_batches(self._in_memory(number)).serialize()
                self._scratch.write(data)
                self._laid.setdefault(number, array("q")).extend((self._end, data.size))
                self._end += data.size
            self._scratch.flush()
        except OSError as error:
            raise from_os_error(
                error, f"cannot keep rows in {tempfile.gettempdir()} (TMPDIR names another directory)"
            ) from None
        self._forget()

    def take(self, *, max_rows: int, max_bytes: int, everything: bool) -> Iterator[tuple[int, list[pa.RecordBatch]]]:
        """Take the rows in memory out, or ``everything``: partition after partition in the order of time, in pieces of
        at most so many rows and bytes unless one batch has more."""
        numbers = self._slices.keys() | self._laid.keys() if everything else self._slices.keys()
        for number in sorted(numbers):
            piece: list[pa.RecordBatch] = []
            rows = size = 0
            for batch in self._of(number, everything):
                if piece and (rows + batch.num_rows > max_rows or size + batch.nbytes > max_bytes):
                    yield number, piece
                    piece, rows, size = [], 0, 0
                piece.append(batch)
                rows += batch.num_rows
                size += batch.nbytes
            yield number, piece
        self._forget()

    def _of(self, number: int, everything: bool) -> Iterator[pa.RecordBatch]:
        if everything and number in self._laid:
            yield from self._on_disk(number)
        yield from self._in_memory(number)

    def _in_memory(self, number: int) -> Iterator[pa.RecordBatch]:
        for batch, first, count in _grouped(self._slices.get(number, ()), 3):
            yield self._batches[batch].slice(first, count)

    def _on_disk(self, number: int) -> Iterator[pa.RecordBatch]:
        assert self._scratch is not None
        for begin, length in _grouped(self._laid.pop(number), 2):
            try:
                self._scratch.seek(begin)
                data = self._scratch.read(length)
            except OSError as error:
                raise from_os_error(error, f"cannot read back rows from {tempfile.gettempdir()}") from None
            yield pa.ipc.read_record_batch(pa.py_buffer(data), self._schema)


def _grouped(numbers: Any, width: int) -> Iterator[tuple[int, ...]]:
    return zip(*[iter(numbers)] * width, strict=True)
