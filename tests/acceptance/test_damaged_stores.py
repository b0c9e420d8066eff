"""Stores that are damaged or made to harm: an error says so; never fewer rows in silence, and never a traceback."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import foreign_sqlite
import sample_events
from penstock import ExportFilter, SqliteAnalyticsStorage
from penstock.errors import StorageError
from penstock_command import Run

Penstock = Callable[..., Run]
ROWS = 9_999


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a few thousand events, closed, in one file."""
    path = tmp_path_factory.mktemp("whole") / "events.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append(sample_events.varied(ROWS))
    return path


def _without(path: Path, *, first: float = 0.25, last: float = 0.5) -> bytes:
    """The store with an interior page of its events that skips some of the pages below it."""
    text = bytearray(path.read_bytes())
    [[[root]]] = foreign_sqlite.execute(path, "SELECT rootpage FROM sqlite_master WHERE name = 'events'")
    size = struct.unpack_from(">H", text, 16)[0]
    begin = (root - 1) * size
    kind, _, cells = struct.unpack_from(">BHH", text, begin)
    assert kind == 5
    assert cells > 8
    places = struct.unpack_from(f">{cells}H", text, begin + 12)
    left = places[: int(cells * first)] + places[int(cells * last) :]
    struct.pack_into(f">{len(left)}H", text, begin + 12, *left)
    struct.pack_into(">H", text, begin + 3, len(left))
    return bytes(text)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--workers", "1"),
        ("--part-size", "100rows"),
        ("--category", "usage"),
        ("--start", "2026-11-02", "--priority", "high"),
        ("--limit", "9000"),
        ("--partition-by", "day"),
        ("--incremental",),
    ],
    ids=" ".join,
)
def test_rows_behind_a_damaged_page_are_missed(
    flags: tuple[str, ...], whole: Path, tmp_path: Path, penstock: Penstock
) -> None:
    (tmp_path / "events.db").write_bytes(_without(whole))
    (damaged,) = foreign_sqlite.execute(tmp_path / "events.db", "SELECT count(*) FROM events NOT INDEXED")[0]
    assert 0 < damaged[0] < ROWS
    told = penstock("export", "events.db", "out/", *flags)
    assert told.code == 7, told.stderr
    assert "rows are missing" in told.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["inspect", "diff"])
def test_nor_does_anything_else_read_past_them(verb: str, whole: Path, tmp_path: Path, penstock: Penstock) -> None:
    (tmp_path / "events.db").write_bytes(_without(whole))
    (tmp_path / "whole.db").write_bytes(whole.read_bytes())
    told = penstock(verb, "events.db", *(["whole.db"] if verb == "diff" else []))
    assert (told.code, "rows are missing" in told.stderr) == (7, True), told.stderr


def test_a_run_misses_rows_of_the_block_that_it_begins_in(whole: Path, tmp_path: Path, penstock: Penstock) -> None:
    store = tmp_path / "events.db"
    store.write_bytes(whole.read_bytes())
    assert penstock("export", "events.db", "out/", "--incremental", "--workers", "1").code == 0
    with SqliteAnalyticsStorage(store) as opened:
        opened.append(sample_events.varied(300, seed=2))
    whole_again = store.read_bytes()
    store.write_bytes(_without(store, first=0.96, last=1.0))
    told = penstock("export", "events.db", "out/", "--incremental", "--workers", "1")
    assert (told.code, "rows are missing" in told.stderr) == (7, True), told.stderr
    store.write_bytes(whole_again)
    assert penstock("export", "events.db", "out/", "--incremental").code == 0


def test_rows_that_another_program_took_away_are_no_damage(whole: Path, tmp_path: Path, penstock: Penstock) -> None:
    """``INSERT OR REPLACE`` sets off no trigger, so that a block goes on counting a row that is not there."""
    (tmp_path / "events.db").write_bytes(whole.read_bytes())
    foreign_sqlite.execute(
        tmp_path / "events.db",
        "INSERT OR REPLACE INTO events (id, category, event_type, timestamp, priority, data, metadata, received_at)"
        " SELECT id, category, event_type, timestamp, priority, data, metadata, received_at FROM events"
        " WHERE seq IN (7, 8, 5000)",
        "DELETE FROM events WHERE seq BETWEEN 100 AND 300",
    )
    assert penstock("export", "events.db", "out.csv").code == 0
    assert penstock("export", "events.db", "out.ndjson", "--category", "usage").code == 0
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") > ROWS - 201


