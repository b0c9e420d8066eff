"""A table that is not ours is not only added to: rows come late, tie, vanish and change below the cursor of a lineage.
A run finds and tells it, or says that it assumes that nothing of the kind happens."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foreign_readers
import foreign_sqlite
from forged import manifest
from penstock import AdoptedTable, Exporter, ExportOptions, StorageConfig
from penstock.exporting import reread
from penstock.model.result import ExportResult
from penstock_command import Run

Command = Callable[..., Run]
KEYED = "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT, path TEXT)"
#: As an application has it: UUID keys, and a time of creation in milliseconds.
TIMED = "CREATE TABLE hits (id TEXT PRIMARY KEY, created_at INTEGER, name TEXT, path TEXT)"
BY_KEY = ("--table", "hits", "--map", "timestamp=at:s,event_type=name")
BY_TIME = ("--table", "hits", "--map", "seq=created_at,timestamp=created_at:ms,event_type=name")
ADD = ("export", "app.db", "runs/", "--incremental", "--format", "ndjson")
BEGUN = 1_790_000_000


def insert(root: Path, *numbers: int, path: str = "/{}") -> None:
    rows = ", ".join(f"({n}, {BEGUN + n}, 'hit', '{path.format(n)}')" for n in numbers)
    foreign_sqlite.execute(root / "app.db", f"INSERT INTO hits VALUES {rows}")


def paths(root: Path) -> Counter[str]:
    """The ``path`` of every exported row, read by a library that did not write them."""
    manifests = [json.loads(path.read_bytes()) for path in sorted((root / "runs").glob("_penstock/runs/*.json"))]
    parts = [entry["name"] for raw in manifests for entry in raw["parts"]]
    return Counter(dict(row["data"][1])["path"] for name in parts for row in foreign_readers.read(root / "runs" / name))


def marks(root: Path, run: int) -> list[str | None]:
    return [entry.get("mark") for entry in manifest(root / "runs", run)["parts"]]


def of(*numbers: int) -> Counter[str]:
    return Counter(f"/{number}" for number in numbers)


@pytest.fixture
def root(tmp_path: Path, penstock: Command) -> Path:
    """A table of a hundred rows by tens, all of which are exported."""
    foreign_sqlite.execute(tmp_path / "app.db", KEYED)
    insert(tmp_path, *TENS)
    assert penstock(*ADD, *BY_KEY).code == 0
    return tmp_path


TENS = range(10, 1010, 10)


def test_a_row_that_comes_below_the_cursor_is_exported_once_and_told(root: Path, penstock: Command) -> None:
    insert(root, 15, 16, 995, 1010)
    done = penstock(*ADD, *BY_KEY, "--json")
    assert (done.code, done.summary["event_count"], done.summary["counts"]) == (0, 4, {"late": 3})
    assert marks(root, 2) == [None, "late"]
    assert penstock(*ADD, *BY_KEY, "--json").summary["event_count"] == 0
    assert paths(root) == of(*TENS, 15, 16, 995, 1010)
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0


def test_rows_older_than_and_equal_to_the_newest_are_not_lost(tmp_path: Path, penstock: Command) -> None:
    """An application's table with UUID keys, exported by the time of creation, as it was tried."""
    database = tmp_path / "app.db"
    foreign_sqlite.execute(
        database,
        TIMED,
        "CREATE INDEX by_time ON hits (created_at)",
        f"INSERT INTO hits VALUES ('a', {BEGUN}001, 'hit', '/a'), ('b', {BEGUN}002, 'hit', '/b')",
    )
    first = penstock(*ADD, *BY_TIME, "--json")
    assert (first.code, first.summary["event_count"], first.summary["growth"]) == (0, 2, "checked")
    foreign_sqlite.execute(
        database, f"INSERT INTO hits VALUES ('c', {BEGUN}001, 'hit', '/c'), ('d', {BEGUN}002, 'hit', '/d')"
    )
    done = penstock(*ADD, *BY_TIME, "--json")
    assert (done.code, done.summary["counts"]) == (0, {"late": 2})
    assert penstock(*ADD, *BY_TIME, "--json").summary["event_count"] == 0
    assert paths(tmp_path) == Counter(["/a", "/b", "/c", "/d"])


