"""Lineages of tables, views and queries whose rows are ordered by what is no single number: times, texts, several
columns. Found, told and exported exactly once, as with numbers; what orders nothing is refused by name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars
import pytest

import foreign_sqlite
from forged import manifest
from penstock_command import Run

Command = Callable[..., Run]
ADD = ("export", "app.db", "runs/", "--incremental", "--format", "ndjson", "--table", "hits")
#: Tables, their key, and what is inserted first, above, and below: a time that ties, and keys of other types.
TABLES = {
    "text, ties": (
        ("CREATE TABLE hits (id INTEGER PRIMARY KEY, at TEXT, note TEXT)", "CREATE INDEX by_at ON hits (at)"),
        ("--key", "at"),
        ("(1, '2026-01-01T00:00:00Z', 'a')", "(2, '2026-01-01T00:00:00Z', 'b')", "(3, '2026-02-01T00:00:00Z', 'c')"),
        ("(4, '2026-02-01T00:00:00Z', 'tie')", "(9, '2026-03-01T00:00:00Z', 'new')"),
        ("(5, '2026-01-01T00:00:00Z', 'late')", "(6, '2025-01-01T00:00:00Z', 'first')"),
        {"at": "2026-03-01T00:00:00Z", "id": 9},
    ),
    "datetime and key": (
        ("CREATE TABLE hits (id INTEGER PRIMARY KEY, at DATETIME, note TEXT)", "CREATE INDEX by_at ON hits (at, id)"),
        ("--key", "at,id"),
        ("(1, '2026-01-01 00:00:00', 'a')", "(2, '2026-01-01 00:00:00', 'b')", "(3, '2026-02-01 00:00:00', 'c')"),
        ("(4, '2026-02-01 00:00:00', 'tie')", "(9, '2026-03-01 00:00:00.5', 'new')"),
        ("(5, '2026-01-01 00:00:00', 'late')", "(6, '2025-01-01', 'first')"),
        {"at": "2026-03-01 00:00:00.5", "id": 9},
    ),
    "real": (
        ("CREATE TABLE hits (id INTEGER PRIMARY KEY, at REAL, note TEXT)", "CREATE INDEX by_at ON hits (at)"),
        ("--key", "at"),
        ("(1, 1700000000.25, 'a')", "(2, 1700000000.25, 'b')", "(3, 1700000001, 'c')"),
        ("(4, 1700000001, 'tie')", "(9, 1700000001.1, 'new')"),
        ("(5, 1700000000.25, 'late')", "(6, -0.5, 'first')"),
        {"at": {"real": "1700000001.1"}, "id": 9},
    ),
    "epoch integer, ties": (
        ("CREATE TABLE hits (id INTEGER PRIMARY KEY, at INTEGER, note TEXT)", "CREATE INDEX by_at ON hits (at)"),
        ("--key", "at"),
        ("(1, 1700000000, 'a')", "(2, 1700000000, 'b')", "(3, 1700000001, 'c')"),
        ("(4, 1700000001, 'tie')", "(9, 1700000002, 'new')"),
        ("(5, 1700000000, 'late')", "(6, -5, 'first')"),
        {"at": 1700000002, "id": 9},
    ),
    "text primary key": (
        ("CREATE TABLE hits (id TEXT PRIMARY KEY, note TEXT)",),
        ("--key", "id"),
        ("('018f-a', 'a')", "('018f-b', 'b''s')", "('018f-é', 'c')"),
        ("('018f-é2', 'tie')", "('018f-''🙂', 'new')"),
        ("('018f-aa', 'late')", "('', 'first')"),
        {"id": "018f-é2"},
    ),
    "without rowid": (
        ("CREATE TABLE hits (site TEXT, n INTEGER, note TEXT, PRIMARY KEY (site, n)) WITHOUT ROWID",),
        (),
        ("('a', 1, 'a')", "('b', 2, 'b')", "('b', 30, 'c')"),
        ("('b', 31, 'tie')", "('c', 0, 'new')"),
        ("('a', 2, 'late')", "('a', -1, 'first')"),
        {"site": "c", "n": 0},
    ),
    "no key but a row number": (
        ("CREATE TABLE hits (at TEXT, note TEXT)", "CREATE INDEX by_at ON hits (at)"),
        ("--key", "at"),
        ("('2026-01-01', 'a')", "('2026-01-01', 'a')", "('2026-02-01', 'c')"),
        ("('2026-02-01', 'tie')", "('2026-03-01', 'new')"),
        ("('2026-01-01', 'late')", "('2025-01-01', 'first')"),
        {"at": "2026-03-01", "rowid": 5},
    ),
}


def insert(root: Path, *rows: str) -> None:
    foreign_sqlite.execute(root / "app.db", f"INSERT INTO hits VALUES {', '.join(rows)}")


def parts(root: Path) -> list[Path]:
    raws = [json.loads(path.read_bytes()) for path in sorted((root / "runs").glob("_penstock/runs/*.json"))]
    return [root / "runs" / part["name"] for raw in raws for part in raw["parts"]]


def notes(root: Path) -> Counter[str]:
    """The ``note`` of every exported row, read by a library that did not write them."""
    return Counter(note for part in parts(root) for note in polars.read_ndjson(part)["note"].to_list())


def stored(root: Path) -> Counter[str]:
    return Counter(row[0] for row in foreign_sqlite.execute(root / "app.db", "SELECT note FROM hits")[0])


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_any_key_come_once_also_if_they_tie_or_come_late(table: str, tmp_path: Path, penstock: Command) -> None:
    create, key, first, above, below, cursor = TABLES[table]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    assert penstock(*ADD, *key, "--json").summary["event_count"] == 0
    insert(tmp_path, *first)
    begun = penstock(*ADD, *key, "--json")
    assert (begun.code, begun.summary["event_count"], begun.summary["growth"]) == (0, 3, "checked")
    insert(tmp_path, *above)
    if "018f" not in above[0]:
        assert penstock(*ADD, *key, "--json").summary["counts"] == {}
        assert manifest(tmp_path / "runs", 3)["lineage"]["upto"] == {"at": cursor}
    insert(tmp_path, *below)
    done = penstock(*ADD, *key, "--json")
    assert (done.code, done.summary["counts"]["late"]) == (0, 3 if "018f" in above[0] else 2)
    assert penstock(*ADD, *key, "--json").summary["event_count"] == 0
    assert notes(tmp_path) == stored(tmp_path)
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0
    assert penstock("resume", "app.db", "runs").code == 0


def test_a_row_that_is_updated_moves_up_and_is_told_where_it_was(tmp_path: Path, penstock: Command) -> None:
    create, key, first, *_ = TABLES["datetime and key"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first)
    assert penstock(*ADD, *key).code == 0
    for turn, id in enumerate((3, 1, 1)):  # the newest, of which the next run knows the last, and others
        touch = f"UPDATE hits SET at = '2026-03-0{turn + 1} 00:00:00', note = 'touched {turn}' WHERE id = {id}"
        foreign_sqlite.execute(tmp_path / "app.db", touch)
        done = penstock(*ADD, *key, "--json")
        assert (done.code, done.summary["event_count"], done.summary["counts"]) == (0, 1, {"vanished": 1})
    assert notes(tmp_path) == Counter(["a", "b", "c", "touched 0", "touched 1", "touched 2"])


def test_rows_that_change_in_place_or_lie_behind_a_clock_that_went_back(tmp_path: Path, penstock: Command) -> None:
    create, key, first, *_ = TABLES["text, ties"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first, *(f"({id}, '2025-12-{id}T00:00:00Z', '{id}')" for id in (11, 12, 13, 14)))
    assert penstock(*ADD, *key).code == 0
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET note = 'changed' WHERE id = 14")
    insert(tmp_path, "(7, '2026-01-15T00:00:00Z', 'clock')")
    seen = penstock(*ADD, *key, "--overlap", "1", "--json")  # of what is late only the last row is let in
    assert (seen.code, manifest(tmp_path / "runs", 2)["counts"]) == (3, {"skipped_late": 1})
    seen = penstock(*ADD, *key, "--overlap", "6", "--updates", "--json")
    assert (seen.code, seen.summary["counts"]) == (0, {"changed": 1, "late": 1})
    assert notes(tmp_path) == Counter(["a", "b", "c", "11", "12", "13", "14", "changed", "clock"])


def test_a_file_that_was_put_back_and_grew_loses_and_doubles_nothing(tmp_path: Path, penstock: Command) -> None:
    create, key, first, above, below, _ = TABLES["text, ties"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first)
    backup = (tmp_path / "app.db").read_bytes()
    insert(tmp_path, *above)
    assert penstock(*ADD, *key).code == 0
    (tmp_path / "app.db").write_bytes(backup)
    insert(tmp_path, *below, "(4, '2026-02-01T00:00:00Z', 'another')")
    done = penstock(*ADD, *key)
    assert done.code in (0, 3)
    assert Counter(["another", "late", "first"]) <= notes(tmp_path)
    assert max(notes(tmp_path).values()) == 1


def test_a_key_that_is_given_again_to_another_row_loses_none(tmp_path: Path, penstock: Command) -> None:
    """The file is put back to before the last rows, of which one comes anew under its key."""
    create, key, first, *_ = TABLES["text, ties"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    older = [f"({id}, '2025-{id}', '{id}')" for id in range(50, 70)]
    insert(tmp_path, *first, *older)
    backup = (tmp_path / "app.db").read_bytes()
    rows = [f"({id}, '2026-04-{id}T00:00:00Z', 'lost {id}')" for id in range(11, 21)]  # the first is no anchor
    insert(tmp_path, *rows)
    assert penstock(*ADD, *key).code == 0
    (tmp_path / "app.db").write_bytes(backup)
    insert(tmp_path, rows[0].replace("lost", "another"))
    assert penstock(*ADD, *key).code == 3
    told = ["a", "b", "c", "another 11", *map(str, range(50, 70)), *(f"lost {id}" for id in range(11, 21))]
    assert notes(tmp_path) == Counter(told)
    assert penstock(*ADD, *key, "--json").summary["event_count"] == 0


def test_a_newest_row_that_is_deleted_is_told_and_nothing_is_lost(tmp_path: Path, penstock: Command) -> None:
    create, key, first, *_ = TABLES["datetime and key"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first)
    assert penstock(*ADD, *key).code == 0
    foreign_sqlite.execute(tmp_path / "app.db", "DELETE FROM hits WHERE id = 3")
    insert(tmp_path, "(3, '2026-01-20 00:00:00', 'another')")  # below where it was: that is no row that moved up
    assert penstock(*ADD, *key).code == 3
    assert notes(tmp_path) == Counter(["a", "b", "c", "another"])
    assert penstock(*ADD, *key, "--json").summary["event_count"] == 0


def test_another_table_of_that_name_is_refused(tmp_path: Path, penstock: Command) -> None:
    create, key, first, *_ = TABLES["text, ties"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first)
    assert penstock(*ADD, *key).code == 0
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET at = '1999' || note")
    insert(tmp_path, "(8, '2030', 'x')")
    refused = penstock(*ADD, *key)
    assert (refused.code, "none of the" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    "what",
    [
        ("--table", "hits", "--key", "at"),
        ("--table", "named", "--key", "at,id"),
        ("--query", "SELECT * FROM hits", "--key", "at,id"),
    ],
)
def test_without_an_index_growing_is_assumed_and_told(what: tuple[str, ...], tmp_path: Path, penstock: Command) -> None:
    add = (*ADD[:-2], *what, "--json")
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at TEXT, note TEXT)",
        "CREATE VIEW named AS SELECT id, at, note FROM hits",
    )
    insert(tmp_path, "(1, '2026-02', 'b')", "(2, '2026-01', 'a')")
    begun = penstock(*add)
    assert (begun.code, begun.summary["growth"]) == (0, "assumed")
    insert(tmp_path, "(3, '2026-02', 'tie')", "(4, '2026-03', 'c')", "(5, '2025', 'unseen')")
    assert penstock(*add).summary["event_count"] == 2
    assert notes(tmp_path) == Counter(["a", "b", "tie", "c"])
    refused = penstock(*add, "--overlap", "10")
    assert (refused.code, "leave it out" in refused.stderr) == (2, True)


def test_integers_that_tie_need_no_index(tmp_path: Path, penstock: Command) -> None:
    foreign_sqlite.execute(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at INTEGER, note TEXT)")
    insert(tmp_path, "(1, 7, 'b')", "(2, 5, 'a')", "(3, 7, 'c')")
    assert penstock(*ADD, "--key", "at", "--json").summary["event_count"] == 3
    insert(tmp_path, "(4, 7, 'tie')")
    assert penstock(*ADD, "--key", "at", "--json").summary["event_count"] == 1
    assert notes(tmp_path) == stored(tmp_path)


@pytest.mark.parametrize(
    ("create", "rows", "key", "said"),
    [
        ("at TEXT", "(1, '2026'), (2, NULL)", "at", "hits, id 2: the key column 'at' holds null"),
        ("at", "(1, 5), (2, 'x')", "at", "hits, id 2: the key column 'at' holds the text 'x' among numbers"),
        ("at", "(1, 5), (2, x'00')", "at", "hits, id 2: the key column 'at' holds the blob"),
        ("at REAL", "(1, 5), (2, 9e999)", "at", "hits, id 2: the key column 'at' holds the real 'Inf'"),
        (
            "at TEXT COLLATE NOCASE",
            "(1, 'a'), (2, 'b')",
            "at",
            "not compared byte by byte: case does not count",
        ),
        ("at TEXT COLLATE RTRIM", "(1, 'a'), (2, 'b')", "at,id", "not compared byte by byte: spaces at the end do not"),
        ("at TEXT", "(1, CAST(x'ff' AS TEXT))", "at", "the key column 'at' holds text that is no UTF-8"),
        ("at TEXT", "(1, 'x')", "when,id", "has no column 'when'"),
    ],
)
def test_what_orders_nothing_is_refused_by_name(
    create: str, rows: str, key: str, said: str, tmp_path: Path, penstock: Command
) -> None:
    foreign_sqlite.execute(
        tmp_path / "app.db", f"CREATE TABLE hits (id INTEGER PRIMARY KEY, {create})", f"INSERT INTO hits VALUES {rows}"
    )
    refused = penstock(*ADD, "--key", key, "--types", "at:text")
    assert (refused.code, said in refused.stderr) == (2, True), refused.stderr
    assert "hint: " in refused.stderr
    assert not (tmp_path / "runs").exists() or not parts(tmp_path)


def test_values_that_do_not_fit_are_text_also_in_the_key(tmp_path: Path, penstock: Command) -> None:
    create, _, first, *_ = TABLES["datetime and key"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first, "(8, 'some day', 'odd')")
    for event_count in (4, 0):
        done = penstock(*ADD, "--key", "at", "--misfits", "text", "--json")
        assert (done.code, done.summary["event_count"]) == (0, event_count)
    assert "some day" in parts(tmp_path)[0].read_text()


def test_texts_of_a_file_of_utf_16_order_nothing(tmp_path: Path, penstock: Command) -> None:
    create, key, first, *_ = TABLES["text, ties"]
    foreign_sqlite.execute(tmp_path / "app.db", "PRAGMA encoding = 'UTF-16le'", *create)
    insert(tmp_path, *first)
    refused = penstock(*ADD, *key)
    assert (refused.code, "not compared byte by byte: the file holds texts as UTF-16" in refused.stderr) == (2, True)
    assert penstock(*ADD).code == 0


def test_partitions_filters_and_flattened_columns_go_with_keys(tmp_path: Path, penstock: Command) -> None:
    create = "CREATE TABLE hits (id INTEGER PRIMARY KEY, at DATETIME, note TEXT, n INTEGER, doc JSON)"
    foreign_sqlite.execute(tmp_path / "app.db", create, "CREATE INDEX by_at ON hits (at)")
    insert(tmp_path, *(f"({i}, '2026-01-0{i % 5 + 1} 10:00', 'n{i}', {i % 3}, '{{\"k\": {i}}}')" for i in range(30)))
    more = ("--key", "at", "--time", "at", "--partition-by", "day", "--flatten", "doc", "--where", "n = 1")
    assert penstock(*ADD, *more, "--json").summary["event_count"] == 10
    insert(tmp_path, "(90, '2026-01-01 10:00', 'late', 1, '{}')", "(91, '2026-01-01 10:00', 'unwanted', 2, '{}')")
    again = penstock(*ADD, *more, "--overlap", "30d", "--json").summary
    assert (again["event_count"], again["counts"]["late"]) == (1, 1)
    assert penstock(*ADD, *more, "--overlap", "30d", "--json").summary["event_count"] == 0
    for part in parts(tmp_path)[::2]:
        part.unlink()
    assert penstock("repair", "runs", "--from", "app.db").code == penstock("verify", "runs").code == 0


def test_a_view_whose_key_comes_twice_is_refused(tmp_path: Path, penstock: Command) -> None:
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE rows (at TEXT, note TEXT)",
        "INSERT INTO rows VALUES ('2026', 'a'), ('2026', 'b')",
        "CREATE VIEW hits AS SELECT * FROM rows",
    )
    refused = penstock(*ADD, "--key", "at")
    assert (refused.code, 'two rows of hits have the key at "2026"' in refused.stderr) == (2, True)
    assert penstock(*ADD, "--key", "at,note").code == 0


def test_many_rows_in_many_slices_by_threads_and_processes(tmp_path: Path, penstock: Command) -> None:
    """More rows than a slice has, many of one time, under parts, a filter and every way of reading."""
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at TEXT, note TEXT)",
        "CREATE INDEX by_at ON hits (at)",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70000)"
        " INSERT INTO hits SELECT i, printf('%03d', i * 7919 % 500), 'n' || i FROM n",
    )
    for runner in ("threads", "processes"):
        out = tmp_path / "runs"
        more = ("--runner", runner, "--part-size", "20000rows", "--workers", "2")
        add = ("export", "app.db", f"runs-{runner}/", "--incremental", "--table", "hits", "--key", "at")
        assert penstock(*add, *more).code == 0
        read = f"read_parquet('{out}-{runner}/data/*.parquet')"
        assert duckdb.sql(f"SELECT count(*), count(DISTINCT id), sum(id) FROM {read}").fetchall() == [
            (70_000, 70_000, 70_000 * 70_001 // 2)
        ]
        assert penstock("verify", f"runs-{runner}").code == 0
        insert(tmp_path, f"({80_000 + len(runner)}, '250', 'late')")
        assert penstock(*add, *more, "--json").summary["counts"]["late"] == 1
        foreign_sqlite.execute(tmp_path / "app.db", "DELETE FROM hits WHERE id > 70000")


def test_a_lost_and_a_damaged_part_are_made_again(tmp_path: Path, penstock: Command) -> None:
    create, key, first, above, below, _ = TABLES["datetime and key"]
    foreign_sqlite.execute(tmp_path / "app.db", *create)
    insert(tmp_path, *first)
    more = ("--part-size", "1rows")
    assert penstock(*ADD, *key, *more).code == 0
    insert(tmp_path, *above, *below)
    assert penstock(*ADD, *key, *more).code == 0
    all_parts = parts(tmp_path)
    before = {part: part.read_bytes() for part in all_parts}
    assert len(all_parts) > 4
    all_parts[1].unlink()
    all_parts[-1].write_bytes(b"{}\n")
    assert penstock(*ADD, *key).code == 4
    assert penstock("repair", "runs", "--from", "app.db", *more).code == 0
    assert {part: part.read_bytes() for part in all_parts} == before
    rolls = {roll: roll.read_bytes() for roll in (tmp_path / "runs/_penstock/runs").glob("*.roll")}
    for roll in rolls:
        roll.write_bytes(b"damaged")
    insert(tmp_path, "(77, '2026-01-07', 'late since')")
    assert penstock("repair", "runs", "--from", "app.db").code == 0
    assert {roll: roll.read_bytes() for roll in rolls} == rolls
    assert penstock("verify", "runs").code == 0
