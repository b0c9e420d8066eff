"""Digests: fixed vectors of the events digest, its algebra, and meters."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import pytest

import naive_format
import sample_events
from penstock.pipeline.canonical import rows_digest
from penstock.pipeline.digests import MODULUS, Meter, MeteredReader, OverLimit, digest_hex

FIRST = (
    b'{"id":"00000000-0000-4000-8000-000000000001","category":"usage","event_type":"feature_used",'
    b'"timestamp":"2026-11-01T00:00:00.000000Z","session_id":null,"priority":"normal","data":{},"metadata":{}'
)
SECOND = (
    '{"id":"00000000-0000-4000-8000-000000000002","category":"custom","event_type":"say \\"hi\\"",'
    '"timestamp":"0001-01-01T00:00:00.000000Z","session_id":"00000000-0000-4000-8000-0000000000aa",'
    '"priority":"critical","data":{"n":1.50,"t":"é\\u0000"},"metadata":{"os":"linux"}'
).encode()
VECTORS = [
    ([], "00000000000000000000000000000000"),
    ([FIRST], "56ceaa63f2c5d5d013390f41fed8afe1"),
    ([SECOND], "02ae2294804ccaa8797a5cf262bead8d"),
    ([FIRST, SECOND], "597cccf87312a0788cb36c3461975d6e"),
    ([SECOND, FIRST], "597cccf87312a0788cb36c3461975d6e"),
    ([FIRST, FIRST], "ad9d54c7e58baba026721e83fdb15fc2"),
]


@pytest.mark.parametrize(("texts", "digest"), VECTORS)
def test_the_fixed_vectors(texts: list[bytes], digest: str) -> None:
    assert naive_format.events_digest(texts) == digest


def test_the_fixed_vectors_from_the_events_they_belong_to() -> None:
    events = sample_events.fixed()[:2]
    batch = naive_format.arrived(events)
    assert [naive_format.canonical(row) for row in batch.to_pylist()] == [FIRST, SECOND]
    for rows, digest in ((batch[:0], VECTORS[0][1]), (batch[:1], VECTORS[1][1]), (batch[1:], VECTORS[2][1])):
        assert digest_hex(rows_digest(rows)) == digest
    assert digest_hex(rows_digest(batch)) == VECTORS[3][1]
    assert digest_hex(2 * rows_digest(batch[:1])) == VECTORS[5][1]


def test_the_format_page_has_the_same_vectors() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    assert dict(re.findall(r"^\| one \| `(.*?)` \| `([0-9a-f]{32})` \|$", page, re.M)) == {
        FIRST.decode(): VECTORS[1][1],
        SECOND.decode(): VECTORS[2][1],
    }
    assert re.findall(r"^\| (?:none|both|the first twice) \|.*\| `([0-9a-f]{32})` \|$", page, re.M) == [
        VECTORS[0][1],
        VECTORS[3][1],
        VECTORS[5][1],
    ]


def test_a_digest_is_a_sum_that_wraps() -> None:
    assert digest_hex(MODULUS + 5) == digest_hex(5) == f"{5:032x}"
    assert digest_hex(MODULUS - 1) == "f" * 32


def test_a_meter_counts_and_hashes_any_buffer() -> None:
    meter = Meter()
    for piece in (b"abc", bytearray(b"de"), memoryview(b"xfgx")[1:3]):
        meter.update(piece)
    assert (meter.bytes, meter.sha256) == (7, hashlib.sha256(b"abcdefg").hexdigest())


def test_a_metered_reader_gives_no_more_than_was_promised() -> None:
    meter = Meter()
    reader = MeteredReader(io.BytesIO(b"x" * 10), meter, limit=10)
    assert reader.read(4) + reader.read() + reader.read() == b"x" * 10
    assert meter.bytes == 10
    with pytest.raises(OverLimit):
        MeteredReader(io.BytesIO(b"x" * 11), Meter(), limit=10).read()
