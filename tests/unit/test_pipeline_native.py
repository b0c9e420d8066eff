"""The native library: its hash on every length, its escapes, hostile text, threads, and its view of SQLite."""

from __future__ import annotations

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_intdigest

import naive_format
import sample_events
from naive_format import COLUMNS
from penstock import AnalyticsEvent, ExportError
from penstock.model.columns import EVENT_SPELLING
from penstock.model.times import MAX_MICROS, MIN_MICROS
from penstock.pipeline import native
from penstock.pipeline.canonical import NotCanonical, parse_lines, render_csv, render_lines, rows_digest

NATIVE = Path(__file__).parents[2] / "native"
HEADER = Path("/usr/include/sqlite3ext.h")
EVENT_NUMBERS = EVENT_SPELLING.select(["seq"])


@pytest.mark.parametrize("seed", range(4))
def test_the_hash_is_xxh3_128_for_every_length(seed: int) -> None:
    source = random.Random(seed)
    for length in [*range(1400), 2047, 2048, 2049, 3000 + source.randrange(1000), 1 << 20]:
        text = '"' + "".join(source.choices("abcdefghijklmnop", k=length)) + '"'
        batch = pa.record_batch({"data": pa.array([text])})
        assert rows_digest(batch) == xxh3_128_intdigest(b'{"data":' + text.encode()), length
    assert rows_digest(pa.record_batch({"seq": pa.array([1], pa.int64())})) == xxh3_128_intdigest(b"{")


@given(st.lists(st.text(), max_size=20))
def test_lines_and_csv_of_any_text_are_those_of_the_plain_implementation(texts: list[str]) -> None:
    batch = pa.record_batch({"event_type": pa.array(texts, pa.string())})
    assert bytes(render_lines(batch).text) == naive_format.ndjson(batch)
    written = naive_format.csv(batch, "")
    assert b"event_type\n" + bytes(render_csv(batch, null="").text) == written


def test_sums_carry_beyond_64_bits() -> None:
    batch = naive_format.arrived(sample_events.varied(300))
    parts = [rows_digest(batch.slice(row, 1)) for row in range(batch.num_rows)]
    assert rows_digest(batch) == sum(parts) % (1 << 128)
    assert render_lines(batch).digest == render_csv(batch, null="").digest == rows_digest(batch)


def test_threads_do_not_share_anything() -> None:
    batches = [naive_format.arrived(sample_events.varied(200 + size)) for size in range(8)]
    wanted = [(bytes(render_lines(batch).text), render_lines(batch).digest) for batch in batches]

    def again(number: int) -> bool:
        rendered = render_lines(batches[number % 8])
        return (bytes(rendered.text), rendered.digest) == wanted[number % 8]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(again, range(400)))


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        (pa.record_batch({"other": pa.array(["x"])}), "are not among"),
        (pa.record_batch({"data": pa.array(["x"]), "id": pa.array(["x"])}), "in their order"),
        (pa.record_batch({"id": pa.array([1])}), "type of its kind"),
        (pa.record_batch({"seq": pa.array([1], pa.int32())}), "type of its kind"),
        (pa.record_batch({"timestamp": pa.array([1], pa.timestamp("s", "UTC"))}), "type of its kind"),
        (pa.record_batch({"data": pa.array(["x"], pa.large_string())}), "type of its kind"),
        (pa.record_batch({"data": pa.array(["x"]).dictionary_encode()}), "type of its kind"),
    ],
)
def test_batches_of_another_shape_are_refused(batch: pa.RecordBatch, complaint: str) -> None:
    for call in (lambda: render_lines(batch), lambda: render_csv(batch, null=""), lambda: rows_digest(batch)):
        with pytest.raises(ValueError, match=complaint):
            call()


def test_a_sink_that_is_gone_is_not_found_again() -> None:
    numbers = set()
    for _ in range(1000):
        sink = native.Sink(EVENT_NUMBERS, "seq", 0)
        numbers.add(sink.number)
        sink.close()
        sink.close()
        with pytest.raises(ValueError, match="no such sink"):
            sink.take()
    assert len(numbers) == 1000
    held = [native.Sink(EVENT_NUMBERS, "seq", 1 << 10) for _ in range(100)]
    assert all(sink.take().num_columns == 1 for sink in held)


