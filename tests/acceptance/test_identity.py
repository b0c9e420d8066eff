"""A lineage of a table goes on when the file was moved, copied, restored or vacuumed and when the table got columns,
and says what failed where it does not."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import foreign_readers
import foreign_sqlite
import sample_events
from forged import manifest
from penstock import AnalyticsEvent, ExportFilter, SqliteAnalyticsStorage
from penstock_command import Run

Command = Callable[..., Run]
TABLE = "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT, path TEXT)"
OF_TABLE = ("--table", "hits", "--map", "timestamp=at:s,event_type=name")
BEGUN = 1_790_000_000


def insert(path: Path, first: int, last: int) -> None:
    rows = ", ".join(f"({BEGUN + n}, 'hit', '/{n}')" for n in range(first, last + 1))
    foreign_sqlite.execute(path, f"INSERT INTO hits (at, name, path) VALUES {rows}")


def add(penstock: Command, *more: str, path: str = "app.db") -> Run:
    return penstock("export", path, "runs/", "--incremental", "--format", "ndjson", *OF_TABLE, *more, "--json")


def rows(root: Path) -> list[dict[str, object]]:
    manifests = [json.loads(path.read_bytes()) for path in sorted((root / "runs").glob("_penstock/runs/*.json"))]
    parts = [entry["name"] for raw in manifests for entry in raw["parts"]]
    return [dict(row["data"][1]) for name in parts for row in foreign_readers.read(root / "runs" / name)]


def between(first: int, last: int) -> Counter[object]:
    return Counter(f"/{number}" for number in range(first, last + 1))


@pytest.fixture
def root(tmp_path: Path, penstock: Command) -> Path:
    foreign_sqlite.execute(tmp_path / "app.db", TABLE)
    insert(tmp_path / "app.db", 1, 40)
    assert add(penstock).code == 0
    return tmp_path


def test_columns_that_come_later_are_kept_out_and_told(root: Path, penstock: Command) -> None:
    foreign_sqlite.execute(root / "app.db", "ALTER TABLE hits ADD COLUMN agent TEXT DEFAULT 'none'")
    insert(root / "app.db", 41, 50)
    done = add(penstock)
    assert (done.code, done.summary["event_count"], done.summary["counts"]) == (0, 10, {})
    assert {"v": 1, "type": "warning", "message": "new columns are kept out of the lineage: agent"} in done.lines
    assert {tuple(row) for row in rows(root)} == {("path",)}
    refused = add(penstock, "--new-columns", "fail")
    assert (refused.code, "does not know: agent" in refused.stderr) == (2, True)
    assert penstock("resume", "app.db", "runs").code == 0
    assert penstock("verify", "runs").code == 0


def test_a_table_as_it_is_keeps_the_columns_that_the_lineage_was_begun_with(root: Path, penstock: Command) -> None:
    given = ("export", "app.db", "plain/", "--incremental", "--format", "ndjson", "--table", "hits")
    assert penstock(*given).code == 0
    foreign_sqlite.execute(root / "app.db", "ALTER TABLE hits ADD COLUMN agent TEXT DEFAULT 'none'")
    for first, last in ((41, 45), (46, 50)):
        insert(root / "app.db", first, last)
        done = penstock(*given, "--json")
        assert (done.code, done.summary["event_count"], done.summary["growth"]) == (0, 5, "checked")
        assert {"v": 1, "type": "warning", "message": "new columns are kept out of the lineage: agent"} in done.lines
    assert [part["name"] for part in manifest(root / "plain", 3)["schema"]] == ["n", "at", "name", "path"]
    assert penstock("resume", "app.db", "plain").code == penstock("verify", "plain").code == 0


def test_a_table_of_row_numbers_loses_nothing_when_these_change(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "app.db"
    foreign_sqlite.execute(database, "CREATE TABLE words (word TEXT)", "INSERT INTO words VALUES ('a'), ('b'), ('c')")
    given = ("export", "app.db", "words/", "--incremental", "--format", "ndjson", "--table", "words")
    assert penstock(*given).code == 0
    foreign_sqlite.execute(database, "DELETE FROM words WHERE word = 'b'", "VACUUM", "INSERT INTO words VALUES ('d')")
    done = penstock(*given, "--json")
    assert (done.code, done.summary["event_count"]) == (3, 1)
    parts = [entry["name"] for run in (1, 2) for entry in manifest(tmp_path / "words", run)["parts"]]
    lines = [json.loads(line) for name in parts for line in (tmp_path / "words" / name).read_bytes().splitlines()]
    assert sorted(line["word"] for line in lines) == ["a", "b", "c", "d"]


def test_a_column_that_is_gone_is_named(root: Path, penstock: Command) -> None:
    foreign_sqlite.execute(
        root / "app.db", "ALTER TABLE hits ADD COLUMN agent TEXT", "ALTER TABLE hits DROP COLUMN path"
    )
    refused = add(penstock)
    assert (refused.code, "no column 'path' any more" in refused.stderr) == (2, True)


@pytest.mark.parametrize("how", ["moved", "copied", "restored", "vacuumed"])
def test_the_file_may_lie_elsewhere_and_be_written_anew(how: str, root: Path, penstock: Command) -> None:
    name = "app.db"
    if how == "moved":
        name = "moved.db"
        (root / "app.db").rename(root / name)
    elif how == "vacuumed":
        foreign_sqlite.execute(root / name, "DELETE FROM hits WHERE n = 5", "VACUUM")
    else:
        name = "copy.db" if how == "copied" else "app.db"
        shutil.copy(root / "app.db", root / "kept.db")
        if how == "restored":
            (root / "app.db").unlink()
        shutil.copy(root / "kept.db", root / name)
    insert(root / name, 41, 60)
    done = add(penstock, path=name)
    assert (done.code, done.summary["event_count"]) == (0, 20)
    assert Counter(row["path"] for row in rows(root)) == between(1, 60)


def test_another_table_is_refused_with_what_differs_and_may_be_accepted(tmp_path: Path, penstock: Command) -> None:
    root = tmp_path
    foreign_sqlite.execute(root / "app.db", TABLE.replace("at INTEGER", "at INTEGER, id TEXT"))
    insert(root / "app.db", 1, 40)
    foreign_sqlite.execute(root / "app.db", "UPDATE hits SET id = 'id-' || n")
    assert add(penstock).code == 0
    foreign_sqlite.execute(root / "app.db", "ALTER TABLE hits RENAME TO visits")
    renamed = ("--table", "visits", *OF_TABLE[2:])
    given = ("export", "app.db", "runs/", "--incremental", "--format", "ndjson", *renamed)
    refused = penstock(*given)
    assert refused.code == 2
    assert 'known as table:["hits", "n"]' in refused.stderr
    assert 'is table:["visits", "n"] now' in refused.stderr
    assert "--accept-store" in refused.stderr
    foreign_sqlite.execute(root / "app.db", f"INSERT INTO visits (at, name, path) VALUES ({BEGUN}, 'hit', '/41')")
    done = penstock(*given, "--accept-store", "--json")
    assert (done.code, done.summary["event_count"]) == (0, 1)
    assert manifest(root / "runs", 2)["lineage"]["accepted"] == 'table:["hits", "n"]'
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0
    assert penstock(*given).code == 0


def test_a_table_without_the_rows_is_not_accepted(root: Path, penstock: Command) -> None:
    other = root / "other.db"
    foreign_sqlite.execute(other, TABLE.replace("hits", "visits"))
    foreign_sqlite.execute(other, f"INSERT INTO visits (at, name, path) VALUES ({BEGUN}, 'hit', '/other')")
    given = ("export", "other.db", "runs/", "--incremental", "--format", "ndjson", "--table", "visits", *OF_TABLE[2:])
    refused = penstock(*given, "--accept-store")
    assert (refused.code, "none of the" in refused.stderr) == (2, True)


def test_a_store_that_was_restored_into_another_is_accepted(tmp_path: Path, penstock: Command) -> None:
    events = sample_events.varied(80)
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([*events[:60], AnalyticsEvent("gone")])
        assert store.delete(ExportFilter(event_types=["gone"])) == 1  # each store counts its own deletions
    given = ("runs/", "--incremental", "--format", "ndjson")
    assert penstock("export", "events.db", *given).code == 0
    assert penstock("restore", "runs", "--into", "again.db").code == 0
    with SqliteAnalyticsStorage(tmp_path / "again.db") as store:
        store.append(events[60:])
    assert penstock("export", "again.db", *given).code == 2
    done = penstock("export", "again.db", *given, "--accept-store", "--json")
    assert (done.code, done.summary["event_count"]) == (0, 20)
    assert penstock("diff", "runs", "again.db").code == 0


def test_accepting_needs_a_lineage(root: Path, penstock: Command) -> None:
    refused = penstock("export", "app.db", "one.ndjson", *OF_TABLE, "--accept-store")
    assert (refused.code, "add --incremental" in refused.stderr) == (2, True)
