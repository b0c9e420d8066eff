"""Columns that a table got after its lineage was begun, and that later runs have: readers see null before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow.dataset
import pytest

import foreign_sqlite
from forged import manifest
from penstock_command import Run

Command = Callable[..., Run]
FORMATS = ("ndjson", "json", "csv", "parquet", "arrow")
#: What the table holds at last, as every reader has to see it.
WHOLE = [
    (1, "a", None, None),
    (2, "b", None, None),
    (3, "c", "moz", 2.5),
    (4, "d", None, 4.0),
    (5, "e", "opera", None),
]


def add(penstock: Command, *more: str, format: str = "parquet") -> Run:
    return penstock(
        "export", "app.db", "runs/", "--incremental", "--table", "hits", "--format", format, *more, "--json"
    )


@pytest.fixture
def grown(tmp_path: Path, penstock: Command) -> Callable[[str], Path]:
    """A lineage whose table got two columns between its runs, one of them declared as nothing."""

    def make(format: str) -> Path:
        database = tmp_path / "app.db"
        foreign_sqlite.execute(
            database,
            "CREATE TABLE hits (id INTEGER PRIMARY KEY, name TEXT)",
            "INSERT INTO hits VALUES (1, 'a'), (2, 'b')",
        )
        assert add(penstock, format=format).code == 0
        foreign_sqlite.execute(
            database,
            "ALTER TABLE hits ADD COLUMN agent TEXT",
            "ALTER TABLE hits ADD COLUMN size",
            "INSERT INTO hits VALUES (3, 'c', 'moz', 2.5), (4, 'd', NULL, 4)",
        )
        done = add(penstock, "--new-columns", "add", format=format)
        told = "columns that came later are in this run and those behind it: agent, size"
        assert (done.code, done.summary["event_count"]) == (0, 2)
        assert {"v": 1, "type": "warning", "message": told} in done.lines
        foreign_sqlite.execute(database, "INSERT INTO hits VALUES (5, 'e', 'opera', NULL)")
        assert add(penstock, format=format).summary["event_count"] == 1  # once added they stay
        return tmp_path / "runs"

    return make


@pytest.mark.parametrize("format", FORMATS)
def test_a_lineage_with_them_is_whole_for_every_verb(
    format: str, grown: Callable[[str], Path], penstock: Command
) -> None:
    runs = grown(format)
    schemas = [[column["name"] for column in manifest(runs, run)["schema"]] for run in (1, 2, 3)]
    assert schemas == [["id", "name"], *[["id", "name", "agent", "size"]] * 2]
    assert penstock("verify", "runs").code == penstock("gaps", "runs").code == 0
    assert penstock("gaps", "runs", "--where", "agent = 'moz'").code in (0, 2)
    same = penstock("diff", "runs", "app.db", "--table", "hits")
    assert (same.code, same.stdout) == (0, b"" if isinstance(same.stdout, bytes) else "")
    resumed = penstock("resume", "app.db", "runs", "--json")
    assert (resumed.code, resumed.summary["event_count"]) == (0, 0)
    assert [column["name"] for column in manifest(runs, 4)["schema"]] == ["id", "name", "agent", "size"]


@pytest.mark.parametrize("format", FORMATS)
def test_parts_of_before_and_after_are_made_again(format: str, grown: Callable[[str], Path], penstock: Command) -> None:
    runs = grown(format)
    parts = [runs / manifest(runs, run)["parts"][0]["name"] for run in (1, 2)]
    before = [part.read_bytes() for part in parts]
    parts[0].unlink()
    parts[1].write_bytes(b"[]")
    assert add(penstock, format=format).code == 4
    assert penstock("repair", "runs", "--from", "app.db").code == 0
    assert [part.read_bytes() for part in parts] == before
    assert penstock("verify", "runs").code == 0


def test_other_readers_see_null_before_them(grown: Callable[[str], Path]) -> None:
    data = grown("parquet") / "data"
    found = duckdb.sql(f"SELECT id, name, agent, size FROM read_parquet('{data}/*.parquet', union_by_name = true)")
    assert found.order("id").fetchall() == WHOLE
    scanned = polars.scan_parquet(sorted(data.glob("*.parquet"), reverse=True), missing_columns="insert")
    assert scanned.sort("id").collect().rows() == WHOLE
    newest = pyarrow.dataset.dataset(max(data.glob("*.parquet"))).schema
    table = pyarrow.dataset.dataset(data, schema=newest).to_table().sort_by("id")
    assert [tuple(row.values()) for row in table.to_pylist()] == WHOLE
    frame = pandas.read_parquet(data, schema=newest).sort_values("id")
    assert frame["name"].tolist() == [row[1] for row in WHOLE]
    assert frame["agent"].isna().tolist() == [row[2] is None for row in WHOLE]


def test_rows_are_compared_by_the_columns_that_the_lineage_began_with(
    grown: Callable[[str], Path], penstock: Command, tmp_path: Path
) -> None:
    """So that a row of before is no other row now, and a change of an older column is still seen."""
    runs = grown("ndjson")
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET agent = 'filled later' WHERE id < 3")
    looked = add(penstock, "--overlap", "100", "--updates", format="ndjson")
    assert (looked.code, looked.summary["counts"]) == (0, {})
    assert manifest(runs, 4)["lineage"]["compared"] == 2
    # by which the last run is known again are the newest rows: an older one changes
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET name = 'changed' WHERE id = 2")
    looked = add(penstock, "--overlap", "100", "--updates", format="ndjson")
    assert (looked.code, looked.summary["counts"]) == (0, {"changed": 1})


def test_a_file_that_was_put_back_loses_and_doubles_nothing(
    grown: Callable[[str], Path], penstock: Command, tmp_path: Path
) -> None:
    runs = grown("ndjson")
    foreign_sqlite.execute(
        tmp_path / "app.db", "DELETE FROM hits WHERE id = 5", "INSERT INTO hits VALUES (6, 'f', 'x', 1)"
    )
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE hits SET id = 5 WHERE id = 6")
    done = add(penstock, format="ndjson")
    assert done.code == 3
    names = [row["name"] for part in (runs / "data").iterdir() for row in polars.read_ndjson(part).to_dicts()]
    assert sorted(names) == ["a", "b", "c", "d", "e", "f"]
    assert penstock("verify", "runs").code == 0


def test_what_cannot_be_added_is_refused_or_told(tmp_path: Path, penstock: Command) -> None:
    database = tmp_path / "app.db"
    foreign_sqlite.execute(
        database,
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at INTEGER, name TEXT)",
        "INSERT INTO hits VALUES (1, 1, 'a')",
    )
    mapped: tuple[Any, ...] = ("export", "app.db", "events/", "--incremental", "--table", "hits")
    mapping = ("--map", "timestamp=at:s,event_type=name")
    assert penstock(*mapped, *mapping).code == 0
    chosen = ("export", "app.db", "chosen/", "--incremental", "--table", "hits", "--columns", "name,id", "--json")
    assert penstock(*chosen).code == 0
    foreign_sqlite.execute(
        database, "ALTER TABLE hits ADD COLUMN agent TEXT", "INSERT INTO hits VALUES (2, 2, 'b', 'c')"
    )
    refused = penstock(*mapped, *mapping, "--new-columns", "add")
    assert (refused.code, "agent cannot be added" in refused.stderr) == (2, True)
    assert penstock(*mapped, *mapping, "--new-columns", "ignore").code == 0
    told = {"v": 1, "type": "warning", "message": "new columns are kept out of the lineage: agent"}
    assert told in penstock(*chosen, "--new-columns", "add").lines


def test_a_column_that_was_added_and_dropped_is_missed_by_name(
    grown: Callable[[str], Path], penstock: Command, tmp_path: Path
) -> None:
    grown("ndjson")
    foreign_sqlite.execute(tmp_path / "app.db", "ALTER TABLE hits DROP COLUMN agent")
    refused = add(penstock, format="ndjson")
    assert (refused.code, "no column 'agent' any more" in str(refused.lines) + refused.stderr) == (2, True)
