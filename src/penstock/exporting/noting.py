"""Rows on their way into an export, each noted by number and content."""

from __future__ import annotations

import os
import tempfile
import threading
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

from penstock.errors import from_os_error
from penstock.model.arrival import Arrival
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.roll import RECORD_BYTES
from penstock.pipeline.closing import Closing
from penstock.pipeline.onward import Onward
from penstock.pipeline.rolls import UNTAKEN, Record, Recorder, packed, unpacked
from penstock.ports.source import Reading, Rows, Slice

_AT_ONCE = 65_536


class Noted(Onward, Closing):
    """The rows of others. What is read of them once ``begin`` was called is noted in a file without a name, so that
    memory does not follow the rows. Slices may be read from several threads, each once."""

    def __init__(self, rows: Rows, written: Dataset) -> None:
        super().__init__(rows)
        self._record = Recorder(written)
        with _at_scratch():
            self._file = tempfile.TemporaryFile(prefix="penstock-")  # noqa: SIM115  # closed by close
        self._lock = threading.Lock()
        self._noting = False
        #: Where the records of a slice lie, by what it begins after: begin and length.
        self._spans: dict[Arrival, tuple[int, int]] = {}

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        return super().read(span, filter) if self._noting else self._rows.read(span, filter)

    def begin(self) -> None:
        """Note from now on."""
        self._noting = True

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        found = array("q")
        for batch in reading:
            found.extend(self._record(batch))
            yield batch
        with self._lock, _at_scratch():
            begin = self._file.seek(0, os.SEEK_END)
            self._file.write(found)
            self._spans[span.after] = (begin, found.itemsize * len(found))

    @property
    def count(self) -> int:
        """How many rows were noted."""
        return sum(length for _, length in self._spans.values()) // RECORD_BYTES

    def records(self) -> Iterator[bytes]:
        """The records of all slices, in order, as they lie in a roll."""
        for after in sorted(self._spans):
            begin, length = self._spans[after]
            with _at_scratch():
                self._file.seek(begin)
                records = self._file.read(length)
            yield records

    def with_untaken(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """A record for each of these numbers, which are those of all rows in order: the noted one, or that of a row
        that was not taken."""
        noted = (record for records in self.records() for record in unpacked(records))
        current = next(noted, None)
        settled: list[Record] = []
        for number in numbers:
            if current is not None and current[0] == number:
                settled.append(current)
                current = next(noted, None)
            else:
                settled.append((number, UNTAKEN))
            if len(settled) == _AT_ONCE:
                yield packed(settled)
                settled = []
        yield packed(settled)

    def close(self) -> None:
        """Forget everything. Safe to call twice."""
        with suppress(OSError):  # what could not be written is of no use now
            self._file.close()


@contextmanager
def _at_scratch() -> Iterator[None]:
    """Raise what the operating system says of the file as an error that names its place."""
    try:
        yield
    except OSError as error:
        where = f"cannot note rows in {tempfile.gettempdir()} (TMPDIR names another directory)"
        raise from_os_error(error, where) from None
