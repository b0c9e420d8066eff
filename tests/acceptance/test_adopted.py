"""A table of somebody else's application, exported as its owner would: read through a mapping, never written."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import foreign_readers
from penstock_command import Run

Command = Callable[..., Run]
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
MAPPING = "timestamp=created_at,event_type=name,session_id=visitor"
PAGEVIEWS = """CREATE TABLE pageviews (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created_at TEXT, visitor, path TEXT, ms REAL, status INTEGER,
    payload TEXT, raw BLOB)"""


def build(path: Path, *statements: str, rows: list[tuple[Any, ...]] | None = None) -> None:
    """A database that another SQLite has made and closed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
        if rows:
            connection.executemany(f"INSERT INTO pageviews VALUES ({', '.join('?' * len(rows[0]))})", rows)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def micros(number: int) -> int:
    return int((START + timedelta(seconds=number)).timestamp()) * 10**6


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """900 page views in every ordinary spelling; nothing of them has to be skipped."""
    rows = [
        (
            number,
            ("page_viewed", "feature_used", 'été, "dit"')[number % 3],
            (START + timedelta(seconds=number)).strftime("%Y-%m-%d %H:%M:%S"),
            (None, f"v{number % 7}", "")[number % 3],
            f'/p/{number}?q="a,b"\n',
            number / 8 - 50,
            number * 10**15,
            json.dumps({"n": number}),
            None,
        )
        for number in range(1, 901)
    ]
    build(tmp_path / "app.db", PAGEVIEWS, rows=rows)
    return tmp_path / "app.db"


def wanted(number: int) -> dict[str, Any]:
    """What readers have to find of page view ``number``."""
    return {
        "id": f"pageviews:{number}",
        "category": "usage" if number % 3 == 1 else "custom",
        "event_type": ("page_viewed", "feature_used", 'été, "dit"')[number % 3],
        "timestamp": micros(number),
        "session_id": f"v{number % 7}" if number % 3 == 1 else None,
        "priority": "normal",
        "data": (
            "object",
            (
                ("path", f'/p/{number}?q="a,b"\n'),
                ("ms", ("number", repr(number / 8 - 50))),
                ("status", ("number", str(number * 10**15))),
                ("payload", json.dumps({"n": number})),
                ("raw", None),
            ),
        ),
        "metadata": ("object", ()),
        "seq": number,
        "received_at": micros(number),
    }


@pytest.mark.parametrize("name", ["out.csv", "out.ndjson", "out.json.gz", "out.csv.zst", "out.parquet", "out.arrow"])
def test_every_format_holds_every_row_and_the_file_is_as_it_was(app: Path, penstock: Command, name: str) -> None:
    before = digest(app)
    done = penstock("export", app, name, "--table", "pageviews", "--map", MAPPING, "--json")

    assert (done.code, done.stderr) == (0, "")
    assert done.summary["event_count"] == 900
    assert foreign_readers.read(app.parent / name) == [wanted(number) for number in range(1, 901)]
    assert penstock("verify", name).code == 0
    assert digest(app) == before
    assert sorted(path.name for path in app.parent.iterdir()) == sorted(["app.db", name, f"{name}.manifest.json"])


def test_all_formats_have_one_events_digest_and_a_repeated_export_the_same_bytes(app: Path, penstock: Command) -> None:
    found = {}
    for name, workers in (("a.csv", 1), ("b.csv", 4), ("c.parquet", 2), ("d.ndjson", 3), ("e.parquet", 2)):
        penstock("export", app, name, "--table", "PAGEVIEWS", "--map", MAPPING, "--workers", workers)
        found[name] = foreign_readers.manifest_of(app.parent / name)

    assert len({manifest["rows_digest"]["value"] for manifest in found.values()}) == 1
    assert (app.parent / "a.csv").read_bytes() == (app.parent / "b.csv").read_bytes()
    assert (app.parent / "c.parquet").read_bytes() == (app.parent / "e.parquet").read_bytes()


