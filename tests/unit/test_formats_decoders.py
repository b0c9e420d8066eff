"""The decoders: they give back what was encoded, whatever the pieces, and refuse what is spelled otherwise."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from test_formats_encoders import COLUMNAR, TEXT, file_of, text_of

import naive_format
import sample_events
from penstock import AnalyticsEvent, ExportFormat
from penstock.errors import SerializationError
from penstock.formats import FORMATS
from penstock.formats.csv import record_blocks
from penstock.model.columns import EVENTS
from penstock.model.options import Layout

FIXED = naive_format.arrived(sample_events.fixed())
VARIED = naive_format.arrived(sample_events.varied(80))


class Trickle(io.BytesIO):
    """Gives at most a few bytes at a time, whatever is asked for."""

    step = 7

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self.step if size is None or size < 0 else min(size, self.step))


def decoded(layout: Layout, data: bytes | io.BytesIO) -> pa.Table:
    """All batches of a file, put together."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    batches = list(FORMATS[layout.format].decoder(layout)(stream))
    return pa.Table.from_batches(batches) if batches else None


LAYOUTS = [
    *(Layout(format=format) for format in TEXT),
    Layout(format=ExportFormat.JSON, pretty=True),
    Layout(format=ExportFormat.CSV, csv_null="NULL"),
    Layout(format=ExportFormat.CSV, csv_null="3"),
    *(Layout(format=format, dataset=EVENTS.select(("id", "session_id", "data", "seq"))) for format in TEXT),
    *(Layout(format=format, dataset=EVENTS.select(("timestamp",))) for format in TEXT),
    *(Layout(format=format, dataset=EVENTS.select(("metadata", "received_at"))) for format in TEXT),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.format}-{layout.pretty}-{layout.csv_null}")
@pytest.mark.parametrize("stream", [io.BytesIO, Trickle])
def test_text_comes_back_as_it_was(layout: Layout, stream: Callable[[bytes], io.BytesIO]) -> None:
    if stream is Trickle and layout.format is ExportFormat.CSV:
        stream = io.BytesIO  # its header is taken in one read
    for batch in (FIXED, VARIED):
        kept = batch.select(list(layout.columns))
        assert decoded(layout, stream(text_of(layout, [kept[:1], kept[1:]]))) == pa.Table.from_batches([kept])


@limits(max_examples=30)
@given(sample_events.distinct(1))
def test_any_events_come_back_as_they_were(events: list[AnalyticsEvent]) -> None:
    batch = naive_format.arrived(events)
    for layout in (*LAYOUTS[:6], *(Layout(format=format) for format in COLUMNAR)):
        data = text_of(layout, [batch]) if layout.format in TEXT else file_of(layout, [batch])
        assert decoded(layout, data) == pa.Table.from_batches([batch])


@pytest.mark.parametrize("format", [*TEXT, *COLUMNAR])
def test_an_empty_file_has_no_rows(format: ExportFormat) -> None:
    layout = Layout(format=format)
    found = decoded(layout, text_of(layout, []) if format in TEXT else file_of(layout, []))
    assert found is None or found.num_rows == 0


def test_a_stream_of_arrow_is_read_too() -> None:
    layout = Layout(format=ExportFormat.ARROW)
    assert decoded(layout, file_of(layout, [VARIED], streamed=True)) == pa.Table.from_batches([VARIED])


def test_payloads_at_the_deepest_level_come_back_in_every_layout() -> None:
    deep = '{"a":' + "[" * 499 + "]" * 499 + "}"
    batch = naive_format.arrived([AnalyticsEvent("x", data=deep, metadata=deep)])
    for layout in LAYOUTS[:5]:
        assert decoded(layout, text_of(layout, [batch])) == pa.Table.from_batches([batch])


def test_a_record_that_is_larger_than_any_block_is_read() -> None:
    events = [AnalyticsEvent("x", data={"t": 'x\n,"' * 800_000}), *sample_events.fixed()]
    batch = naive_format.arrived([*events, AnalyticsEvent("y", data={"t": "]}" * 700_000})])
    for layout in LAYOUTS[:4]:
        assert decoded(layout, text_of(layout, [batch])) == pa.Table.from_batches([batch])


