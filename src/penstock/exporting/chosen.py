"""Rows of a view that are chosen to be a part again: those of a partition, and those that a run found."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.dataset import Dataset
from penstock.model.partition import partition_numbers
from penstock.model.roll import Roll
from penstock.pipeline.closing import Closing
from penstock.pipeline.onward import Onward
from penstock.pipeline.rolls import UNTAKEN, Recorder, paired
from penstock.pipeline.scratch import Scratch
from penstock.ports.source import Reading, Rows, Slice
from penstock.publishing.lineage import LineageDestination
from penstock.reading.rolls import records_of

_FOUND = "SELECT seq, hash, count(*) FROM rows WHERE seq BETWEEN ? AND ? GROUP BY seq, hash"


class OfPartition(Onward):
    """The rows of others that lie in the partition of a time, or have none."""

    def __init__(self, rows: Rows, time: str, by: str, micros: int | None) -> None:
        super().__init__(rows)
        self._time = time
        self._by = by
        self._number = partition_numbers(pa.array([micros], pa.int64()), by)[0]

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        for batch in reading:
            chosen = batch.filter(pc.equal(partition_numbers(batch[self._time], self._by), self._number))
            if chosen.num_rows:
                yield chosen


class Rolled(Onward, Closing):
    """Rows of others, as far as a roll has them: none that came since, and none that changed. Raises
    :class:`~penstock.errors.IntegrityError` for a roll that is not what its manifest names."""

    def __init__(self, rows: Rows, written: Dataset, destination: LineageDestination, roll: Roll) -> None:
        super().__init__(rows)
        self._record = Recorder(written, str(written.order))
        self._lock = threading.Lock()
        self._scratch = Scratch("CREATE TABLE rows (seq INTEGER NOT NULL, hash INTEGER)", purpose="compare rows")
        taken = (record for record, what in records_of(destination, [roll]) if what == 1 and record[1] != UNTAKEN)
        self._scratch.put("INSERT INTO rows VALUES (?, ?)", taken)
        list(self._scratch.rows("CREATE INDEX by_seq ON rows (seq)"))

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        with self._lock:
            rows = self._scratch.rows(_FOUND, (span.after + 1, span.upto))
            left = Counter({(seq, hash): many for seq, hash, many in rows})
        for batch in reading:
            kept = []
            for record in paired(self._record(batch)):
                kept.append(left[record] > 0)
                left[record] -= 1
            if any(kept):
                yield batch.filter(pa.array(kept, pa.bool_()))

    def close(self) -> None:
        """Drop what was laid down. Safe to call twice."""
        self._scratch.close()
