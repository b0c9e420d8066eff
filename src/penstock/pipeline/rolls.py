"""Rows as the records of a roll, and numbers summed up: what of a run's rows is kept to know them again.

A record is the number by which a row is told from others and a hash of the row's content, two signed 64-bit numbers,
the lower byte first.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import pyarrow as pa

from penstock.model.dataset import Dataset
from penstock.model.roll import RECORD_BYTES, Known
from penstock.pipeline.digests import digest_hex
from penstock.pipeline.rowtext import RowText

#: An arrival number and a hash, :data:`UNTAKEN` of a row that was not exported.
Record: TypeAlias = tuple[int, int]
UNTAKEN = 0
_RECORD = struct.Struct("<qq")
_NUMBER = Dataset("numbers", pa.schema([pa.field("seq", pa.int64(), nullable=False)]), own=("seq",))
NOTHING = Known(rows=0, numbers="0" * 32)


def content_of(written: Dataset) -> Callable[[pa.RecordBatch], array[int]]:
    """Makes hashes of batches of a dataset's rows; the content of a row is its own columns that are written."""
    names, text = list(written.own), RowText(written.select(written.own))

    def hashes(batch: pa.RecordBatch) -> array[int]:
        found = text.numbers(batch.select(names))
        return array("q", (each or 1 for each in found)) if UNTAKEN in found else found

    return hashes


class Recorder:
    """Makes records of batches of a dataset's rows."""

    def __init__(self, written: Dataset) -> None:
        self._content = content_of(written)
        self._number = str(written.number)

    def __call__(self, batch: pa.RecordBatch) -> array[int]:
        """Numbers and hashes of the rows in turn."""
        records = array("q", bytes(RECORD_BYTES * batch.num_rows))
        records[::2] = array("q", batch[self._number].to_pylist())
        records[1::2] = self._content(batch)
        return records


def paired(records: array[int]) -> Iterator[Record]:
    """The records one by one."""
    return zip(records[::2], records[1::2], strict=True)


def packed(records: Iterable[Record]) -> bytes:
    """Records as they lie in a roll."""
    return b"".join(_RECORD.pack(*record) for record in records)


def unpacked(data: bytes) -> Iterator[Record]:
    """The records of a piece of a roll."""
    return _RECORD.iter_unpack(data)


class Tally:
    """Counts arrival numbers and sums up their hashes, as the rows digest does for rows that have nothing else."""

    def __init__(self, known: Known = NOTHING) -> None:
        self.rows = known.rows
        self._digest = int(known.numbers, 16)
        self._text = RowText(_NUMBER)

    def add(self, numbers: pa.Array, *, sign: int = 1) -> None:
        self.rows += sign * len(numbers)
        self._digest += sign * self._text.digest(pa.record_batch([numbers], schema=_NUMBER.schema))

    @property
    def known(self) -> Known:
        return Known(rows=self.rows, numbers=digest_hex(self._digest))
