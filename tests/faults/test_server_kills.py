"""The real command, killed between two calls of a database server: all rows of a run are there, or none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import real_command as real
from test_database_kills import whole

from postgres_server import Server
from proof_ledger import Ledger
from proof_size import FULL

#: A process that is killed before its Nth call of the database, and says how many there were if it is not.
_KILLED = """
import os, signal, sys
from penstock.cli import main
from penstock.tables.postgres import PostgresDatabase as database
left, counts = int(sys.argv.pop(1)), sys.argv.pop(1)
made = 0
def counted(call):
    def instead(*given, **named):
        global made
        made += 1
        with open(counts, "w") as file:
            file.write(str(made))
        if made == left:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*given, **named)
    return instead
for name in ("_run", "insert", "commit", "close"):
    setattr(database, name, counted(getattr(database, name)))
main()
"""


@pytest.mark.parametrize("flags", [("--overwrite",), ("--incremental",)], ids=["overwrite", "run"])
def test_a_killed_load_of_postgresql_left_all_or_nothing(
    flags: tuple[str, ...], tmp_path: Path, postgres: Server, new_database: Callable[[], str], ledger: Ledger
) -> None:
    store, name = real.fill_store(tmp_path / "events.db", 300), new_database()
    counts = tmp_path / "counts"
    url = postgres.url(name, "?password=env:PENSTOCK_TEST_SECRET")

    def load(left: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _KILLED, str(left), str(counts), "export", str(store), url, *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def found() -> tuple[int | None, int]:
        there = postgres.ask(name, "SELECT to_regclass('events') IS NOT NULL")
        rows = postgres.ask(name, "SELECT count(*) FROM events") if there == [["t"]] else [["0"]]
        return whole(url), int(str(rows[0][0]))

    assert load(10_000).returncode == 0
    calls = int(counts.read_text())
    points = range(1, calls + 1) if FULL else sorted({1, *range(2, calls + 1, max(calls // 4, 1)), calls - 1})
    for left in points:
        fresh = new_database()
        url, name = postgres.url(fresh, "?password=env:PENSTOCK_TEST_SECRET"), fresh
        assert load(left).returncode == -9, left
        assert found() in ((None, 0), (300, 300)), left
        assert real.run("export", store, url, *flags).code == 0, left
        assert found() == (300, 300), left
    ledger.add(
        f"postgresql {flags[0]}", real.KILLS, planned=len(points), fired=len(points), passed=len(points), sampled=True
    )
