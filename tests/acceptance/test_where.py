"""``--where`` as a user meets it: the same rows from a store, from its exports in every format, and back in a store."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from penstock import AnalyticsEvent, ExportFilter, SqliteAnalyticsStorage
from penstock.model.columns import EVENTS
from penstock.sources.sqlite.predicate import predicate
from penstock.sources.sqlite.schema import BLOCK_ROWS
from penstock_command import Run
from sample_events import START

Command = Callable[..., Run]
WHERE = "data.status >= 400 and data.path like '/docs/%'"


def status(number: int) -> dict[str, object]:
    texts = ["/docs/a", "/docs/b", "/api", None]
    found: dict[str, object] = {"status": [200, 404, 500.5, "404", None][number % 5], "path": texts[number % 4]}
    return found if number % 7 else {}


def wanted(number: int) -> bool:
    data = status(number)
    code, path = data.get("status"), data.get("path")
    return isinstance(code, (int, float)) and code >= 400 and isinstance(path, str) and path.startswith("/docs/")


IDS = [f"e-{number:04d}" for number in range(600)]
EXPECTED = [name for number, name in enumerate(IDS) if wanted(number)]


@pytest.fixture
def events(tmp_path: Path) -> Path:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(
            AnalyticsEvent("page_view", id=name, timestamp=START + timedelta(hours=number), data=status(number))
            for number, name in enumerate(IDS)
        )
    return tmp_path


@pytest.mark.parametrize("file", ["a.ndjson", "a.json", "a.csv.gz", "a.parquet", "a.arrow"])
def test_an_export_holds_the_rows_for_which_it_is_true(events: Path, penstock: Command, file: str) -> None:
    done = penstock("export", "events.db", file, "--where", WHERE, "--verify-written", "--json")
    assert (done.code, done.summary["event_count"]) == (0, len(EXPECTED))
    manifest = json.loads((events / f"{file}.manifest.json").read_text())
    assert manifest["filter"] == {"where": WHERE}
    assert penstock("verify", file).code == 0
    if file == "a.parquet":
        assert duckdb.sql(f"SELECT id FROM '{events / file}' ORDER BY seq").fetchall() == [(name,) for name in EXPECTED]
    assert penstock("diff", "events.db", file, "--where", WHERE).code == 0
    assert penstock("diff", "events.db", file).stdout.decode().count("\n- ") >= len(IDS) - len(EXPECTED) - 1


def test_counts_and_inspect_and_the_limit_go_by_it(events: Path, penstock: Command) -> None:
    tried = penstock("export", "events.db", "x.csv", "--where", WHERE, "--dry-run", "--json")
    assert tried.summary["event_count"] == len(EXPECTED)
    assert penstock("inspect", "events.db", "--where", WHERE, "--json").summary["total_events"] == len(EXPECTED)
    assert penstock("inspect", "events.db", "--start", "2027-01-01", "--json").summary["total_events"] == 0
    assert penstock("export", "events.db", "few.ndjson", "--where", WHERE, "--limit", "3").code == 0
    lines = (events / "few.ndjson").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == EXPECTED[:3]


def test_a_restore_takes_only_what_matches(events: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "all.parquet").code == 0
    assert penstock("restore", "all.parquet", "--into", "new.db", "--where", WHERE).code == 0
    code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT id FROM events').fetchall())"
    there = subprocess.check_output([sys.executable, "-c", code, str(events / "new.db")], text=True)
    assert there.strip() == str([(name,) for name in EXPECTED])


def test_a_lineage_keeps_its_condition(events: Path, penstock: Command) -> None:
    spelled = ("data.status>=400 AND data.path LIKE '/docs/%'", WHERE)
    assert penstock("export", "events.db", "runs/", "--incremental", "--where", spelled[0]).code == 0
    with SqliteAnalyticsStorage(events / "events.db") as store:
        late = AnalyticsEvent("page_view", id="new", data={"status": 404, "path": "/docs/z"})
        store.append([late, AnalyticsEvent("x")])
    assert penstock("export", "events.db", "runs/", "--incremental", "--where", spelled[1]).code == 0
    other = penstock("export", "events.db", "runs/", "--incremental", "--where", "data.status > 400")
    assert (other.code, "another filter" in other.stderr) == (2, True)
    resumed = penstock("resume", "events.db", "runs/", "--json")
    assert (resumed.code, resumed.summary["event_count"]) == (0, 0)
    assert penstock("diff", "events.db", "runs/", "--where", WHERE).code == 0


def test_gaps_are_times_without_an_event_that_matches(events: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "archive/").code == 0
    assert penstock("gaps", "archive/").stdout == b""
    busy = sorted({(START + timedelta(hours=n)).date() for n in range(600) if wanted(n) and n % 100 < 30})
    told = penstock("gaps", "archive/", "--where", f"{WHERE} and seq % 100 between 1 and 30", "--json")
    assert told.code == 0
    quiet = [json.loads(line)["time"] for line in told.stdout.splitlines() if b'"gap"' in line]
    assert len(quiet) == sum((later - sooner).days > 1 for sooner, later in pairwise(busy)) > 0
    assert penstock("gaps", "archive/", "--limit", "3").code == 2


def test_an_adopted_table_is_asked_as_its_events_are(events: Path, penstock: Command) -> None:
    connection = sqlite3.connect(events / "app.db")
    connection.execute("CREATE TABLE hits (n INTEGER PRIMARY KEY, at TEXT, event_type TEXT, status, path TEXT)")
    rows = [
        (n + 1, "2026-11-01" if n % 11 else "never", "page_view", status(n).get("status"), status(n).get("path"))
        for n in range(600)
    ]
    connection.executemany("INSERT INTO hits VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    table = ("--table", "hits", "--map", "timestamp=at")
    found = penstock("export", "app.db", "hits.ndjson", *table, "--where", f"{WHERE} and seq > 100")
    expected = [n + 1 for n in range(100, 600) if wanted(n) and n % 11]
    assert [json.loads(line)["seq"] for line in (events / "hits.ndjson").read_text().splitlines()] == expected
    assert (found.code, "skipped bad timestamp" in found.stderr) == (3, True)


@pytest.mark.parametrize(
    "verb", ["export events.db x.csv", "inspect events.db", "diff events.db events.db", "gaps all/"]
)
def test_a_wrong_condition_is_refused_before_anything_is_done(events: Path, penstock: Command, verb: str) -> None:
    assert penstock("export", "events.db", "all/").code == 0
    for text, told in (
        ("data.status >", "at its end: a column or a value is expected here"),
        ("sesion_id = 'x'", "did you mean 'session_id'?"),
        ("seq = 'x'", "a whole number cannot be compared with text"),
        ("id = 'x'; DROP TABLE events", "hint: write one condition"),
        ("(" * 300 + "seq" + ")" * 300, "nested deeper than 200 levels"),
    ):
        done = penstock(*verb.split(), "--where", text)
        assert (done.code, told in done.stderr, done.stdout) == (2, True, b""), (text, done.stderr)
    assert not (events / "x.csv").exists()


def test_quotes_and_sql_in_values_are_values(events: Path, penstock: Command) -> None:
    evil = "x' OR 1=1 --"
    with SqliteAnalyticsStorage(events / "events.db") as store:
        store.append([AnalyticsEvent("odd", id="evil", data={evil: evil})])
    for text in (
        f"""data."{evil}" = '{evil.replace("'", "''")}'""",
        f"""data."{evil}" like '{evil.replace("'", "''")}'""",
        f"""data."{evil}" in ('{evil.replace("'", "''")}')""",
    ):
        done = penstock("export", "events.db", "-", "--where", text)
        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["evil"], text


