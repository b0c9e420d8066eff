"""Whatever a foreign table stores, what comes out is what the rules say, row for row and count for count."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sample_events
from adopted_oracle import Found, Text, expected, read_table, same_reals, write_table
from penstock import AdoptedTable, ExportFilter, StorageConfig
from penstock.errors import InvalidMapping
from penstock.model.columns import EVENT_SCHEMA

COLUMNS = (
    "n",
    "at",
    "name",
    "arrived",
    "sort",
    "urgency",
    "who",
    "visit",
    "payload",
    "extra",
    "note",
    "count",
    "ratio",
)
TIME = 1793536215
CREATE = """CREATE TABLE hits (n INTEGER PRIMARY KEY, at, name, arrived, sort, urgency, who, visit, payload, extra,
    note TEXT, count INTEGER, ratio REAL)"""
MAPPING = {
    "timestamp": "at",
    "event_type": "name",
    "received_at": "arrived",
    "category": "sort",
    "priority": "urgency",
    "id": "who",
    "session_id": "visit",
    "data": "payload",
    "seq": "n",
}


def everything(path: Path, filter: ExportFilter, mapping: dict[str, str], **given: Any) -> Found:
    """All rows that a view gives, slice by slice, and its counts."""
    config = StorageConfig(table="hits", mapping=mapping, batch_rows=given.get("batch_rows", 4096))
    rows: list[dict[str, Any]] = []
    counts = Counter[str]()
    with AdoptedTable(path, config).pin() as view:
        spans = list(view.plan(filter, max_rows=given.get("max_rows", 1000), max_bytes=1 << 20))
        for span in spans:
            left = None if filter.limit is None else filter.limit - len(rows)
            if left == 0:
                break
            reading = view.read(span, filter if left is None else replace(filter, limit=left))
            for batch in reading:
                assert batch.schema == EVENT_SCHEMA
                assert batch.num_rows
                batch.validate(full=True)
                rows += _rows(batch)
            counts.update(reading.counts)
    return Found(rows, dict(counts))


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    arrays = [column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in batch.columns]
    rows = pa.record_batch(arrays, names=batch.schema.names).to_pylist()
    for row in rows:
        row["data"], row["metadata"] = (sample_events.shape(row[name]) for name in ("data", "metadata"))
    return list(rows)


def compare(found: Found, wanted: Found) -> None:
    assert found.counts == wanted.counts
    assert len(found.rows) == len(wanted.rows)
    for one, other in zip(found.rows, wanted.rows, strict=True):
        assert same_reals(one, other), (one, other)


INTEGERS = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-2, 6), st.integers(10**9, 2 * 10**9))
FLOATS = st.one_of(
    st.floats(allow_nan=False),
    st.sampled_from([-0.0, 1e308, -1e308, 5e-324, 0.1, 1 / 3, 2.0**53 + 2, 1e16, 1e17, 123456789.123456789]),
    st.floats(1e9, 1e10),
)
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "",
            "\x00",
            "a\x85",
            "x" * 1024,
            "é" * 513,
            'say "hi"\\',
            "\x1f\x7f\x80\u2028",
            "xAB",
            "Inf",
            "null",
            "é😀",
            "a" * 201,
            "usage",
        ]
    ),
)
RAW = st.one_of(st.binary(max_size=4), st.sampled_from([b"\xff", b"a\x00\xc3", b"\xed\xa0\x80", b"{}\xff"]))
ANY = st.one_of(st.none(), INTEGERS, FLOATS, TEXTS, RAW, RAW.map(Text))
MOMENTS = st.one_of(
    ANY,
    st.sampled_from(["2026-11-01 12:00:00", "2026-11-01T12:00:00.5+02:00", "2026-11-01", TIME, TIME * 1000 + 123]),
    st.floats(1.7e9, 1.9e9),
)
NAMES = st.one_of(ANY, st.sampled_from(["feature_used", "click", "error_occurred", "été"]))
JSONS = st.one_of(
    ANY,
    sample_events.payloads().map(lambda payload: payload.sent),
    sample_events.payloads().map(lambda payload: payload.sent.encode()),
    st.sampled_from(['{"extra":1}', '{"note":{"extra":2},"extra_column":0}', "[1, 2.50]", "{", "1e5"]),
)
ROWS = st.lists(
    st.tuples(
        MOMENTS,
        NAMES,
        MOMENTS,
        st.one_of(ANY, st.sampled_from(["usage", "error", "Usage"])),
        st.one_of(ANY, st.sampled_from(["low", "HIGH", " critical ", "3", 2.0, 1])),
        ANY,
        st.one_of(ANY, st.just("s1")),
        JSONS,
        ANY,
        ANY,
        ANY,
        ANY,
    ),
    max_size=8,
)
FILTERS = st.builds(
    ExportFilter,
    start=st.sampled_from([None, "2026-11-01", TIME * 10**6]),
    end=st.sampled_from([None, "2027-01-01", TIME * 10**6 + 1]),
    categories=st.sampled_from([None, ["usage"], ["custom", "error"]]),
    event_types=st.sampled_from([None, None, ["feature_used", "click"]]),
    session_id=st.sampled_from([None, None, "s1"]),
    priority=st.sampled_from([None, None, "high"]),
    limit=st.sampled_from([None, None, 0, 1, 3]),
)
PLAIN = ExportFilter()
AROUND = ExportFilter(start=(TIME + 1) * 10**6, end=(TIME + 2) * 10**6)
LIMITED = ExportFilter(start="2026-11-01", categories=["error"], session_id="s1", priority="normal", limit=3)


@given(ROWS, FILTERS, st.sampled_from([1, 2, 4096]), st.sampled_from([1, 3, 1000]))
@settings(max_examples=120)
@example([(TIME, "x", None, None, None, -0.0, -0.0, -0.0, -0.0, "-0.0", -0.0, -0.0)], PLAIN, 4096, 1000)
@example([(TIME, "x", b"2026", None, None, b"", b"ab", b"\xff", 1e308, "", None, 1.0)] * 2, PLAIN, 4096, 1000)
@example([(TIME + n, "feature_used", None, "error", *[None] * 8) for n in range(3)], AROUND, 4096, 1000)
@example([(TIME + n, n % 2, None, "error", n % 5, n, "s1", None, n, n, n, n) for n in range(8)], LIMITED, 2, 1000)
def test_rows_and_counts_are_what_the_rules_say(
    rows: Sequence[Sequence[Any]], filter: ExportFilter, batch_rows: int, max_rows: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "app.db")
        write_table(path, CREATE, "hits", [(None, *row) for row in rows])
        stored = read_table(path, "hits", COLUMNS, "n")
        wanted = expected(stored, "hits", MAPPING, filter)
        if rows and not expected(stored, "hits", MAPPING, PLAIN).rows:
            with pytest.raises(InvalidMapping, match="no row of 'hits' is an event"):
                AdoptedTable(path, StorageConfig(table="hits", mapping=MAPPING))
            return
        # the limit is counted range by range; which skipped rows lie behind it depends on where ranges end
        compare(
            everything(path, filter, MAPPING, batch_rows=batch_rows, max_rows=1000 if filter.limit else max_rows),
            wanted,
        )


def test_many_ordinary_rows_with_some_odd_ones(tmp_path: Path) -> None:
    chance = random.Random(5)
    odd = [None, -1, 2.5, "x" * 300, b"\xff\x00", Text(b"\xff"), float("inf"), "\x00"]
    ordinary = (TIME, "click", None, "custom", 2, "id", "s1", '{"a":1}', "text", "note", 5, 1.5)
    rows = [
        (None, *(chance.choice(odd) if chance.random() < 0.002 else value for value in ordinary)) for _ in range(9000)
    ]
    write_table(tmp_path / "app.db", CREATE, "hits", rows)
    wanted = expected(read_table(tmp_path / "app.db", "hits", COLUMNS, "n"), "hits", MAPPING, PLAIN)

    assert 5 < sum(wanted.counts.values()) < 600
    compare(everything(tmp_path / "app.db", PLAIN, MAPPING, max_rows=4000), wanted)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_text_of_every_database_encoding(tmp_path: Path, encoding: str) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute('CREATE TABLE hits ("é" TEXT, name TEXT, at TEXT, b, payload)')
        connection.execute(
            "INSERT INTO hits VALUES (?, ?, ?, ?, ?)", ("a é😀", "été", "2026-11-01", b"\x00\xff", '{"ü": "€"}')
        )
    mapping = {"timestamp": "at", "event_type": "name", "session_id": "é", "data": "payload"}
    found = everything(tmp_path / "app.db", PLAIN, mapping)

    assert found.counts == {"coerced_blob": 1}
    assert found.rows[0]["session_id"] == "a é😀"
    assert found.rows[0]["event_type"] == "été"
    assert found.rows[0]["data"] == ("object", (("ü", "€"), ("b", "AP8=")))
