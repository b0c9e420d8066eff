"""Parquet and Arrow, as other libraries write them: every type means what it should, and no row spoils another."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import penstock
from loading import MICROS, checked, load, quarantined, stored
from penstock import AnalyticsEvent, SqliteAnalyticsStorage
from sample_events import uuid_of, varied

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


def arrow_file(table: pa.Table) -> bytes:
    target = io.BytesIO()
    with pa.ipc.new_file(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


def arrow_stream(table: pa.Table) -> bytes:
    target = io.BytesIO()
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)
    return target.getvalue()


WRITERS = {"in.parquet": parquet, "in.arrow": arrow_file, "stream.arrow": arrow_stream}


def table(rows: int = 1, **columns: Any) -> pa.Table:
    """A table with what is required, and further columns."""
    required = {
        "event_type": pa.array(["seen"] * rows),
        "timestamp": pa.array([WHEN] * rows, pa.timestamp("us", "UTC")),
    }
    return pa.table({**required, **columns})


@pytest.mark.parametrize("name", WRITERS)
def test_our_own_columns_are_used_as_such(tmp_path: Path, name: str) -> None:
    events = varied(300)
    with SqliteAnalyticsStorage(tmp_path / "from.db") as storage:
        storage.append(events)
    if name == "stream.arrow":
        frame = penstock.export(tmp_path / "from.db", tmp_path / "x.arrow")
        (tmp_path / name).write_bytes(arrow_stream(pa.ipc.open_file(frame.path).read_all()))
    else:
        penstock.export(tmp_path / "from.db", tmp_path / name)

    result = checked(penstock.ingest(tmp_path / "events.db", tmp_path / name))

    assert result.inserted == 300
    assert stored(tmp_path / "events.db") == stored(tmp_path / "from.db")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([2**63 - 1]), "9223372036854775807"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.array([0.1]), "0.1"),
        (pa.array([0.1], pa.float32()), "0.1"),
        (pa.array([1.5], pa.float16()), "1.5"),
        (pa.array([Decimal("1.10")]), "1.10"),
        (pa.array([True]), "true"),
        (pa.array([None], pa.int64()), "null"),
        (pa.nulls(1), "null"),
        (pa.array(['a"\n\x00é']), '"a\\"\\n\\u0000é"'),
        (pa.array(["a"], pa.large_string()), '"a"'),
        (pa.array(["a"], pa.string_view()), '"a"'),
        (pa.array(["a"]).dictionary_encode(), '"a"'),
        (pa.array([b"\xff\x00"]), '"/wA="'),
        (pa.array([date(2026, 11, 1)]), '"2026-11-01"'),
        (pa.array([time(1, 2, 3)]), '"01:02:03.000000"'),
        (pa.array([timedelta(seconds=90)]), "90.0"),
        (pa.array([1], pa.int64()).cast(pa.timestamp("ns", "Asia/Tokyo")), '"1970-01-01T00:00:00.000000001Z"'),
        (pa.array([1], pa.int64()).cast(pa.timestamp("s")), '"1970-01-01T00:00:01"'),
        (pa.array([[1, None]]), "[1,null]"),
        (pa.array([[Decimal("1.10"), None]]), "[1.10,null]"),
        (pa.array([[b"\xff"]]), '["/w=="]'),
        (pa.array([{"a": {"b": [True]}, "c": None}]), '{"a":{"b":[true]},"c":null}'),
        (pa.array([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int64())), '{"k":1,"l":2}'),
        (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())), '[["k",1],["k",2]]'),
    ],
)
@pytest.mark.parametrize("write", [arrow_file, arrow_stream])
def test_every_type_has_one_spelling_in_data(
    tmp_path: Path, write: Callable[[pa.Table], bytes], column: pa.Array, expected: str
) -> None:
    result = load(tmp_path, write(table(x=column)), "in.arrow")

    assert result.inserted == 1, quarantined(result)
    assert stored(tmp_path / "events.db")[0]["data"] == f'{{"x":{expected}}}'


@pytest.mark.parametrize(
    "column", [pa.array([1.0, float("nan")]), pa.array([1.0, float("-inf")]), pa.array([[1.0], [float("nan")]])]
)
def test_a_number_that_json_cannot_hold_spoils_its_own_row(tmp_path: Path, column: pa.Array) -> None:
    result = load(tmp_path, parquet(table(2, x=column)), "in.parquet")

    assert result.inserted == 1
    (entry,) = quarantined(result)
    assert (entry["record"], entry["reason"]) == (2, "a number JSON cannot hold: NaN or infinite")
    assert json.loads(entry["raw"])["event_type"] == "seen"


def test_text_that_is_not_utf8_spoils_its_own_row(tmp_path: Path) -> None:
    marks = b"".join(number.to_bytes(4, "little") for number in range(4))
    text = pa.StringArray.from_buffers(3, pa.py_buffer(marks), pa.py_buffer(b"a\xffb"))
    for name, write in WRITERS.items():
        place = tmp_path / name
        place.mkdir()

        result = load(place, write(table(3, x=text)), name)

        assert [event["data"] for event in stored(place / "events.db")] == ['{"x":"a"}', '{"x":"b"}']
        (entry,) = quarantined(result)
        assert (entry["record"], entry["reason"].split(":")[0]) == (2, "invalid UTF-8")
        assert json.loads(entry["raw"])["x"] == "/w=="


def test_fields_are_taken_out_of_structures(tmp_path: Path) -> None:
    users = pa.array([{"session": uuid_of(5), "name": "ann", "at": {"t": 1}}, None])

    result = load(tmp_path, arrow_file(table(2, user=users)), "in.arrow", mapping={"session_id": "user.session"})

    assert result.inserted == 2
    assert [(event["session_id"], event["data"]) for event in stored(tmp_path / "events.db")] == [
        (uuid_of(5), '{"user":{"name":"ann","at":{"t":1}}}'),
        (None, '{"user":null}'),
    ]


def test_what_duckdb_writes_is_read(tmp_path: Path) -> None:
    duckdb.sql(
        f"""COPY (SELECT uuid '{uuid_of(1)}' AS id, uuid '{uuid_of(2)}' AS session_id, 'seen' AS event_type,
        timestamptz '2026-11-01 12:00:00+00' AS timestamp, 2::tinyint AS priority, {{'a': 1, 'b': [1.5]}} AS data,
        map {{'os': 'linux'}} AS metadata, '{{"j": 1}}'::json AS js, uuid '{uuid_of(3)}' AS u)
        TO '{tmp_path}/in.parquet' (FORMAT parquet)"""
    )

    assert checked(penstock.ingest(tmp_path / "events.db", tmp_path / "in.parquet")).inserted == 1
    assert list(stored(tmp_path / "events.db")[0].values()) == [
        uuid_of(1), "custom", "seen", MICROS, uuid_of(2), 2,
        f'{{"a":1,"b":[1.5],"js":"{{\\"j\\": 1}}","u":"{uuid_of(3)}"}}', '{"os":"linux"}',
    ]  # fmt: skip


def test_what_polars_writes_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "kind": pl.Series(["a", "b"], dtype=pl.Categorical),
            "when": [1793534400, 1793534400],
            "c": pl.Series(["x", None], dtype=pl.Categorical),
        }
    )
    frame.write_parquet(tmp_path / "one.parquet")
    frame.write_ipc(tmp_path / "two.arrow")
    frame.write_ipc_stream(tmp_path / "three")

    result = penstock.ingest(
        tmp_path / "events.db",
        [tmp_path / "one.parquet", tmp_path / "two.arrow", tmp_path / "three"],
        mapping={"event_type": "kind", "timestamp": "when"},
    )

    assert checked(result).inserted == 6
    assert [(event["event_type"], event["timestamp"], event["data"]) for event in stored(tmp_path / "events.db")] == [
        ("a", MICROS, '{"c":"x"}'),
        ("b", MICROS, '{"c":null}'),
    ] * 3


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"id": pa.array([7.0])}, "id is not text or an integer: a column of type double"),
        ({"id": pa.array([""])}, "id is not allowed: id is empty"),
        ({"session_id": pa.array(["a\n"])}, "session_id is not allowed: session_id holds a control character"),
        ({"category": pa.array([1])}, "category is not text: a column of type int64"),
        ({"priority": pa.array([9])}, "priority is unknown: '9'"),
        ({"data": pa.array(["[1]"])}, "data is not a JSON object: data must be a JSON object, not [1]"),
        ({"data": pa.array(['{"a":1'])}, "data is not a JSON object: data: not strict JSON"),
        ({"data": pa.array(['{"x":1}']), "x": pa.array([1])}, "data has the field already: 'x'"),
        ({"metadata": pa.array([[1]])}, "metadata is not a JSON object: metadata must be a JSON object, not [1]"),
        ({"event_type": pa.array([None], pa.string())}, "event_type is missing"),
        ({"timestamp": pa.nulls(1)}, "timestamp is missing"),
        ({"timestamp": pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))}, "timestamp cannot be read: outside"),
        ({"timestamp": pa.array([True])}, "timestamp cannot be read"),
    ],
)
def test_a_row_that_is_no_event_is_set_aside(tmp_path: Path, columns: dict[str, pa.Array], reason: str) -> None:
    rows = {**dict(zip(table().column_names, table().columns, strict=True)), **columns}

    result = load(tmp_path, parquet(pa.table(rows)), "in.parquet")

    assert quarantined(result)[0]["reason"].startswith(reason)


def test_texts_that_are_only_json_together_are_no_payloads(tmp_path: Path) -> None:
    halves = pa.array(['{"a":1', '"b":2}', '{"c":3},{"d":4}', '{"e":5}'])

    result = load(tmp_path, parquet(table(4, data=halves)), "in.parquet")

    assert [event["data"] for event in stored(tmp_path / "events.db")] == ['{"e":5}']
    assert result.reasons == {"data is not a JSON object": 3}


def test_payload_text_is_made_compact_and_its_depth_is_bounded(tmp_path: Path) -> None:
    deepest = '{"d":' + "[" * 499 + "]" * 499 + "}"
    deeper = deepest.replace("[]", "[[]]")

    result = load(tmp_path, parquet(table(2, data=pa.array([deepest, deeper]))), "in.parquet")
    spaced = load(tmp_path, parquet(table(2, data=pa.array(['{ "a" : 1.0 }', deeper]))), "in.parquet")

    assert [event["data"] for event in stored(tmp_path / "events.db")] == [deepest, '{"a":1.0}']
    for loaded in (result, spaced):
        assert loaded.quarantined == 1
        assert "nested deeper than 500 levels" in quarantined(loaded)[0]["reason"]


def test_two_columns_of_one_name_leave_the_file_unread(tmp_path: Path) -> None:
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["x", "x"])

    result = load(tmp_path, arrow_file(twice), "in.arrow")

    assert quarantined(result)[0]["reason"].startswith("the file is damaged: two columns have the name 'x'")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_keeps_what_can_be_read_and_says_so(tmp_path: Path, name: str) -> None:
    batches = pa.concat_tables([table(2, n=pa.array([n, n + 1])) for n in (0, 2, 4)])
    whole = WRITERS[name](batches)
    found = []
    for length in range(0, len(whole), max(1, len(whole) // 12)):
        place = tmp_path / str(length)
        place.mkdir()

        result = load(place, whole[:length], name)

        rows = [json.loads(event["data"])["n"] for event in stored(place / "events.db")]
        assert rows == list(range(len(rows)))
        # A stream that is cut between two batches is a stream like any other.
        assert result.reasons in ({"the file is damaged": 1}, {}) if name == "stream.arrow" else result.quarantined
        found.append(len(rows))

    assert found == sorted(found)
    assert max(found) == (0 if name == "in.parquet" else 4 if name == "stream.arrow" else 6)


def test_a_large_batch_is_taken_in_slices(tmp_path: Path) -> None:
    rows, bad = 20_000, 12_345
    numbers = [float(n) for n in range(rows)]
    numbers[bad] = float("nan")

    result = load(tmp_path, arrow_file(table(rows, n=pa.array(numbers)).combine_chunks()), "in.arrow")

    del numbers[bad]
    assert result.inserted == rows - 1
    assert [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")] == numbers
    assert quarantined(result)[0]["record"] == bad + 1


def test_ids_do_not_depend_on_the_batches_of_a_file(tmp_path: Path) -> None:
    content = table(4, n=pa.array([1, 1, 2, 1]))
    pieces = pa.concat_tables([content.slice(start, 1) for start in range(4)])

    first = load(tmp_path, arrow_file(content), "in.arrow")
    again = load(tmp_path, arrow_file(pieces), "in.arrow")

    assert (first.inserted, again.inserted, again.duplicates) == (4, 0, 4)
    assert len({uuid.UUID(event["id"]) for event in stored(tmp_path / "events.db")}) == 4


def test_an_event_with_every_odd_value_goes_through_every_format(tmp_path: Path) -> None:
    event = AnalyticsEvent(
        'été, "déjà"', id=uuid_of(1), timestamp=WHEN, data='{"n":1.50,"t":"\\u0000","a":1,"a":{"b":[]}}'
    )
    with SqliteAnalyticsStorage(tmp_path / "from.db") as storage:
        storage.append([event])
    for name in ("a.ndjson", "b.json", "c.csv", "d.parquet", "e.arrow", "f.ndjson.gz", "g.csv.zst"):
        penstock.export(tmp_path / "from.db", tmp_path / name)

        result = checked(penstock.ingest(tmp_path / f"{name}.db", tmp_path / name))

        assert result.inserted == 1
        assert stored(tmp_path / f"{name}.db") == stored(tmp_path / "from.db")
