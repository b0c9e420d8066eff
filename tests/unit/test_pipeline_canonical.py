"""Lines and the canonical slices of them, against an implementation that is as plain as it can be."""

from __future__ import annotations

import json
import re
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits

import naive_format
import sample_events
from naive_format import COLUMNS
from penstock import AnalyticsEvent
from penstock.pipeline.canonical import escaped, render_lines, rows_digest
from penstock.pipeline.digests import digest_hex

FIXED = naive_format.arrived(sample_events.fixed())


def _text(batch: pa.RecordBatch) -> bytes:
    return bytes(render_lines(batch).text)


@limits(max_examples=40)
@given(sample_events.distinct(1))
def test_lines_are_what_the_plain_implementation_writes(events: list[AnalyticsEvent]) -> None:
    batch = naive_format.arrived(events)
    assert _text(batch) == naive_format.ndjson(batch)
    assert digest_hex(rows_digest(batch)) == naive_format.digest_of_ndjson(_text(batch))


@pytest.mark.parametrize("size", range(1, len(COLUMNS) + 1))
def test_every_choice_of_columns_gives_its_lines_and_its_digest(size: int) -> None:
    for names in combinations(COLUMNS, size):
        batch = FIXED.select(list(names))
        assert _text(batch) == naive_format.ndjson(batch), names
        wanted = naive_format.events_digest(naive_format.canonical(row) for row in batch.to_pylist())
        assert digest_hex(rows_digest(batch)) == wanted, names


@pytest.mark.parametrize("first_seq", [1, 8, 98, 9_998, 2**63 - 9, -3])
def test_numbers_of_mixed_length_do_not_move_the_cut(first_seq: int) -> None:
    batch = naive_format.arrived(sample_events.fixed(), first_seq=first_seq)
    assert _text(batch) == naive_format.ndjson(batch)
    wanted = naive_format.digest_of_ndjson(naive_format.ndjson(FIXED))
    assert digest_hex(rows_digest(batch)) == wanted


def test_slices_of_batches_are_rendered_as_the_rows_they_are() -> None:
    batch = naive_format.arrived(sample_events.varied(50))
    for start, length in ((0, 50), (1, 49), (7, 8), (49, 1), (50, 0), (0, 0)):
        piece = batch.slice(start, length)
        assert _text(piece) == naive_format.ndjson(piece)
        wanted = naive_format.events_digest(naive_format.canonical(row) for row in piece.to_pylist())
        assert digest_hex(rows_digest(piece)) == wanted


def test_json_strings_escape_what_they_must_and_nothing_else() -> None:
    letters = [chr(code) for code in [*range(0x180), 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0xFFFF, 0x1F600, 0x10FFFF]]
    inside = escaped(pa.array([*letters, None, "plain", "".join(letters)])).to_pylist()
    for letter, text in zip(letters, inside, strict=False):
        wanted = naive_format.member("event_type", letter)[len('"event_type":"') : -1]
        assert text == wanted
        assert json.loads(f'"{text}"') == letter
    assert inside[len(letters)] is None
    assert inside[-2] == "plain"
    assert json.loads(f'"{inside[-1]}"') == "".join(letters)


def test_text_without_need_is_passed_on_as_it_is() -> None:
    column = pa.array(["a", None, "b/é", ""])
    assert escaped(column) is column


def test_times_have_six_digits_in_every_year() -> None:
    moments = [-62_135_596_800_000_000, -1, 0, 1, 253_402_300_799_999_999]
    column = pa.array(moments, pa.timestamp("us", "UTC"))
    text = _text(pa.record_batch({"timestamp": column}))
    assert re.findall(rb'"([^"]*Z)"', text) == [
        b"0001-01-01T00:00:00.000000Z",
        b"1969-12-31T23:59:59.999999Z",
        b"1970-01-01T00:00:00.000000Z",
        b"1970-01-01T00:00:00.000001Z",
        b"9999-12-31T23:59:59.999999Z",
    ]
