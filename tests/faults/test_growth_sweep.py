"""A death at every file operation of a run that finds late and changed rows of a table, and of a repair: whoever comes
next ends it, and each row is held once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from test_resume_sweep import Dead, Death

import foreign_sqlite
from forged import manifest, run_path
from penstock import AdoptedTable, DirectoryDestination, Exporter, ExportOptions, StorageConfig, repair, verify
from penstock.testing.faults import FaultyOps
from proof_ledger import Ledger

Work: TypeAlias = Callable[[Path, FaultyOps], object]
WHEN = ("before", "after")
CONFIG = StorageConfig(table="hits", mapping={"timestamp": "at:s", "event_type": "name"})
OPTIONS = ExportOptions(format="ndjson", workers=1, part_rows=8, overlap=1000, updates=True)


def held(place: Path) -> Counter[str]:
    """The paths of all rows that the manifests hold."""
    manifests = [json.loads(path.read_bytes()) for path in sorted(place.glob("_penstock/runs/*.json"))]
    gone = {one["name"] for raw in manifests for one in raw["lineage"]["removed"]}
    names = [part["name"] for raw in manifests for part in raw["parts"] if part["name"] not in gone]
    return Counter(
        json.loads(line)["data"]["path"] for name in names for line in (place / name).read_bytes().splitlines()
    )


@pytest.fixture
def database(tmp_path: Path) -> Path:
    foreign_sqlite.execute(
        tmp_path / "app.db",
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT, path TEXT)",
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)"
        " INSERT INTO hits SELECT 10 * i, 1790000000 + i, 'hit', '/' || (10 * i) FROM c",
    )
    return tmp_path / "app.db"


def add(database: Path, place: Path, ops: FaultyOps) -> None:
    destination = DirectoryDestination(place, ops=ops).lineage()
    Exporter(AdoptedTable(database, CONFIG)).export(destination, incremental=True, options=OPTIONS)


def swept(base: Path, root: Path, work: Work, when: Literal["before", "after"], check: Callable[[Path], None]) -> int:
    """Die at each operation in turn, let the work be done anew, and check; how often that was."""
    shutil.copytree(base, root / "count")
    ops = FaultyOps()
    work(root / "count", ops)
    deaths = 0
    for nth in range(1, len(ops.log) + 1):
        died, again = root / f"died-{nth}", root / f"again-{nth}"
        shutil.copytree(base, died)
        try:
            work(died, FaultyOps(Death(nth=nth, when=when, lasting=True)))
        except Dead:
            deaths += 1
        else:  # there is no after of what fails, as the removal of a folder that is not empty
            assert (when, ops.log[nth - 1].name) == ("after", "rmdir")
        shutil.copytree(died, again)  # a copy that no dead process holds a lock on
        work(again, FaultyOps())
        check(again)
    return deaths


@pytest.mark.parametrize("when", WHEN)
def test_a_death_while_late_rows_are_added(
    when: Literal["before", "after"], database: Path, tmp_path: Path, ledger: Ledger
) -> None:
    add(database, tmp_path / "base", FaultyOps())
    foreign_sqlite.execute(
        database,
        "INSERT INTO hits VALUES (15, 1790000001, 'hit', '/15'), (300, 1790000300, 'hit', '/300')",
        "UPDATE hits SET path = '/changed' WHERE n = 100",
        "DELETE FROM hits WHERE n = 50",
    )
    expected = Counter(f"/{10 * n}" for n in range(1, 21)) + Counter(["/15", "/300", "/changed"])

    def check(place: Path) -> None:
        assert held(place) == expected
        assert verify(place).ok
        assert not (place / ".penstock").exists()

    died = swept(tmp_path / "base", tmp_path, lambda place, ops: add(database, place, ops), when, check)
    ledger.add(f"a run with late rows, death {when} each operation", "deaths", planned=died, fired=died, passed=died)
    assert died > 20


@pytest.mark.parametrize("when", WHEN)
def test_a_death_while_a_lineage_is_repaired(
    when: Literal["before", "after"], database: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """One part is missing, of another the bytes come out otherwise, and a manifest is lost."""
    base = tmp_path / "base"
    for first in (500, 600, 700):
        add(database, base, FaultyOps())
        rows = ", ".join(f"({first + n}, 1790000000, 'hit', '/{first + n}')" for n in range(20))
        foreign_sqlite.execute(database, f"INSERT INTO hits VALUES {rows}")
    add(database, base, FaultyOps())
    expected = Counter(f"/{10 * n}" for n in range(1, 21))
    expected += Counter(f"/{first + n}" for first in (500, 600, 700) for n in range(20))
    assert held(base) == expected
    (base / manifest(base, 1)["parts"][0]["name"]).unlink()
    damaged = base / manifest(base, 4)["parts"][0]["name"]
    damaged.write_bytes(damaged.read_bytes()[::-1])
    run_path(base, 2).unlink()

    def mend(place: Path, ops: FaultyOps) -> None:
        done = repair(DirectoryDestination(place, ops=ops).lineage(), AdoptedTable(database, CONFIG), options=OPTIONS)
        assert done.ok, done.left

    def check(place: Path) -> None:
        assert held(place) == expected
        result = verify(place)
        assert result.ok, result.problems
        assert sum(path.is_file() for path in (place / "data").iterdir()) == result.parts
        add(database, place, FaultyOps())
        assert held(place) == expected

    died = swept(base, tmp_path, mend, when, check)
    ledger.add(f"a repair, death {when} each operation", "deaths", planned=died, fired=died, passed=died)
    assert died > 20
