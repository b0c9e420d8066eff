"""A whole load: what reaches the store obeys the event model, every record is counted once, and nothing is held."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

import penstock
from loading import checked, load, ndjson, quarantined, record, stored
from penstock import AnalyticsEvent, SqliteAnalyticsStorage, StorageConfig
from penstock.errors import (
    AccessDenied,
    LimitReached,
    NotAStore,
    NotFound,
    SerializationError,
    UsageError,
)
from penstock.loading.identity import Identities
from penstock.loading.mapping import FieldMap
from penstock.loading.records import RecordReader
from penstock.loading.settle import Rules, settle
from penstock.model.columns import APPEND_SCHEMA, checked_batch
from sample_events import uuid_of, varied
from watching import Watching


def member(name: str, *values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", *(f'"{name}":{value}' for value in values)])


records = st.tuples(
    member("id", f'"{uuid_of(1)}"', f'"{uuid_of(0xABC).upper()}"', '"7"', "7"),
    member("category", '"custom"', '"usage"', '"error"', '"Usage"', "null"),
    member("event_type", '"x"', '"feature_used"', '"error_occurred"', '"a\\u0085b"', '""', f'"{"y" * 200}é"', "1"),
    member("timestamp", '"2026-11-01"', "1793534400", '"0001-01-01T00:00:00+01:00"', "-1", '"9999-12-31T23:59:59.9Z"'),
    member("session_id", f'"{uuid_of(2)}"', '"{00000000-0000-4000-8000-000000000001}"', '"x"'),
    member("priority", '"Low"', "3", '"9"', '"1"', "2.0"),
    member("data", '{ "a" : 1 }', "[1]", '{"b":{"c":[]}}', "null"),
    member("metadata", '{"os":"x"}', '"{}"'),
    member("more", "1", '"é"', '{"x":[1.50]}'),
).map(lambda members: "{" + ",".join(filter(None, members)) + "}")


@given(st.lists(records, max_size=6))
def test_what_is_let_through_obeys_the_event_model_as_it_is(texts: list[str]) -> None:
    reader = RecordReader(fields=FieldMap(), unit="line")
    portion = reader.read([(n, text.encode()) for n, text in enumerate(texts)])
    assert portion.rows is not None

    settled = settle(portion.rows, Rules())

    assert len(portion.rejects) + len(settled.rejects) + settled.batch.num_rows == len(texts)
    ids = [id or uuid_of(row) for row, id in enumerate(settled.batch["id"].to_pylist())]
    batch = pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), *settled.batch.columns[1:]], schema=APPEND_SCHEMA)
    assert checked_batch(batch).equals(batch)


def test_loading_again_adds_nothing_and_a_grown_file_what_is_new(tmp_path: Path) -> None:
    lines = [record('"n":1'), record('"n":1'), record('"n":2')]

    first = load(tmp_path, ndjson(*lines))
    again = load(tmp_path, ndjson(*lines))
    grown = load(tmp_path, ndjson(*lines, record('"n":1'), record('"n":3')))

    assert (first.inserted, first.duplicates) == (3, 0)
    assert (again.inserted, again.duplicates) == (0, 3)
    assert (grown.inserted, grown.duplicates) == (2, 3)


def test_a_rotated_log_is_the_same_source_and_another_name_is_not(tmp_path: Path) -> None:
    one, two = record('"n":1'), record('"n":2')
    load(tmp_path, ndjson(one, two), "app.ndjson")

    rotated = load(tmp_path, gzip.compress(ndjson(one, two)), "app.ndjson-20261101.gz")
    apart = load(tmp_path, ndjson(one, two), "web.ndjson")
    named = load(tmp_path, ndjson(one), "other.ndjson", source="app.ndjson")

    assert (rotated.inserted, apart.inserted, named.inserted) == (0, 2, 0)


def test_equal_records_in_two_rotations_stay_two_in_one_run(tmp_path: Path) -> None:
    for name in ("app.ndjson", "app.ndjson.1"):
        (tmp_path / name).write_bytes(ndjson(record('"n":1')))

    result = penstock.ingest(tmp_path / "events.db", [tmp_path / "app.ndjson.1", tmp_path / "app.ndjson"])

    assert checked(result).inserted == 2


def test_bad_records_around_it_do_not_change_an_id(tmp_path: Path) -> None:
    load(tmp_path, ndjson(record('"priority":9'), record('"n":1'), "{", record('"n":2')))

    alone = load(tmp_path, ndjson(record('"n":2'), record('"n":1')))

    assert (alone.inserted, alone.duplicates) == (0, 2)


def test_a_mapping_holds_for_our_own_lines_too(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "from.db") as storage:
        storage.append([AnalyticsEvent("x", data={"a": 1})])
    penstock.export(tmp_path / "from.db", tmp_path / "out.ndjson")

    checked(penstock.ingest(tmp_path / "events.db", tmp_path / "out.ndjson", mapping={"priority": "-"}))

    assert stored(tmp_path / "events.db")[0]["data"] == '{"a":1,"priority":"normal"}'


def test_white_space_does_not_change_an_id(tmp_path: Path) -> None:
    load(tmp_path, ndjson('{"event_type":"x","timestamp":5}'), mapping={"timestamp": "timestamp:s"})

    assert (
        load(
            tmp_path, ndjson(' {"event_type": "x", "timestamp": 5 } '), mapping={"timestamp": "timestamp:s"}
        ).duplicates
        == 1
    )


def test_an_id_with_other_content_is_a_conflict_and_the_first_stays(tmp_path: Path) -> None:
    id = f'"id":"{uuid_of(1)}"'
    result = load(tmp_path, ndjson(record(f'{id},"n":1'), record(f'{id},"n":2'), record(f'{id},"n":1')))

    assert (result.inserted, result.duplicates, result.conflicts) == (1, 1, 1)
    assert [event["data"] for event in stored(tmp_path / "events.db")] == ['{"n":1}']


def test_many_batches_are_loaded_in_order(tmp_path: Path) -> None:
    count = 70_000
    watching = Watching()

    result = load(
        tmp_path,
        ndjson(*(record(f'"n":{n}') for n in range(count))),
        observer=watching,
    )

    assert result.inserted == count
    assert [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")] == list(range(count))
    seen = [at.rows for at in watching.seen]
    assert len(seen) > 1
    assert seen[-1] == count


def test_our_own_lines_are_held_against_the_model_too(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "from.db") as storage:
        storage.append(varied(20))
    penstock.export(tmp_path / "from.db", tmp_path / "out.ndjson")
    lines = (tmp_path / "out.ndjson").read_bytes().splitlines()
    wrong = {
        3: lines[3].replace(b'"id":"', b'"id":"\x7f'),
        7: lines[7].replace(b'"data":{', b'"data":{ '),
        11: lines[11].replace(b'"category":"', b'"category":"x'),
    }

    result = load(tmp_path, ndjson(*(wrong.get(place, line) for place, line in enumerate(lines))))

    assert [entry["line"] for entry in quarantined(result)] == [4, 12]
    assert [entry["raw"].encode() for entry in quarantined(result)] == [wrong[3], wrong[11]]
    expected = [event for place, event in enumerate(stored(tmp_path / "from.db")) if place not in (3, 11)]
    assert stored(tmp_path / "events.db") == expected


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_torn_file_keeps_the_records_before_the_tear(tmp_path: Path, compress: Any) -> None:
    # Text that hardly compresses, so that a tear in the middle has whole blocks before it.
    lines = [record(f'"n":{n},"x":"{os.urandom(400).hex()}"') for n in range(2000)]
    packed = compress(ndjson(*lines))

    result = load(tmp_path, packed[: len(packed) // 2], "in.ndjson")

    rows = [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")]
    assert rows == list(range(len(rows)))
    assert 500 < len(rows) < 1500
    (entry,) = quarantined(result)
    assert entry["line"] == len(rows) + 1
    assert entry["reason"].startswith("the file is damaged: truncated")
    assert f"of {len(packed) // 2:,}, {len(rows):,} lines before it" in entry["reason"]
    assert lines[len(rows)].startswith(entry["raw"])


def test_a_bad_checksum_at_the_end_is_told_after_what_was_read_before(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(ndjson(*(record(f'"n":{n},"x":"{os.urandom(400).hex()}"') for n in range(2000)))))
    packed[-5] ^= 1

    result = load(tmp_path, bytes(packed))

    rows = [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")]
    assert rows == list(range(len(rows)))
    assert len(rows) > 1000
    assert result.reasons == {"the file is damaged": 1}
    assert "damaged gzip data" in quarantined(result)[0]["reason"]


def test_the_next_file_is_loaded_after_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[" + record().encode())
    (tmp_path / "b.json").write_bytes(b"[" + record().encode() + b"]")

    result = checked(penstock.ingest(tmp_path / "events.db", [tmp_path / "a.json", tmp_path / "b.json"]))

    assert (result.inserted, result.quarantined) == (1, 1)


def test_a_record_over_the_limit_is_told_with_its_length(tmp_path: Path) -> None:
    long = record(f'"x":"{"y" * 5000}"')

    result = load(tmp_path, ndjson(record('"n":1'), long, record('"n":2')), max_record_bytes=5000)

    assert result.inserted == 2
    (entry,) = quarantined(result)
    assert entry["raw_bytes"] == len(long)
    assert long.startswith(entry["raw"])
    assert len(entry["raw"]) == 4096
    with pytest.raises(UsageError, match="max_record_bytes"):
        load(tmp_path, b"", max_record_bytes=0)


def test_the_quarantine_is_appended_to_on_a_line_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "bad.ndjson"
    place.write_bytes(b'{"file": "half an ent')

    result = load(tmp_path, ndjson("{"), quarantine=place)
    load(tmp_path, ndjson("["), quarantine=place)

    assert result.quarantine == place
    lines = place.read_text().splitlines()
    assert lines[0] == '{"file": "half an ent'
    assert [json.loads(line)["raw"] for line in lines[1:]] == ["{", "["]


def test_there_is_no_quarantine_where_nothing_is_set_aside(tmp_path: Path) -> None:
    result = load(tmp_path, ndjson(record()))

    assert result.quarantine is None
    assert sorted(path.name for path in tmp_path.iterdir() if "quarantine" in path.name) == []


def test_the_quarantine_is_on_the_disk_when_the_load_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StorageConfig(max_size_bytes=1)
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda place: (synced.append(os.fstat(place).st_ino), real(place))[1])

    with pytest.raises(LimitReached):
        load(tmp_path, ndjson("{", record()), config=config)

    bad = tmp_path / "events.db.quarantine.ndjson"
    assert json.loads(bad.read_text())["raw"] == "{"
    assert synced == [bad.stat().st_ino, tmp_path.stat().st_ino]


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    result = load(tmp_path, ndjson(record(), "{"), dry_run=True)

    assert (result.inserted, result.quarantined, result.quarantine) == (1, 1, None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.ndjson"]


def test_a_dry_run_refuses_what_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("not a database")

    with pytest.raises(NotAStore):
        load(tmp_path, ndjson(record()), dry_run=True)


def refused(place: Path, *files: str | Path, **given: Any) -> str:
    """What a load says that stores nothing at all."""
    with pytest.raises((NotFound, UsageError)) as caught:
        penstock.ingest(place / "events.db", list(files), **given)
    assert not (place / "events.db").exists()
    return str(caught.value)


def test_all_files_are_looked_at_before_anything_is_stored(tmp_path: Path) -> None:
    good = tmp_path / "good.ndjson"
    good.write_bytes(ndjson(record()))
    odd = tmp_path / "odd.txt"
    odd.write_bytes(b"\x00\x01")

    assert "there is no file" in refused(tmp_path, good, tmp_path / "missing.ndjson")
    assert "is a directory" in refused(tmp_path, good, tmp_path)
    assert "cannot tell the format" in refused(tmp_path, good, odd)
    assert "no file was named" in refused(tmp_path)
    assert "named twice" in refused(tmp_path, "-", "-")
    assert "empty name" in refused(tmp_path, "")
    assert "unknown format" in refused(tmp_path, good, format="xml")
    assert "is a directory" in refused(tmp_path, good, quarantine=tmp_path)
    assert "there is no directory" in refused(tmp_path, good, quarantine=tmp_path / "none" / "q.ndjson")
    assert "only read" in refused(tmp_path, good, config=StorageConfig(table="t"))


def test_what_a_load_writes_is_never_what_it_reads(tmp_path: Path) -> None:
    result = load(tmp_path, ndjson(record(), "{"))
    store, bad = tmp_path / "events.db", result.quarantine
    assert bad is not None
    (tmp_path / "link.ndjson").hardlink_to(store)
    before = store.read_bytes(), bad.read_bytes()

    for file in (store, bad, tmp_path / "link.ndjson"):
        with pytest.raises(UsageError, match="what this load writes to"):
            penstock.ingest(store, file)
    for place in (store, tmp_path / "link.ndjson", Path(f"{store}-wal")):
        with pytest.raises(UsageError, match="the store itself"):
            penstock.ingest(store, tmp_path / "in.ndjson", quarantine=place)

    assert (store.read_bytes(), bad.read_bytes()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ndjson"
    secret.write_bytes(ndjson(record()))
    secret.chmod(0)

    with pytest.raises(AccessDenied):
        penstock.ingest(tmp_path / "events.db", secret)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.ndjson"
    os.mkfifo(pipe)
    content = gzip.compress(ndjson(*(record(f'"n":{n}') for n in range(3000))))
    write = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    with subprocess.Popen([sys.executable, "-c", write, pipe], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(content)
        writer.stdin.close()

        result = checked(penstock.ingest(tmp_path / "events.db", pipe))

    assert result.inserted == 3000


def test_an_empty_file_that_should_be_compressed_is_cut_short(tmp_path: Path) -> None:
    assert load(tmp_path, b"", "in.ndjson.gz").reasons == {"the file is damaged": 1}
    assert load(tmp_path, b"", "in.ndjson").records == 0


def test_what_is_not_compressed_is_read_whatever_its_name_says(tmp_path: Path) -> None:
    assert load(tmp_path, ndjson(record()), "in.ndjson.gz").inserted == 1


def test_the_public_verb_stays_a_verb_when_its_package_is_imported() -> None:
    import penstock.loading.load

    assert callable(penstock.ingest)
    with Identities() as identities:
        assert identities.assign("x", [], []) == []


def test_a_store_that_is_open_elsewhere_in_the_process_may_be_loaded_into(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append([AnalyticsEvent("before")])

        load(tmp_path, ndjson(record()))

        storage.append([AnalyticsEvent("after")])
        assert storage.count() == 3
    assert [event["event_type"] for event in stored(tmp_path / "events.db")] == ["before", "seen", "after"]


def test_a_damaged_wrapper_around_a_file_that_must_be_sought_in_is_told(tmp_path: Path) -> None:
    result = load(tmp_path, gzip.compress(b"PAR1 and so on" * 100)[:-4], "in.parquet.gz")

    assert result.reasons == {"the file is damaged": 1}
    assert SerializationError("x").exit_code == 4


def test_a_full_quarantine_stops_the_load_and_tells_where(tmp_path: Path) -> None:
    bad, good = b'{"event_type":"seen","note":"' + b"x" * 1_000 + b'"}', record().encode()
    text = ndjson(good, *[bad] * 20, good)
    whole = load(tmp_path, text)
    assert (whole.records, whole.quarantined, len(stored(tmp_path / "events.db"))) == (22, 20, 2)
    entries = (tmp_path / "events.db.quarantine.ndjson").read_bytes().splitlines(keepends=True)
    room, other = sum(map(len, entries[:9])) + 5, tmp_path / "other.ndjson"

    with pytest.raises(LimitReached, match=rf"before line 11 of .*in\.ndjson: .* {room:,} bytes, and holds 9 records"):
        load(tmp_path, text, quarantine=other, max_quarantine_bytes=room)
    assert other.read_bytes() == b"".join(entries[:9])


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_load_that_only_fills_the_quarantine_stops_and_says_what_to_map(dry_run: bool, tmp_path: Path) -> None:
    text = gzip.compress(
        b'{"at":1,"note":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}\n' * 3_000_000
    )
    assert len(text) < 1 << 20
    with pytest.raises(LimitReached, match=r"every record lacks .* the load stopped before line"):
        load(tmp_path, text, "in.ndjson.gz", max_quarantine_bytes=5 << 20, dry_run=dry_run)
    aside = tmp_path / "events.db.quarantine.ndjson"
    assert aside.exists() != dry_run
    assert dry_run or aside.stat().st_size <= 5 << 20


def test_the_quarantine_has_a_bound_where_none_is_given(tmp_path: Path) -> None:
    """Rows without a single value take no space in a file, however many they are."""
    nothing = pa.record_batch({"x" * 5_000: pa.nulls(1 << 30)})
    with pa.OSFile(str(tmp_path / "in.arrow"), "wb") as sink, pa.ipc.new_file(sink, nothing.schema) as writer:
        writer.write_batch(nothing)
    with pytest.raises(LimitReached, match="268,435,456 bytes"):
        penstock.ingest(tmp_path / "events.db", tmp_path / "in.arrow", dry_run=True)


def test_a_quarantine_without_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="room"):
        load(tmp_path, ndjson(record()), max_quarantine_bytes=0)
