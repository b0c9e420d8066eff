"""How far back a run looks again, as it is written."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.model.overlap import Overlap, parse_overlap

SECOND = 1_000_000
READ = {
    "1": Overlap(rows=1),
    " 5000 ": Overlap(rows=5000),
    "90s": Overlap(micros=90 * SECOND),
    "15m": Overlap(micros=15 * 60 * SECOND),
    "1h": Overlap(micros=3600 * SECOND),
    "7d": Overlap(micros=7 * 86_400 * SECOND),
}


@pytest.mark.parametrize("text", READ)
def test_it_is_a_number_of_rows_or_a_time(text: str) -> None:
    assert parse_overlap(text) == READ[text]


@pytest.mark.parametrize("text", ["", "0", "0h", "-1", "1.5h", "h", "1w", "1 h", "٣", "1" * 16])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read the overlap"):
        parse_overlap(text)