LINE = naive_format.ndjson(FIXED[1:2])
RESPELLED: list[tuple[bytes, bytes]] = [
    (b'{"id"', b'{ "id"'),
    (b'"}\n', b'" }\n'),
    (b'"}\n', b'"}\r\n'),
    (b'"}\n', b'"}'),
    (b'"}\n', b'"}\n\n'),
    (b'"}\n', b'"}\n \n'),
    (b'"}\n', b'"}{}\n'),
    (b'"}\n', b'","more":1}\n'),
    (b'"category":"custom",', b""),
    (b'"category":"custom",', b'"category":"custom","category":"custom",'),
    (b'"priority":"critical"', b'"priority":null'),
    (b'"priority":"critical"', b'"priority":3'),
    (b'"event_type":"say', b'"event_type":"\\u0073ay'),
    (b'"seq":2', b'"seq":2.0'),
    (b'"seq":2', b'"seq":02'),
    (b'"seq":2', b'"seq":2e0'),
    (b'"seq":2', b'"seq":"2"'),
    (b'"seq":2', b'"seq":99999999999999999999'),
    (b'.000000Z","session_id"', b'Z","session_id"'),
    (b'.000000Z","session_id"', b'.000000+00:00","session_id"'),
    (b'.000000Z","session_id"', b'.0000000Z","session_id"'),
    (b"0001-01-01T00", b"0001-01-01 00"),
    (b'"session_id":"', b'"session_id":"\xff'),
    (b'"t":"', b'"t":"\xff'),
    (b'"n":1.50', b'"n":NaN'),
    (b'"metadata":{"os":"linux"}', b'"metadata":{"os":"linux"'),
    (b'"metadata":{"os":"linux"},"seq":2', b'"seq":2,"metadata":{"os":"linux"}'),
]


@pytest.mark.parametrize(("old", "new"), RESPELLED)
def test_a_line_that_is_spelled_otherwise_is_refused(old: bytes, new: bytes) -> None:
    layout = Layout(format=ExportFormat.NDJSON)
    assert decoded(layout, LINE).num_rows == 1
    assert LINE.count(old) == 1
    with pytest.raises(SerializationError):
        decoded(layout, LINE.replace(old, new))


def test_the_line_that_is_wrong_is_named() -> None:
    lines = naive_format.ndjson(VARIED).split(b"\n")
    lines[36] = lines[36].replace(b'"seq":37', b'"seq": 37')
    with pytest.raises(SerializationError, match=r"\bline 37\b"):
        decoded(Layout(format=ExportFormat.NDJSON), b"\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{}",
        b"[",
        b"[\n",
        b"[1]",
        b"[{}]",
        b"[,]",
        b"[]]",
        b"[] x",
        b"[]\n[]",
        b"]",
        b'["',
        b"[" * 10_000,
        naive_format.json_array(FIXED)[:-3],
        naive_format.json_array(FIXED)[:-3] + b",\n]\n",
        naive_format.json_array(FIXED) + b"x",
        naive_format.json_array(FIXED).replace(b"},\n{", b"}\n{", 1),
        naive_format.json_array(FIXED).replace(b"},\n{", b"},,\n{", 1),
        naive_format.json_array(FIXED).replace(b"},\n{", b"],\n{", 1),
        naive_format.json_array(FIXED).replace(b'"seq":1', b'"seq":1 ', 1),
        b"\xef\xbb\xbf" + naive_format.json_array(FIXED),
    ],
    ids=range(22),
)
def test_what_is_not_one_array_of_events_is_refused(text: bytes) -> None:
    for pretty in (False, True):
        if pretty and b'"seq":1 ' in text:
            continue  # white space is what pretty is about
        with pytest.raises(SerializationError):
            decoded(Layout(format=ExportFormat.JSON, pretty=pretty), text)


