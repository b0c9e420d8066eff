"""What SQLite is asked for of a table changes nothing: rows, counts and errors are those of all rows looked at in turn.

Tables are made up by chance, of columns that hold anything, with indexes and without.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from penstock import AdoptedTable, ExportFilter, StorageConfig
from penstock.errors import ExportError, InvalidFilter
from penstock.model.dataset import type_name
from penstock.model.expression import text_of
from penstock.sources.connection import Connection
from penstock.sources.tables import asking
from penstock.sources.tables.asking import Asked
from penstock.sources.tables.plain import Plain
from proof_size import SEED, TIMES
from where_oracle import Chance

TABLES, FILTERS = max(round(120 * TIMES), 12), 25
NUMBERS = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "400",
    "401",
    "9007199254740992",
    "9007199254740993",
    "-9223372036854775808",
    "9223372036854775807",
    "1000000000",
]
REALS = [
    "0.0",
    "-0.0",
    "0.5",
    "400.0",
    "400.5",
    "9007199254740992.0",
    "9223372036854775808.0",
    "1e300",
    "9e999",
    "-9e999",
    "5e-324",
]
WORDS = [
    "''",
    "'a'",
    "'A'",
    "'é'",
    "'日本'",
    "'a''b'",
    "'/docs/x'",
    "'%'",
    "'400'",
    "'400.0'",
    "'t'",
    "'true'",
    "'a' || char(0) || 'b'",
    "CAST(x'ff61' AS TEXT)",
    "CAST(x'c3' AS TEXT)",
    "x''",
    "x'61'",
    "x'ff'",
]
JSONS = [
    "'{}'",
    """'{"status":400,"path":"/docs/x"}'""",
    """'{"status" : 404.5}'""",
    """'{"status":"400","flag":true}'""",
    """'{"status":null}'""",
    """'{"status":1,"status":400}'""",
    """'{"status":400'""",
    "'null'",
    "'[1,{\"x\":1}]'",
]
#: Around the window below, in each unit, at the ends of what says its unit, and beyond all years.
EPOCH = 1_793_491_200
MOMENTS = [
    *(
        str(EPOCH * unit + more)
        for unit in (1, 1000, 10**6, 10**9)
        for more in (-1, 0, 1, 86_400 * unit, -86_400 * unit)
    ),
    f"{EPOCH}.0",
    f"{EPOCH * 1000}.5",
    f"{EPOCH * 1000 - 1}.9999",
    "999999999",
    "1000000000",
    "9999999999",
    "9999999999.5",
    "10000000000",
    "253402300799",
    "253402300800",
    "-62135596801",
    "'2026-11-01'",
    "'2026-11-01 00:00:00'",
    "'2026-10-31T23:00:00-02:00'",
    "'2026-13-01'",
    f"'{EPOCH}'",
    "'never'",
]
COLUMNS = {
    "n": ("INTEGER", [*NUMBERS, "400.5", "'a'", "x'61'"]),
    "m": ("INT", [*NUMBERS, *REALS]),
    "size": ("REAL", [*NUMBERS, *REALS, "'a'"]),
    "price": ("DECIMAL(10,2)", ["1", "400", "19.99", "'19.99'", "400.001"]),
    "name": ("TEXT", [*WORDS, "400"]),
    "title": ("VARCHAR(10) COLLATE NOCASE", WORDS),
    "ok": ("BOOLEAN", ["0", "1", "2", "1.5", "'t'", "'false'", "'maybe'", "x'01'"]),
    "at": ("DATETIME", MOMENTS),
    "made": ("TEXT", MOMENTS),
    "day": ("DATE", ["'2026-11-01'", "'2026-11-02'", f"{EPOCH}", f"{EPOCH + 1}"]),
    "data": ("JSON", JSONS),
    "loose": ("", [*NUMBERS[:6], *WORDS[:6]]),
}
#: Values that fit everywhere, so that not every table is refused.
TAME = {
    "n": ["0", "1", "400"],
    "m": ["0", "7", "401"],
    "size": ["0.5", "400.0", "2"],
    "price": ["1", "19.99"],
    "name": ["'a'", "'A'", "'/docs/x'"],
    "title": ["'a'", "'A'"],
    "ok": ["0", "1", "'t'"],
    "at": MOMENTS[:8],
    "made": ["'2026-11-01'", "'2026-11-02 01:00:00'"],
    "day": ["'2026-11-01'"],
    "data": JSONS[:6],
    "loose": ["1", "2"],
}
PATHS = [("data", path) for path in (("status",), ("path",), ("flag",), (1, "x"), ("no",))]
KEYS = ("id INTEGER PRIMARY KEY", "id INTEGER PRIMARY KEY DESC", "id INTEGER", "id TEXT PRIMARY KEY")
TIME = (None, "at", "at:s", "at:ms", "at:ns", "made", "day", "n:us", "size:ms")


def build(path: Path, chance: random.Random) -> None:
    """A table of some rows, of which some columns hold hostile values."""
    names = list(COLUMNS)
    with closing(Connection(path, mode="rwc", busy_timeout=1)) as writer:
        if chance.random() < 0.2:
            writer.execute("PRAGMA encoding = 'UTF-16le'")
        writer.execute("PRAGMA journal_mode = WAL")
        key = chance.choice(KEYS)
        declared = ", ".join(f"{name} {COLUMNS[name][0]}" for name in names)
        behind = " WITHOUT ROWID" if "PRIMARY KEY" in key and chance.random() < 0.3 else ""
        writer.execute(f"CREATE TABLE t ({key}, {declared}){behind}")
        for name in names:
            if chance.random() < 0.5:
                writer.execute(f"CREATE INDEX by_{name} ON t ({name})")
        hostile = {name for name in names if chance.random() < 0.3}
        for number in range(chance.randint(1, 60)):
            values = [chance.choice(["NULL", *(COLUMNS[name][1] if name in hostile else TAME[name])]) for name in names]
            writer.execute(f"INSERT INTO t VALUES ({number}, {', '.join(values)})")


def filters(source: AdoptedTable, chance: random.Random) -> Iterator[ExportFilter]:
    kinds = {field.name: str(type_name(field)) for field in source.dataset.schema}
    made = Chance(chance, kinds, PATHS)
    timed = source.dataset.time is not None
    while True:
        given: dict[str, Any] = {}
        if chance.random() < 0.8:
            with suppress(IndexError):  # no column is of the kind that was wanted
                given["where"] = text_of(made.condition(chance.randint(0, 3)))
        if timed and chance.random() < 0.6:
            given |= chance.choice(
                [{"start": "2026-11-01"}, {"end": "2026-11-01"}, {"start": "2026-11-01", "end": "2026-11-01T00:00:01"}]
            )
        if chance.random() < 0.2:
            given["limit"] = chance.randint(1, 9)
        try:
            filter = ExportFilter(**given)
            filter.condition(source.dataset)
        except InvalidFilter:
            continue
        yield filter


def outcome(source: AdoptedTable, filter: ExportFilter) -> Any:
    """Rows and counts, or what was complained of."""
    most = 7 if filter.limit is None else 1 << 20
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    try:
        with source.pin() as view:
            for span in view.plan(filter, max_rows=most, max_bytes=1 << 40):
                reading = view.read(span, filter)
                rows += [row for batch in reading for row in batch.to_pylist()]
                counts.update(reading.counts)
            counts.update(view.unread)
    except ExportError as error:
        return type(error), error.message
    return repr(rows), +counts


@contextmanager
def asking_nothing() -> Iterator[None]:
    with mock.patch.object(Plain, "asked", return_value=Asked()):
        yield


def test_what_sqlite_is_asked_for_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_TIMES_AS_MANY", 2)
    chance = random.Random(f"{SEED} asking")
    seen: Counter[str] = Counter()
    real = asking.by_index

    def by_index(*given: Any, **more: Any) -> Asked:
        found = real(*given, **more)
        seen["asked"] += 1
        seen["by index"] += found.found is not None
        return found

    monkeypatch.setattr("penstock.sources.tables.view.by_index", by_index)
    for number in range(TABLES):
        path = tmp_path / f"{number}.db"
        build(path, chance)
        config = {"time": chance.choice(TIME), "misfits": chance.choice(["fail", "null", "null", "text"])}
        config |= {"key": chance.choice([(), (), (), ("id",), ("n",)]), "by_key": chance.random() < 0.2}
        try:
            source = AdoptedTable(path, StorageConfig(table="t", **config))
        except ExportError:
            continue
        for filter, _ in zip(filters(source, chance), range(FILTERS), strict=False):
            found = outcome(source, filter)
            with asking_nothing():
                expected = outcome(source, filter)
            assert found == expected, (number, config, filter)
            refused = isinstance(found[0], type)
            seen["refused" if refused else "none" if found[0] == "[]" else "rows"] += 1
    assert min(seen[each] for each in ("asked", "by index", "refused", "none", "rows")) > TABLES, seen


@pytest.mark.parametrize(
    ("values", "config", "given", "found"),
    [
        ("title = 'A'", {}, {"where": "title != 'a'"}, 1),
        ("n = 'A'", {"misfits": "null"}, {"where": "n is null"}, 1),
        ("made = '2026-10-31'", {"time": "made"}, {"end": "2026-11-01"}, 1),
        (f"at = {EPOCH}", {"time": "at:s"}, {"start": "2026-11-01"}, 1),
        (f"at = {EPOCH - 1}", {"time": "at:s"}, {"start": "2026-11-01"}, 0),
        ("at = 253402300800", {"time": "at:s"}, {"end": "2026-11-01"}, "holds the integer 253402300800"),
        ("at = 99", {"time": "at"}, {"end": "2026-11-01"}, "holds the integer 99"),
    ],
)
def test_a_value_counts_as_what_its_column_makes_of_it(
    tmp_path: Path, values: str, config: dict[str, Any], given: dict[str, Any], found: int | str
) -> None:
    with closing(Connection(tmp_path / "one.db", mode="rwc", busy_timeout=1)) as writer:
        declared = ", ".join(f"{name} {type}" for name, (type, _) in COLUMNS.items())
        writer.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {declared})")
        for name in ("title", "n", "made", "at"):
            writer.execute(f"CREATE INDEX by_{name} ON t ({name})")
        writer.execute("INSERT INTO t (id) VALUES (1)")
        writer.execute(f"UPDATE t SET {values}")
    rows, counts = outcome(AdoptedTable(tmp_path / "one.db", StorageConfig(table="t", **config)), ExportFilter(**given))
    assert found in counts if isinstance(found, str) else rows.count("'id'") == found
