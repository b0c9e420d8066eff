"""What a table holds at or below a cursor, against what the rolls of a lineage say it held: rows that came late, that
vanished, and that were changed. Both sides are laid down in a scratch database, so that memory does not follow them."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.arrival import BEGINNING, Arrival, Key
from penstock.model.dataset import Dataset, instants
from penstock.model.roll import Roll
from penstock.pipeline.closing import Closing
from penstock.pipeline.onward import Onward
from penstock.pipeline.rolls import UNTAKEN, Record, Recorder, paired
from penstock.pipeline.scratch import Scratch
from penstock.ports.source import Reading, Rows, Slice, View
from penstock.publishing.lineage import LineageDestination
from penstock.reading.rolls import records_of

#: What is laid down of rows: that the table holds one of a number, that a roll has one or misses one, and of those that
#: are found now which come to be known, which cease to be, and which are left out since they are too old; and that the
#: table holds one above the cursor.
_THERE, _KNOWN, _MISSED, _NEW, _GONE, _OLD, _BEYOND = 0, 1, -1, 2, 3, 4, 5
_TABLE = "CREATE TABLE rows (seq INTEGER NOT NULL, hash INTEGER, what INTEGER NOT NULL)"
_COUNTED = """CREATE VIEW counted AS SELECT seq, sum(what = 0) AS there, sum(what = 1) - sum(what = -1) AS known,
    sum(what IN (2, 4)) AS found, sum(what = 5) AS beyond FROM rows GROUP BY seq"""
_PUT = "INSERT INTO rows VALUES (?, ?, ?)"
_LATE = """SELECT seq, sum(what = 0) - sum(what = 1) + sum(what = -1) AS late FROM rows WHERE seq IN ({})
    GROUP BY seq HAVING late > 0"""
_UNTAKEN = "SELECT seq, there - known - found FROM counted WHERE there > known + found ORDER BY seq"
_VANISHED = "SELECT seq, known - there FROM counted WHERE known > there ORDER BY seq"
_MISSING = "SELECT total(known - there - beyond) FROM counted WHERE known > there + beyond AND seq <= ?"
_HASHES = """SELECT seq, hash, sum(what) AS many FROM rows WHERE what IN (1, -1) AND seq IN ({})
    GROUP BY seq, hash HAVING many > 0 ORDER BY seq, hash"""
_EVER = "SELECT 1 FROM rows WHERE seq = ? AND hash = ? AND what = 1 LIMIT 1"
_FOUND = "SELECT seq, hash FROM rows WHERE what = ? ORDER BY seq"
#: Of a table that is the same as the lineage knows it, what lies at or below a key, which no number tells.
_BELOW = "DELETE FROM rows WHERE what IN (1, -1) AND seq NOT IN (SELECT seq FROM rows WHERE what = 0)"
_LAST = (1 << 63) - 1
_AT_ONCE = 4_096


class Compared(Closing):
    """What a table holds at or below ``upto``, against what the rolls of a lineage say it held: ``above`` leaves out
    what lies at or below it. Calls from several threads do not disturb each other."""

    def __init__(
        self, view: View, destination: LineageDestination, rolls: Sequence[Roll], *, above: Arrival, upto: Arrival
    ) -> None:
        self.upto = upto
        self._view = view
        self._lock = threading.Lock()
        self._scratch = Scratch(_TABLE, purpose="compare rows")
        try:
            self._lay_down(records_of(destination, rolls), above)
        except BaseException:
            self.close()
            raise

    def _lay_down(self, records: Iterable[tuple[Record, int]], above: Arrival) -> None:
        whole, keyed, upto = above == BEGINNING, isinstance(self.upto, Key), self.upto
        known = ((*record, what) for record, what in records)
        self._scratch.put(_PUT, (row for row in known if keyed or row[0] > above))
        self._put_numbers(None if whole else above, upto, _THERE)
        if keyed and self._view.upto > upto:
            self._put_numbers(upto, self._view.upto, _BEYOND)
        self.rows("CREATE INDEX by_seq ON rows (seq)")
        self.rows(_COUNTED)
        if keyed and not whole:
            self.rows(_BELOW)

    def _put_numbers(self, after: Arrival | None, upto: Arrival, what: int) -> None:
        for numbers in self._view.arrivals(after, upto):
            self._scratch.put(_PUT, ((number, None, what) for number in numbers.to_pylist()))

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a small result."""
        with self._lock:
            return list(self._scratch.rows(statement, values))

    def put(self, rows: Sequence[tuple[int, int | None, int]]) -> None:
        with self._lock:
            self._scratch.put(_PUT, rows)

    def late(self, numbers: Iterable[int]) -> dict[int, int]:
        """Those of some numbers that the table has more often than the lineage knows, and how much more often."""
        return dict(self._of(_LATE, numbers))

    def hashes(self, numbers: Iterable[int]) -> dict[int, Counter[int]]:
        """What the lineage knows of each of some numbers: hashes, and how many rows have them."""
        found: dict[int, Counter[int]] = {}
        for seq, hash, many in self._of(_HASHES, numbers):
            found.setdefault(seq, Counter())[hash] = many
        return found

    def _of(self, statement: str, numbers: Iterable[int]) -> Iterator[Any]:
        """What a statement finds at some numbers."""
        different = sorted(set(numbers))
        for start in range(0, len(different), _AT_ONCE):
            yield from self.rows(statement.format(", ".join(map(str, different[start : start + _AT_ONCE]))))

    def leave(self, floor: Arrival) -> int:
        """Leave out the rows up to a place that came late; how many these are."""
        late: dict[int, int] = {}
        for numbers in self._view.arrivals(None, floor) if floor != BEGINNING else ():
            late |= self.late(numbers.to_pylist())
        self.put([(seq, None, _OLD) for seq, many in late.items() for _ in range(many)])
        return sum(late.values())

    def was_held(self, record: Record) -> bool:
        """Whether a run found this very row, also if it vanished since."""
        return bool(self.rows(_EVER, *record))

    def came(self, *, untaken: bool) -> Iterator[Record]:
        """The rows that come to be known, if wanted those that were not taken too. Nothing else is asked meanwhile."""
        yield from self._scratch.rows(_FOUND, (_NEW,))
        if not untaken:
            return
        for seq, many in self._scratch.rows(_UNTAKEN):
            yield from [(seq, UNTAKEN)] * many

    def went(self) -> Iterator[Record]:
        """The rows that cease to be known. Nothing else is asked meanwhile."""
        yield from self._scratch.rows(_FOUND, (_GONE,))
        for seq, many in self._scratch.rows(_VANISHED):
            left = list(self.hashes([seq])[seq].elements())
            yield from ((seq, hash) for hash in left[:many])

    def vanished(self) -> int:
        """How many rows are missing that the lineage knows of."""
        return int(self.rows(_MISSING, _LAST if isinstance(self.upto, Key) else self.upto)[0][0])

    def close(self) -> None:
        self._scratch.close()


