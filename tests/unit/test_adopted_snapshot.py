"""The view over an adopted table: one commit for all readers, ranges that hold every row once, counts that fit them."""

from __future__ import annotations

import os
import queue
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import ExportFilter, SqliteAnalyticsStorage, StorageConfig
from penstock.errors import AccessDenied, InvalidMapping, NotAStore, NotFound, StoreBusy
from penstock.ports import SeqRange
from penstock.storage import adopted
from penstock.storage.adopted import AdoptedSnapshot
from penstock.storage.adopted_query import ROW_OVERHEAD

NEEDED = {"timestamp": "at", "event_type": "name"}
PLAIN = ExportFilter()
TIME = 1793536215


def build(path: Path, *statements: str, rows: Sequence[Sequence[Any]] = (), into: str = "hits") -> Path:
    """A database that other SQLite has made and closed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            connection.execute(statement)
        if rows:
            connection.executemany(f"INSERT INTO {into} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return path


def elsewhere(path: Path, *statements: str) -> None:
    """Statements in one transaction of another process, while this one may have the file open."""
    script = (
        "import sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], timeout=10)\n"
        "for statement in sys.argv[2:]: connection.execute(statement)\nconnection.commit()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path), *statements], check=True)


def opened(path: Path, *, table: str = "hits", readers: int = 1, busy: float = 10, **mapping: str) -> AdoptedSnapshot:
    config = StorageConfig(table=table, mapping={**NEEDED, **mapping}, busy_timeout=busy)
    return AdoptedSnapshot(path, config, readers=readers)


def spans(
    view: AdoptedSnapshot, filter: ExportFilter = PLAIN, *, rows: int = 100, size: int = 1 << 20
) -> list[SeqRange]:
    return list(view.ranges(filter, max_rows=rows, max_bytes=size))


def seqs(view: AdoptedSnapshot, found: Sequence[SeqRange], filter: ExportFilter = PLAIN) -> list[int]:
    return [seq for span in found for batch in view.read(span, filter) for seq in batch["seq"].to_pylist()]


@pytest.fixture
def hits(tmp_path: Path) -> Path:
    """1,000 rows in WAL mode."""
    return build(
        tmp_path / "app.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)",
        rows=[(number, TIME + number, "click", "x" * (number % 50)) for number in range(1, 1001)],
    )


@given(
    st.sets(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-50, 200), max_size=40),
    st.integers(1, 10),
    st.integers(1, 2000),
    st.sampled_from(["key", "rowid", "mapped", "indexed", "without"]),
    st.sampled_from([1, 2, 7, 65_536]),
    st.randoms(use_true_random=False),
)
def test_ranges_hold_every_row_once_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: set[int],
    most_rows: int,
    most_bytes: int,
    kind: str,
    measured: int,
    chance: random.Random,
) -> None:
    column = {"mapped": "n", "rowid": "n", "indexed": "n UNIQUE"}.get(kind, "n INTEGER PRIMARY KEY")
    rows = [(number, TIME, "click", "x" * chance.randrange(600)) for number in numbers]
    chance.shuffle(rows)
    path = build(
        tmp_path_factory.mktemp("ranges") / "app.db",
        f"CREATE TABLE hits ({column}, at, name, x) {'WITHOUT ROWID' * (kind == 'without')}",
        rows=rows,
    )
    wanted = sorted(numbers) if kind != "rowid" else list(range(1, len(numbers) + 1))
    mapping = {"seq": "n"} if kind in ("mapped", "indexed") else {}
    with patch.object(adopted, "_MEASURED", measured), opened(path, **mapping) as view:
        found = spans(view, rows=most_rows, size=most_bytes)
        pieces = [seqs(view, [span]) for span in found]
        again = spans(view, rows=most_rows, size=most_bytes)
        horizon = view.horizon

    assert [seq for piece in pieces for seq in piece] == wanted
    assert found == again
    assert horizon == (wanted[-1] if wanted else 0)
    for span, piece, after in zip(
        found, pieces, [found[0].after if found else 0, *(s.upto for s in found)], strict=False
    ):
        assert piece
        assert span.after == after
        assert span.upto == piece[-1]
        assert len(piece) <= most_rows
        assert len(piece) == 1 or span.bytes_hint <= most_bytes


def test_the_ends_of_all_integers_are_numbers_as_any_other(tmp_path: Path) -> None:
    numbers = [-(1 << 63), 1 - (1 << 63), 0, (1 << 63) - 2, (1 << 63) - 1]
    rows = [(number, TIME, "click") for number in numbers]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)", rows=rows)
    with opened(path) as view:
        for most in (1, 2, 100):
            assert seqs(view, spans(view, rows=most)) == numbers


def test_ranges_are_as_large_as_the_limits_allow(hits: Path) -> None:
    with opened(hits) as view:
        by_rows = spans(view, rows=300)
        by_bytes = spans(view, rows=10_000, size=50_000)

    assert [(span.after, span.upto) for span in by_rows] == [(0, 300), (300, 600), (600, 900), (900, 1000)]
    assert all(50_000 - 400 < span.bytes_hint <= 50_000 for span in by_bytes[:-1])


def test_a_row_that_is_over_the_limit_is_a_range_of_its_own(tmp_path: Path) -> None:
    rows = [(number, TIME, "click", "x" * (5000 if number == 3 else 1)) for number in range(1, 6)]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)", rows=rows)
    with opened(path) as view:
        found = spans(view, size=1000)

    assert [(span.after, span.upto) for span in found] == [(0, 2), (2, 3), (3, 5)]


def test_bytes_count_every_column_and_blobs(tmp_path: Path) -> None:
    wide = ", ".join(f"c{number}" for number in range(1200))
    path = build(
        tmp_path / "app.db",
        f"CREATE TABLE hits (at, name, {wide})",
        f"INSERT INTO hits (at, name, c3, c1199) VALUES ({TIME}, 'click', zeroblob(3000), '{'é' * 500}')",
    )
    with opened(path) as view:
        found = spans(view)
        (batch,) = view.read(found[0], PLAIN)

    assert found[0].bytes_hint == 3000 + len("é" * 500) * 2 + len(f"{TIME}click") + 1198 * len("null") + ROW_OVERHEAD
    assert batch["data"][0].as_py().count(":") == 1200


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
        if begun == 3:
            writer.commit()

    interrupted.before_begin = staticmethod(commit_before_the_third)
    with opened(hits, readers=4) as view:
        found = spans(view, rows=10_000)
        views = [seqs(view, found)[-1] for _ in range(8)]

    assert begun == 8
    assert writer.commits == 1
    assert set(views) == {1001}
    assert view.horizon == 1001


def test_without_a_pause_one_connection_serves_all_readers(
    hits: Path, interrupted: type[Interrupted], writer: Writer
) -> None:
    interrupted.before_begin = staticmethod(writer.commit)
    with opened(hits, readers=3) as view:
        begun = writer.commits
        found = spans(view, rows=100)
        with ThreadPoolExecutor(3) as pool:
            pieces = list(pool.map(lambda span: seqs(view, [span]), found))
        connections = len(view._connections)

    assert begun == 3 * 20 + 1
    assert connections == 1
    assert [seq for piece in pieces for seq in piece] == list(range(1, 1000 + begun + 1))


def test_a_pause_of_any_length_gives_every_reader_its_connection(hits: Path) -> None:
    with opened(hits, readers=5) as view:
        assert len(view._connections) == 5
        held: queue.SimpleQueue[int] = queue.SimpleQueue()
        barrier = threading.Barrier(5, timeout=30)

        def read() -> None:
            batches = view.read(SeqRange(after=0, upto=1000, bytes_hint=0), PLAIN)
            first = next(batches)
            barrier.wait()  # all five hold a connection at the same time
            held.put(first.num_rows + sum(batch.num_rows for batch in batches))

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: read(), range(5)))

    assert [held.get_nowait() for _ in range(5)] == [1000] * 5


def test_a_rollback_journal_is_read_as_well_and_keeps_writers_waiting(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)",
        rows=[(number, TIME, "click") for number in range(1, 11)],
    )
    with opened(path, readers=2) as view:
        with pytest.raises(subprocess.CalledProcessError):
            elsewhere(path, "PRAGMA busy_timeout = 1", "DELETE FROM hits")
        assert seqs(view, spans(view)) == list(range(1, 11))
    elsewhere(path, "DELETE FROM hits")
    with opened(path) as view:
        assert spans(view) == []


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
            "ids": "table:seq",
            "order": "primary key, assumed",
            "horizon": 1000,
        }


def test_without_a_number_a_small_table_is_one_range_in_rowid_order(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (uid TEXT PRIMARY KEY, at, name)",
        rows=[(f"u{9 - number}", TIME, "click") for number in range(5)],
    )
    with opened(path, id="uid") as view:
        found = spans(view)
        (batch,) = view.read(found[0], PLAIN)

    assert len(found) == 1
    assert batch["id"].to_pylist() == ["u9", "u8", "u7", "u6", "u5"]
    assert batch["seq"].to_pylist() == [1, 2, 3, 4, 5]
    assert view.source["order"] == "rowid, assumed"
    assert view.source["ids"] == "column, unique"


def test_a_mapped_seq_without_integers_is_refused_and_odd_ones_are_counted(tmp_path: Path) -> None:
    numbers: list[Any] = [5, None, 3, "x", 4.5, b"1", -7]
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (n, at, name, t TEXT)",
        rows=[(number, TIME, "click", number) for number in numbers],
    )
    with opened(path, seq="n") as view:
        assert view.horizon == 5
        assert seqs(view, spans(view)) == [-7, 3, 5]
        assert view.counts == {"skipped_bad_seq": 4}
    with opened(path, seq="t") as view, pytest.raises(InvalidMapping, match="'t' holds no integer"):
        spans(view)


def test_a_repeated_seq_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (n, at, name)",
        rows=[(min(number, 65_535), TIME, "click") for number in range(1, 65_537)],
    )
    with opened(path, seq="n") as view, pytest.raises(InvalidMapping, match="'n' holds 65535 twice"):
        spans(view)


def test_counts_follow_the_ranges_that_an_export_uses(tmp_path: Path) -> None:
    rows = [(number, TIME if number % 3 else "never", "click", b"x") for number in range(1, 31)]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)", rows=rows)
    limited = ExportFilter(limit=5)
    with opened(path) as view:
        found = spans(view, limited, rows=6)
        for span in found:  # more than one range ahead of the limit, as several threads do
            list(view.read(span, limited))
        assert [batch.num_rows for batch in view.read(found[1], ExportFilter(limit=1))] == [1]
        assert view.counts == {"coerced_blob": 5, "skipped_bad_timestamp": 2}

        found = spans(view, rows=7)
        assert view.counts == {}
        for _ in range(2):
            assert len(seqs(view, found)) == 20
            assert view.counts == {"coerced_blob": 20, "skipped_bad_timestamp": 10}

        nothing = ExportFilter(limit=0)
        assert seqs(view, spans(view, nothing), nothing) == []
        assert view.counts == {}


def test_a_reader_that_stops_gives_its_connection_back(hits: Path) -> None:
    with opened(hits) as view:
        whole = SeqRange(after=0, upto=1000, bytes_hint=0)
        for _ in range(3):
            batches = view.read(whole, PLAIN)
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
    with SqliteAnalyticsStorage(hits, StorageConfig(table="hits", mapping=NEEDED)) as storage:
        assert storage.count() == 1000
        assert storage.count(ExportFilter(limit=7)) == 7
        assert storage.count(ExportFilter(start="2026-11-01", event_types=["nope"])) == 0
        assert sum(batch.num_rows for batch in storage.scan(ExportFilter(limit=999))) == 999
        stats = storage.stats()
        assert (stats.total_events, stats.last_seq, dict(stats.events_by_type)) == (1000, 1000, {"click": 1000})
        assert sum(count for _, _, count in storage.histogram(buckets=7)) == 1000
        with pytest.raises(AccessDenied):
            storage.append([])
        with pytest.raises(AccessDenied):
            storage.delete(ExportFilter(limit=1))


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_an_empty_table_has_no_ranges(tmp_path: Path, journal: str) -> None:
    path = build(
        tmp_path / "app.db", f"PRAGMA journal_mode = {journal}", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)"
    )
    with opened(path, readers=2) as view:
        assert spans(view) == []
        assert (view.horizon, view.counts) == (0, {})
        assert seqs(view, [SeqRange(after=-1, upto=10, bytes_hint=0)]) == []
    with SqliteAnalyticsStorage(path, StorageConfig(table="hits", mapping=NEEDED)) as storage:
        assert storage.stats().total_events == 0
        assert storage.histogram() == []
