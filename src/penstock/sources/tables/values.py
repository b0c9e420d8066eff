"""Rows of a table as it is: gathered values as columns of the dataset, and what becomes of those that do not fit.

A value that does not fit its column's type ends the export with an error that shows it, or becomes null and is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import UnfitValue
from penstock.model import times
from penstock.model.condition import All, apart
from penstock.model.dataset import Dataset, type_name
from penstock.model.filter import ExportFilter
from penstock.model.times import TimeUnit
from penstock.pipeline.gathering import Gathered, Note
from penstock.pipeline.matching import Matcher, truth
from penstock.pipeline.rowtext import RowText
from penstock.sources.tables.column import Column
from penstock.sources.tables.misfits import WORDS, proposed_unit, shown

_DAY = 86_400_000_000
#: What is counted of values that were not taken as they are stored.
_COUNTED = {
    Note.CUT: "coerced_time_precision",
    Note.BLOB: "coerced_blob",
    Note.INVALID_UTF8: "coerced_invalid_utf8",
    Note.INFINITE: "coerced_not_finite",
    Note.JSON_NULL: "coerced_json_null",
    Note.NUMBER: "coerced_number_to_text",
}
_MISFITS = "coerced_misfit"
#: Of a value in a message.
_SHOWN = 60


class Values:
    """Makes rows of a dataset of what was gathered, under one filter. ``counts`` says what was changed on the way, of
    the rows that were taken. Not for two threads at once.

    Raises :class:`~penstock.errors.UnfitValue` for the first value that does not fit, unless misfits are made null.
    """

    def __init__(
        self, table: str, columns: Sequence[Column], dataset: Dataset, filter: ExportFilter, *, misfits: str
    ) -> None:
        self._table = table
        self._columns = columns
        self._dataset = dataset
        self._fields = list(dataset.schema)
        self._nulls = misfits == "null"
        self._matcher = Matcher(filter, dataset)
        self._but_for_time = apart(self._matcher.condition, dataset.time)
        self._limit = filter.limit
        self.rows = 0
        self.counts: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether the filter's limit is reached, and no further row can be taken."""
        return self._limit is not None and self.rows >= self._limit

    def convert(self, gathered: Gathered) -> pa.RecordBatch:
        """The matching rows, in order; maybe none."""
        arrays, misfits = self._typed(gathered)
        batch = pa.record_batch(arrays, schema=self._dataset.schema)
        taken = self._taken(batch)
        if misfits is not None and not self._nulls:
            self._refuse(batch, gathered, misfits, taken)
        self._count(gathered, misfits, taken)
        whole = pc.all(taken, min_count=0).as_py()
        rows = batch if whole else batch.filter(taken)
        self.rows += rows.num_rows
        return rows

    def unfit(self, gathered: Gathered) -> Iterator[int]:
        """The places of the columns in which a value does not fit."""
        for place, where in enumerate(self._typed(gathered)[1] or ()):
            if where is not None:
                yield place

    def _taken(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        taken = self._matcher.mask(batch)
        if self._limit is None:
            return taken
        places = pc.indices_nonzero(taken)[: max(self._limit - self.rows, 0)]
        return pc.is_in(pa.array(range(batch.num_rows), pa.uint64()), places.cast(pa.uint64()))

    def _typed(self, gathered: Gathered) -> tuple[list[pa.Array], list[pa.BooleanArray | None] | None]:
        """The columns, and where in each a value did not fit; ``None`` if everywhere all did."""
        arrays: list[pa.Array] = []
        unfit: list[pa.BooleanArray | None] = []
        for place, (column, field) in enumerate(zip(gathered.batch.columns, self._fields, strict=True)):
            odd = gathered.notes.rows(place, Note.MISFIT) if len(gathered.notes) else ()
            where = _at(odd, len(column)) if len(odd) else None
            if pa.types.is_date(field.type):
                column, broken = _whole_days(column)
                where = broken if where is None else where if broken is None else pc.or_(where, broken)
            arrays.append(column if column.type == field.type else column.cast(field.type))
            unfit.append(where)
        return arrays, unfit if any(where is not None for where in unfit) else None

    def _count(
        self, gathered: Gathered, misfits: Sequence[pa.BooleanArray | None] | None, taken: pa.BooleanArray
    ) -> None:
        if len(gathered.notes):
            for (_, note), count in gathered.notes.counts(taken).items():
                if note in _COUNTED:
                    self.counts[_COUNTED[note]] += count
        for where in misfits or ():
            count = 0 if where is None else pc.sum(pc.and_(where, taken)).as_py()
            if count:
                self.counts[_MISFITS] += count

    def _refuse(
        self,
        batch: pa.RecordBatch,
        gathered: Gathered,
        misfits: Sequence[pa.BooleanArray | None],
        taken: pa.BooleanArray,
    ) -> None:
        """Raise for the first row that is taken with a value that does not fit. A time that does not fit says of no row
        that it would not be taken: what else is asked about does."""
        found = []
        for place, where in enumerate(misfits):
            if where is None:
                continue
            time = self._fields[place].name == self._dataset.time
            told = pc.and_(where, self._meant(batch, taken) if time else taken)
            if pc.any(told).as_py():
                found.append((pc.index(told, True).as_py(), place))
        if found:
            raise self._unfit(batch, gathered, *min(found))

    def _meant(self, batch: pa.RecordBatch, taken: pa.BooleanArray) -> pa.BooleanArray:
        """Where all holds that is not about the time, as far as the limit lets rows be looked at."""
        holds = truth(batch, All(self._but_for_time)) if self._but_for_time else taken.is_valid()
        places, meant = pc.indices_nonzero(taken), pc.fill_null(holds, False)
        if self._limit is None or self.rows + len(places) < self._limit:
            return meant
        return pc.and_(meant, _at(range(places[-1].as_py() + 1), batch.num_rows))

    def _unfit(self, batch: pa.RecordBatch, gathered: Gathered, row: int, place: int) -> UnfitValue:
        """What is said of the value in a row and a column."""
        column, settled = self._columns[place], self._columns[place].settled
        storage, value = self._value(gathered, row, place)
        kind = str(type_name(self._fields[place]))
        proposed = proposed_unit(value) if storage in ("integer", "real") and "timestamp" in kind else None
        if proposed is not None and settled.type.unit is not proposed:
            fix = f"--types {column.source}:{kind}:{proposed} if its numbers are {WORDS[proposed]}, "
        else:
            fix = ""
        key = self._key(batch.slice(row, 1))
        at = f", {key}" if key else ""
        return UnfitValue(
            f"{self._table}{at}: the column {column.source!r} holds the {storage} {value},"
            f" which is no {_as_said(kind, settled.type.unit)}",
            hint=f"{fix}--types {column.source}:text takes the column as text, --misfits null leaves such values out",
        )

    def _value(self, gathered: Gathered, row: int, place: int) -> tuple[str, str]:
        """How a value is stored, and the value for a message."""
        for misfit in gathered.misfits:
            if (misfit.row, misfit.column) == (row, place):
                return misfit.storage, shown(misfit)
        return "time", times.render(gathered.batch.column(place)[row].cast(pa.int64()).as_py())

    def _key(self, row: pa.RecordBatch) -> str:
        """The row's key for a message: ``id 17``."""
        names = [name for name in self._dataset.key if row[name].null_count == 0]
        if not names:
            return ""
        text = RowText(self._dataset.select(names))
        line = json.loads(bytes(text.lines(row.select(names)).text))
        return ", ".join(f"{name} {str(value)[:_SHOWN]}" for name, value in line.items())


def _as_said(kind: str, unit: TimeUnit) -> str:
    return kind if unit is TimeUnit.AUTO else f"{kind} of the unit {unit}"


def _at(rows: Any, size: int) -> pa.BooleanArray:
    return pc.is_in(pa.array(range(size), pa.int64()), pa.array(rows, pa.int64()))


def _whole_days(micros: pa.Int64Array) -> tuple[pa.Date32Array, pa.BooleanArray | None]:
    """Times as dates, null where one is no whole day, and where that is."""
    rest = pc.subtract(micros, pc.multiply(pc.divide(micros, _DAY), _DAY))
    broken = pc.fill_null(pc.not_equal(rest, 0), False)
    any_broken = pc.any(broken).as_py()
    kept = pc.if_else(broken, None, micros) if any_broken else micros
    return pc.divide(kept, _DAY).cast(pa.int32()).cast(pa.date32()), broken if any_broken else None
