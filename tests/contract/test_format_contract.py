"""What every row of the table of formats promises, so that a new one is complete when this passes."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

import naive_format
import sample_events
from penstock import ExportFormat, ExportOptions
from penstock.formats import FORMATS
from penstock.model.columns import EVENTS
from penstock.model.options import ENDING_OF_CODEC, TRAITS, WRAPPERS, Layout, parse_ending, parse_format
from penstock.pipeline.compression import compress, open_reader
from penstock.ports.format import Encoding

BATCH = naive_format.arrived(sample_events.varied(60))


def test_the_tables_are_complete() -> None:
    assert set(FORMATS) == set(TRAITS) == set(ExportFormat)
    assert {WRAPPERS[ending.strip(".")]: ending for ending in ENDING_OF_CODEC.values() if ending} == {
        codec: ending for codec, ending in ENDING_OF_CODEC.items() if ending
    }


@pytest.mark.parametrize("format", list(ExportFormat))
def test_a_format_is_text_or_columnar_and_its_endings_lead_back_to_it(format: ExportFormat) -> None:
    row, traits = FORMATS[format], TRAITS[format]
    assert (row.text is None) != (row.columnar is None)
    assert traits.text == (row.text is not None)
    assert traits.media_type.count("/") == 1
    for ending in traits.extensions:
        assert parse_format(ending) is format
        assert parse_ending(f"x.{ending}")[0] is format
    for codec in traits.codecs:
        layout = ExportOptions(compression=codec).resolve(format=format, codec=None)
        named, implied = parse_ending(f"x{layout.file_ending}")
        assert named is format
        assert implied == (codec if traits.text else None)


@pytest.mark.parametrize("format", list(ExportFormat))
def test_what_an_encoder_writes_its_decoder_reads_in_any_choice_of_columns(format: ExportFormat) -> None:
    for columns in (naive_format.COLUMNS, ("id",), ("timestamp", "seq"), ("session_id", "data", "received_at")):
        layout = Layout(format=format, dataset=EVENTS.select(columns))
        batch = BATCH.select(list(columns))
        data = _encoded(layout, [batch[:20], batch[20:21], batch[21:]])
        found = pa.Table.from_batches(FORMATS[format].decoder(layout)(io.BytesIO(data)))
        assert found == pa.Table.from_batches([batch])
        assert _encoded(layout, [batch]) != b""


def _encoded(layout: Layout, chunks: list[pa.RecordBatch]) -> bytes:
    row = FORMATS[layout.format]
    if row.text is not None:
        encoder = row.text(layout)
        text = encoder.prologue + encoder.separator.join(bytes(encoder.render(chunk).text) for chunk in chunks)
        packed = b"".join(compress(layout.codec, layout.level, [text + encoder.epilogue]))
        return open_reader(layout.codec, io.BytesIO(packed)).read()
    assert row.columnar is not None
    pieces: list[bytes] = []
    with ThreadPoolExecutor(2) as executor:
        encoding = Encoding(executor, 2, 1 << 20)
        writer = row.columnar(layout, lambda piece: pieces.append(bytes(piece)), {}, False, encoding)
        for chunk in chunks:
            writer.write(chunk)
        writer.finish()
    return b"".join(pieces)


def test_chunks_never_begin_or_end_with_the_separator() -> None:
    for format, row in FORMATS.items():
        if row.text is None:
            continue
        encoder = row.text(Layout(format=format))
        for chunk in (BATCH, BATCH[:1], BATCH[3:9]):
            text = bytes(encoder.render(chunk).text)
            assert text
            if encoder.separator:
                assert not text.startswith(encoder.separator)
                assert not text.endswith(encoder.separator)