def test_a_key_that_goes_back_and_repeats_loses_no_row(root: Path, penstock: Command) -> None:
    """The newest row is deleted, and its number and older ones are given again."""
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n IN (1000, 500)")
    insert(root, 500, 1000, path="/again{}")
    done = penstock(*ADD, *BY_KEY)
    assert done.code == 3
    assert paths(root) == of(*TENS) + Counter(["/again1000"])  # 500 has the same number as before: not seen
    seen = penstock(*ADD, *BY_KEY, "--overlap", "100", "--updates", "--json")
    assert (seen.code, seen.summary["counts"]) == (0, {"changed": 1})
    assert paths(root) == of(*TENS) + Counter(["/again1000", "/again500"])


def test_rows_that_vanish_are_told_once_and_are_no_late_rows_when_they_return(root: Path, penstock: Command) -> None:
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n IN (20, 30)")
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {"vanished": 2}
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {}
    insert(root, 20)
    insert(root, 30, path="/other")
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {"late": 1}


def test_a_late_row_and_a_deletion_do_not_cancel_out(root: Path, penstock: Command) -> None:
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n = 20")
    insert(root, 21)
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {"late": 1, "vanished": 1}
    assert paths(root) == of(*TENS, 21)


def test_more_late_rows_than_are_looked_for_one_by_one_are_all_exported(tmp_path: Path, penstock: Command) -> None:
    foreign_sqlite.execute(tmp_path / "app.db", KEYED)
    first, late = range(3, 4503, 3), range(2, 4502, 3)
    insert(tmp_path, *first)
    assert penstock(*ADD, *BY_KEY).code == 0
    insert(tmp_path, *late)
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {"late": len(late)}
    assert penstock(*ADD, *BY_KEY, "--json").summary["event_count"] == 0
    assert paths(tmp_path) == of(*first, *late)


def test_changed_rows_are_told_within_the_overlap_and_exported_with_updates(root: Path, penstock: Command) -> None:
    foreign_sqlite.execute(root / "app.db", "UPDATE hits SET path = '/changed' WHERE n IN (30, 890)")
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {}
    for overlap in ("20", "20", "2m", "110s"):
        told = penstock(*ADD, *BY_KEY, "--overlap", overlap, "--json").summary
        assert (told["counts"], told["event_count"]) == ({"changed": 1}, 0)
    assert penstock(*ADD, *BY_KEY, "--overlap", "109s", "--json").summary["counts"] == {}
    done = penstock(*ADD, *BY_KEY, "--overlap", "20", "--updates", "--json").summary
    assert (done["counts"], done["event_count"]) == ({"changed": 1}, 1)
    assert marks(root, 8) == ["changed"]
    assert penstock(*ADD, *BY_KEY, "--overlap", "20", "--updates", "--json").summary["counts"] == {}
    assert penstock(*ADD, *BY_KEY, "--overlap", "120s", "--json").summary["counts"] == {}
    assert penstock(*ADD, *BY_KEY, "--overlap", "1h", "--json").summary["counts"] == {"changed": 1}


def test_a_late_row_outside_of_the_overlap_is_told_until_it_is_let_in(root: Path, penstock: Command) -> None:
    insert(root, 15, 985)
    for run, late in ((2, 1), (3, 0)):
        done = penstock(*ADD, *BY_KEY, "--overlap", "5", "--json")
        assert (done.code, done.summary["event_count"]) == (3, late)
        assert manifest(root / "runs", run)["counts"]["skipped_late"] == 1
    assert penstock(*ADD, *BY_KEY, "--overlap", "2m", "--json").code == 3
    assert penstock(*ADD, *BY_KEY, "--overlap", "1h", "--json").summary["counts"] == {"late": 1}
    assert paths(root) == of(*TENS, 15, 985)


def test_a_filter_keeps_out_late_rows_that_do_not_match(root: Path, penstock: Command, tmp_path: Path) -> None:
    only = ("--event-type", "seen")
    add = ("export", "app.db", "seen/", "--incremental", "--format", "ndjson", *BY_KEY, *only)
    assert penstock(*add, "--json").summary["event_count"] == 0
    insert(root, 15)
    foreign_sqlite.execute(root / "app.db", f"INSERT INTO hits VALUES (16, {BEGUN}, 'seen', '/16')")
    assert penstock(*add, "--json").summary["counts"] == {"late": 1}
    assert penstock(*add, "--json").summary["counts"] == {}
    foreign_sqlite.execute(root / "app.db", "UPDATE hits SET name = 'seen' WHERE n = 15")
    assert penstock(*add, "--overlap", "1000", "--updates", "--json").summary["counts"] == {"changed": 1}
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n IN (15, 20)")
    assert penstock(*add, "--json").summary["counts"] == {"vanished": 2}


