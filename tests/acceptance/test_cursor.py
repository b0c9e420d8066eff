"""A run begins where the store can prove that the run before ended: stores that were put back, replaced, or written by
other programs lose no event in silence."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import foreign_readers
import foreign_sqlite
import sample_events
from forged import manifest
from penstock import AnalyticsEvent, ExportFilter, SqliteAnalyticsStorage, verify
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(400)
ADD = ("export", "events.db", "runs/", "--incremental", "--format", "ndjson")
TABLE = "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT, path TEXT)"
NUMBERED = "CREATE TABLE hits (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, name TEXT, path TEXT)"
OF_TABLE = ("--table", "hits", "--map", "timestamp=at:s,event_type=name")
BEGUN = 1_790_000_000


def append(place: Path, events: Iterable[AnalyticsEvent]) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(events)


def rows(runs: Path) -> list[dict[str, Any]]:
    """The events of every run in order, read by a library that did not write them."""
    manifests = [json.loads(path.read_bytes()) for path in sorted(runs.glob("_penstock/runs/*.json"))]
    return [row for raw in manifests for entry in raw["parts"] for row in foreign_readers.read(runs / entry["name"])]


def ids(runs: Path) -> Counter[str]:
    return Counter(row["id"] for row in rows(runs))


def of(events: Iterable[AnalyticsEvent]) -> Counter[str]:
    return Counter(event.id for event in events)


def insert(path: Path, first: int, count: int, *, into: str = "at, name, path") -> None:
    """Rows of somebody else's application, in one transaction of its own process."""
    foreign_sqlite.execute(
        path,
        f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first + count - 1})"
        f" INSERT INTO hits ({into}) SELECT {BEGUN} + i, 'hit', '/' || i FROM n",
    )


def paths(runs: Path) -> Counter[str]:
    """The ``path`` of every exported row of ``hits``."""
    return Counter(dict(row["data"][1])["path"] for row in rows(runs))


def between(first: int, last: int) -> Counter[str]:
    return Counter(f"/{number}" for number in range(first, last + 1))


def put_back(backup: Path, path: Path) -> None:
    """Replace a database by an older copy of it, with what belongs to it."""
    for ending in ("-wal", "-shm", "-journal"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    shutil.copy(backup, path)


def test_numbers_that_were_burned_are_promised_to_nobody(tmp_path: Path, penstock: Command) -> None:
    """Loading events again gives out numbers without rows; a store that is put back gives them out once more."""
    append(tmp_path, EVENTS[:100])
    shutil.copy(tmp_path / "events.db", tmp_path / "backup.db")
    append(tmp_path, EVENTS[:100])
    assert penstock(*ADD).code == 0
    put_back(tmp_path / "backup.db", tmp_path / "events.db")
    append(tmp_path, EVENTS[100:200])
    done = penstock(*ADD, "--json")
    assert (done.code, done.summary["event_count"]) == (0, 100)
    assert ids(tmp_path / "runs") == of(EVENTS[:200])
    assert verify(tmp_path / "runs").ok
    assert [manifest(tmp_path / "runs", run)["lineage"]["upto"] for run in (1, 2)] == [{"seq": 100}, {"seq": 200}]


def test_a_store_whose_numbering_was_deleted_is_exported_whole(tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, EVENTS[:300])
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM sqlite_sequence")
    assert penstock("export", "events.db", "out.ndjson", "--json").summary["event_count"] == 300
    assert penstock("inspect", "events.db", "--json").summary["last_seq"] == 300
    assert penstock(*ADD, "--json").summary["event_count"] == 300
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM sqlite_sequence")
    append(tmp_path, EVENTS[300:])
    assert penstock(*ADD).code == 0
    assert ids(tmp_path / "runs") == of(EVENTS)


@pytest.mark.parametrize("again", [1, 5, 30])
def test_a_table_without_ids_that_was_put_back_and_grew_loses_no_row(
    again: int, tmp_path: Path, penstock: Command
) -> None:
    """Row numbers come again with other rows behind them: only the rows' content tells them apart."""
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, TABLE)
    insert(database, 1, 100)
    shutil.copy(database, tmp_path / "backup.db")
    insert(database, 101, 50)
    assert penstock(*ADD, *OF_TABLE).code == 0
    put_back(tmp_path / "backup.db", database)
    insert(database, 1001, 50 + again)

    done = penstock(*ADD, *OF_TABLE, "--json")
    assert (done.code, done.summary["event_count"]) == (3, 50 + again)
    assert paths(tmp_path / "runs") == between(1, 150) + between(1001, 1050 + again)
    insert(database, 2001, 5)
    assert penstock(*ADD, *OF_TABLE).code == 0
    assert paths(tmp_path / "runs") == between(1, 150) + between(1001, 1050 + again) + between(2001, 2005)
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0


