"""The view over an adopted table: one commit for all readers, whatever others do meanwhile, and what is refused."""

from __future__ import annotations

import os
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from adopted_tables import NEEDED, PLAIN, TIME, build, elsewhere, opened, seqs, spans
from penstock import AdoptedTable, AnalyticsStorage, ExportFilter, SqliteAnalyticsStorage, StorageConfig
from penstock.errors import Cancelled, InvalidMapping, NotAStore, NotFound, StoreBusy, UsageError
from penstock.pipeline.gathering import Gather, GatherKind
from penstock.ports.source import Slice
from penstock.sources.tables import pinned as adopted


@pytest.fixture
def hits(tmp_path: Path) -> Path:
    """1,000 rows in WAL mode."""
    return build(
        tmp_path / "app.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)",
        rows=[(number, TIME + number, "click", "x" * (number % 50)) for number in range(1, 1001)],
    )


def test_all_readers_see_the_commit_at_which_the_view_began(hits: Path) -> None:
    with opened(hits, readers=4) as view:
        elsewhere(hits, "DELETE FROM hits WHERE id % 2", "UPDATE hits SET name = 'late'", "DROP TABLE IF EXISTS other")
        elsewhere(hits, f"INSERT INTO hits VALUES (5000, {TIME}, 'new', '')", "ALTER TABLE hits ADD COLUMN more")
        found = spans(view)
        with ThreadPoolExecutor(4) as pool:
            pieces = list(pool.map(lambda span: pa.Table.from_batches(view.read(span, PLAIN)), found))
    table = pa.concat_tables(pieces)

    assert table["seq"].to_pylist() == list(range(1, 1001))
    assert set(table["event_type"].to_pylist()) == {"click"}


class Interrupted(adopted.Connection):
    """A connection before whose ``BEGIN`` something may happen."""

    before_begin: Callable[[], None] = staticmethod(lambda: None)

    def execute(self, sql: str, batch: pa.RecordBatch | None = None) -> int:
        if sql == "BEGIN":
            Interrupted.before_begin()
        return super().execute(sql, batch)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Interrupted]]:
    monkeypatch.setattr(adopted, "Connection", Interrupted)
    monkeypatch.setattr(adopted.time, "sleep", lambda seconds: None)
    yield Interrupted
    Interrupted.before_begin = staticmethod(lambda: None)


class Writer:
    """Another process that commits one more row whenever it is told to, and then says so."""

    def __init__(self, path: Path) -> None:
        script = (
            "import sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)\n"
            "for line in sys.stdin:\n"
            "    connection.execute(\"INSERT INTO hits SELECT max(id) + 1, 1793536215, 'late', '' FROM hits\")\n"
            "    print('done', flush=True)\n"
        )
        self.commits = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def commit(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"
        self.commits += 1

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def writer(hits: Path) -> Iterator[Writer]:
    writer = Writer(hits)
    yield writer
    writer.close()


def test_a_commit_between_two_beginnings_makes_all_begin_again(
    hits: Path, interrupted: type[Interrupted], writer: Writer
) -> None:
    begun = 0

    def commit_before_the_third() -> None:
        nonlocal begun
        begun += 1
        if begun == 4:
            writer.commit()

    interrupted.before_begin = staticmethod(commit_before_the_third)
    with opened(hits, readers=4) as view:
        found = spans(view, rows=10_000)
        views = [seqs(view, found)[-1] for _ in range(8)]

    assert begun == 1 + 8  # it is looked at once when it is opened
    assert writer.commits == 1
    assert set(views) == {1001}
    assert view.upto == 1001


def test_without_a_pause_one_connection_serves_all_readers(
    hits: Path, interrupted: type[Interrupted], writer: Writer
) -> None:
    interrupted.before_begin = staticmethod(writer.commit)
    with opened(hits, readers=3) as view:
        begun = writer.commits
        found = spans(view, rows=100)
        with ThreadPoolExecutor(3) as pool:
            pieces = list(pool.map(lambda span: seqs(view, [span]), found))
        connections = len(view._pinned.connections)

    assert begun == 1 + 3 * 20 + 1
    assert connections == 1
    assert [seq for piece in pieces for seq in piece] == list(range(1, 1000 + begun + 1))


def test_a_pause_of_any_length_gives_every_reader_its_connection(hits: Path) -> None:
    with opened(hits, readers=5) as view:
        assert len(view._pinned.connections) == 5
        held: queue.SimpleQueue[int] = queue.SimpleQueue()
        barrier = threading.Barrier(5, timeout=30)

        def read() -> None:
            batches = iter(view.read(Slice(after=0, upto=1000, bytes_hint=0), PLAIN))
            first = next(batches)
            barrier.wait()  # all five hold a connection at the same time
            held.put(first.num_rows + sum(batch.num_rows for batch in batches))

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: read(), range(5)))

    assert [held.get_nowait() for _ in range(5)] == [1000] * 5


def test_a_rollback_journal_is_read_as_well_and_lets_writers_in_between(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)",
        rows=[(number, TIME, "click") for number in range(1, 11)],
    )
    with opened(path, readers=2) as view:
        found = spans(view)
        assert seqs(view, found) == list(range(1, 11))
        assert not view.moved
        elsewhere(path, "DELETE FROM hits WHERE id < 4", f"INSERT INTO hits VALUES (11, {TIME}, 'new')")
        assert (seqs(view, found), seqs(view, spans(view)), view.upto) == (list(range(4, 11)), list(range(4, 11)), 10)
        assert list(view.newest(3)) == [10, 9, 8], "what came since is behind its end"
        assert view.moved
    with opened(path, one_moment=True) as view:
        with pytest.raises(subprocess.CalledProcessError):
            elsewhere(path, "PRAGMA busy_timeout = 1", "DELETE FROM hits")
        assert seqs(view, spans(view)) == list(range(4, 12))
        assert not view.moved


