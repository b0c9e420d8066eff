"""The roll of a run that is missing or damaged, made again: of the parts that the run wrote, of what the source holds,
and of the rolls of the runs before and behind it.

Nothing is believed of it: what comes out counts only if it has the digest that the manifest names. Records lie in a
scratch database meanwhile, so that memory does not follow them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeAlias

import pyarrow as pa

from penstock.errors import IntegrityError
from penstock.exporting.chosen import within
from penstock.exporting.growth import lay_down_roll
from penstock.exporting.noting import Noted
from penstock.model.arrival import BEGINNING, Arrival
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.roll import Roll
from penstock.pipeline.closing import Closing
from penstock.pipeline.rolls import UNTAKEN, Record, Recorder, content_of, packed, paired, unpacked
from penstock.pipeline.scratch import Scratch
from penstock.ports.backend import Staged
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS, Rows, Slice
from penstock.publishing.attempt import Attempt
from penstock.publishing.lineage import LineageDestination
from penstock.reading.chain import Link
from penstock.reading.published import PublishedPart
from penstock.reading.rolls import records_of

#: What a record is: of a row in the run's stretch, of one in its marked parts, which may have no number, of one below
#: the stretch now; known before the run, and found missing by a later one.
_STRETCH, _MARKED, _BELOW, _KNOWN, _MISSED_LATER = range(5)
_TABLE = "CREATE TABLE records (number INTEGER, hash INTEGER NOT NULL, what INTEGER NOT NULL, sign INTEGER NOT NULL)"
_PUT = "INSERT INTO records VALUES (?, ?, ?, ?)"
_SORTED = "SELECT number, hash FROM records WHERE what = ? ORDER BY number"
_PLACED = """SELECT number, hash FROM records WHERE what = 2 AND hash IN (SELECT hash FROM records WHERE what = 1)
    AND (number, hash) NOT IN (SELECT number, hash FROM records WHERE what = 3) ORDER BY number"""
#: Rows that were known and that have another content now, or are no more.
_CHANGED = """SELECT number, hash FROM records WHERE what = 3 AND number IN (SELECT number FROM temp.came)
    GROUP BY number, hash HAVING sum(sign) > 0 ORDER BY number"""
_VANISHED = """SELECT number, hash FROM records WHERE what = 3
    AND number NOT IN (SELECT number FROM records WHERE what = 2) AND number NOT IN (SELECT number FROM temp.came)
    AND (number, hash) NOT IN (SELECT number, hash FROM records WHERE what = 4)
    GROUP BY number, hash HAVING sum(sign) > 0 ORDER BY number, hash"""
_HELD = "SELECT DISTINCT hash FROM records WHERE what = 0 AND hash IN ({})"
_AT_ONCE, _ASKED = 65_536, 4_096
#: The numbers of rows above one place, up to another.
Arrivals: TypeAlias = Callable[[Arrival | None, Arrival], Iterator[pa.Array]]


def laid_again(
    publication: Attempt,
    link: Link,
    links: Sequence[Link],
    rows: Rows,
    arrivals: Arrivals,
    destination: LineageDestination,
    filter: ExportFilter,
    compared: Dataset,
) -> Staged | None:
    """The roll of a run, laid down once its very bytes came out again; ``None`` if they did not. ``arrivals`` gives the
    numbers of the source's rows, ``compared`` has the columns by which a row is told from what it was."""
    roll = link.lineage.roll
    assert roll is not None  # what has none cannot have lost it
    with suppress(IntegrityError), _Again(rows, arrivals, destination, filter, compared) as again:
        for found, missed in again.tries(link, links):
            laid = lay_down_roll(publication, roll.name, found, missed)
            if laid is not None and laid[0] == roll:
                return laid[1]
    return None


