"""Diff as a user meets it: every difference between two sides of any kind is named, and nothing that is damaged is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import adopted_tables
import sample_events
from penstock import (
    AnalyticsEvent,
    Exporter,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
    StorageConfig,
    diff,
    export,
)
from penstock.errors import NoSpace, UsageError
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(80)
FORMATS = [
    "a.json.gz",
    "pretty.json",
    "a.ndjson",
    "a.ndjson.zst",
    "a.csv",
    "null.csv",
    "a.parquet",
    "a.arrow",
    "parts/",
]


def content_of(event: AnalyticsEvent, event_type: str) -> AnalyticsEvent:
    """The same event with other content."""
    return AnalyticsEvent(
        event_type, id=event.id, timestamp=event.timestamp, data=event.data_text, metadata=event.metadata_text
    )


def stored(path: Path, events: list[AnalyticsEvent]) -> Path:
    with SqliteAnalyticsStorage(path) as store:
        store.append(events)
    return path


def options(name: str) -> ExportOptions:
    if name == "parts/":
        return ExportOptions(format="ndjson", compression="gzip", part_rows=11)
    return ExportOptions(pretty=name == "pretty.json", csv_null="NULL" if name == "null.csv" else "")


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """``a.db`` and ``b.db``: b lacks two events of a, has three more, two of another content, in another order."""
    changed = [content_of(event, "checkout!") for event in EVENTS[10:12]]
    stored(tmp_path / "a.db", EVENTS[:60])
    stored(tmp_path / "b.db", [*EVENTS[60:63], *EVENTS[30:60], *changed, *EVENTS[12:30], *EVENTS[2:10]])
    return tmp_path


EXPECTED = "".join(
    f"{mark} {event.id}\n"
    for event, mark in sorted(
        [
            *((event, "-") for event in EVENTS[:2]),
            *((event, "+") for event in EVENTS[60:63]),
            *((event, "~") for event in EVENTS[10:12]),
        ],
        key=lambda one: one[0].id,
    )
)


@pytest.mark.parametrize("name", FORMATS)
def test_differences_are_named_whatever_the_sides_are(name: str, sides: Path, penstock: Command) -> None:
    for letter in "ab":
        (sides / letter).mkdir()
        with SqliteAnalyticsStorage(sides / f"{letter}.db", create=False) as store:
            Exporter(store).export(f"{sides}/{letter}/{name}", options=options(name))
    for a, b in ((f"a/{name}", f"b/{name}"), ("a.db", f"b/{name}"), (f"a/{name}", "b.db"), ("a.db", "b.db")):
        done = penstock("diff", a, b)
        assert (done.code, done.stdout.decode()) == (4, EXPECTED), (a, b)
        assert done.stderr.endswith("3 added, 2 removed, 2 changed\n")
    for a, b in ((f"a/{name}", f"a/{name}"), ("a.db", f"a/{name}")):
        done = penstock("diff", a, b)
        assert (done.code, done.stdout) == (0, b""), (a, b)
        assert "equal" in done.stderr


def test_a_lineage_is_a_side_like_any_other(sides: Path, penstock: Command) -> None:
    for start, end in ((0, 20), (20, 20), (20, 60)):
        stored(sides / "growing.db", EVENTS[start:end])
        assert penstock("export", "growing.db", "runs/", "--incremental", "--part-size", "9rows").code == 0
    assert penstock("diff", "runs", "a.db").code == 0
    assert penstock("diff", "runs", "b.db").stdout.decode() == EXPECTED
    stored(sides / "growing.db", EVENTS[60:])
    done = penstock("diff", "runs", "growing.db", "--json")
    assert (done.summary["added"], done.summary["removed"], done.summary["changed"]) == (20, 0, 0)


def test_json_lines_hold_every_difference_and_a_summary(sides: Path, penstock: Command) -> None:
    done = penstock("diff", "a.db", "b.db", "--json")
    marks = {"added": "+", "removed": "-", "changed": "~"}
    named = [f"{marks[line['kind']]} {line['id']}\n" for line in done.lines if line["type"] == "difference"]
    assert "".join(named) == EXPECTED
    said = {name: done.summary[name] for name in ("ok", "exit_code", "events_a", "events_b", "added", "removed")}
    assert said == {"ok": False, "exit_code": 4, "events_a": 60, "events_b": 61, "added": 3, "removed": 2}
    assert done.stderr == ""
    same = penstock("diff", "a.db", "a.db", "--json")
    assert (same.code, same.summary["ok"], same.summary["changed"]) == (0, True, 0)


def test_arrival_does_not_count(tmp_path: Path, penstock: Command) -> None:
    stored(tmp_path / "one.db", EVENTS)
    stored(tmp_path / "other.db", EVENTS[::-1])
    assert penstock("export", "other.db", "other.parquet").code == 0
    assert penstock("diff", "one.db", "other.parquet").code == 0


FILTERS: list[tuple[str, ...]] = [
    ("--start", "2026-11-05", "--end", "2026-11-20"),
    ("--category", "usage", "--category", "error"),
    ("--event-type", EVENTS[61].event_type),
    ("--session", str(next(event.session_id for event in EVENTS[60:] if event.session_id))),
    ("--priority", "high"),
    ("--limit", "7"),
]


@pytest.mark.parametrize("filter", FILTERS)
def test_a_filter_holds_for_both_sides(filter: tuple[str, ...], sides: Path, penstock: Command) -> None:
    assert penstock("export", "b.db", "b.csv").code == 0
    for letter in "ab":
        assert penstock("export", f"{letter}.db", f"few-{letter}.ndjson", *filter).code == 0
    wanted = penstock("diff", "few-a.ndjson", "few-b.ndjson")
    found = penstock("diff", "a.db", "b.csv", *filter)
    assert (found.code, found.stdout) == (wanted.code, wanted.stdout)
    assert penstock("diff", "b.db", "b.csv", *filter).code == 0
    few = [json.loads(line)["id"] for line in (sides / "few-b.ndjson").read_text().splitlines()]
    assert penstock("diff", "a.db", "b.csv", *filter, "--json").summary["events_b"] == len(few)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte": lambda part: part.write_bytes(part.read_bytes()[:-20] + b"X" + part.read_bytes()[-19:]),
    "cut short": lambda part: part.write_bytes(part.read_bytes()[:-1]),
    "gone": lambda part: part.unlink(),
    "the manifest": lambda part: (part.parents[1] / "_penstock/manifest.json").write_bytes(
        (part.parents[1] / "_penstock/manifest.json").read_bytes().replace(b'"rows": 60', b'"rows": 61')
    ),
    "no manifest": lambda part: (part.parents[1] / "_penstock/manifest.json").unlink(),
}


@pytest.mark.parametrize("format", ["ndjson", "parquet"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_damaged_is_no_difference(
    damage: Callable[[Path], object], format: str, sides: Path, penstock: Command
) -> None:
    assert penstock("export", "a.db", "out/", "--format", format, "--part-size", "20rows").code == 0
    damage(sorted((sides / "out").glob("data/part-*"))[-1])
    for arguments in (("out", "b.db"), ("b.db", "out"), ("out", "out")):
        done = penstock("diff", *arguments)
        assert (done.code, done.stdout) == (4, b"")
        assert done.stderr.startswith("penstock: ")
        assert "added" not in done.stderr
    assert [line["type"] for line in penstock("diff", "out", "b.db", "--json").lines] == ["error", "summary"]


def test_bytes_are_checked_even_where_the_events_come_out_alike(sides: Path, penstock: Command) -> None:
    assert penstock("export", "a.db", "a.ndjson.gz").code == 0
    path = sides / "a.ndjson.gz"
    text = bytearray(path.read_bytes())
    text[9] ^= 1  # on which system it was compressed
    path.write_bytes(text)
    done = penstock("diff", "a.db", "a.ndjson.gz")
    assert (done.code, done.stdout) == (4, b"")
    assert "SHA-256" in done.stderr


def test_events_that_a_manifest_does_not_vouch_for_are_not_compared(sides: Path, penstock: Command) -> None:
    assert penstock("export", "a.db", "a.ndjson").code == 0
    path, proof = sides / "a.ndjson", sides / "a.ndjson.manifest.json"
    before = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    path.write_bytes(path.read_bytes().replace(EVENTS[3].id.encode(), EVENTS[70].id.encode()))
    after = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    head = proof.read_bytes()[:-92].replace(before, after)
    proof.write_bytes(head + b',\n  "manifest_sha256": "%s"\n}\n' % hashlib.sha256(head).hexdigest().encode())
    done = penstock("diff", "a.ndjson", "a.db")
    assert (done.code, done.stdout) == (4, b"")
    assert "a.ndjson: rows_digest is " in done.stderr


def test_columns_that_are_on_one_side_only(sides: Path, penstock: Command) -> None:
    assert penstock("export", "b.db", "ids.csv", "--columns", "id").code == 0
    assert penstock("export", "b.db", "some.csv", "--columns", "id,event_type,seq").code == 0
    assert penstock("export", "b.db", "none.csv", "--columns", "data,seq").code == 0
    by_id = penstock("diff", "a.db", "ids.csv")
    assert by_id.stdout.decode() == "".join(line + "\n" for line in EXPECTED.splitlines() if line[0] != "~")
    assert "note: compared without category, event_type, timestamp" in by_id.stderr
    assert "ids.csv" in by_id.stderr.splitlines()[0]
    assert penstock("diff", "a.db", "some.csv").stdout.decode() == EXPECTED
    assert penstock("diff", "some.csv", "b.db").code == 0
    assert penstock("diff", "some.csv", "b.db", "--json").summary["columns"] == ["id", "event_type"]
    for arguments in (("a.db", "none.csv"), ("none.csv", "a.db")):
        done = penstock("diff", *arguments)
        assert (done.code, done.stdout) == (2, b"")
        assert "without the column id" in done.stderr
    done = penstock("diff", "a.db", "ids.csv", "--category", "usage")
    assert done.code == 2
    assert "without the column category" in done.stderr


def test_an_id_that_is_there_more_often_differs_each_time(tmp_path: Path, penstock: Command) -> None:
    table = "CREATE TABLE hits (seq INTEGER PRIMARY KEY, id TEXT, at INTEGER, name TEXT)"
    rows = [(1, "x"), (2, "x"), (3, "x"), (4, "y"), (5, "y"), (6, "a b")]
    for name, kept in (("all", rows), ("few", [rows[0], rows[3]])):
        made = [(seq, id, adopted_tables.TIME, "page") for seq, id in kept]
        adopted_tables.build(tmp_path / f"{name}.db", table, rows=made)
        given = ("--table", "hits", "--map", "timestamp=at,event_type=name")
        assert penstock("export", f"{name}.db", f"{name}.parquet", *given).code == 0
    wanted = "- a b\n- x\n- x\n- y\n"
    assert penstock("diff", "all.parquet", "few.parquet").stdout.decode() == wanted
    assert penstock("diff", "all.db", "few.parquet", *given).stdout.decode() == wanted
    assert penstock("diff", "all.db", "few.db", *given).stdout.decode() == wanted
    assert penstock("diff", "few.db", "all.db", *given).stdout.decode() == wanted.replace("- ", "+ ")
    assert penstock("diff", "all.parquet", "few.parquet", "--json").lines[0]["id"] == "a b"
    assert penstock("diff", "all.parquet", "few.parquet", *given).code == 2


def test_rows_of_a_table_that_are_no_events_are_told(tmp_path: Path, penstock: Command) -> None:
    table = "CREATE TABLE hits (seq INTEGER PRIMARY KEY, id TEXT, at TEXT, name TEXT)"
    rows = [(1, "x", "2026-11-01 00:00:00", "page"), (2, "y", "no time", "page")]
    adopted_tables.build(tmp_path / "app.db", table, rows=rows)
    given = ("--table", "hits", "--map", "timestamp=at,event_type=name")
    assert penstock("export", "app.db", "app.csv", *given).code == 3
    done = penstock("diff", "app.db", "app.csv", *given)
    assert done.code == 0
    assert "note: app.db: skipped" in done.stderr


def test_sides_that_are_not_there_or_are_something_else(sides: Path, penstock: Command) -> None:
    (sides / "notes.txt").write_text("hello")
    (sides / "empty").mkdir()
    for arguments, code in (
        (("a.db", "missing.ndjson"), 6),
        (("missing.db", "a.db"), 6),
        (("a.db", "notes.txt"), 2),
        (("a.db", "empty"), 4),
        (("a.db", "-"), 2),
        (("a.db",), 2),
        (("a.db", "b.db", "--map", "timestamp=at"), 2),
    ):
        done = penstock("diff", *arguments)
        assert (done.code, done.stdout) == (code, b""), arguments
    assert penstock("export", "a.db", "a.ndjson").code == 0
    (sides / "a.ndjson.manifest.json").unlink()
    assert penstock("diff", "a.ndjson", "a.db").code == 4
    shutil.copy(sides / "a.db", sides / "store")
    assert penstock("diff", "store", "a.db").code == 0


def test_open_stores_and_destinations_are_sides_in_python(sides: Path) -> None:
    with SqliteAnalyticsStorage(sides / "a.db") as a, SqliteAnalyticsStorage(sides / "b.db") as b:
        result = diff(a, b, filter=ExportFilter(limit=1))
        assert (result.events_a, result.events_b, result.removed, result.added) == (1, 1, 1, 1)
        assert not result.equal
        assert diff(a, sides / "a.db").equal
    export(sides / "a.db", sides / "x.csv")
    with pytest.raises(UsageError, match="neither side is a store"):
        diff(sides / "x.csv", sides / "x.csv", config=StorageConfig(table="hits"))


def test_a_scratch_place_that_is_full_says_so(sides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("penstock.reading.balance._HELD_BYTES", 100)
    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(NoSpace, match="cannot compare events"):
        diff(sides / "a.db", sides / "b.db")
