"""Restore: every event comes back from every kind of export, nothing comes back from what is damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as limits

import foreign_readers
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, restore, verify
from penstock.errors import IntegrityError, UsageError
from penstock.model.manifest import PartEntry, parse_manifest
from penstock_command import Run
from plain_filter import matches

Command = Callable[..., Run]
EIGHT = ("id", "category", "event_type", "timestamp", "session_id", "priority", "data", "metadata")
FILES: list[tuple[str, ExportOptions]] = [
    *(
        (f"a.{ending}{more}", ExportOptions())
        for ending, more in product(("json", "ndjson", "csv"), ("", ".gz", ".zst"))
    ),
    ("pretty.json", ExportOptions(pretty=True)),
    ("null.csv", ExportOptions(csv_null="NULL")),
    *((f"{codec}.parquet", ExportOptions(compression=codec)) for codec in ("none", "gzip", "zstd", "snappy", "lz4")),
    *((f"{codec}.arrow", ExportOptions(compression=codec)) for codec in ("none", "zstd", "lz4")),
    ("eight.csv", ExportOptions(columns=EIGHT)),
    ("eight.parquet", ExportOptions(columns=EIGHT)),
    ("directory/", ExportOptions(part_rows=3, format="json", compression="gzip")),
]
SOME = sample_events.varied(60)


def held(store: SqliteAnalyticsStorage, place: Path) -> list[foreign_readers.Row]:
    """What a store holds, in order, read by a library that is not ours."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        Exporter(store).export(Path(name, "held.ndjson"))
        return foreign_readers.without_arrival(foreign_readers.read(Path(name, "held.ndjson")))