CSV = naive_format.csv(FIXED)
HEADER = CSV[: CSV.index(b"\n") + 1]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        HEADER[:-1],
        HEADER.replace(b"id,category", b"category,id"),
        HEADER.replace(b"seq", b"SEQ"),
        HEADER.replace(b",", b";"),
        b"\xef\xbb\xbf" + CSV,
        CSV.replace(b"\n", b"\r\n"),
        CSV[: CSV.rindex(b'"')],
        CSV + b"\n",
        CSV + b"x\n",
        CSV.replace(b",1,2026", b",,2026", 1),
        CSV.replace(b",1,2026", b",x,2026", 1),
        CSV.replace(b",1,2026", b",1.5,2026", 1),
        CSV.replace(b",1,2026", b",1,1,2026", 1),
        CSV.replace(b"2026-11-01T00:00:00.000000Z", b"yesterday", 1),
        CSV.replace(b"2026-11-01T00:00:00.000000Z", b"2026-13-01T00:00:00.000000Z", 1),
        CSV.replace(b"feature_used", b"feature\xffused", 1),
        CSV.replace(b",usage,", b",,", 1),
    ],
    ids=range(19),
)
def test_what_is_no_csv_of_events_is_refused(text: bytes) -> None:
    assert text != CSV
    with pytest.raises(SerializationError):
        decoded(Layout(format=ExportFormat.CSV), text)


@pytest.mark.parametrize("format", COLUMNAR)
def test_a_columnar_file_with_other_columns_is_refused(format: ExportFormat) -> None:
    some = Layout(format=format, dataset=EVENTS.select(("id", "seq")))
    data = file_of(some, [VARIED.select(["id", "seq"])])
    assert decoded(some, data).num_rows == 80
    for columns in (("id",), ("seq",), ("id", "data", "seq")):
        with pytest.raises(SerializationError, match="columns"):
            decoded(Layout(format=format, dataset=EVENTS.select(columns)), data)


@pytest.mark.parametrize("format", COLUMNAR)
def test_other_bytes_are_no_columnar_file(format: ExportFormat) -> None:
    whole = file_of(Layout(format=format), [VARIED])
    for data in (b"", b"x", b"ARROW1\0\0", b"PAR1", bytes(1000), CSV, whole[:-1], whole[1:], whole[: len(whole) // 2]):
        with pytest.raises(SerializationError):
            decoded(Layout(format=format), data)


@pytest.mark.parametrize("format", COLUMNAR)
def test_damage_ends_in_an_error_of_ours_or_in_rows(format: ExportFormat) -> None:
    """SHA-256 stands before every decoder; behind it, damage must not raise what nobody expects."""
    layout = Layout(format=format, codec="zstd")
    whole = file_of(layout, [VARIED])
    chance = random.Random(3)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            decoded(layout, bytes(data))
        except SerializationError:
            refused += 1
    assert refused > 100


@limits(max_examples=100)
@given(st.lists(st.sampled_from([b"a", b'"', b'""', b",", b"\n", b'"x\ny"', b"\r"]), max_size=30), st.integers(1, 9))
def test_csv_blocks_end_outside_quotes_and_lose_nothing(pieces: list[bytes], size: int) -> None:
    text = b"".join(pieces)
    blocks = []
    try:
        for block in record_blocks(io.BytesIO(text), size):
            blocks.append(block)
    except SerializationError:
        assert text.count(b'"') % 2
        return
    assert b"".join(blocks) == text
    for block in blocks:
        assert block.count(b'"') % 2 == 0
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_the_first_difference_is_counted_over_blocks() -> None:
    lines = naive_format.ndjson(naive_format.arrived(sample_events.varied(6000, payload=200))).split(b"\n")
    wrong = 5432
    lines[wrong - 1] = re.sub(rb'"seq":', b'"seq": ', lines[wrong - 1])
    with pytest.raises(SerializationError, match=rf"\bline {wrong}\b"):
        decoded(Layout(format=ExportFormat.NDJSON), b"\n".join(lines))