ODD = ("a[b]c", "a[c", "a]c", "a[^b]c", "a*c", "a?c", "abc")


@pytest.mark.parametrize("text", ODD)
def test_what_means_something_to_sqlite_alone_is_text_in_a_pattern(text: str, tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(AnalyticsEvent("x", id=each, session_id=each, data={"p": each}) for each in ODD)
        for name in ("data.p", "session_id", "id"):
            for where, wanted in (
                (f"{name} like '{text}'", [text]),
                (f"{name} not like '{text}'", [each for each in ODD if each != text]),
                (f"{name} like '{text[:2]}%'", [each for each in ODD if each.startswith(text[:2])]),
                (f"{name} not like '%{text[1:]}'", [each for each in ODD if not each.endswith(text[1:])]),
            ):
                filter = ExportFilter(where=where)
                assert [id for batch in store.scan(filter) for id in batch["id"].to_pylist()] == wanted, where
                assert store.count(filter) == len(wanted)


def test_texts_have_one_order_whatever_the_encoding_of_the_database(tmp_path: Path, penstock: Command) -> None:
    """In UTF-16 what lies beyond 16 bits comes before some that does not."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("PRAGMA encoding = 'UTF-16'")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO t VALUES (1, 'a'), (2, '\uffee'), (3, '\U0001f600')")
    for where, wanted in (("name > '\uffee'", [3]), ("name <= '\uffee'", [1, 2]), ("not name < '\U0001f600'", [3])):
        done = penstock("export", "app.db", "-", "--table", "t", "--where", where)
        assert [line["id"] for line in done.lines] == wanted


def test_bounds_of_time_leave_blocks_out(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        for hour in range(4):
            moment = START + timedelta(hours=hour)
            store.append(AnalyticsEvent("x", timestamp=moment) for _ in range(BLOCK_ROWS + (-1 if hour == 0 else 0)))
        filter = ExportFilter(where=f"timestamp >= '{START + timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}' and seq > 0")
        with store.pin() as view:
            spans = list(view.plan(filter, max_rows=1 << 20, max_bytes=1 << 30))
            assert [span.after for span in spans] == [3 * BLOCK_ROWS - 1]
            assert sum(batch.num_rows for span in spans for batch in view.read(span, filter)) == BLOCK_ROWS
        assert store.count(filter) == BLOCK_ROWS


def test_what_sql_cannot_say_is_deleted_all_the_same(events: Path) -> None:
    filter = ExportFilter(where="id > 'e-0300' and data.path like '/docs/%'")
    assert predicate(filter).rest is not None
    with SqliteAnalyticsStorage(events / "events.db") as store:
        doomed = [name for batch in store.scan(filter) for name in batch["id"].to_pylist()]
        assert doomed
        assert store.delete(filter) == len(doomed)
        assert store.count() == len(IDS) - len(doomed)
        assert store.count(filter) == 0


def test_json_that_another_program_wrote_with_blanks_is_read_as_well(events: Path) -> None:
    code = """import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    for name, data in (("blank", '{ "status" : 404 , "path":"/docs/ x" }'), ("broken", '{"status":404')):
        db.execute("INSERT INTO events (id, category, event_type, timestamp, priority, data, metadata, received_at)"
                   " VALUES (?, 'custom', 'x', 0, 1, ?, '{}', 0)", (name, data))
"""
    subprocess.run([sys.executable, "-c", code, str(events / "events.db")], check=True)
    with SqliteAnalyticsStorage(events / "events.db") as store:
        found = [name for batch in store.scan(ExportFilter(where=WHERE)) for name in batch["id"].to_pylist()]
        assert found == [*EXPECTED, "blank"]
        assert ExportFilter(where=WHERE).condition(EVENTS) is not None


def test_a_table_in_its_own_columns_is_asked_by_their_types(events: Path, penstock: Command) -> None:
    connection = sqlite3.connect(events / "app.db")
    connection.execute("CREATE TABLE hits (n INTEGER PRIMARY KEY, at TIMESTAMP, status INTEGER, path TEXT, more JSON)")
    rows = [
        (n, f"2026-11-0{1 + n % 3}T00:00:00Z", [200, 404, 500, None][n % 4], "/docs/é", json.dumps({"ok": n % 2 == 0}))
        for n in range(1, 90)
    ]
    connection.executemany("INSERT INTO hits VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    where = "status >= 400 and at < '2026-11-03' and path like '%é' and (more.ok or n % 5 = 0)"
    done = penstock("export", "app.db", "hits.parquet", "--table", "hits", "--where", where)
    assert done.code == 0, done.stderr
    expected = [
        n for n, at, code, _, _ in rows if code and code >= 400 and at < "2026-11-03" and (n % 2 == 0 or n % 5 == 0)
    ]
    assert duckdb.sql(f"SELECT n FROM '{events / 'hits.parquet'}' ORDER BY n").fetchall() == [(n,) for n in expected]
    wrong = penstock("export", "app.db", "x.parquet", "--table", "hits", "--where", "stauts = 1")
    assert (wrong.code, "did you mean 'status'?" in wrong.stderr) == (2, True)