def test_the_manifest_says_what_was_read_and_how(app: Path, penstock: Command) -> None:
    penstock("export", app, "out.csv", "--table", "pageviews", "--map", f"{MAPPING},received_at=created_at:iso")
    source = foreign_readers.manifest_of(app.parent / "out.csv")["source"]

    assert source == {
        "kind": "table",
        "name": "app.db",
        "table": "pageviews",
        "schema_sha256": hashlib.sha256(PAGEVIEWS.encode()).hexdigest(),
        "mapping": {
            "event_type": "name",
            "timestamp": "created_at",
            "session_id": "visitor",
            "seq": "id",
            "received_at": "created_at",
        },
        "units": {"timestamp": "auto", "received_at": "iso"},
        "ids": "table:seq",
        "order": "primary key, autoincrement",
        "members": ["path", "ms", "status", "payload", "raw"],
        "horizon": 900,
    }


def test_filters_count_after_conversion(app: Path, penstock: Command) -> None:
    given = ["--table", "pageviews", "--map", MAPPING]
    chosen = ["--start", "2026-11-01T12:01:00Z", "--end", "2026-11-01T12:05:00Z", "--category", "usage", "--limit", 50]
    penstock("export", app, "out.ndjson", *given, *chosen)
    planned = penstock("export", app, "out.csv", *given, *chosen, "--dry-run", "--json")

    numbers = [number for number in range(60, 300) if number % 3 == 1][:50]
    assert foreign_readers.read(app.parent / "out.ndjson") == [wanted(number) for number in numbers]
    assert planned.summary["event_count"] == 50


def test_a_directory_is_cut_and_whole(app: Path, penstock: Command) -> None:
    done = penstock("export", app, "out/", "--table", "pageviews", "--map", MAPPING, "--part-size", "100rows")
    rows = [row for path in sorted((app.parent / "out").glob("data/*.parquet")) for row in foreign_readers.read(path)]

    assert done.code == 0
    assert len(list((app.parent / "out").glob("data/*.parquet"))) == 9
    assert rows == [wanted(number) for number in range(1, 901)]
    assert penstock("verify", "out").code == 0


def test_skipped_rows_are_told_counted_and_exit_three(tmp_path: Path, penstock: Command) -> None:
    names = ["feature_used", None, "ok", "", "x" * 201, 7, "ok"]
    times = ["2026-11-01", "2026-11-01", "soon", "2026-11-01", 1793536215, 1793536215123, 99]
    rows = [
        (number, name, at, None, None, float("inf"), "text", "[1", b"\x00\xff")
        for number, (name, at) in enumerate(zip(names, times, strict=True))
    ]
    build(tmp_path / "app.db", PAGEVIEWS, rows=rows)
    done = penstock(
        "export",
        "app.db",
        "out.csv",
        "--table",
        "pageviews",
        "--map",
        f"{MAPPING},data=payload",
        "--map",
        "metadata=ms",
    )
    counts = foreign_readers.manifest_of(tmp_path / "out.csv")["counts"]

    assert done.code == 3
    assert counts == {
        "coerced_blob": 2,
        "coerced_data_not_json": 2,
        "coerced_metadata_not_json": 2,
        "skipped_bad_event_type": 3,
        "skipped_bad_timestamp": 2,
    }
    for name, count in counts.items():
        assert f"note: {name.replace('_', ' ')}: {count}\n" in done.stderr
    assert penstock("verify", "out.csv").code == 0
    assert penstock("restore", "out.csv", "--into", "back.db").code == 0
    assert penstock("export", "back.db", "back.ndjson").code == 0
    digests = [foreign_readers.manifest_of(tmp_path / name)["rows_digest"] for name in ("out.csv", "back.ndjson")]
    assert digests[0] == digests[1]
    rest = (("path", None), ("status", "text"), ("raw", "AP8="))
    found = foreign_readers.read(tmp_path / "out.csv")
    assert [row["event_type"] for row in found] == ["feature_used", "7"]
    assert found[0]["data"] == ("object", (("data", "[1"), *rest))
    assert found[0]["metadata"] == ("object", (("metadata", "Inf"),))