@pytest.mark.skipif(not HEADER.exists(), reason="SQLite's header is not installed")
def test_the_places_in_sqlites_table_are_those_of_its_header() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    body = text[text.index("struct sqlite3_api_routines {") :]
    found = [re.search(r"\(\s*\*\s*(\w+)\s*\)", entry) for entry in body[: body.index("\n};")].split(";")]
    entries = [match.group(1) for match in found if match]
    places = re.findall(r"PLACE_(\w+) = (\d+)", (NATIVE / "sqlite_api.h").read_text())
    assert len(places) == 34
    for name, place in places:
        assert entries[int(place)] in (name, f"x{name}"), name


@given(sample_events.distinct(1), st.data())
def test_lines_come_back_as_the_events_they_were(events: list[AnalyticsEvent], data: st.DataObject) -> None:
    batch = naive_format.arrived(events)
    start = data.draw(st.integers(0, len(COLUMNS) - 1))
    names = COLUMNS[start : data.draw(st.integers(start + 1, len(COLUMNS)))]
    chosen = batch.select(list(names))
    parsed = parse_lines(bytes(render_lines(chosen).text), EVENT_SPELLING.select(names))
    assert parsed.batch.equals(chosen)
    assert parsed.settled


@given(st.data())
def test_no_changed_byte_is_read_as_another_event(data: st.DataObject) -> None:
    """Whatever is accepted is what would be written: no two texts mean the same."""
    text = bytearray(naive_format.ndjson(naive_format.arrived(sample_events.fixed()[:3])))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        change = data.draw(st.sampled_from(["flip", "drop", "add"]))
        if change == "flip":
            text[place] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "drop":
            del text[place]
        else:
            text.insert(place, data.draw(st.integers(0, 255)))
    try:
        parsed = parse_lines(bytes(text), EVENT_SPELLING)
    except NotCanonical:
        return
    assert naive_format.ndjson(parsed.batch) == bytes(text)
    for name in ("data", "metadata"):
        for payload in parsed.batch[name].to_pylist():
            json.loads(payload)


@pytest.mark.parametrize(
    ("payload", "settled"),
    [
        (b"{}", True),
        (b'{"a":[1,-0,0.5e+7,1E3,true,false,null,"\\u00e9\\ud83d\\ude00\\n",{}]}', True),
        (b"[]", False),
        (b'"text"', False),
        (b"17", False),
        (b'{"a":"\\ud800"}', False),
        (b'{"a":"\\udc00\\ud800"}', False),
        (b'{"a":' * 500 + b"1" + b"}" * 500, True),
        (b'{"a":' * 501 + b"1" + b"}" * 501, False),
        (b"[" * 1024 + b"]" * 1024, False),
        (b"[" * 1025 + b"]" * 1025, None),
        (b"", None),
        (b"{", None),
        (b"{ }", None),
        (b'{"a": 1}', None),
        (b'{"a":1,}', None),
        (b'{"a"}', None),
        (b'{"a":}', None),
        (b"{1:2}", None),
        (b"[1,]", None),
        (b"[,1]", None),
        (b"{]", None),
        (b"[}", None),
        (b"01", None),
        (b"-", None),
        (b"1.", None),
        (b".5", None),
        (b"1e", None),
        (b"+1", None),
        (b"NaN", None),
        (b"-Infinity", None),
        (b"nul", None),
        (b"truer", None),
        (b'"\\x"', None),
        (b'"\\u12g4"', None),
        (b'"\\u12', None),
        (b'"\t"', None),
        (b'"\x00"', None),
        (b'"\xff"', None),
        (b'"\xed\xa0\x80"', None),
        (b'"open', None),
        (b'"\\', None),
    ],
)
def test_payloads_are_strict_json_without_white_space(payload: bytes, settled: bool | None) -> None:
    line = b'{"data":' + payload + b"}\n"
    if settled is None:
        with pytest.raises(NotCanonical):
            parse_lines(line, EVENT_SPELLING.select(["data"]))
    else:
        assert parse_lines(line, EVENT_SPELLING.select(["data"])).settled is settled