class _Again(Closing):
    """What the records of one run may have been."""

    def __init__(
        self,
        rows: Rows,
        arrivals: Arrivals,
        destination: LineageDestination,
        filter: ExportFilter,
        compared: Dataset,
    ) -> None:
        self._rows = rows
        self._arrivals = arrivals
        self._destination = destination
        self._filter = filter
        self._compared = compared
        self._scratch = Scratch(_TABLE, purpose="make a roll again")

    def tries(self, link: Link, links: Sequence[Link]) -> Iterator[tuple[Iterator[bytes], Iterator[bytes]]]:
        """What the roll of a run may have been, found and missed records each, the likeliest first; each is read
        before the next is asked for. Raises :class:`~penstock.errors.IntegrityError` for a part or a roll that is
        needed and is damaged itself."""
        parts = [PublishedPart(link.manifest, entry, link.manifest.dataset) for entry in link.manifest.parts]
        after, roll = link.lineage.after, link.lineage.roll
        numbered = self._compared.order in link.manifest.dataset.columns
        if any(part.entry.mark for part in parts) or (roll is not None and roll.gone):
            self._put(self._below(after), _BELOW)
            for some in self._arrivals(None, after):
                self._put(((number, UNTAKEN) for number in some.to_pylist()), _BELOW)
            self._put_known(link, links)
        self._put(self._of_parts([part for part in parts if part.entry.mark], numbered=numbered), _MARKED)
        list(self._scratch.rows("CREATE TEMP TABLE came (number INTEGER, hash INTEGER)"))
        came = _SORTED.replace("?", str(_MARKED)) if numbered else _PLACED
        list(self._scratch.rows(f"INSERT INTO temp.came {came}"))
        self._put(self._of_parts([part for part in parts if not part.entry.mark], numbered=numbered), _STRETCH)
        list(self._scratch.rows("CREATE INDEX by_hash ON records (what, hash)"))
        every = roll is not None and sum(part.entry.rows for part in parts) == roll.rows  # no row was left untaken
        if numbered:
            there = () if every else self._numbers(link)
            yield self._found(_merged(self._scratch.rows(_SORTED, (_STRETCH,)), there)), self._missed()
        with Noted(self._rows, self._compared) as noted:
            noted.begin()
            self._read(noted, after, link.lineage.upto)
            pieces = self._taken(noted.records()) if every else noted.with_untaken(self._numbers(link))
            yield self._found(record for piece in pieces for record in unpacked(piece)), self._missed()

    def _numbers(self, link: Link) -> Iterator[int]:
        for some in self._arrivals(link.lineage.after, link.lineage.upto):
            yield from some.to_pylist()

    def _taken(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Of records those of rows that the parts of the stretch hold."""
        for piece in pieces:
            records = list(unpacked(piece))
            for start in range(0, len(records), _ASKED):
                some = records[start : start + _ASKED]
                asked = ", ".join(str(hash) for _, hash in some)
                held = {row[0] for row in self._scratch.rows(_HELD.format(asked))}
                yield packed(record for record in some if record[1] in held)

    def _put(self, records: Iterable[tuple[int | None, int]], what: int) -> None:
        self._scratch.put(_PUT, ((*record, what, 1) for record in records))

    def _of_parts(self, parts: Sequence[PublishedPart], *, numbered: bool) -> Iterator[tuple[int | None, int]]:
        record, content = Recorder(self._compared), content_of(self._compared)
        for part in parts:
            for batch in part.rows(self._destination):
                yield from paired(record(batch)) if numbered else ((None, hash) for hash in content(batch))

    def _below(self, upto: Arrival) -> Iterator[Record]:
        record = Recorder(self._compared)
        for span in within(self._plan(None), BEGINNING, upto):
            for batch in self._rows.read(span, self._filter):
                yield from paired(record(batch))

    def _put_known(self, link: Link, links: Sequence[Link]) -> None:
        rolls = {one.lineage.run: one.lineage.roll for one in links if one.lineage.roll is not None}
        before = [roll for run, roll in rolls.items() if run < link.lineage.run]
        known = records_of(self._destination, before)
        self._scratch.put(_PUT, ((*record, _KNOWN, sign) for record, sign in known))
        later = [roll for run, roll in rolls.items() if run > link.lineage.run and self._is_whole(roll)]
        missed = (record for record, sign in records_of(self._destination, later) if sign < 0)
        self._put(missed, _MISSED_LATER)

    def _is_whole(self, roll: Roll) -> bool:
        return self._destination.holds(roll) is not None

    def _plan(self, after: Arrival | None) -> Iterator[Slice]:
        return self._rows.plan(self._filter, max_rows=RANGE_ROWS, max_bytes=RANGE_BYTES, after=after)

    def _read(self, noted: Noted, after: Arrival, upto: Arrival) -> None:
        for span in within(self._plan(after), after, upto):
            deque(noted.read(span, self._filter), maxlen=0)

    def _found(self, stretch: Iterable[Record]) -> Iterator[bytes]:
        yield from _pieces(stretch)
        yield from _pieces(self._scratch.rows("SELECT number, hash FROM temp.came ORDER BY number"))

    def _missed(self) -> Iterator[bytes]:
        yield from _pieces(self._scratch.rows(_CHANGED))
        yield from _pieces(self._scratch.rows(_VANISHED))

    def close(self) -> None:
        """Drop what was laid down. Safe to call twice."""
        self._scratch.close()


def _merged(taken: Iterable[Record], there: Iterable[int]) -> Iterator[Record]:
    """Records in order, and between them those of rows of other numbers, that were not taken."""
    numbers = iter(there)
    number = next(numbers, None)
    for record in taken:
        while number is not None and number < record[0]:
            yield number, UNTAKEN
            number = next(numbers, None)
        if number == record[0]:
            number = next(numbers, None)
        yield record
    while number is not None:
        yield number, UNTAKEN
        number = next(numbers, None)


def _pieces(records: Iterable[Record]) -> Iterator[bytes]:
    left = iter(records)
    while piece := list(islice(left, _AT_ONCE)):
        yield packed(piece)