@pytest.mark.parametrize("grown", [10, 150, 400])
def test_a_rotated_table_is_not_the_table_of_the_lineage(grown: int, tmp_path: Path, penstock: Command) -> None:
    """Under the same path and definition lies another file, whose numbers begin anew."""
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, TABLE)
    insert(database, 1, 150)
    assert penstock(*ADD, *OF_TABLE).code == 0
    database.rename(tmp_path / "events.db.1")
    foreign_sqlite.execute(database, TABLE)
    insert(database, 1001, grown)
    before = sorted(os.listdir(tmp_path / "runs"))
    done = penstock(*ADD, *OF_TABLE)
    assert done.code == 2
    assert "the store is not as run 1 left it" in done.stderr
    assert "begin a new lineage" in done.stderr
    assert sorted(os.listdir(tmp_path / "runs")) == before


def test_two_tables_are_told_apart_by_their_rows_whatever_their_paths(tmp_path: Path) -> None:
    from penstock import ExportOptions, StorageConfig, export
    from penstock.errors import Rewound

    config = StorageConfig(table="hits", mapping={"timestamp": "at:s", "event_type": "name"})
    one, other = (tmp_path / os.fsdecode(name) for name in (b"a\xfe.db", b"a\xff.db"))
    for path in (one, other):
        foreign_sqlite.execute(path, TABLE)
        insert(path, 1 if path == one else 11, 10)
    export(one, tmp_path / "runs", config=config, options=ExportOptions(format="ndjson"), incremental=True)
    with pytest.raises(Rewound, match="is another row now"):
        export(other, tmp_path / "runs", config=config, options=ExportOptions(format="ndjson"), incremental=True)


def test_the_newest_row_of_a_table_may_be_deleted(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, NUMBERED)
    insert(database, 1, 20)
    assert penstock(*ADD, *OF_TABLE).code == 0
    foreign_sqlite.execute(database, "DELETE FROM hits WHERE id = 20")
    done = penstock(*ADD, *OF_TABLE, "--json")
    assert (done.code, done.summary["event_count"]) == (3, 0)
    assert penstock(*ADD, *OF_TABLE).code == 0
    insert(database, 21, 3)
    assert penstock(*ADD, *OF_TABLE).code == 0
    assert paths(tmp_path / "runs") == between(1, 23)


def test_a_store_that_was_put_back_grew_and_lost_just_the_last_row_is_seen(tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, EVENTS[:100])
    shutil.copy(tmp_path / "events.db", tmp_path / "backup.db")
    append(tmp_path, EVENTS[100:150])
    assert penstock(*ADD).code == 0
    put_back(tmp_path / "backup.db", tmp_path / "events.db")
    append(tmp_path, EVENTS[200:300])
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM events WHERE seq = 150")
    penstock(*ADD)
    assert ids(tmp_path / "runs") == of(EVENTS[:150]) + of(EVENTS[200:249]) + of(EVENTS[250:300])


def test_a_row_that_a_backup_brings_back_is_exported(tmp_path: Path, penstock: Command) -> None:
    """It was deleted before any run saw it; the backup is older than the deletion, which the store's counter tells."""
    append(tmp_path, EVENTS[:100])
    shutil.copy(tmp_path / "events.db", tmp_path / "backup.db")
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        assert store.delete(ExportFilter(limit=10)) == 10
    assert penstock(*ADD).code == 0
    put_back(tmp_path / "backup.db", tmp_path / "events.db")
    assert penstock(*ADD).code == 3
    assert ids(tmp_path / "runs") == of(EVENTS[:100])