def _retyped(table: str, change: str) -> list[list[str]]:
    """Statements, a process each, that put something else into a table than it takes."""
    free = "PRAGMA writable_schema = ON", f"UPDATE sqlite_master SET sql = replace(sql, {{}}) WHERE name = '{table}'"
    return [
        [free[0], free[1].format("') STRICT', ')'")],
        [change],
        [free[0], free[1].format("'last_seq INTEGER NOT NULL\n    )', 'last_seq INTEGER NOT NULL) STRICT'")],
        [free[0], free[1].format("'value INTEGER NOT NULL)', 'value INTEGER NOT NULL) STRICT'")],
    ]


_ENDLESS = "WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)"
_EVENT = "'custom' category, 'x' event_type, 0 timestamp, NULL session_id, 1 priority, '{}' data, '{}' metadata"
#: What is wrong, how it came to be, and whether only a lineage and a deletion have to see it.
_NO_STORES: dict[str, list[list[str]]] = {
    "no counters": [["DELETE FROM penstock_counters"]],
    "no facts table": [["DROP TABLE penstock_facts"]],
    "no counters table": [["DROP TABLE penstock_counters"]],
    "no blocks table": [["DROP TABLE penstock_blocks"]],
    "tables that take anything": [
        [
            "ALTER TABLE penstock_blocks RENAME TO old",
            "CREATE TABLE penstock_blocks (block INTEGER PRIMARY KEY, rows, bytes, first_time, last_time, last_seq)",
            "INSERT INTO penstock_blocks SELECT block, 'a few', bytes, first_time, last_time, last_seq FROM old",
        ]
    ],
    **{
        f"{value} for {column} of {block}": _retyped(
            "penstock_blocks", f"UPDATE penstock_blocks SET {column} = {value} WHERE block = {block}"
        )
        for column, value in [("rows", "'few'"), ("bytes", "'few'"), ("first_time", "'never'"), ("last_time", "'late'")]
        for block in (0, 2)
    },
    "text for a counter": _retyped("penstock_counters", "UPDATE penstock_counters SET value = 'often'"),
    "an endless view for events": [
        [
            "ALTER TABLE events RENAME TO old",
            f"CREATE VIEW events AS {_ENDLESS} SELECT n seq, n id, {_EVENT}, 0 received_at FROM endless",
        ]
    ],
    "a view for the blocks": [
        ["ALTER TABLE penstock_blocks RENAME TO old", "CREATE VIEW penstock_blocks AS SELECT * FROM old WHERE block"]
    ],
    "a virtual table for events": [
        ["ALTER TABLE events RENAME TO old", "CREATE VIRTUAL TABLE events USING fts5(id, data)"]
    ],
    "a column that is missing": [["ALTER TABLE events RENAME COLUMN received_at TO came"]],
}


@pytest.mark.parametrize("what", _NO_STORES)
def test_a_store_that_is_none_is_refused(what: str, whole: Path, tmp_path: Path, penstock: Penstock) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(whole.read_bytes())
    for statements in _NO_STORES[what]:
        foreign_sqlite.execute(path, *statements)
    for flags in (("out.csv",), ("out.csv", "--workers", "1", "--category", "usage"), ("runs/", "--incremental")):
        told = penstock("export", "events.db", *flags)
        assert (told.code, "damaged" in told.stderr) == (7, True), (flags, told)
    assert penstock("inspect", "events.db").code == 7
    assert [path.name for path in tmp_path.iterdir() if "events.db" not in path.name] == []


@pytest.mark.parametrize("change", ["DELETE FROM penstock_facts", "UPDATE penstock_facts SET value = ''"])
def test_a_store_without_its_id_has_no_lineage(change: str, whole: Path, tmp_path: Path, penstock: Penstock) -> None:
    (tmp_path / "events.db").write_bytes(whole.read_bytes())
    foreign_sqlite.execute(tmp_path / "events.db", change)
    told = penstock("export", "events.db", "runs/", "--incremental")
    assert (told.code, "the id of the store" in told.stderr) == (7, True), told
    assert not (tmp_path / "runs").exists()
    assert penstock("export", "events.db", "out.csv").code == 0


def test_a_store_without_its_counter_deletes_nothing(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(whole.read_bytes())
    foreign_sqlite.execute(tmp_path / "events.db", "DELETE FROM penstock_counters")
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        with pytest.raises(StorageError, match="counter of changes"):
            store.delete(ExportFilter(limit=5))
        with pytest.raises(StorageError, match="changed is None"):
            store.count()
    assert foreign_sqlite.execute(tmp_path / "events.db", "SELECT count(*) FROM events") == [[[ROWS]]]
