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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

#: A row as the model knows it: where it stands, and how often it was updated, by anybody at all.
Row = tuple[int, int]
#: Where a row stands whose numbers tie: its number, and, in what is left, what parts it from others.
_PARTED = 10_000


@dataclass(frozen=True)
class Table:
    """A table of the histories. ``own`` are columns of its own, by the SQL of their values, for a number ``n`` and the
    row ``path`` of the model. Rows are events ``by`` a mapping, or come as they are in the order of a key. ``place`` is
    the SQL of where a row stands."""

    create: tuple[str, ...]
    by: Mapping[str, str] | Sequence[str]
    own: Mapping[str, str] = field(default_factory=dict)
    place: str = "n"
    ties: bool = False
    counts: bool = False

    @property
    def unit(self) -> int:
        return 1 if self.place == "n" else _PARTED

    @property
    def config(self) -> StorageConfig:
        if isinstance(self.by, Mapping):
            return StorageConfig(table="hits", mapping={"timestamp": "at:s", "event_type": "name", **self.by})
        return StorageConfig(table="hits", key=self.by)


_CLOCK = "strftime('%Y-%m-%d %H:%M:%S', 1700000000 + 60 * {n}, 'unixepoch')"
_TABLES = {
    "a key": Table((f"CREATE TABLE hits (n INTEGER PRIMARY KEY, {_COLUMNS})",), by={}, counts=True),
    "a key that is never reused": Table(
        (f"CREATE TABLE hits (n INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS})",), by={}, counts=True
    ),
    "a unique column": Table((f"CREATE TABLE hits ({_COLUMNS}, n INTEGER UNIQUE)",), by={"seq": "n"}),
    "a column that ties": Table(
        (f"CREATE TABLE hits (id TEXT, {_COLUMNS}, n INTEGER)", "CREATE INDEX by_n ON hits (n)"),
        by={"seq": "n"},
        own={"id": "'id-{path}'"},
        ties=True,
    ),
    "a key of text": Table(
        (f"CREATE TABLE hits (k TEXT PRIMARY KEY, {_COLUMNS}, n INTEGER)",),
        by=["k"],
        own={"k": "printf('k-%06d', 1000 + {n})"},
    ),
    "a time that ties": Table(
        (
            f"CREATE TABLE hits (id INTEGER PRIMARY KEY, k DATETIME, {_COLUMNS}, n INTEGER)",
            "CREATE INDEX by_k ON hits (k)",
        ),
        by=["k"],
        own={"k": _CLOCK},
        place=f"n * {_PARTED} + id",
        ties=True,
    ),
    "a real and a key": Table(
        (
            f"CREATE TABLE hits (id INTEGER PRIMARY KEY, k REAL, {_COLUMNS}, n INTEGER)",
            "CREATE INDEX by_k ON hits (k, id)",
        ),
        by=["k", "id"],
        own={"k": "1700000000.1 + {n} / 16.0"},
        place=f"n * {_PARTED} + id",
        ties=True,
    ),
    "a key of several columns": Table(
        (f"CREATE TABLE hits (k TEXT, m INTEGER, {_COLUMNS}, n INTEGER, PRIMARY KEY (k, m)) WITHOUT ROWID",),
        by=[],
        own={"k": "printf('%05d', (1000 + {n}) / 3)", "m": "(1000 + {n}) % 3"},
    ),
}