@given(st.binary(max_size=60))
def test_any_bytes_are_either_json_or_refused(payload: bytes) -> None:
    try:
        parsed = parse_lines(b'{"data":' + payload + b"}\n", EVENT_SPELLING.select(["data"]))
    except NotCanonical:
        return
    assert parsed.batch["data"][0].as_py().encode() == payload
    json.loads(payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    st.booleans(),
)
def test_every_json_value_is_accepted(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    parsed = parse_lines(b'{"data":' + text.encode() + b"}\n", EVENT_SPELLING.select(["data"]))
    assert parsed.batch["data"][0].as_py() == text


@pytest.mark.parametrize(
    "time",
    [
        "0000-01-01T00:00:00.000000Z",
        "2026-02-29T00:00:00.000000Z",
        "2026-13-01T00:00:00.000000Z",
        "2026-00-10T00:00:00.000000Z",
        "2026-01-00T00:00:00.000000Z",
        "2026-01-01T24:00:00.000000Z",
        "2026-01-01T00:60:00.000000Z",
        "2026-01-01T00:00:60.000000Z",
        "2026-01-01 00:00:00.000000Z",
        "2026-01-01T00:00:00.00000Z",
        "2026-01-01T00:00:00.0000000Z",
        "2026-01-01T00:00:00.000000+",
        ":026-01-01T00:00:00.000000Z",
    ],
)
def test_times_that_no_calendar_has_are_refused(time: str) -> None:
    with pytest.raises(NotCanonical):
        parse_lines(b'{"timestamp":"' + time.encode() + b'"}\n', EVENT_SPELLING.select(["timestamp"]))


@given(st.integers(MIN_MICROS, MAX_MICROS))
def test_every_time_comes_back(micros: int) -> None:
    batch = pa.record_batch({"timestamp": pa.array([micros], pa.timestamp("us", "UTC"))})
    parsed = parse_lines(bytes(render_lines(batch).text), EVENT_SPELLING.select(["timestamp"]))
    assert parsed.batch["timestamp"].equals(batch["timestamp"])


@pytest.mark.parametrize(
    "seq",
    [
        "01",
        "-0",
        "+1",
        "1.0",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551617",
        "",
        "null",
        '"1"',
    ],
)
def test_numbers_in_another_spelling_are_refused(seq: str) -> None:
    with pytest.raises(NotCanonical):
        parse_lines(b'{"seq":' + seq.encode() + b"}\n", EVENT_SPELLING.select(["seq"]))


def test_text_that_was_rendered_outlives_what_it_was_made_of_and_cannot_be_written() -> None:
    text = render_lines(naive_format.arrived(sample_events.varied(2000))).text
    wanted = naive_format.ndjson(naive_format.arrived(sample_events.varied(2000)))
    pieces = [memoryview(render_lines(naive_format.arrived(sample_events.varied(2000))).text) for _ in range(4)]
    assert memoryview(text).readonly
    assert {bytes(piece) for piece in pieces} == {bytes(text)} == {wanted}


def test_the_library_is_built_of_no_header_and_uses_no_function_of_python() -> None:
    included = {line for file in NATIVE.rglob("*.[ch]") for line in file.read_text().splitlines() if "#include" in line}
    assert '#include "penstock.h"' in included
    assert not [line for line in included if "python" in line.lower()]
    assert not re.findall(rb"\0_?Py[A-Z_]\w+\0", native.PATH.read_bytes())


def test_a_library_that_cannot_be_loaded_is_said_by_the_name_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (None, b"no library"):
        place = tmp_path / "_native.so"
        if content is not None:
            place.write_bytes(content)
        monkeypatch.setattr(native, "PATH", place)
        with pytest.raises(ExportError, match=re.escape(str(place))) as caught:
            native.library.__wrapped__()
        assert "pip install" in str(caught.value.hint)
