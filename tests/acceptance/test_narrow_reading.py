"""SQLite is asked for no other column of a table than what is written, filtered by, or tells rows apart, and for no row
that a condition leaves out, as far as SQL can say so.

A column that cannot be computed in one row shows it: whoever reads it there has no export.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from foreign_readers import manifest_of
from penstock_command import Run

Command = Callable[..., Run]
FAILS = "abs(-9223372036854775807 - (id = 3))"
PLAIN = "id INTEGER PRIMARY KEY, name TEXT, loose, status INT, at INTEGER, data JSON"
ROWS = [
    (n, f"name {n}", n if n % 2 else str(n), n % 7, 1793536215000 + n * 1000, json.dumps({"n": n, "s": {"t": "é" * n}}))
    for n in range(1, 40)
]


def failed(run: Run, why: str) -> None:
    assert run.code in (2, 7), run
    assert why in run.stderr, run.stderr


def build(path: Path, *more: tuple[str, str, list[tuple[Any, ...]]]) -> Path:
    """A table and a view, either with a column ``broken``."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t ({PLAIN})")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", ROWS)
        connection.execute(f"ALTER TABLE t ADD COLUMN broken INTEGER AS ({FAILS})")
        connection.execute(f"CREATE VIEW v AS SELECT id, name, loose, status, at, data, {FAILS} AS broken FROM t")
        for create, insert, rows in more:
            connection.execute(create)
            connection.executemany(insert, rows)
    return path


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return build(tmp_path / "app.db")


WAYS: list[list[str]] = [
    ["--table", "t"],
    ["--table", "v", "--types", "loose:text"],
    ["--table", "v", "--types", "loose:text", "--key", "id"],
    ["--query", f"SELECT *, {FAILS} AS worse FROM t"],
]


@pytest.mark.parametrize("way", WAYS)
def test_a_column_that_is_not_asked_for_is_not_read(
    app: Path, penstock: Command, tmp_path: Path, way: list[str]
) -> None:
    failed(penstock("export", app, tmp_path / "all.ndjson", *way), "integer overflow")
    out = tmp_path / "some.ndjson"
    assert penstock("export", app, out, *way, "--columns", "name,loose,status").code == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert found == [{"name": row[1], "loose": str(row[2]), "status": row[3]} for row in ROWS]


@pytest.mark.parametrize("ending", ["ndjson", "csv", "parquet"])
def test_the_bytes_are_those_of_a_table_without_the_column(penstock: Command, tmp_path: Path, ending: str) -> None:
    app = build(
        tmp_path / "app.db", (f"CREATE TABLE plain ({PLAIN})", "INSERT INTO plain VALUES (?, ?, ?, ?, ?, ?)", ROWS)
    )
    narrow, whole = tmp_path / f"narrow.{ending}", tmp_path / f"whole.{ending}"
    assert penstock("export", app, narrow, "--table", "t", "--columns", "status,name,loose").code == 0
    assert penstock("export", app, whole, "--query", "SELECT status, name, loose FROM plain ORDER BY id").code == 0
    assert manifest_of(narrow)["rows_digest"] == manifest_of(whole)["rows_digest"]
    if ending != "parquet":  # the file says what it was made of
        assert narrow.read_bytes() == whole.read_bytes()


def test_the_filter_is_read_and_so_is_what_is_laid_open(app: Path, penstock: Command, tmp_path: Path) -> None:
    narrow = ["--table", "t", "--columns", "name"]
    out = tmp_path / "out.ndjson"
    asked = ["--where", "status = 3 and data.n > 5", "--time", "at:ms", "--end", "2027-01-01"]
    assert penstock("export", app, out, *narrow, *asked).code == 0
    assert [json.loads(line)["name"] for line in out.read_text().splitlines()] == [
        row[1] for row in ROWS if row[3] == 3 and row[0] > 5
    ]
    failed(penstock("export", app, tmp_path / "no.ndjson", *narrow, "--where", "broken > 1"), "integer overflow")
    failed(penstock("export", app, tmp_path / "no.ndjson", *narrow, "--where", "nane = 1"), "did you mean 'name'")
    failed(penstock("export", app, tmp_path / "no.ndjson", "--table", "t", "--columns", "nane"), "did you mean 'name'")
    flat = tmp_path / "flat.ndjson"
    assert penstock("export", app, flat, "--table", "t", "--flatten", "data", "--columns", "id,data.s.t").code == 0
    assert [json.loads(line) for line in flat.read_text().splitlines()] == [
        {"id": row[0], "data.s.t": "é" * row[0]} for row in ROWS
    ]


def test_a_value_that_does_not_fit_is_not_seen_where_its_column_is_not_read(penstock: Command, tmp_path: Path) -> None:
    odd = ("CREATE TABLE odd (id INTEGER PRIMARY KEY, qty INT)", "INSERT INTO odd VALUES (?, ?)", [(1, "many"), (2, 2)])
    app = build(tmp_path / "app.db", odd)
    failed(penstock("export", app, tmp_path / "odd.ndjson", "--table", "odd"), "'qty'")
    assert penstock("export", app, tmp_path / "odd.ndjson", "--table", "odd", "--columns", "id").code == 0
    assert manifest_of(tmp_path / "odd.ndjson")["counts"] == {}


