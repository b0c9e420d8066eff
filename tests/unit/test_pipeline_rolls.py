"""What is kept of rows to know them again."""

from __future__ import annotations

from array import array

import pyarrow as pa
import pytest

from penstock.model.dataset import Dataset
from penstock.pipeline.rolls import UNTAKEN, Recorder, packed, paired, unpacked
from penstock.pipeline.rowtext import RowText

ROWS = Dataset("rows", pa.schema([("n", pa.int64()), ("t", pa.string())]), own=("n", "t"), key=("n",), order="n")
BATCH = pa.record_batch([[5, -1, 7], ["a", "b", "a"]], schema=ROWS.schema)


def test_a_record_is_a_number_and_a_hash_of_what_the_row_holds() -> None:
    records = list(paired(Recorder(ROWS)(BATCH)))
    assert [number for number, _ in records] == [5, -1, 7]
    assert len({hash for _, hash in records}) == 3
    content = list(paired(Recorder(ROWS.select(["t"]))(BATCH)))
    assert content[0][1] == content[2][1] != content[1][1]
    assert list(unpacked(packed(records))) == records


def test_no_row_that_was_taken_has_the_hash_of_one_that_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowText, "numbers", lambda *_: array("q", [9, UNTAKEN, -3]))
    assert list(paired(Recorder(ROWS)(BATCH))) == [(5, 9), (-1, 1), (7, -3)]