def test_where_no_index_serves_it_growing_is_assumed_on_every_run(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "app.db"
    foreign_sqlite.execute(database, TIMED, f"INSERT INTO hits VALUES ('a', {BEGUN}001, 'hit', '/a')")
    for run in (1, 2):
        done = penstock(*ADD, *BY_TIME)
        assert done.code == 0
        assert f"run {run}, growing is assumed" in done.stderr
        assert "a late one would not be seen" in done.stderr
        assert manifest(tmp_path / "runs", run)["guarantees"]["growth"] == "assumed"
        assert manifest(tmp_path / "runs", run)["lineage"]["known"] is None
    foreign_sqlite.execute(database, "CREATE INDEX by_time ON hits (created_at)")
    assert penstock(*ADD, *BY_TIME, "--json").summary["growth"] == "assumed"  # the first run decided
    refused = penstock(*ADD, *BY_TIME, "--overlap", "1h")
    assert (refused.code, "begun without checking" in refused.stderr) == (2, True)


def test_an_overlap_from_the_first_run_on_is_looked_at_without_an_index(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "app.db"
    foreign_sqlite.execute(database, TIMED, f"INSERT INTO hits VALUES ('a', {BEGUN}001, 'hit', '/a')")
    assert penstock(*ADD, *BY_TIME, "--overlap", "1h", "--json").summary["growth"] == "checked"
    foreign_sqlite.execute(database, f"INSERT INTO hits VALUES ('b', {BEGUN}000, 'hit', '/b')")
    assert penstock(*ADD, *BY_TIME, "--overlap", "1h", "--json").summary["counts"] == {"late": 1}
    assert paths(tmp_path) == Counter(["/a", "/b"])


def test_a_table_as_it_is_is_checked_too(root: Path, penstock: Command) -> None:
    given = ("export", "app.db", "plain/", "--incremental", "--table", "hits", "--json")
    assert penstock(*given).summary["event_count"] == len(TENS)
    insert(root, 15, 1010)
    foreign_sqlite.execute(root / "app.db", "UPDATE hits SET path = '/changed' WHERE n = 30")
    assert penstock(*given).summary["counts"] == {"late": 1}
    done = penstock(*given, "--overlap", "1000", "--updates").summary
    assert (done["counts"], done["event_count"], done["growth"]) == ({"changed": 1}, 1, "checked")
    assert penstock("verify", "plain").code == penstock("gaps", "plain").code == 0


def test_our_own_store_proves_it(tmp_path: Path, penstock: Command) -> None:
    penstock("demo", "demo")
    (store,) = (tmp_path / "demo").glob("*.db")
    done = penstock("export", str(store), "runs/", "--incremental")
    assert "run 1, growing is proven" in done.stderr
    assert manifest(tmp_path / "runs", 1)["guarantees"]["growth"] == "proven"
    refused = penstock("export", str(store), "runs/", "--incremental", "--overlap", "5")
    assert (refused.code, "the store proves what is new" in refused.stderr) == (2, True)


@pytest.mark.parametrize("given", [("--overlap", "soon"), ("--overlap", "0"), ("--updates",), ("--overlap", "-1h")])
def test_what_is_no_overlap_is_refused(given: tuple[str, ...], root: Path, penstock: Command) -> None:
    assert penstock(*ADD, *BY_KEY, *given).code == 2


def test_an_overlap_needs_a_lineage(root: Path, penstock: Command) -> None:
    refused = penstock("export", "app.db", "one.ndjson", *BY_KEY, "--overlap", "5")
    assert (refused.code, "--incremental" in refused.stderr) == (2, True)


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_roll_that_is_damaged_is_seen(damage: str, root: Path, penstock: Command) -> None:
    roll = root / "runs/_penstock/runs/000001.roll"
    data = bytearray(roll.read_bytes())
    data[100] ^= 1
    roll.unlink() if damage == "missing" else roll.write_bytes(data)
    assert penstock("verify", "runs").code == 4
    assert penstock(*ADD, *BY_KEY).code == 0  # nothing came late: it is not needed
    insert(root, 15)
    refused = penstock(*ADD, *BY_KEY)
    assert (refused.code, "000001.roll" in refused.stderr) == (4, True)
    assert penstock("repair", "runs", "--from", "app.db").code == 0
    data[100] ^= 1
    assert roll.read_bytes() == data
    assert penstock(*ADD, *BY_KEY, "--json").summary["counts"] == {"late": 1}


def test_rolls_of_rows_that_came_went_and_changed_are_made_again(root: Path, penstock: Command) -> None:
    """Also where rows of them came, went and changed since; what a filter left out has to be there as it was."""
    more = (*BY_KEY, "--overlap", "1000", "--updates")
    insert(root, 15, 16, 1010)
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n IN (20, 40)")
    assert penstock(*ADD, *more, "--json").summary["counts"] == {"late": 2, "vanished": 2}
    foreign_sqlite.execute(root / "app.db", "UPDATE hits SET path = '/changed' WHERE n IN (50, 70)")
    insert(root, 17)
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n = 60")
    assert penstock(*ADD, *more, "--json").summary["counts"] == {"changed": 2, "late": 1, "vanished": 1}
    insert(root, 18, 1020)
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n IN (90, 15)")
    assert penstock(*ADD, *more).code == 0
    rolls = {path: path.read_bytes() for path in (root / "runs/_penstock/runs").glob("*.roll")}
    assert len(rolls) == 4
    insert(root, 19)
    for path in rolls:  # of two that are lost at once none tells what went missing in which
        path.unlink()
        assert penstock("repair", "runs", "--from", "app.db").code == 0
        assert {path: path.read_bytes() for path in rolls} == rolls
    assert penstock("verify", "runs").code == 0
    assert penstock(*ADD, *more, "--json").summary["counts"] == {"late": 1}


def test_a_roll_that_nothing_tells_is_left_by_name(root: Path, penstock: Command) -> None:
    given = ("export", "app.db", "some/", "--incremental", *BY_KEY, "--where", "data.path != '/500'")
    assert penstock(*given).code == 0
    roll = root / "some/_penstock/runs/000001.roll"
    data = roll.read_bytes()
    roll.unlink()
    assert penstock("repair", "some", "--from", "app.db").code == 0
    assert roll.read_bytes() == data
    roll.unlink()
    foreign_sqlite.execute(root / "app.db", "DELETE FROM hits WHERE n = 500")
    repaired = penstock("repair", "some", "--from", "app.db", "--json")
    left = [line["part"] for line in repaired.lines if line["type"] == "problem"]
    assert (repaired.code, left, roll.exists()) == (4, ["_penstock/runs/000001.roll"], False)


def known(root: Path) -> Counter[tuple[int, int]]:
    """The numbers and hashes of the rows that a lineage knows, read from its rolls by the standard library alone. They
    add up to what each run says."""
    found: Counter[tuple[int, int]] = Counter()
    for path in sorted((root / "runs").glob("_penstock/runs/*.json")):
        lineage: dict[str, Any] = json.loads(path.read_bytes())["lineage"]
        if (roll := lineage["roll"]) is not None:
            records = list(struct.iter_unpack("<qq", (root / "runs" / roll["name"]).read_bytes()))
            assert len(records) == roll["rows"] + roll["gone"]
            found.update(records[: roll["rows"]])
            found.subtract(records[roll["rows"] :])
        assert lineage["known"]["rows"] == found.total()
        assert min(found.values()) >= 0
    return +found


@pytest.mark.parametrize("where", [(), ("--where", "seq % 20 = 0")], ids=["all", "some"])
@pytest.mark.parametrize("parts", [(), ("--part-size", "7rows", "--workers", "3")], ids=["one part", "many"])
def test_rolls_are_what_the_format_says(
    where: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path, penstock: Command
) -> None:
    """Numbers in order; a row that a filter keeps out has no hash."""
    foreign_sqlite.execute(tmp_path / "app.db", KEYED)
    insert(tmp_path, *TENS)
    add = (*ADD, *BY_KEY, *where, *parts)
    assert penstock(*add).code == 0
    first = struct.unpack("<200q", (tmp_path / "runs/_penstock/runs/000001.roll").read_bytes())
    assert list(first[::2]) == list(TENS)
    insert(tmp_path, 15)
    foreign_sqlite.execute(tmp_path / "app.db", "DELETE FROM hits WHERE n = 40")
    assert penstock(*add).code == 0
    rows = dict(known(tmp_path).elements())
    assert sorted(rows) == sorted({*TENS, 15} - {40})
    assert [number for number, hash in sorted(rows.items()) if hash == 0] == [
        number for number in sorted(rows) if where and number % 20
    ]


def test_what_is_known_of_rows_that_were_read_again_is_known_once(
    tmp_path: Path, penstock: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest row is another one now, so that all above the one before are read again, in other slices before."""
    foreign_sqlite.execute(tmp_path / "app.db", KEYED)
    insert(tmp_path, *TENS)
    monkeypatch.setattr(reread, "RANGE_ROWS", 5)

    def add() -> ExportResult:
        options = ExportOptions(format="ndjson", part_rows=7)
        with AdoptedTable(tmp_path / "app.db", StorageConfig(table="hits")) as source:
            return Exporter(source).export(tmp_path / "runs", incremental=True, options=options)

    add()
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET path = '/other' WHERE n IN (1000, 990)")
    insert(tmp_path, *range(1010, 1200, 10))
    assert add().manifest.rows == 21
    found = sorted(known(tmp_path).elements())
    assert [number for number, _ in found] == list(range(10, 1200, 10))
    assert all(hash for _, hash in found), "every row was taken"
    assert (add().manifest.rows, add().manifest.counts) == (0, {})


def ties(root: Path, penstock: Command) -> tuple[Command, Path]:
    """A lineage of a table in which three rows have one number, below five others."""
    database = root / "app.db"
    rows = [*((f"t{n}", 1, f"/t{n}") for n in range(3)), *((f"x{n}", n, f"/x{n}") for n in range(2, 7))]
    values = ", ".join(f"('{id}', {BEGUN}00{n}, 'hit', '{path}')" for id, n, path in rows)
    foreign_sqlite.execute(
        database, TIMED, "CREATE INDEX by_time ON hits (created_at)", f"INSERT INTO hits VALUES {values}"
    )
    assert penstock(*ADD, *BY_TIME).code == 0

    def add(*more: str) -> Run:
        return penstock(*ADD, *BY_TIME, *more, "--json")

    return add, database


def test_rows_of_one_number_that_vanish_or_change_together_are_told_together(tmp_path: Path, penstock: Command) -> None:
    add, database = ties(tmp_path, penstock)
    updates = ("--overlap", "1000", "--updates")
    foreign_sqlite.execute(database, "UPDATE hits SET path = path || '/changed' WHERE id IN ('t0', 't1')")
    assert add(*updates).summary["counts"] == {"changed": 2}
    assert len(known(tmp_path)) == 8
    assert add(*updates).summary["counts"] == {}
    foreign_sqlite.execute(database, "DELETE FROM hits WHERE id IN ('t0', 't2')")
    assert add().summary["counts"] == {"vanished": 2}
    assert known(tmp_path).total() == 6
    assert add().summary["counts"] == {}


@pytest.mark.parametrize("more", [(), ("--overlap", "1000", "--updates")], ids=["plain", "updates"])
def test_a_row_that_ties_is_not_lost_to_one_that_changed_beside_it(
    more: tuple[str, ...], tmp_path: Path, penstock: Command
) -> None:
    """Nothing tells which of the two is new: both are taken."""
    add, database = ties(tmp_path, penstock)
    before = paths(tmp_path)
    foreign_sqlite.execute(
        database,
        "UPDATE hits SET path = '/changed' WHERE id = 't0'",
        f"INSERT INTO hits VALUES ('c', {BEGUN}001, 'hit', '/c')",
    )
    found = [add(*more).summary for _ in range(2)]
    assert [(run["counts"], run["event_count"]) for run in found] == [({"late": 2}, 2), ({}, 0)]
    assert paths(tmp_path) == before + Counter(["/changed", "/c"])
    assert known(tmp_path).total() == 9