def test_only_of_its_own_key_a_table_says_how_far_it_gave_out_numbers(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY AUTOINCREMENT, at, name, n INTEGER)",
        f"INSERT INTO hits VALUES (100, {TIME}, 'click', 7), (200, {TIME}, 'click', 8)",
        "DELETE FROM hits WHERE id = 200",
    )
    with opened(path) as view:
        assert (view.upto, view.given) == (100, 200)
    with opened(path, seq="n", id="id") as view:
        assert (view.upto, view.given) == (7, 7)


def test_a_locked_file_is_waited_for_and_then_busy(tmp_path: Path) -> None:
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)")
    script = (
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nc.execute('BEGIN EXCLUSIVE')\n"
    )
    script += "print('locked', flush=True)\nsys.stdin.read()\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    for readers in (1, 2):
        with pytest.raises(StoreBusy):
            opened(path, readers=readers, busy=0.05)
    holder.communicate()
    opened(path).close()


def test_the_same_file_gives_the_same_source(hits: Path) -> None:
    with opened(hits, readers=1) as one, opened(hits, readers=3) as other:
        assert one.source == other.source
        assert one.source == {
            "kind": "table",
            "name": "app.db",
            "table": "hits",
            "schema_sha256": one.source["schema_sha256"],
            "mapping": {"event_type": "name", "timestamp": "at", "seq": "id"},
            "units": {"timestamp": "auto"},
            "members": ["x"],
            "ids": "table:seq",
            "order": "primary key, assumed",
            "horizon": 1000,
        }


def test_a_reader_that_stops_gives_its_connection_back(hits: Path) -> None:
    with opened(hits) as view:
        whole = Slice(after=0, upto=1000, bytes_hint=0)
        for _ in range(3):
            batches = iter(view.read(whole, PLAIN))
            next(batches)
            batches.close()  # type: ignore[attr-defined]
        assert len(seqs(view, [whole])) == 1000


@pytest.mark.parametrize(
    ("mapping", "table"),
    [
        ({"event_type": "nope"}, "hits"),
        ({"event_type": 'x"; DROP TABLE hits; --'}, "hits"),
        ({}, "nope"),
        ({}, 'h"its'),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_stays_open(hits: Path, mapping: dict[str, str], table: str) -> None:
    before = hits.read_bytes()
    with pytest.raises(InvalidMapping):
        opened(hits, table=table, **mapping)

    assert str(hits) not in {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert hits.read_bytes() == before


def test_names_that_look_like_sql_are_names(tmp_path: Path) -> None:
    table, column = 'hi"ts; DROP TABLE x', "na'me\") FROM y --"
    quoted = ['"' + name.replace('"', '""') + '"' for name in (table, column)]
    path = build(
        tmp_path / "app.db",
        f"CREATE TABLE {quoted[0]} ({quoted[1]}, at, \"sp ace\", 'é' TEXT)",
        rows=[("click", TIME, 1, "ü")],
        into=quoted[0],
    )
    with opened(path, table=table, event_type=column) as view:
        (batch,) = view.read(spans(view)[0], PLAIN)

    assert batch.to_pylist()[0]["data"] == '{"sp ace":1,"é":"ü"}'
    assert batch.to_pylist()[0]["id"] == f"{table}:1"


def test_a_collation_of_the_application_is_not_needed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.create_collation("localized", lambda one, other: (one > other) - (one < other))
        connection.execute("CREATE TABLE hits (uid TEXT PRIMARY KEY COLLATE localized, at, name COLLATE localized, x)")
        connection.execute("CREATE INDEX i ON hits (x COLLATE localized)")
        connection.execute(f"INSERT INTO hits VALUES ('a', {TIME}, 'click', -0.5)")
    with opened(tmp_path / "app.db", id="uid") as view:
        (batch,) = view.read(spans(view)[0], PLAIN)

    assert batch["data"].to_pylist() == ['{"x":-0.5}']


def test_what_is_no_database_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello, this is text and no database")
    with pytest.raises(NotAStore):
        opened(tmp_path / "text.db")
    with pytest.raises(NotFound):
        opened(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_the_storage_answers_for_an_adopted_table(hits: Path) -> None:
    with AdoptedTable(hits, StorageConfig(table="hits", mapping=NEEDED)) as storage:
        assert storage.count() == 1000
        assert storage.count(ExportFilter(limit=7)) == 7
        assert storage.count(ExportFilter(start="2026-11-01", event_types=["nope"])) == 0
        assert sum(batch.num_rows for batch in storage.scan(ExportFilter(limit=999))) == 999
        stats = storage.stats()
        assert (stats.total_events, stats.last_seq, dict(stats.events_by_type)) == (1000, 1000, {"click": 1000})
        assert sum(count for _, _, count in storage.histogram(buckets=7)) == 1000
    assert not isinstance(storage, AnalyticsStorage)
    with pytest.raises(UsageError, match="a table is no event store"):
        SqliteAnalyticsStorage(hits, StorageConfig(table="hits", mapping=NEEDED))
    with pytest.raises(UsageError, match="no table is named"):
        AdoptedTable(hits, StorageConfig())


def test_closing_ends_what_is_still_read(hits: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    pinned = adopted.Pinned(hits, StorageConfig(), readers=1)
    started, ended = threading.Event(), threading.Event()

    def read() -> None:
        columns = [Gather("n", GatherKind.INT64)]
        with pinned.pool.lend() as connection, connection.cursor(endless, columns=columns) as rows:
            started.set()
            with pytest.raises(Cancelled):
                rows.take(1, 1)
            ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    started.wait()
    pinned.close()
    reader.join()
    assert ended.is_set()