@pytest.mark.parametrize(
    ("table", "mapping", "said"),
    [
        ("pageview", MAPPING, "did you mean 'pageviews'?"),
        ("pageviews", "timestamp=created_at", "its columns are id, name, created_at"),
        ("pageviews", "timestamp=created,event_type=name", "did you mean 'created_at'?"),
        ("pageviews", "timestamp=created_at:minutes,event_type=name", "units are"),
        ("pageviews", f"{MAPPING},seq=status,id=:none", "twice"),
        ("pageviews", f"{MAPPING},seq=path", "no integer"),
        ("pageviews", "time=created_at", "unknown field 'time'"),
    ],
)
def test_a_wrong_mapping_exits_two_and_writes_nothing(
    app: Path, penstock: Command, table: str, mapping: str, said: str
) -> None:
    build(app, "UPDATE pageviews SET status = 5 WHERE id < 3")
    done = penstock("export", app, "out.csv", "--table", table, "--map", mapping)

    assert (done.code, done.stdout) == (2, b"")
    assert said in done.stderr
    assert not (app.parent / "out.csv").exists()


def test_views_and_queries_are_events_too_with_constants(app: Path, penstock: Command) -> None:
    build(app, "CREATE VIEW recent AS SELECT created_at, path FROM pageviews WHERE id > 890")
    mapping = "timestamp=created_at,event_type='seen, it''s',priority='high'"
    query = "SELECT created_at, path FROM pageviews WHERE id > 890 ORDER BY id; -- the last ten"
    assert penstock("export", app, "a.ndjson", "--table", "recent", "--map", mapping).code == 0
    assert penstock("export", app, "b.ndjson", "--query", query, "--map", mapping).code == 0

    seen = foreign_readers.read(app.parent / "a.ndjson")
    assert [(row["id"], row["seq"], row["event_type"], row["priority"]) for row in seen] == [
        (f"recent:{number}", number, "seen, it's", "high") for number in range(1, 11)
    ]
    assert [row["timestamp"] for row in seen] == [micros(number) for number in range(891, 901)]
    asked = foreign_readers.read(app.parent / "b.ndjson")
    assert [row["data"] for row in asked] == [row["data"] for row in seen]
    assert [row["id"] for row in asked] == [f"query:{number}" for number in range(1, 11)]


def test_a_wrong_time_unit_shows_a_value_and_names_the_right_one(app: Path, penstock: Command) -> None:
    build(app, "CREATE TABLE taps (at INTEGER, name TEXT)", "INSERT INTO taps VALUES (1793536215123, 'tap')")
    done = penstock("export", app, "out.csv", "--table", "taps", "--map", "timestamp=at:s,event_type=name")

    assert (done.code, done.stdout, (app.parent / "out.csv").exists()) == (2, b"", False)
    assert "no row of 'taps' is an event: skipped bad timestamp: 1" in done.stderr
    assert "holds the integer 1793536215123" in done.stderr
    assert "--map timestamp=at:ms" in done.stderr
    assert penstock("export", app, "out.csv", "--table", "taps", "--map", "timestamp=at:ms,event_type=name").code == 0


def test_a_store_of_ours_is_not_adopted(tmp_path: Path, penstock: Command) -> None:
    from penstock import SqliteAnalyticsStorage

    SqliteAnalyticsStorage(tmp_path / "events.db").close()
    done = penstock("export", "events.db", "out.csv", "--table", "events")

    assert done.code == 2
    assert "leave --table and --map out" in done.stderr