class TableLineages(RuleBasedStateMachine):
    """One history. A row is known by its ``path``, which never comes again, and a version of it by ``note`` too.

    ``live`` are the rows of the table, ``known`` those at the last run, with their numbers, ``covered`` the paths that
    the runs hold. ``dropped`` rows were deleted before a run saw them, and may be exported once a backup brings them
    back, or not. ``masked`` ones have the number of a row that the lineage knows and that is gone, so that only an
    overlap shows them.
    """

    seen: ClassVar[Counter[str]] = Counter()
    program: ClassVar[Program]

    @initialize(table=st.sampled_from(list(_TABLES)), wal=st.booleans(), adds=st.booleans())
    def begin(self, table: str, wal: bool, adds: bool) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="penstock-history-"))
        self.database, self.place = self.root / "app.db", self.root / "runs"
        self.table = _TABLES[table]
        self.adds = adds and not isinstance(self.table.by, Mapping)
        self.live: dict[str, Row] = {}
        self.kept: dict[str, Row] | None = None
        self.known: dict[str, int] = {}
        self.covered: set[str] = set()
        self.dropped: set[str] = set()
        self.masked: set[str] = set()
        self.late: set[str] = set()
        self.number = self.notes = self.steps = self.columns = 0
        self._do(*(["PRAGMA journal_mode=WAL"] if wal else []), *self.table.create)

    def _do(self, *statements: str) -> list[list[list[Any]]]:
        self.steps += 1
        return self.program.execute(self.database, *statements)

    def _insert(self, numbers: list[int | None]) -> None:
        statements = []
        for number in numbers:
            self.number += 1
            path = f"/{self.number}"
            newest = "NULL" if self.table.counts else "(SELECT coalesce(max(n), 0) + 1 FROM hits)"
            n = newest if number is None else f"({number})"
            own = {name: sql.format(n=n, path=path) for name, sql in self.table.own.items()}
            given = {**own, "n": n, "at": "1", "name": "'hit'", "path": f"'{path}'", "note": "0"}
            statements.append(f"INSERT INTO hits ({', '.join(given)}) VALUES ({', '.join(given.values())})")
        *_, rows = self._do(*statements, f"SELECT path, {self.table.place}, note FROM hits ORDER BY 2")
        self.live = {path: (n, note) for path, n, note in rows}

    @rule(count=st.integers(1, 12))
    def insert(self, count: int) -> None:
        self._insert([None] * count)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 3))
    def insert_late(self, data: st.DataObject, count: int) -> None:
        """Below the newest: at numbers that are free, or, where rows may tie, at any."""
        there = {place // self.table.unit for place, _ in self.live.values()}
        free = [n for n in range(-3, max(there) + 1) if self.table.ties or n not in there]
        if free:
            chosen = data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=count, unique=not self.table.ties))
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
        looking: dict[str, Any] = {"overlap": 100_000, "updates": True} if overlap else {}
        looking["new_columns"] = "add" if self.adds else "ignore"
        options = ExportOptions(format="ndjson", workers=1, **looking)
        before = Counter(self._versions())
        there = {path: n for path, (n, _) in self.live.items()}
        gone = {n for path, n in self.known.items() if there.get(path) != n}
        self.masked |= {path for path in self.late - self.covered if there.get(path) in gone}
        try:
            result = export(self.database, self.place, config=self.table.config, options=options, incremental=True)
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
        self.seen["runs with columns that came later"] += any("came later" in note for note in result.notes)
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
        if not isinstance(self.table.by, Mapping):
            self._check_keys(last["lineage"]["anchors"])
            return
        exported = dict(self._rows())
        there = {(n, (path, note)) for path, (n, note) in self.live.items()}
        for anchor in last["lineage"]["anchors"]:
            assert (anchor["seq"], exported.get(anchor["seq"])) not in there or self.table.ties

    def _check_keys(self, anchors: Sequence[Mapping[str, Any]]) -> None:
        exported = {version for _, version in self._rows()}
        for anchor in anchors:
            values = {name: value["real"] if isinstance(value, dict) else value for name, value in anchor["at"].items()}
            same = " AND ".join(f"{name} = {value!r}" for name, value in values.items())
            rows = self._do(f"SELECT path, note FROM hits WHERE {same}")[0]
            assert not exported & {(path, note) for path, note in rows}

    def _rows(self) -> list[tuple[int, tuple[str, int]]]:
        manifests = [json.loads(path.read_bytes()) for path in sorted(self.place.glob("_penstock/runs/*.json"))]
        names = [part["name"] for raw in manifests for part in raw["parts"]]
        lines = [line for name in names for line in (self.place / name).read_bytes().splitlines()]
        rows = [(row, row.get("data", row)) for row in map(json.loads, lines)]
        return [(row.get("seq", row.get("n")), (data["path"], data["note"])) for row, data in rows]

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
        "runs with columns that came later",
        "moves and copies",
    ):
        assert seen[what] > 0, what
        ledger.add(
            f"  {what} in them", "of these", planned=seen[what], fired=seen[what], passed=seen[what], sampled=True
        )
    assert done == HISTORIES
