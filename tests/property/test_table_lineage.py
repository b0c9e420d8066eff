"""Random histories of a lineage of somebody else's table without ids, against a model that knows which rows it held.

Rows are inserted and deleted, the newest, the oldest and some between, so that numbers come again with other rows; the
database is put back from a backup and grows again. After every run each row that was there at a run is in exactly one:
nothing is lost and nothing twice, or the run refuses to be added.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

from hypothesis import seed
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from foreign_sqlite import Program
from penstock import ExportOptions, StorageConfig, export, verify
from penstock.errors import Rewound
from proof_ledger import Ledger
from proof_size import SEED, TIMES

HISTORIES = round(500 * TIMES)
STEPS = 30
_TABLES = (
    "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT, path TEXT)",
    "CREATE TABLE hits (n INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, name TEXT, path TEXT)",
    "CREATE TABLE hits (at INTEGER, name TEXT, path TEXT, n INTEGER UNIQUE)",
)


class TableLineages(RuleBasedStateMachine):
    """One history. A row is known by its ``path``, which never comes again. ``live`` are the rows of the table by
    number, ``covered`` those that the runs hold, ``dropped`` those that were deleted before a run saw them, and may be
    exported once a backup brings them back, or not."""

    seen: ClassVar[Counter[str]] = Counter()
    program: ClassVar[Program]

    @initialize(table=st.sampled_from(_TABLES), wal=st.booleans())
    def begin(self, table: str, wal: bool) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="penstock-history-"))
        self.database, self.place = self.root / "app.db", self.root / "runs"
        self.mapped = "n" if "UNIQUE" in table else None
        self.live: dict[int, str] = {}
        self.kept: dict[int, str] | None = None
        self.covered: set[str] = set()
        self.dropped: set[str] = set()
        self.number = self.steps = 0
        self._do(*(["PRAGMA journal_mode=WAL"] if wal else []), table)

    def _do(self, *statements: str) -> None:
        self.program.execute(self.database, *statements)
        self.steps += 1

    @rule(count=st.integers(1, 12))
    def insert(self, count: int) -> None:
        paths = [f"/{number}" for number in range(self.number, self.number + count)]
        self.number += count
        number = "(SELECT coalesce(max(n), 0) + 1 FROM hits)" if self.mapped else "NULL"
        self._do(*(f"INSERT INTO hits (n, at, name, path) VALUES ({number}, 1, 'hit', '{path}')" for path in paths))
        self.live = dict(self.program.execute(self.database, "SELECT n, path FROM hits ORDER BY n")[0])

    @precondition(lambda self: self.live)
    @rule(data=st.data(), which=st.sampled_from(["newest", "oldest", "between"]))
    def delete(self, data: st.DataObject, which: str) -> None:
        numbers = sorted(self.live)
        count = data.draw(st.integers(1, min(6, len(numbers))))
        first = {"newest": len(numbers) - count, "oldest": 0, "between": (len(numbers) - count) // 2}[which]
        gone = numbers[first : first + count]
        self._do(f"DELETE FROM hits WHERE n IN ({', '.join(map(str, gone))})")
        self.dropped |= {self.live.pop(number) for number in gone} - self.covered
        self.seen[f"deletions of the {which} rows"] += 1

    @rule()
    def back_up(self) -> None:
        self._do("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self.database, self.root / "backup.db")
        self.kept = dict(self.live)

    @precondition(lambda self: self.kept is not None)
    @rule(count=st.integers(0, 20))
    def put_back_and_grow(self, count: int) -> None:
        assert self.kept is not None
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(f"{self.database}{ending}").unlink(missing_ok=True)
        shutil.copy(self.root / "backup.db", self.database)
        self.live = dict(self.kept)
        if count:
            self.insert(count)
        self.seen["tables put back"] += 1

    @rule(lost=st.integers(1, 12), count=st.integers(0, 20))
    def lose_what_was_exported(self, lost: int, count: int) -> None:
        """Right after a run the table is put back to before what it exported, and grows otherwise."""
        self.back_up()
        self.insert(lost)
        self.export()
        self.put_back_and_grow(count)

    @rule()
    def export(self) -> None:
        mapping = {"timestamp": "at:s", "event_type": "name"} | ({"seq": "n"} if self.mapped else {})
        config = StorageConfig(table="hits", mapping=mapping)
        options = ExportOptions(format="ndjson", workers=1)
        try:
            result = export(self.database, self.place, config=config, options=options, incremental=True)
        except Rewound:
            last = json.loads(max(self.place.glob("_penstock/runs/*.json")).read_bytes())
            keys = {f"hits:{number}": path for number, path in self.live.items()}
            held = [anchor for anchor in last["lineage"]["anchors"] if keys.get(anchor["key"]) in self.covered]
            assert not [anchor for anchor in held if keys[anchor["key"]] == self._exported_at(anchor["seq"])]
            shutil.rmtree(self.place)
            self.covered, self.dropped = set(), set()
            self.seen["tables that proved nothing"] += 1
            self.export()
            return
        self.steps += 1
        self.seen["exports"] += 1
        self.seen["broken cursors"] += result.partial
        exported = Counter(self._paths())
        assert set(exported.values()) <= {1}
        due = self.covered | {path for path in self.live.values() if path not in self.dropped}
        assert due <= set(exported) <= due | self.dropped
        self.covered = set(exported)
        self.dropped -= self.covered
        assert verify(self.place).ok

    def _rows(self) -> list[tuple[int, str]]:
        manifests = [json.loads(path.read_bytes()) for path in sorted(self.place.glob("_penstock/runs/*.json"))]
        names = [part["name"] for raw in manifests for part in raw["parts"]]
        lines = [line for name in names for line in (self.place / name).read_bytes().splitlines()]
        return [(row["seq"], row["data"]["path"]) for row in map(json.loads, lines)]

    def _paths(self) -> list[str]:
        return [path for _, path in self._rows()]

    def _exported_at(self, seq: int) -> str | None:
        """The row that the last run that read this number found there."""
        return dict(self._rows()).get(seq)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            try:
                self.export()
                self.seen["whole histories"] += self.steps >= STEPS // 2
            finally:
                shutil.rmtree(self.root)


def test_any_history_of_a_table_leaves_every_row_in_exactly_one_run(ledger: Ledger) -> None:
    seen = TableLineages.seen
    seen.clear()
    TableLineages.program = Program()
    try:
        turn = 0
        while seen["whole histories"] < HISTORIES and turn < 10:
            seed(SEED + turn)(TableLineages)
            run_state_machine_as_test(
                TableLineages,
                settings=limits(
                    max_examples=HISTORIES - seen["whole histories"],
                    stateful_step_count=STEPS,
                    derandomize=False,
                    database=None,
                ),
            )
            turn += 1
    finally:
        TableLineages.program.close()
    done = min(seen["whole histories"], HISTORIES)
    name = "histories of a table's lineage against the model"
    ledger.add(name, "histories", planned=HISTORIES, fired=done, passed=done, sampled=True)
    for what in ("exports", "tables put back", "broken cursors", "deletions of the newest rows"):
        assert seen[what] > 0, what
        ledger.add(
            f"  {what} in them", "of these", planned=seen[what], fired=seen[what], passed=seen[what], sampled=True
        )
    assert done == HISTORIES