def test_inspect_shows_an_adopted_table(app: Path, penstock: Command) -> None:
    given = ["--table", "pageviews", "--map", MAPPING]
    done = penstock("inspect", app, *given)
    machine = penstock("inspect", app, *given, "--json").summary

    assert done.code == 0
    assert "900 events" in done.stdout.decode()
    assert machine["total_events"] == 900
    assert machine["events_by_type"] == {"page_viewed": 300, "feature_used": 300, 'été, "dit"': 300}


WRITER = """
import sqlite3, sys, threading
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set())).start()
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("PRAGMA synchronous = OFF")
for number in range(901, 1201):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO pageviews (name, created_at, status) VALUES ('late', '2026-11-02', ?)", (number,))
    connection.execute("DELETE FROM pageviews WHERE id = ?", (number - 900,))
    connection.execute("COMMIT")
print("ready", flush=True)
number = 1201
while not stop.is_set():
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO pageviews (name, created_at, status) VALUES ('late', '2026-11-02', ?)", (number,))
    connection.execute("DELETE FROM pageviews WHERE id = ?", (number - 900,))
    connection.execute("COMMIT")
    number += 1
print(number, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def busy(app: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that keeps the database open in WAL mode and without a pause adds a row and deletes the oldest:
    whenever one looks, there are exactly 900, with consecutive numbers."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(app)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_a_busy_application_is_read_at_one_commit_and_not_disturbed(
    app: Path, busy: subprocess.Popen[str], penstock: Command
) -> None:
    before, log = digest(app), app.with_name("app.db-wal").stat().st_size
    runs = [
        penstock("export", app, name, "--table", "pageviews", "--map", MAPPING, "--workers", 4, "--part-size", "50rows")
        for name in ("one/", "two/")
    ]
    assert busy.stdin is not None
    assert busy.stdout is not None
    busy.stdin.write("stop\n")
    busy.stdin.flush()
    written = int(busy.stdout.readline())

    assert [run.code for run in runs] == [0, 0]
    assert digest(app) == before
    assert app.with_name("app.db-wal").stat().st_size >= log > 0
    assert written > 1201
    last = 900
    for name in ("one", "two"):
        paths = sorted((app.parent / name).glob("data/*.parquet"))
        seqs = [row["seq"] for path in paths for row in foreign_readers.read(path)]
        assert len(seqs) == 900
        assert seqs == list(range(seqs[0], seqs[0] + 900))
        assert seqs[-1] > last
        last = seqs[-1]
        assert penstock("verify", name).code == 0


def test_a_log_that_a_killed_application_left_is_read_and_left(app: Path, penstock: Command) -> None:
    script = (
        "import os, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = WAL')\n"
        "connection.execute(\"INSERT INTO pageviews (name, created_at) VALUES ('late', '2026-11-02')\")\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(app)], check=False)
    log = app.with_name("app.db-wal")
    before = digest(app), digest(log)
    assert log.stat().st_size > 0
    for name in ("out.csv", "again.csv"):
        done = penstock("export", app, name, "--table", "pageviews", "--map", MAPPING, "--json")
        assert (done.code, done.summary["event_count"]) == (0, 901)

    assert (digest(app), digest(log)) == before
    with closing(sqlite3.connect(app)) as connection:
        assert connection.execute("SELECT count(*) FROM pageviews").fetchone() == (901,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_lineage_of_a_table_keeps_its_mapping(app: Path, penstock: Command) -> None:
    table = ("--table", "pageviews", "--incremental", "--map")
    assert penstock("export", app, "runs/", *table, MAPPING).code == 0
    other = penstock("export", app, "runs/", *table, "timestamp=created_at,event_type=name,session_id=status")
    assert other.code == 2
    assert "the lineage was begun with another mapping" in other.stderr
    assert penstock("export", app, "runs/", *table, MAPPING).code == 0
    assert len(list((app.parent / "runs").glob("_penstock/runs/*.json"))) == 2