class _Chosen(Onward):
    """Of the rows of a view those that a comparison chooses, slice by slice."""

    def __init__(self, rows: Rows, compared: Compared, written: Dataset, oldest: int | None) -> None:
        super().__init__(rows)
        self._compared = compared
        self._record = Recorder(written)
        self._time = written.time
        self._oldest = oldest
        self.count = self.old = 0
        self._counting = threading.Lock()

    @property
    def unread(self) -> Mapping[str, int]:
        return {}

    @property
    def streams(self) -> bool:
        return False

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        batches = list(reading)
        if not batches:
            return
        rows = pa.concat_batches(batches)
        recent = [True] * rows.num_rows
        if self._oldest is not None and self._time is not None:
            recent = pc.fill_null(pc.greater_equal(instants(rows[self._time]), self._oldest), False).to_pylist()
        records = list(zip(paired(self._record(rows)), recent, strict=True))
        taken = self._choose(records)
        if any(taken):
            yield rows.filter(pa.array(taken, pa.bool_()))

    @abstractmethod
    def _choose(self, records: Sequence[tuple[Record, bool]]) -> list[bool]:
        """Which of these rows are taken; each comes with whether it is recent enough."""

    def _tell(self, count: int, old: int) -> None:
        with self._counting:
            self.count += count
            self.old += old


class Late(_Chosen):
    """The rows that came late and that no run exported before. Where more rows of a number are not known than came
    late, others of it changed: nothing tells which of them are which, so all are taken."""

    def _choose(self, records: Sequence[tuple[Record, bool]]) -> list[bool]:
        numbers = {seq for (seq, _), _ in records}
        late, known = self._compared.late(numbers), self._compared.hashes(numbers)
        found: list[tuple[int, int | None, int]] = []
        taken = []
        for record, recent in records:
            seq, hash = record
            newcomer = seq in late and not known.get(seq, Counter())[hash]
            if newcomer:
                found.append((seq, hash, _NEW if recent else _OLD))
            elif seq in known:
                known[seq][hash] -= 1
            taken.append(newcomer and recent and not self._compared.was_held(record))
        old = sum(what == _OLD for _, _, what in found)
        found += [(seq, left, _GONE) for seq in late if seq in known for left in (+known[seq]).elements()]
        self._compared.put(found)
        self._tell(sum(taken), old)
        return taken


class Changed(_Chosen):
    """The rows that have other content than the run that found them saw. With ``updates`` the lineage comes to know
    what they are now."""

    def __init__(self, *given: Any, updates: bool) -> None:
        super().__init__(*given)
        self._updates = updates

    def _choose(self, records: Sequence[tuple[Record, bool]]) -> list[bool]:
        numbers = {seq for (seq, _), _ in records}
        late, known = self._compared.late(numbers), self._compared.hashes(numbers)
        same = []
        for (seq, hash), _ in records:
            same.append(known.get(seq, Counter())[hash] > 0)
            if same[-1]:
                known[seq][hash] -= 1
        taken = []
        found: list[tuple[int, int | None, int]] = []
        for ((seq, hash), recent), unchanged in zip(records, same, strict=True):
            left = list((+known.get(seq, Counter())).elements())
            changed = not unchanged and recent and seq not in late and bool(left)
            taken.append(changed)
            if changed:
                known[seq][left[0]] -= 1
                found += [(seq, hash, _NEW), (seq, left[0], _GONE)]
        if self._updates:
            self._compared.put(found)
        self._tell(sum(taken), 0)
        return taken
