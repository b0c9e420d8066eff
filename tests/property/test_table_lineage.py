"""Random histories of a lineage of somebody else's table, against a model that knows which rows it held.

Rows are inserted above and below the newest, with numbers of their own, of rows that were deleted, or, where the table
lets them, of others; they are deleted and updated; the table gets columns; the database is moved, copied, vacuumed, and
put back from a backup, and grows again. After every run each row that was there at a run is in exactly one: nothing is
lost and nothing twice, unless the run tells it, or it refuses to be added.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import seed
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from foreign_sqlite import Program
from penstock import ExportOptions, StorageConfig, export, verify
from penstock.errors import InvalidMapping, Rewound
from proof_ledger import Ledger
from proof_size import SEED, TIMES

HISTORIES = round(500 * TIMES)
STEPS = 30
_COLUMNS = "at INTEGER, name TEXT, path TEXT, note INTEGER"
_TABLES = {
    "a key": (f"CREATE TABLE hits (n INTEGER PRIMARY KEY, {_COLUMNS})",),
    "a key that is never reused": (f"CREATE TABLE hits (n INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS})",),
    "a unique column": (f"CREATE TABLE hits ({_COLUMNS}, n INTEGER UNIQUE)",),
    "a column that ties": (f"CREATE TABLE hits (id TEXT, {_COLUMNS}, n INTEGER)", "CREATE INDEX by_n ON hits (n)"),
}
_BY_KEY = ("a key", "a key that is never reused")
#: A row as the model knows it: its number, and how often it was updated, by anybody at all.
Row = tuple[int, int]


class TableLineages(RuleBasedStateMachine):
    """One history. A row is known by its ``path``, which never comes again, and a version of it by ``note`` too.

    ``live`` are the rows of the table, ``known`` those at the last run, with their numbers, ``covered`` the paths that
    the runs hold. ``dropped`` rows were deleted before a run saw them, and may be exported once a backup brings them
    back, or not. ``masked`` ones have the number of a row that the lineage knows and that is gone, so that only an
    overlap shows them.
    """

    seen: ClassVar[Counter[str]] = Counter()
    program: ClassVar[Program]

    @initialize(table=st.sampled_from(list(_TABLES)), wal=st.booleans())
    def begin(self, table: str, wal: bool) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="penstock-history-"))
        self.database, self.place = self.root / "app.db", self.root / "runs"
        self.table = table
        self.live: dict[str, Row] = {}
        self.kept: dict[str, Row] | None = None
        self.known: dict[str, int] = {}
        self.covered: set[str] = set()
        self.dropped: set[str] = set()
        self.masked: set[str] = set()
        self.late: set[str] = set()
        self.number = self.notes = self.steps = self.columns = 0
        self._do(*(["PRAGMA journal_mode=WAL"] if wal else []), *_TABLES[table])

    def _do(self, *statements: str) -> list[list[list[Any]]]:
        self.steps += 1
        return self.program.execute(self.database, *statements)

    def _insert(self, numbers: list[int | None]) -> None:
        statements = []
        for number in numbers:
            self.number += 1
            path = f"/{self.number}"
            own, id = ("id, ", f"'id-{self.number}', ") if "ties" in self.table else ("", "")
            newest = "NULL" if self.table in _BY_KEY else "(SELECT coalesce(max(n), 0) + 1 FROM hits)"
            n = newest if number is None else str(number)
            statements.append(
                f"INSERT INTO hits ({own}n, at, name, path, note) VALUES ({id}{n}, 1, 'hit', '{path}', 0)"
            )
        *_, rows = self._do(*statements, "SELECT path, n, note FROM hits ORDER BY n")
        self.live = {path: (n, note) for path, n, note in rows}

    @rule(count=st.integers(1, 12))
    def insert(self, count: int) -> None:
        self._insert([None] * count)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 3))
    def insert_late(self, data: st.DataObject, count: int) -> None:
        """Below the newest: at numbers that are free, or, where rows may tie, at any."""
        there = {n for n, _ in self.live.values()}
        free = [n for n in range(-3, max(there) + 1) if "ties" in self.table or n not in there]
        if free:
            chosen = data.draw(
                st.lists(st.sampled_from(free), min_size=1, max_size=count, unique="ties" not in self.table)
            )
            before = set(self.live)
            self._insert(list(chosen))
            self.late |= set(self.live) - before
            self.seen["late insertions"] += 1

    @precondition(lambda self: self.live)
    @rule(data=st.data(), which=st.sampled_from(["newest", "oldest", "between"]))
    def delete(self, data: st.DataObject, which: str) -> None:
        paths = sorted(self.live, key=lambda path: self.live[path])
        count = data.draw(st.integers(1, min(6, len(paths))))
        first = {"newest": len(paths) - count, "oldest": 0, "between": (len(paths) - count) // 2}[which]
        gone = paths[first : first + count]
        self._do(f"DELETE FROM hits WHERE path IN ({', '.join(map(repr, gone))})")
        for path in gone:
            del self.live[path]
        self.dropped |= set(gone) - self.covered
        self.seen[f"deletions of the {which} rows"] += 1

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.live)))
        self.notes += 1
        self._do(f"UPDATE hits SET note = {self.notes} WHERE path = '{path}'")
        self.live[path] = (self.live[path][0], self.notes)
        self.seen["updates"] += 1

    @precondition(lambda self: self.live and self.columns < 2)
    @rule()
    def add_a_column(self) -> None:
        self.columns += 1
        self._do(f"ALTER TABLE hits ADD COLUMN more_{self.columns} TEXT DEFAULT 'x'")
        self.seen["columns added"] += 1

    @precondition(lambda self: self.live)
    @rule()
    def vacuum(self) -> None:
        self._do("VACUUM")

    @precondition(lambda self: self.live)
    @rule(copy=st.booleans())
    def lie_elsewhere(self, copy: bool) -> None:
        self._do("PRAGMA wal_checkpoint(TRUNCATE)")
        other = self.root / f"app-{self.steps}.db"
        (shutil.copy if copy else shutil.move)(self.database, other)
        self.database = other
        self.seen["moves and copies"] += 1

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
        self.export(overlap=False)
        self.put_back_and_grow(count)

    @rule(overlap=st.booleans())
    def export(self, overlap: bool) -> None:
        mapping = {"timestamp": "at:s", "event_type": "name"} | ({} if self.table in _BY_KEY else {"seq": "n"})
        config = StorageConfig(table="hits", mapping=mapping)
        looking = {"overlap": 100_000, "updates": True} if overlap else {}
        options = ExportOptions(format="ndjson", workers=1, **looking)  # type: ignore[arg-type]
        before = Counter(self._versions())
        there = {path: n for path, (n, _) in self.live.items()}
        gone = {n for path, n in self.known.items() if there.get(path) != n}
        self.masked |= {path for path in self.late - self.covered if there.get(path) in gone}
        try:
            result = export(self.database, self.place, config=config, options=options, incremental=True)
        except (Rewound, InvalidMapping) as refusal:
            if not isinstance(refusal, InvalidMapping):  # else a backup from before a column that the lineage has
                self._check_that_nothing_was_proven()
            shutil.rmtree(self.place)
            self.covered, self.dropped, self.masked, self.known = set(), set(), set(), {}
            self.seen["tables that proved nothing"] += 1
            self.export(overlap)
            return
        self.steps += 1
        self.seen["exports"] += 1
        self.seen["broken cursors"] += result.partial
        self.seen["overlaps"] += overlap
        counts = result.manifest.counts
        self._check_rows(before, told=counts.get("changed", 0), whole=overlap)
        if not result.partial:
            numbers = [Counter(known.values()) for known in (self.known, there)]
            assert counts.get("vanished", 0) == (numbers[0] - numbers[1]).total()
        self.seen["late rows"] += counts.get("late", 0)
        self.seen["vanished rows"] += counts.get("vanished", 0)
        self.seen["changed rows"] += counts.get("changed", 0)
        self.known = there
        self.dropped -= self.covered
        assert result.growth == "checked"
        assert verify(self.place).ok

    def _check_rows(self, before: Counter[tuple[str, int]], *, told: int, whole: bool) -> None:
        """Each row is there, each version of it once but for those that the run tells of."""
        versions = Counter(self._versions())
        again = (versions - before).total() - len((versions - before).keys() - before.keys())
        assert again <= told
        exported = {path for path, _ in versions}
        due = self.covered | (set(self.live) - self.dropped - self.masked)
        assert due <= exported <= due | self.dropped | self.masked
        if whole:  # then what the table holds now was compared, row by row
            assert {(path, note) for path, (_, note) in self.live.items() if path not in self.dropped} <= set(versions)
        self.masked -= exported
        self.covered = exported

    def _check_that_nothing_was_proven(self) -> None:
        """Of the rows by which the last run is known again, none is there as it was exported."""
        last = json.loads(max(self.place.glob("_penstock/runs/*.json")).read_bytes())
        exported = dict(self._rows())
        there = {(n, (path, note)) for path, (n, note) in self.live.items()}
        for anchor in last["lineage"]["anchors"]:
            assert (anchor["seq"], exported.get(anchor["seq"])) not in there or "ties" in self.table

    def _rows(self) -> list[tuple[int, tuple[str, int]]]:
        manifests = [json.loads(path.read_bytes()) for path in sorted(self.place.glob("_penstock/runs/*.json"))]
        names = [part["name"] for raw in manifests for part in raw["parts"]]
        lines = [line for name in names for line in (self.place / name).read_bytes().splitlines()]
        return [(row["seq"], (row["data"]["path"], row["data"]["note"])) for row in map(json.loads, lines)]

    def _versions(self) -> list[tuple[str, int]]:
        return [version for _, version in self._rows()]

    def teardown(self) -> None:
        if hasattr(self, "root"):
            try:
                self.export(overlap=True)
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
    for what in (
        "exports",
        "tables put back",
        "broken cursors",
        "deletions of the newest rows",
        "late rows",
        "vanished rows",
        "changed rows",
        "columns added",
        "moves and copies",
    ):
        assert seen[what] > 0, what
        ledger.add(
            f"  {what} in them", "of these", planned=seen[what], fired=seen[what], passed=seen[what], sampled=True
        )
    assert done == HISTORIES
