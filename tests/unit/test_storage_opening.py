"""Opening a store: what is one, what is refused and how, who may, and how long one waits for a lock."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import as_nobody
import foreign_sqlite
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportFilter, SqliteAnalyticsStorage, StorageConfig, export
from penstock.errors import (
    AccessDenied,
    ExportError,
    InvalidMapping,
    NewerVersion,
    NotAStore,
    NotFound,
    StoreBusy,
    UsageError,
)


def _open_all_ways(path: Path, kind: type[ExportError], *, exit_code: int) -> None:
    for read_only, create in ((True, True), (True, False), (False, False), (False, True)):
        with pytest.raises(kind) as caught:
            SqliteAnalyticsStorage(path, read_only=read_only, create=create)
        assert caught.value.exit_code == exit_code
        assert caught.value.hint


def test_a_new_store_is_a_wal_database_of_our_schema(store: SqliteAnalyticsStorage) -> None:
    found = foreign_sqlite.execute(
        store.path,
        "PRAGMA journal_mode",
        "PRAGMA user_version",
        "PRAGMA application_id",
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    assert found[:3] == [[["wal"]], [[1]], [[0x50454E53]]]
    tables = {name for (name,) in found[3]}
    assert "events" in tables
    assert all(name.startswith("penstock_") for name in tables - {"events"})


def test_a_store_is_opened_again_with_what_it_held(tmp_path: Path) -> None:
    for number in range(3):
        with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
            assert store.count() == number
            store.append([AnalyticsEvent("x")])
    assert repr(store) == f"SqliteAnalyticsStorage({str(tmp_path / 'a.db')!r})"
    store.close()
    with pytest.raises(AccessDenied):
        store.append([AnalyticsEvent("x")])


def test_an_empty_file_becomes_a_store_only_when_it_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    with pytest.raises(NotAStore):
        SqliteAnalyticsStorage(tmp_path / "a.db", read_only=True)
    assert (tmp_path / "a.db").stat().st_size == 0
    with SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        assert store.append([AnalyticsEvent("x")]).inserted == 1


def test_a_newer_store_is_refused_and_left_alone(filled: SqliteAnalyticsStorage) -> None:
    filled.close()
    foreign_sqlite.execute(filled.path, "PRAGMA user_version = 2")
    before = filled.path.read_bytes()
    _open_all_ways(filled.path, NewerVersion, exit_code=2)
    assert filled.path.read_bytes() == before


def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    foreign_sqlite.execute(path, "CREATE TABLE events (a)", "INSERT INTO events VALUES (1)")
    before = path.read_bytes()
    _open_all_ways(path, NotAStore, exit_code=2)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", [b"x", b"no database at all\n" * 100, b"SQLite format 2\x00" + bytes(4080), bytes(4096)]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(text)
    _open_all_ways(path, NotAStore, exit_code=2)
    assert path.read_bytes() == text
    assert os.listdir(tmp_path) == ["a.db"]


def test_a_header_without_a_database_behind_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"SQLite format 3\x00" + bytes(4080))
    with pytest.raises(ExportError) as caught:
        SqliteAnalyticsStorage(path, read_only=True)
    assert caught.value.exit_code in (2, 7)


def test_what_is_missing_and_what_is_a_directory(tmp_path: Path) -> None:
    for read_only in (True, False):
        with pytest.raises(NotFound, match="there is no store"):
            SqliteAnalyticsStorage(tmp_path / "a.db", read_only=read_only, create=False)
    with pytest.raises(NotFound, match="there is no directory"):
        SqliteAnalyticsStorage(tmp_path / "no" / "a.db")
    _open_all_ways(tmp_path, UsageError, exit_code=2)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["a b.db", "a?mode=rw&x.db", "a#b.db", "a%20b.db", "été 😀.db", "'; --.db", os.fsdecode(b"\xff.db")]
)
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    with SqliteAnalyticsStorage(tmp_path / name) as store:
        store.append([AnalyticsEvent("x")])
        assert store.count() == 1
        assert Exporter(store).export(tmp_path / "a.csv").metadata.event_count == 1
    assert os.path.exists(tmp_path / name)
    assert {entry for entry in os.listdir(tmp_path) if not entry.startswith("a.csv")} == {name}


def test_reading_never_writes_the_file(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    filled.close()
    before = filled.path.read_bytes(), filled.path.stat().st_mtime_ns
    with SqliteAnalyticsStorage(filled.path, read_only=True) as reader:
        assert reader.count() == 500
        reader.stats()
        reader.histogram()
        Exporter(reader).export(tmp_path / "a.csv")
    export(filled.path, tmp_path / "b.csv")
    assert (filled.path.read_bytes(), filled.path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "given",
    [
        {"synchronous": "maybe"},
        {"busy_timeout": -1},
        {"busy_timeout": float("nan")},
        {"busy_timeout": 100_000},
        {"batch_rows": 0},
        {"batch_rows": 1 << 21},
        {"max_size_bytes": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        StorageConfig(**given)


def test_a_mapping_needs_a_table_and_known_fields() -> None:
    with pytest.raises(InvalidMapping, match="needs a table"):
        StorageConfig(mapping={"id": "x"})
    with pytest.raises(InvalidMapping, match="unknown field"):
        StorageConfig(table="t", mapping={"nope": "x"})


@pytest.mark.parametrize("synchronous", ["off", "normal", "full"])
@pytest.mark.parametrize("wal", [True, False])
def test_every_way_to_keep_a_store_keeps_it(tmp_path: Path, synchronous: Any, wal: bool) -> None:
    with SqliteAnalyticsStorage(tmp_path / "a.db", StorageConfig(synchronous=synchronous, wal=wal)) as store:
        store.append(sample_events.varied(50))
        mode = foreign_sqlite.execute(store.path, "PRAGMA journal_mode")[0]
        assert mode == [["wal" if wal else "delete"]]
        assert store.count() == 50


def test_a_store_that_stays_locked_is_busy_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with SqliteAnalyticsStorage(path, StorageConfig(busy_timeout=0.2)) as store:
        store.append(sample_events.varied(20))
        with foreign_sqlite.holding(path):
            with pytest.raises(StoreBusy) as caught:
                store.append([AnalyticsEvent("x")])
            assert (caught.value.exit_code, caught.value.retryable) == (5, True)
            with pytest.raises(StoreBusy):
                store.delete(ExportFilter(limit=1))
            assert store.count() == 20, "with a write-ahead log reading goes on"
        assert store.append([AnalyticsEvent("x")]).inserted == 1


def test_without_a_write_ahead_log_reading_is_busy_too(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    config = StorageConfig(busy_timeout=0.1, wal=False)
    with SqliteAnalyticsStorage(path, config) as store:
        store.append(sample_events.varied(20))
        with foreign_sqlite.holding(path):
            for act in (store.count, store.stats, store.pin, lambda: list(store.scan())):
                with pytest.raises(StoreBusy):
                    act()
            with pytest.raises(StoreBusy):
                SqliteAnalyticsStorage(path, config, read_only=True)
            with pytest.raises(StoreBusy):
                Exporter(store).export(tmp_path / "a.csv")
        assert store.count() == 20
    assert not list(tmp_path.glob("*csv*"))


def test_a_lock_that_is_given_up_in_time_is_waited_for(filled: SqliteAnalyticsStorage) -> None:
    with foreign_sqlite.holding(filled.path) as holder:
        assert holder.stdin is not None
        threading.Timer(0.3, holder.stdin.close).start()
        assert filled.append([AnalyticsEvent("x")]).inserted == 1


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users may enter, unlike those that pytest makes."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


def _as_nobody(path: Path, expression: str) -> str:
    """Evaluate an expression about ``path`` as a user without any rights; errors by their names."""
    code = (
        "path = Path(sys.argv[1])\n"
        f"try: print({expression})\n"
        "except ExportError as error: print(type(error).__name__, error.exit_code)"
    )
    return as_nobody.run(code, path, cwd=path.parent).stdout.strip()


@as_nobody.needs_root
def test_a_store_that_one_may_not_read_is_refused(open_place: Path) -> None:
    path = open_place / "a.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append([AnalyticsEvent("x")])
    path.chmod(0o600)
    assert _as_nobody(path, "SqliteAnalyticsStorage(path, read_only=True)") == "AccessDenied 7"
    path.chmod(0o644)
    assert _as_nobody(path, "SqliteAnalyticsStorage(path)") == "AccessDenied 7"
    assert _as_nobody(path.with_name("b.db"), "SqliteAnalyticsStorage(path)") == "AccessDenied 7"


@as_nobody.needs_root
def test_a_store_in_a_place_where_nothing_can_be_written_is_read(open_place: Path) -> None:
    path = open_place / "a.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append(sample_events.varied(30))
    path.chmod(0o444)
    assert _as_nobody(path, "SqliteAnalyticsStorage(path, read_only=True).count()") == "30"
    assert os.listdir(open_place) == ["a.db"]


@as_nobody.needs_root
def test_a_log_that_must_be_read_with_it_is_never_left_out_in_silence(open_place: Path) -> None:
    """What is only in the write-ahead log yet is read, or the store is refused; it is never read without."""
    path = open_place / "a.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append(sample_events.varied(30))
        assert os.stat(f"{path}-wal").st_size > 0
        for each in open_place.iterdir():
            each.chmod(0o444)
        said = _as_nobody(path, "SqliteAnalyticsStorage(path, read_only=True).count()")
        for each in open_place.iterdir():
            each.chmod(0o644)
        assert said in ("30", "AccessDenied 7")


@as_nobody.needs_root
def test_a_link_to_a_store_is_read_with_the_stores_own_log(open_place: Path) -> None:
    with tempfile.TemporaryDirectory() as elsewhere, SqliteAnalyticsStorage(Path(elsewhere, "a.db")) as store:
        os.chmod(elsewhere, 0o755)
        store.append(sample_events.varied(30))
        for each in Path(elsewhere).iterdir():
            each.chmod(0o444)
        (open_place / "link.db").symlink_to(store.path)
        said = _as_nobody(open_place / "link.db", "SqliteAnalyticsStorage(path, read_only=True).count()")
        assert said in ("30", "AccessDenied 7")


_READ_IN_TWO_STEPS = """
store = SqliteAnalyticsStorage(sys.argv[1], read_only=True)
view = store.pin()
print("open", flush=True)
sys.stdin.readline()
try:
    ranges = view.plan(ExportFilter(), max_rows=100, max_bytes=1 << 40)
    print(sum(batch.num_rows for span in ranges for batch in view.read(span, ExportFilter())))