def test_the_newest_events_of_a_store_may_be_deleted(tmp_path: Path, penstock: Command) -> None:
    append(tmp_path, EVENTS[:50])
    assert penstock(*ADD).code == 0
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM events WHERE seq > 47")
    assert penstock(*ADD).code == 0
    assert manifest(tmp_path / "runs", 2)["lineage"]["upto"] == {"seq": 50}
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM events")
    assert penstock(*ADD).code == 0
    append(tmp_path, EVENTS[50:60])
    assert penstock(*ADD).code == 0
    assert ids(tmp_path / "runs") == of(EVENTS[:60])


def test_numbers_that_come_again_are_read_again(tmp_path: Path, penstock: Command) -> None:
    """The newest events and the numbering go; other events get their numbers."""
    append(tmp_path, EVENTS[:50])
    assert penstock(*ADD).code == 0
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, "DELETE FROM events WHERE seq > 40", "DELETE FROM sqlite_sequence")
    columns = "id, category, event_type, timestamp, session_id, priority, data, metadata, received_at"
    copied = "'new-' || id, category, event_type, timestamp, session_id, priority, data, metadata, received_at"
    foreign_sqlite.execute(database, f"INSERT INTO events ({columns}) SELECT {copied} FROM events WHERE seq = 7")
    assert penstock(*ADD).code == 3
    assert ids(tmp_path / "runs") == of(EVENTS[:50]) + Counter([f"new-{EVENTS[6].id}"])


@pytest.mark.parametrize("columns", ["id,timestamp,seq", "id,timestamp,data", "timestamp,data"])
def test_a_lineage_of_some_columns(columns: str, tmp_path: Path, penstock: Command) -> None:
    """Rows are told apart by the columns that the lineage has; without ids they cannot be, and the run is refused."""
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, TABLE)
    insert(database, 1, 30)
    shutil.copy(database, tmp_path / "backup.db")
    insert(database, 31, 30)
    assert penstock(*ADD, *OF_TABLE, "--columns", columns).code == 0
    put_back(tmp_path / "backup.db", database)
    insert(database, 101, 40)
    done = penstock(*ADD, *OF_TABLE, "--columns", columns)
    if "id" in columns:
        assert done.code == 3
        assert manifest(tmp_path / "runs", 2)["rows"] == 40
    else:
        assert done.code == 2
        assert "no column id" in done.stderr


def test_rows_that_are_no_events_prove_as_well(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, TABLE)
    insert(database, 1, 5)
    foreign_sqlite.execute(database, "INSERT INTO hits (at, name) VALUES (1, NULL), (NULL, 'hit')")
    assert penstock(*ADD, *OF_TABLE).code == 3
    anchors = manifest(tmp_path / "runs", 1)["lineage"]["anchors"]
    assert [(anchor["seq"], anchor["key"]) for anchor in anchors[:3]] == [(7, None), (6, None), (5, "hits:5")]
    assert penstock(*ADD, *OF_TABLE).code == 0
    foreign_sqlite.execute(database, "UPDATE hits SET name = 'hit', path = '/late' WHERE n = 6")
    assert penstock(*ADD, *OF_TABLE).code == 3
    assert paths(tmp_path / "runs") == between(1, 5) + Counter(["/late"])


def test_a_run_that_reads_everything_again_begins_below_negative_numbers(tmp_path: Path, penstock: Command) -> None:
    """The lineage began before the table had a row; of the rows it is known by, none is below the one that changed."""
    database = tmp_path / "events.db"
    foreign_sqlite.execute(database, TABLE)
    assert penstock(*ADD, *OF_TABLE).code == 0
    for number in (-2, -1, 3):
        foreign_sqlite.execute(database, f"INSERT INTO hits VALUES ({number}, {BEGUN}, 'hit', '/{number}')")
    assert penstock(*ADD, *OF_TABLE).code == 3  # there was no row of a negative number before
    foreign_sqlite.execute(database, "UPDATE hits SET path = '/changed' WHERE n = -2")
    assert penstock(*ADD, *OF_TABLE).code == 3
    assert paths(tmp_path / "runs") == Counter(["/-2", "/-1", "/3", "/changed"])
    assert penstock(*ADD, *OF_TABLE).code == penstock("verify", "runs").code == 0
