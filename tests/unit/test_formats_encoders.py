"""The text encoders, byte for byte against plain implementations, and the columnar ones read by other libraries."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import polars
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as limits

import naive_format
import sample_events
from naive_format import COLUMNS
from penstock import AnalyticsEvent, ExportFormat
from penstock.errors import InvalidFormat
from penstock.formats import FORMATS
from penstock.model.columns import EVENTS
from penstock.model.options import TRAITS, Layout
from penstock.ports.format import Encoding

FIXED = naive_format.arrived(sample_events.fixed())
VARIED = naive_format.arrived(sample_events.varied(80))
TEXT = [ExportFormat.JSON, ExportFormat.NDJSON, ExportFormat.CSV]
COLUMNAR = [ExportFormat.PARQUET, ExportFormat.ARROW]


def text_of(layout: Layout, chunks: Sequence[pa.RecordBatch]) -> bytes:
    """A file of a text format, joined from chunks as the port says."""
    make = FORMATS[layout.format].text
    assert make is not None
    encoder = make(layout)
    rendered = [bytes(encoder.render(chunk).text) for chunk in chunks]
    return encoder.prologue + encoder.separator.join(rendered) + encoder.epilogue


def file_of(layout: Layout, batches: Sequence[pa.RecordBatch], *, streamed: bool = False) -> bytes:
    """A file of a columnar format."""
    make = FORMATS[layout.format].columnar
    assert make is not None
    pieces: list[bytes] = []
    with ThreadPoolExecutor(2) as executor:
        encoding = Encoding(executor, 2, 32 << 20)
        encoder = make(layout, lambda piece: pieces.append(bytes(piece)), {"penstock.version": "x"}, streamed, encoding)
        for batch in batches:
            encoder.write(batch)
        encoder.finish()
    return b"".join(pieces)


def plain(layout: Layout, batch: pa.RecordBatch) -> bytes:
    """What the plain implementation writes."""
    if layout.format is ExportFormat.CSV:
        return naive_format.csv(batch, layout.csv_null)
    return naive_format.json_array(batch) if layout.format is ExportFormat.JSON else naive_format.ndjson(batch)


@pytest.mark.parametrize("format", TEXT)
def test_chunks_join_to_the_bytes_of_the_plain_implementation(format: ExportFormat) -> None:
    layout = Layout(format=format)
    for batch in (FIXED, VARIED):
        wanted = plain(layout, batch)
        assert text_of(layout, [batch]) == wanted
        assert text_of(layout, [batch[:1], batch[1:3], batch[3:]]) == wanted
        assert text_of(layout, [batch[number : number + 1] for number in range(batch.num_rows)]) == wanted


@pytest.mark.parametrize("format", TEXT)
def test_slices_and_projections_are_written_as_what_they_are(format: ExportFormat) -> None:
    for names in (("id",), ("timestamp", "received_at"), ("session_id", "data"), ("seq",), ("id", "session_id")):
        layout = Layout(format=format, dataset=EVENTS.select(names))
        for batch in (VARIED.select(list(names)), VARIED.select(list(names)).slice(11, 7)):
            assert text_of(layout, [batch]) == plain(layout, batch)


@limits(max_examples=40)
@given(sample_events.distinct(1))
def test_any_events_are_written_as_the_plain_implementation_writes_them(events: list[AnalyticsEvent]) -> None:
    batch = naive_format.arrived(events)
    for format in TEXT:
        assert text_of(Layout(format=format), [batch]) == plain(Layout(format=format), batch)


@pytest.mark.parametrize("null", ["", "NULL", "\\N", "-", "1", "3", "{}", "normal", "NULL NULL", "∅", "x" * 30])
def test_csv_quotes_a_value_that_is_spelled_like_null_and_nothing_without_need(null: str) -> None:
    events = sample_events.fixed()
    events += [AnalyticsEvent(name, id=sample_events.uuid_of(9)) for name in (null, "plain") if name]
    batch = naive_format.arrived(events)
    text = text_of(Layout(format=ExportFormat.CSV, csv_null=null), [batch])
    assert text == naive_format.csv(batch, null)
    rows = list(csv.DictReader(io.StringIO(text.decode(), newline=""), strict=True))
    for row, event in zip(rows, events, strict=True):
        assert row["event_type"] == event.event_type
        assert row["session_id"] == (event.session_id or null)
        assert row["data"] == event.data_text.decode()


def test_csv_tells_null_from_empty_text() -> None:
    columns = ("id", "session_id")
    schema = pa.schema([pa.field("id", pa.string(), False), pa.field("session_id", pa.string())])
    batch = pa.record_batch([pa.array(["a", "b", "c", "d"]), pa.array([None, "", "-", " "])], schema=schema)
    written = {
        null: text_of(Layout(format=ExportFormat.CSV, dataset=EVENTS.select(columns), csv_null=null), [batch])
        for null in ("", "-")
    }
    assert written[""] == b'id,session_id\na,\nb,""\nc,-\nd, \n'
    assert written["-"] == b'id,session_id\na,-\nb,""\nc,"-"\nd, \n'


def test_a_csv_that_could_not_tell_a_null_from_no_row_is_refused() -> None:
    make = FORMATS[ExportFormat.CSV].text
    assert make is not None
    with pytest.raises(InvalidFormat, match="empty line"):
        make(Layout(format=ExportFormat.CSV, dataset=EVENTS.select(("session_id",))))
    batch = FIXED.select(["session_id"])
    layout = Layout(format=ExportFormat.CSV, dataset=EVENTS.select(("session_id",)), csv_null="-")
    assert text_of(layout, [batch]) == naive_format.csv(batch, "-")


def test_pretty_json_adds_white_space_and_nothing_else() -> None:
    text = text_of(Layout(format=ExportFormat.JSON, pretty=True), [FIXED[:2], FIXED[2:]])
    assert sample_events.shape(text) == sample_events.shape(naive_format.json_array(FIXED))
    assert b'\n    "data": {\n      "n": 1.50,\n      "t": "\xc3\xa9\\u0000"\n    },\n' in text
    assert text.startswith(b'[\n  {\n    "id": ')
    assert text.endswith(b"\n  }\n]\n")
    assert text.count(b"\n  },\n  {\n") == 3


@pytest.mark.parametrize("format", TEXT)
def test_no_rows_make_a_file_that_readers_accept(format: ExportFormat) -> None:
    text = text_of(Layout(format=format), [])
    assert text == plain(Layout(format=format), FIXED[:0])
    if format is ExportFormat.JSON:
        assert json.loads(text) == []
    if format is ExportFormat.CSV:
        assert text == ",".join(COLUMNS).encode() + b"\n"


@pytest.mark.parametrize(
    ("format", "codec"), [(format, codec) for format in COLUMNAR for codec in TRAITS[format].codecs], ids=str
)
def test_columnar_files_are_read_by_another_library(format: ExportFormat, codec: str) -> None:
    levels = TRAITS[format].codecs[codec]
    for level in {None, *(levels or ())}:
        layout = Layout(format=format, codec=codec, level=level, row_group_rows=30)
        data = file_of(layout, [VARIED[:33], VARIED[33:33], VARIED[33:]])
        assert data == file_of(layout, [VARIED[:33], VARIED[33:33], VARIED[33:]]), "the same rows give the same bytes"
        frame = polars.read_parquet(data) if format is ExportFormat.PARQUET else polars.read_ipc(data)
        assert frame.to_dicts() == VARIED.to_pylist()


def test_a_stream_of_arrow_is_the_stream_format() -> None:
    data = file_of(Layout(format=ExportFormat.ARROW), [VARIED], streamed=True)
    assert not data.startswith(b"ARROW1")
    assert polars.read_ipc_stream(io.BytesIO(data)).to_dicts() == VARIED.to_pylist()


@pytest.mark.parametrize("format", COLUMNAR)
def test_an_empty_columnar_file_has_its_columns(format: ExportFormat) -> None:
    data = file_of(Layout(format=format, dataset=EVENTS.select(("id", "timestamp", "seq"))), [])
    frame = polars.read_parquet(data) if format is ExportFormat.PARQUET else polars.read_ipc(data)
    assert frame.height == 0
    assert dict(frame.schema) == {
        "id": polars.String(),
        "timestamp": polars.Datetime("us", "UTC"),
        "seq": polars.Int64(),
    }


def test_row_groups_end_by_rows_and_hold_statistics_but_not_of_payloads() -> None:
    import pyarrow.parquet as pq

    data = file_of(Layout(format=ExportFormat.PARQUET, row_group_rows=32), [VARIED])
    facts = pq.read_metadata(io.BytesIO(data))
    assert [facts.row_group(number).num_rows for number in range(facts.num_row_groups)] == [32, 32, 16]
    group = facts.row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        assert column.is_stats_set == (column.path_in_schema not in ("data", "metadata")), column.path_in_schema
    assert facts.metadata[b"penstock.version"] == b"x"


@pytest.mark.parametrize("format", COLUMNAR)
def test_an_abandoned_file_writes_nothing_more(format: ExportFormat) -> None:
    make = FORMATS[format].columnar
    assert make is not None
    pieces: list[bytes] = []
    with ThreadPoolExecutor(1) as executor:
        encoder = make(
            Layout(format=format, row_group_rows=7), pieces.append, {}, False, Encoding(executor, 1, 1 << 20)
        )
        encoder.write(VARIED)
        encoder.settle()
        encoder.write(VARIED)
        written = len(pieces)
        encoder.abort()
    assert len(pieces) == written