except ExportError as error:
    print(type(error).__name__, error.exit_code)
"""


@as_nobody.needs_root
@pytest.mark.parametrize("written", [False, True])
def test_what_is_read_without_locks_must_not_be_written_meanwhile(open_place: Path, written: bool) -> None:
    """Pages from two moments of the store would be an export of neither."""
    path = open_place / "a.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append(sample_events.varied(2000))
    path.chmod(0o444)
    with as_nobody.start(_READ_IN_TWO_STEPS, path, cwd=open_place) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        if written:
            with SqliteAnalyticsStorage(path) as store:
                store.delete(ExportFilter(limit=1500))
            foreign_sqlite.execute(path, "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM")
        said = reader.communicate("go on\n", timeout=60)[0].strip()
    assert said == ("StoreBusy 5" if written else "2000")


@as_nobody.needs_root
def test_a_journal_that_must_be_played_back_is_never_left_out_in_silence(open_place: Path) -> None:
    """A program died in the middle of a transaction: half of it is in the file, the way back in the journal."""
    path = open_place / "a.db"
    with SqliteAnalyticsStorage(path, StorageConfig(wal=False)) as store:
        store.append(sample_events.varied(3000))
    with foreign_sqlite.holding(path, "BEGIN EXCLUSIVE", "PRAGMA cache_size = 2", "DELETE FROM events") as holder:
        holder.kill()
        holder.wait()
    assert os.stat(f"{path}-journal").st_size > 0
    for each in open_place.iterdir():
        each.chmod(0o444)
    said = _as_nobody(path, "SqliteAnalyticsStorage(path, read_only=True).count()")
    for each in open_place.iterdir():
        each.chmod(0o644)
    assert said in ("3000", "AccessDenied 7", "StorageError 7")
    with pytest.raises(AccessDenied):
        SqliteAnalyticsStorage(path, read_only=True)
    with SqliteAnalyticsStorage(path) as store:
        assert store.count() == 3000, "who may write plays it back"