def in_file(path: Path) -> list[foreign_readers.Row]:
    with SqliteAnalyticsStorage(path, create=False, read_only=True) as store:
        return held(store, path.parent)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A directory of six parts of ten events each."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(SOME)
        Exporter(store).export(tmp_path / "out", options=ExportOptions(format="ndjson", part_rows=10))
    return tmp_path / "out"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A lineage of the same events in three runs, the second one empty."""
    with SqliteAnalyticsStorage(tmp_path / "growing.db") as store:
        for start, end in ((0, 35), (35, 35), (35, 60)):
            store.append(SOME[start:end])
            Exporter(store).export(tmp_path / "runs", incremental=True, options=ExportOptions(part_rows=10))
    return tmp_path / "runs"


@limits(max_examples=200 if os.environ.get("PENSTOCK_PROOF") == "full" else 2)
@given(sample_events.distinct())
def test_every_event_comes_back_from_every_format(events: list[AnalyticsEvent]) -> None:
    wanted = foreign_readers.rows_of(events)
    with tempfile.TemporaryDirectory() as name, SqliteAnalyticsStorage(Path(name, "events.db")) as store:
        place = Path(name)
        store.append(events)
        for number, (file, options) in enumerate(FILES):
            manifest = Exporter(store).export(f"{place}/{file}", options=options).manifest
            with SqliteAnalyticsStorage(place / f"{number}.db") as back:
                for turn in range(2):
                    result = restore(f"{place}/{file}", back)
                    assert (result.inserted, result.duplicates) == ((len(events), 0) if not turn else (0, len(events)))
                    assert (result.events, result.conflicts) == (len(events), 0), file
                    assert result.events_digest == manifest.rows_digest, file
                assert held(back, place) == wanted, file
                again = Exporter(back).export(place / f"again-{number}.arrow").manifest
                assert again.rows_digest == manifest.rows_digest, file


def test_a_lineage_comes_back_whole_and_in_order(runs: Path, tmp_path: Path, penstock: Command) -> None:
    said = penstock("restore", "runs", "--into", "back.db", "--json").summary
    assert (said["ok"], said["events"], said["inserted"], said["conflicts"]) == (True, 60, 60, 0)
    assert in_file(tmp_path / "back.db") == foreign_readers.rows_of(SOME)
    assert penstock("restore", "runs", "--into", "back.db", "--json").summary["duplicates"] == 60
    assert penstock("export", "back.db", "b.csv", "--json").summary["events_digest"] == said["events_digest"]


FILTERS = {
    "a time": (ExportFilter(start="2026-11-05", end="2026-11-20"), ("--start", "2026-11-05", "--end", "2026-11-20")),
    "categories": (ExportFilter(categories=["usage", "error"]), ("--category", "usage", "--category", "error")),
    "a type": (ExportFilter(event_types=[SOME[0].event_type]), ("--event-type", SOME[0].event_type)),
    "a session": (ExportFilter(session_id=sample_events.uuid_of(2)), ("--session", sample_events.uuid_of(2))),
    "a priority": (ExportFilter(priority="high"), ("--priority", "high")),
    "a number": (ExportFilter(limit=37), ("--limit", "37")),
    "both": (ExportFilter(priority="normal", limit=25), ("--priority", "normal", "--limit", "25")),
}


@pytest.mark.parametrize(("filter", "arguments"), FILTERS.values(), ids=FILTERS.keys())
def test_filters_choose_what_comes_back(
    filter: ExportFilter, arguments: tuple[str, ...], runs: Path, tmp_path: Path, penstock: Command
) -> None:
    wanted = [event for event in SOME if matches(filter, event)][: filter.limit]
    said = penstock("restore", "runs", "--into", "back.db", "--json", *arguments).summary
    assert said["events"] == said["inserted"] == len(wanted) > 0
    assert in_file(tmp_path / "back.db") == foreign_readers.rows_of(wanted)


def test_a_dry_run_stores_nothing_and_makes_no_store(exported: Path, tmp_path: Path, penstock: Command) -> None:
    before = sorted(os.listdir(tmp_path))
    said = penstock("restore", "out", "--into", "back.db", "--dry-run", "--json").summary
    assert (said["events"], said["inserted"], said["dry_run"]) == (60, 0, True)
    assert "60 events of out would be restored" in penstock("restore", "out", "--into", "back.db", "--dry-run").stderr
    assert sorted(os.listdir(tmp_path)) == before
    part = sorted(exported.glob("data/part-*"))[3]
    part.write_bytes(part.read_bytes()[:-1] + b" ")
    assert penstock("restore", "out", "--into", "back.db", "--dry-run").code == 4
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("policy", ["skip", "fail", "replace"])
def test_an_id_that_is_stored_with_other_content(
    policy: str, exported: Path, tmp_path: Path, penstock: Command
) -> None:
    stored = [AnalyticsEvent("other", id=SOME[number].id, timestamp=sample_events.START) for number in (3, 41)]
    with SqliteAnalyticsStorage(tmp_path / "back.db") as store:
        store.append([*stored, SOME[7]])
    said = penstock("restore", "out", "--into", "back.db", "--on-conflict", policy, "--json")
    found = {row["id"]: row for row in in_file(tmp_path / "back.db")}
    wanted = {row["id"]: row for row in foreign_readers.rows_of(SOME)}
    kept = {row["id"]: row for row in foreign_readers.rows_of(stored)}
    if policy == "fail":
        assert (said.code, said.summary["exit_code"]) == (2, 2)
        assert found == kept | {SOME[7].id: wanted[SOME[7].id]}
    else:
        counts = {name: said.summary[name] for name in ("events", "inserted", "duplicates", "conflicts")}
        assert counts == {"events": 60, "inserted": 57, "duplicates": 1, "conflicts": 2}
        assert found == (wanted | kept if policy == "skip" else wanted)
    again = penstock("restore", "out", "--into", "back.db", "--on-conflict", policy, "--json")
    assert again.code == (2 if policy == "fail" else 0)
    if policy == "replace":
        assert again.summary["duplicates"] == 60


def test_what_replaces_arrives_anew(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(SOME[:5])
        Exporter(store).export(tmp_path / "runs", incremental=True)
        changed = AnalyticsEvent("changed", id=SOME[1].id, timestamp=SOME[1].timestamp)
        assert store.append([changed], on_conflict="replace").conflicts == 1
        manifest = Exporter(store).export(tmp_path / "runs", incremental=True).manifest
        assert manifest.rows == 1
        with pytest.raises(UsageError):
            restore(tmp_path / "runs", tmp_path / "back.db")
        assert restore(tmp_path / "runs", tmp_path / "new.db", on_conflict="replace").conflicts == 1
    assert {row["event_type"] for row in in_file(tmp_path / "new.db") if row["id"] == changed.id} == {"changed"}


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def _flip(path: Path) -> None:
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
@pytest.mark.parametrize("kind", ["directory", "lineage", "file"])
def test_nothing_of_a_damaged_part_is_stored(
    kind: str, damage: Callable[[Path], object], exported: Path, runs: Path, tmp_path: Path, penstock: Command
) -> None:
    assert penstock("export", "events.db", "one.csv.gz").code == 0
    place, files = {
        "directory": (exported, sorted(exported.glob("data/part-*"))),
        "lineage": (runs, sorted(runs.glob("data/run-*-part-*"))),
        "file": (tmp_path / "one.csv.gz", [tmp_path / "one.csv.gz"]),
    }[kind]
    last = files[-1].relative_to(place) if place.is_dir() else files[-1].name
    before = sum(entry.rows for entry in _entries(place) if entry.name < str(last))
    damage(files[-1])
    said = penstock("restore", place, "--into", "back.db", "--json")
    assert said.code == said.summary["exit_code"] == penstock("verify", place).code == 4
    if (tmp_path / "back.db").exists():
        assert in_file(tmp_path / "back.db") == foreign_readers.rows_of(SOME[:before])
        assert files[-1].name in said.summary.get("message", said.stderr)


def _entries(place: Path) -> list[PartEntry]:
    """The parts of an export or of all runs, as its manifests have them."""
    if place.name == "runs":
        return [
            entry
            for path in sorted(place.glob("_penstock/runs/*.json"))
            for entry in parse_manifest(path.read_bytes(), where=path.name).parts
        ]
    manifest = verify(place).manifest
    assert manifest is not None
    return list(manifest.parts)


def test_an_export_without_some_columns_is_no_source(exported: Path, tmp_path: Path, penstock: Command) -> None:
    for missing in EIGHT:
        columns = ",".join(name for name in EIGHT if name != missing)
        assert penstock("export", "events.db", f"no-{missing}.ndjson", "--columns", columns).code == 0
        said = penstock("restore", f"no-{missing}.ndjson", "--into", "back.db")
        assert said.code == 2
        assert f"without the column {missing}" in said.stderr


def test_a_manifest_that_is_about_another_file(tmp_path: Path, exported: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "a.ndjson").code == 0
    shutil.copy(tmp_path / "a.ndjson.manifest.json", tmp_path / "b.ndjson.manifest.json")
    (tmp_path / "b.ndjson").write_text("")
    for verb in (("verify", "b.ndjson"), ("restore", "b.ndjson", "--into", "back.db", "--dry-run")):
        assert penstock(*verb).code == 4


@pytest.mark.parametrize(
    ("source", "code"), [("nowhere", 6), ("nowhere.csv", 6), ("-", 2), ("empty", 4), ("events.db", 4)]
)
def test_what_is_no_export_is_no_source(
    source: str, code: int, exported: Path, tmp_path: Path, penstock: Command
) -> None:
    (tmp_path / "empty").mkdir()
    assert penstock("restore", source, "--into", "back.db", "--dry-run").code == code
    assert penstock("restore", source, "--into", "back.db").code == code


def test_a_table_of_another_application(tmp_path: Path, penstock: Command) -> None:
    odd = ["7", "a b", "Ünï", 'say "hi"', "x\u2028y", "\xad", "A" * 1024, "null", "'); --", "UPPER-case"]
    with closing(sqlite3.connect(tmp_path / "app.db")) as database, database:
        database.execute("CREATE TABLE clicks (n INTEGER PRIMARY KEY, code TEXT, name TEXT, at TEXT, visitor TEXT)")
        rows = [(-7 + 5 * n, code, "click", "2026-11-01 10:00:00", f"v {n}") for n, code in enumerate(odd)]
        database.executemany("INSERT INTO clicks VALUES (?, ?, ?, ?, ?)", rows[:-2])
    told = ("--table", "clicks", "--map", "timestamp=at,event_type=name,session_id=visitor,id=code", "--incremental")
    assert penstock("export", "app.db", "runs/", *told).code == 0
    with closing(sqlite3.connect(tmp_path / "app.db")) as database, database:
        database.executemany("INSERT INTO clicks VALUES (?, ?, ?, ?, ?)", rows[-2:])
    assert penstock("export", "app.db", "runs/", *told).code == 0
    assert verify(tmp_path / "runs").event_count == len(odd)
    for turn in range(2):
        said = penstock("restore", "runs", "--into", "back.db", "--json").summary
        assert said["inserted" if not turn else "duplicates"] == len(odd)
    assert [row["id"] for row in in_file(tmp_path / "back.db")] == odd
    assert [row["session_id"] for row in in_file(tmp_path / "back.db")] == [f"v {n}" for n in range(len(odd))]
    assert penstock("export", "back.db", "b.ndjson", "--json").summary["events_digest"] == said["events_digest"]


def test_a_table_whose_rows_have_no_number_has_no_lineage(tmp_path: Path, penstock: Command) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as database, database:
        database.execute("CREATE TABLE loose (name TEXT PRIMARY KEY, at TEXT) WITHOUT ROWID")
        database.execute("INSERT INTO loose VALUES ('click', '2026-11-01')")
    told = ("--table", "loose", "--map", "timestamp=at,event_type=name", "--incremental")
    assert penstock("export", "app.db", "runs/", *told).code == 2
    assert not (tmp_path / "runs").exists()


def test_a_source_that_contradicts_itself_is_refused_before_anything_is_stored(exported: Path, store: object) -> None:
    assert isinstance(store, SqliteAnalyticsStorage)
    (exported / "_penstock/manifest.json").write_bytes(
        (exported / "_penstock/manifest.json").read_bytes().replace(b'"rows": 10', b'"rows": 11')
    )
    with pytest.raises(IntegrityError):
        restore(exported, store)
    assert store.count() == len(SOME)