def test_runs_of_a_lineage_read_no_more_and_see_what_came_late(app: Path, penstock: Command, tmp_path: Path) -> None:
    lineage = tmp_path / "lineage"
    run = ["--table", "t", "--columns", "name,status", "--incremental", "--format", "ndjson"]
    with closing(sqlite3.connect(app)) as connection, connection:
        connection.execute("DELETE FROM t WHERE id = 5")
    assert penstock("export", app, lineage, *run).code == 0
    with closing(sqlite3.connect(app)) as connection, connection:
        connection.execute("INSERT INTO t VALUES (5, 'late', 1, 1, 1, '{}'), (99, 'new', 1, 1, 1, '{}')")
        connection.execute("ALTER TABLE t ADD COLUMN another")
    second = penstock("export", app, lineage, *run, "--overlap", "50")
    assert second.code == 0, second
    assert "late: 1" in second.stderr
    lines = [line for part in sorted(lineage.glob("data/*.ndjson")) for line in part.read_text().splitlines()]
    names = [json.loads(line)["name"] for line in lines]
    assert sorted(names) == sorted([*(row[1] for row in ROWS if row[0] != 5), "late", "new"])
    part = sorted(lineage.glob("data/*.ndjson"))[0]
    part.unlink()
    assert penstock("repair", lineage, "--from", app).code == 0
    assert part.exists()
    assert penstock("resume", app, lineage).code == 0


def test_processes_read_no_more(app: Path, penstock_process: Command, tmp_path: Path) -> None:
    asked = ["--table", "t", "--columns", "name,status", "--part-size", "10rows", "--format", "ndjson"]
    assert penstock_process("export", app, tmp_path / "parts", *asked, "--runner", "processes").code == 0
    lines = [line for part in sorted(tmp_path.glob("parts/data/*")) for line in part.read_text().splitlines()]
    assert [json.loads(line)["name"] for line in lines] == [row[1] for row in ROWS]


CONDITIONS: list[tuple[list[str], Callable[[tuple[Any, ...]], bool]]] = [
    (["--where", "status = 5"], lambda row: row[3] == 5),
    (["--where", "status in (4, 5) and not name like '%7'"], lambda row: row[3] in (4, 5) and row[1][-1] != "7"),
    (["--where", "name = 'name 9' or status + 1 > 6"], lambda row: row[1] == "name 9" or row[3] == 6),
    (["--where", "data.n >= 30"], lambda row: row[0] >= 30),
    (["--where", "id > 3 and loose is not null"], lambda row: row[0] > 3),
    (["--start", "2026-11-01T12:30:25Z", "--time", "at:ms"], lambda row: row[4] >= 1793536225000),
]


@pytest.mark.parametrize(("condition", "matches"), CONDITIONS)
@pytest.mark.parametrize("index", ["status", "at", "name", None])
def test_a_row_that_cannot_match_is_not_read(
    app: Path,
    penstock: Command,
    tmp_path: Path,
    condition: list[str],
    matches: Callable[[tuple[Any, ...]], bool],
    index: str | None,
) -> None:
    with closing(sqlite3.connect(app)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        if index is not None:
            connection.execute(f"CREATE INDEX one ON t ({index})")
    out = tmp_path / "out.ndjson"
    done = penstock("export", app, out, "--table", "t", *condition)
    assert done.code == 0, done
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [row[0] for row in ROWS if matches(row)]
    failed(
        penstock("export", app, tmp_path / "no.ndjson", "--table", "t", "--where", "status <= 5"), "integer overflow"
    )


def test_what_does_not_fit_is_told_of_rows_that_are_meant(penstock: Command, tmp_path: Path) -> None:
    rows = [(1, 200, "many", 1793536215), (2, 404, 2, 1793536216), (3, 500, 3, "soon"), (4, "err", 4, 1793536217)]
    create = "CREATE TABLE odd (id INTEGER PRIMARY KEY, status INT, qty INT, at DATETIME)"
    app = build(tmp_path / "app.db", (create, "INSERT INTO odd VALUES (?, ?, ?, ?)", rows))
    read = ["--table", "odd", "--time", "at"]
    for index in ("status", "at", "qty"):
        with closing(sqlite3.connect(app)) as connection, connection:
            connection.execute(f"CREATE INDEX by_{index} ON odd ({index})")
        for number, (asked, why) in enumerate(
            [
                (["--where", "status = 404"], None),
                (["--where", "status = 200"], "id 1: the column 'qty' holds the text \"many\""),
                (["--where", "status = 500"], "id 3: the column 'at' holds the text \"soon\""),
                (["--where", "status is null"], "id 4: the column 'status' holds the text \"err\""),
                (["--where", "status < 500", "--start", "2026-11-01"], "id 1: the column 'qty'"),
                (["--where", "qty > 1", "--end", "2026-11-01"], "id 3: the column 'at'"),
                (["--where", "status != 200 and status != 500"], None),
            ]
        ):
            done = penstock("export", app, tmp_path / f"{index}{number}.ndjson", *read, *asked)
            if why is None:
                assert done.code == 0, (asked, done)
                lines = (tmp_path / f"{index}{number}.ndjson").read_text().splitlines()
                assert [json.loads(line)["id"] for line in lines] == [2]
            else:
                failed(done, why)
