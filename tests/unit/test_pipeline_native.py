"""The native module: its hash on every length, its escapes, hostile text, threads, and its view of SQLite."""

from __future__ import annotations

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
from penstock.pipeline import _native
from penstock.pipeline.canonical import events_digest, render_csv, render_lines

NATIVE = Path(__file__).parents[2] / "native"
HEADER = Path("/usr/include/sqlite3ext.h")


@pytest.mark.parametrize("seed", range(4))
def test_the_hash_is_xxh3_128_for_every_length(seed: int) -> None:
    source = random.Random(seed)
    for length in [*range(1400), 2047, 2048, 2049, 3000 + source.randrange(1000), 1 << 20]:
        text = '"' + "".join(source.choices("abcdefghijklmnop", k=length)) + '"'
        batch = pa.record_batch({"data": pa.array([text])})
        assert events_digest(batch) == xxh3_128_intdigest(b'{"data":' + text.encode()), length
    assert events_digest(pa.record_batch({"seq": pa.array([1], pa.int64())})) == xxh3_128_intdigest(b"{")


@given(st.lists(st.text(), max_size=20))
def test_lines_and_csv_of_any_text_are_those_of_the_plain_implementation(texts: list[str]) -> None:
    batch = pa.record_batch({"event_type": pa.array(texts, pa.string())})
    assert bytes(render_lines(batch).text) == naive_format.ndjson(batch)
    written = naive_format.csv(batch, "")
    assert b"event_type\n" + bytes(render_csv(batch, null="").text) == written


def test_sums_carry_beyond_64_bits() -> None:
    batch = naive_format.arrived(sample_events.varied(300))
    parts = [events_digest(batch.slice(row, 1)) for row in range(batch.num_rows)]
    assert events_digest(batch) == sum(parts) % (1 << 128)
    assert render_lines(batch).digest == render_csv(batch, null="").digest == events_digest(batch)


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
        (pa.record_batch({"other": pa.array(["x"])}), "not those of an event"),
        (pa.record_batch({"data": pa.array(["x"]), "id": pa.array(["x"])}), "in their order"),
        (pa.record_batch({"id": pa.array([1])}), "event's type"),
        (pa.record_batch({"seq": pa.array([1], pa.int32())}), "event's type"),
        (pa.record_batch({"timestamp": pa.array([1], pa.timestamp("s", "UTC"))}), "event's type"),
        (pa.record_batch({"data": pa.array(["x"], pa.large_string())}), "event's type"),
        (pa.record_batch({"data": pa.array(["x"]).dictionary_encode()}), "event's type"),
    ],
)
def test_batches_of_another_shape_are_refused(batch: pa.RecordBatch, complaint: str) -> None:
    for call in (lambda: render_lines(batch), lambda: render_csv(batch, null=""), lambda: events_digest(batch)):
        with pytest.raises(ValueError, match=complaint):
            call()


def test_capsules_of_another_kind_are_refused() -> None:
    schema, array = pa.record_batch({"id": pa.array(["x"])}).__arrow_c_array__()
    for pair in ((array, schema), (schema, schema), (None, array), (object(), array)):
        with pytest.raises((ValueError, TypeError)):
            _native.digest(*pair)


def test_a_sink_that_is_gone_is_not_found_again() -> None:
    numbers = set()
    for _ in range(1000):
        numbers.add(_native.Scan(0).number)
    assert len(numbers) == 1000
    held = [_native.Scan(1 << 10) for _ in range(100)]
    assert all(len(scan.take()) == 10 for scan in held)


@pytest.mark.skipif(not HEADER.exists(), reason="SQLite's header is not installed")
def test_the_places_in_sqlites_table_are_those_of_its_header() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    body = text[text.index("struct sqlite3_api_routines {") :]
    found = [re.search(r"\(\s*\*\s*(\w+)\s*\)", entry) for entry in body[: body.index("\n};")].split(";")]
    entries = [match.group(1) for match in found if match]
    places = re.findall(r"PLACE_(\w+) = (\d+)", (NATIVE / "sqlite_api.h").read_text())
    assert len(places) == 9
    for name, place in places:
        assert entries[int(place)] in (name, f"x{name}"), name
