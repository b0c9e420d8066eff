"""Ids and sessions of any kind: those of real logs are loaded, stored, asked for, exported and put back as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import foreign_sqlite
from loading import checked, load, ndjson, record, stored
from penstock import AnalyticsEvent, ExportFilter, SqliteAnalyticsStorage, ingest
from penstock.errors import InvalidFilter
from penstock_command import Run

Command = Callable[..., Run]

GITHUB = [
    {
        "id": str(22_196_123_456 + number),
        "type": ("PushEvent", "WatchEvent")[number % 2],
        "actor": {"id": 1_000 + number % 3, "login": f"user-{number % 3}"},
        "repo": {"id": 7, "name": "a/b"},
        "payload": {"size": number},
        "public": True,
        "created_at": f"2026-11-01T15:00:{number:02}Z",
    }
    for number in range(60)
]


def test_an_event_log_as_github_writes_it_is_loaded_without_a_loss(tmp_path: Path) -> None:
    mapping = {"event_type": "type", "timestamp": "created_at", "session_id": "actor.id", "data": "payload"}
    lines = ndjson(*(json.dumps(event) for event in GITHUB))

    result = load(tmp_path, lines, mapping=mapping)

    assert (result.inserted, result.quarantined) == (60, 0)
    events = stored(tmp_path / "events.db")
    assert [event["id"] for event in events] == [event["id"] for event in GITHUB]
    assert [event["session_id"] for event in events] == [str(1_000 + number % 3) for number in range(60)]
    assert load(tmp_path, lines, mapping=mapping).duplicates == 60


@pytest.mark.parametrize(
    ("value", "id"),
    [
        ('"s42"', "s42"),
        ("42", "42"),
        ("-7", "-7"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"192.0.2.7"', "192.0.2.7"),
        ('"2001:db8::1"', "2001:db8::1"),
        ('"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"', "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        ('"\\u00e9\\ud83d\\ude00 b"', "é😀 b"),
        (f'"{"é" * 512}"', "é" * 512),
    ],
)
def test_an_id_of_any_kind_is_loaded_as_it_is_written(tmp_path: Path, value: str, id: str) -> None:
    assert load(tmp_path, ndjson(record(f'"id":{value},"session_id":{value}'))).inserted == 1

    event = stored(tmp_path / "events.db")[0]
    assert (event["id"], event["session_id"]) == (id, id)


def test_columns_of_integers_are_ids_and_sessions(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2**63], pa.uint64()),
            "session_id": pa.array([None, -5], pa.int32()),
            "event_type": ["a", "b"],
            "timestamp": ["2026-11-01"] * 2,
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    (tmp_path / "in.csv").write_text("id,session_id,event_type,timestamp\n7,192.0.2.7,a,2026-11-01\n")

    assert checked(ingest(tmp_path / "e.db", [tmp_path / "in.parquet", tmp_path / "in.csv"])).inserted == 3
    assert [(event["id"], event["session_id"]) for event in stored(tmp_path / "e.db")] == [
        ("1", None),
        (str(2**63), "-5"),
        ("7", "192.0.2.7"),
    ]


@pytest.mark.parametrize("ending", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_our_own_export_of_a_table_is_loaded_again(penstock: Command, tmp_path: Path, ending: str) -> None:
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at TEXT, name TEXT, ip TEXT)",
        "INSERT INTO hits VALUES (1, '2026-11-01', 'seen', '192.0.2.7'), (5, '2026-11-02', 'seen', NULL)",
    )
    told = ("--table", "hits", "--map", "timestamp=at,event_type=name,session_id=ip")
    assert penstock("export", "app.db", f"out.{ending}", *told).code == 0

    assert penstock("ingest", "events.db", f"out.{ending}").code == 0
    assert penstock("restore", f"out.{ending}", "--into", "restored.db").code == 0

    for store in ("events.db", "restored.db"):
        assert [(event["id"], event["session_id"]) for event in stored(tmp_path / store)] == [
            ("hits:1", "192.0.2.7"),
            ("hits:5", None),
        ]


def test_a_session_is_asked_for_as_it_is_written(penstock: Command, tmp_path: Path) -> None:
    sessions = ["192.0.2.7", "s42", "S42", "a'b", "%"]
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("x", id=f"id of {session}", session_id=session) for session in sessions])
        assert [store.count(ExportFilter(session_id=session)) for session in sessions] == [1] * 5

    for session in sessions:
        shown = penstock("export", "events.db", "-", "--format", "ndjson", "--session", session).stdout
        assert [json.loads(line)["id"] for line in shown.splitlines()] == [f"id of {session}"]
    assert penstock("export", "events.db", "-", "--session", "x" * 1025).code == 2
    with pytest.raises(InvalidFilter, match="control character"):
        ExportFilter(session_id="a\nb")


def test_a_store_made_here_keeps_an_id_once_by_an_index_that_has_a_name(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("x", id="s42")])
        assert store.append([AnalyticsEvent("x", id="s42"), AnalyticsEvent("x", id="S42")]).inserted == 1

    indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'events'"
    assert foreign_sqlite.execute(tmp_path / "events.db", indexes) == [[["penstock_ids"]]]


@pytest.mark.parametrize("odd", ["x" * 1025, "a\x85b", "a\x00b", "\x7f"])
def test_a_row_of_a_table_whose_id_or_session_is_over_the_bounds_is_left_out_and_counted(
    penstock: Command, tmp_path: Path, odd: str
) -> None:
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at TEXT, name TEXT, id TEXT, session_id TEXT)",
        *(
            f"INSERT INTO hits VALUES ({n}, '2026-11-01', 'seen', {id}, {session})"
            for n, id, session in ((1, f"CAST(x'{odd.encode().hex()}' AS TEXT)", "'s'"), (2, "'b'", "''"))
        ),
        f"INSERT INTO hits VALUES (3, '2026-11-01', 'seen', 'c', CAST(x'{odd.encode().hex()}' AS TEXT))",
    )

    said = penstock(
        "export", "app.db", "out.ndjson", "--table", "hits", "--map", "timestamp=at,event_type=name", "--json"
    )

    assert said.code == 3
    counts = json.loads((tmp_path / "out.ndjson.manifest.json").read_text())["counts"]
    assert counts == {"coerced_empty_session_id": 1, "skipped_bad_id": 1, "skipped_bad_session_id": 1}
    assert [json.loads(line)["id"] for line in (tmp_path / "out.ndjson").read_text().splitlines()] == ["b"]


def test_an_export_with_an_id_that_no_store_takes_is_shown_safely_and_not_restored(
    penstock: Command, tmp_path: Path
) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("x", id="fine")])
    foreign_sqlite.execute(tmp_path / "events.db", "UPDATE events SET id = 'a' || char(10)")
    assert penstock("export", "events.db", "out.ndjson").code == 0

    said = penstock("restore", "out.ndjson", "--into", "back.db")
    assert said.code == 2
    assert "out.ndjson: row 0: id holds a control character" in said.stderr
    with SqliteAnalyticsStorage(tmp_path / "none.db"):
        assert penstock("diff", "out.ndjson", "none.db").stdout == b"- a\\x0a\n"
