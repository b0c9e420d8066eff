"""Partitions: parts in folders by event time, that query engines agree with, with every promise of other exports."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import settings as limits

import foreign_readers
import sample_events
from penstock import (
    AnalyticsEvent,
    DirectoryDestination,
    Exporter,
    ExportOptions,
    SqliteAnalyticsStorage,
    export,
    verify,
)
from penstock.errors import DestinationExists, IntegrityError, IoError, ManifestError, NoSpace, Unconfirmed, UsageError
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.filter import ExportFilter
from penstock.model.options import ExportFormat
from penstock.runners.threads import ThreadRunner
from penstock.testing.faults import Fail, Fault, FaultyOps, Operation
from penstock.testing.ordering import order_problems
from penstock.wiring import SystemClock
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(120)
FORMATS = ["json", "ndjson", "csv", "parquet", "arrow"]
NAME = {
    "day": re.compile(r"(data/date=\d{4}-\d\d-\d\d)/(run-\d{6}-)?part-\d{5}-\d+-\d+-[0-9a-f]{8}\.[a-z.]+"),
    "hour": re.compile(r"(data/date=\d{4}-\d\d-\d\d/hour=\d\d)/(run-\d{6}-)?part-\d{5}-\d+-\d+-[0-9a-f]{8}\.[a-z.]+"),
}
FOLDER = {"day": "data/date=%Y-%m-%d", "hour": "data/date=%Y-%m-%d/hour=%H"}
FULL = os.environ.get("PENSTOCK_PROOF") == "full"
DAY = "data/date=2026-11-05"


def folder(micros: int, by: str) -> str:
    """The folder of a time, by the standard library."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return moment.strftime(FOLDER[by]).replace("date=", f"date={'0' * (4 - len(str(moment.year)))}", 1)


def manifests(place: Path) -> list[dict[str, Any]]:
    paths = (
        [place / "_penstock/manifest.json"]
        if (place / "_penstock/manifest.json").exists()
        else sorted(place.glob("_penstock/runs/*.json"))
    )
    return [json.loads(path.read_bytes()) for path in paths]


def sums_of(place: Path) -> list[Path]:
    return [*place.glob("_penstock/SHA256SUMS"), *sorted(place.glob("_penstock/runs/*.sha256"))]


def parts(place: Path) -> list[dict[str, Any]]:
    return [part for manifest in manifests(place) for part in manifest["parts"]]


def files(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def rows_in(place: Path, by: str) -> list[foreign_readers.Row]:
    """The rows of every part; each has to be named and placed as the format says."""
    found = []
    for part in parts(place):
        match = NAME[by].fullmatch(part["name"])
        assert match is not None, part["name"]
        rows = foreign_readers.read(place / part["name"])
        assert {folder(row["timestamp"], by) for row in rows} == {match[1]}
        assert hashlib.sha256((place / part["name"]).read_bytes()).hexdigest()[:8] in part["name"]
        assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
        found += rows
    return sorted(found, key=lambda row: row["seq"])


def whole(place: Path) -> None:
    """Every reader of manifests and sums agrees that it is."""
    assert verify(place).problems == ()
    assert verify(place, quick=True).problems == ()
    sums = b"".join(path.read_bytes() for path in sums_of(place))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], input=sums, cwd=place, check=True)


def append(place: Path, events: list[AnalyticsEvent]) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(events)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    append(tmp_path, EVENTS)
    return tmp_path


@pytest.mark.parametrize("by", ["day", "hour"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", [(), ("--incremental",)], ids=["plain", "lineage"])
def test_every_row_is_in_its_partition(
    kind: tuple[str, ...], format: str, by: str, place: Path, penstock: Command
) -> None:
    said = penstock("export", "events.db", "out/", "--partition-by", by, "--format", format, "--json", *kind)
    assert said.code == 0
    assert (said.summary["event_count"], said.summary["parts"]) == (120, len(parts(place / "out")))
    assert foreign_readers.without_arrival(rows_in(place / "out", by)) == foreign_readers.rows_of(EVENTS)
    whole(place / "out")
    assert penstock("verify", "out").stderr.count("note") == 0
    again = penstock("restore", "out", "--into", "back.db", "--json").summary
    assert (again["inserted"], again["events_digest"]) == (120, said.summary["events_digest"])
    assert manifests(place / "out")[0]["options"]["partition_by"] == by


@limits(max_examples=10)
@given(events=sample_events.distinct(minimum=1))
def test_any_time_has_a_partition(events: list[AnalyticsEvent], tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("any")
    append(place, events)
    for by in ("day", "hour"):
        export(place / "events.db", place / by, options=ExportOptions(partition_by=by, format="ndjson"))
        assert foreign_readers.without_arrival(rows_in(place / by, by)) == foreign_readers.rows_of(events)
        assert verify(place / by).ok


@pytest.mark.parametrize(
    ("moment", "path"),
    [
        ("0001-01-01T00:00:00Z", "date=0001-01-01/hour=00"),
        ("1969-12-31T23:59:59.999999Z", "date=1969-12-31/hour=23"),
        ("2024-02-29T12:00:00+14:00", "date=2024-02-28/hour=22"),
        ("9999-12-31T23:59:59.999999Z", "date=9999-12-31/hour=23"),
    ],
)
def test_edges_of_the_calendar(moment: str, path: str, tmp_path: Path) -> None:
    append(tmp_path, [AnalyticsEvent("feature_used", timestamp=moment)])
    for by, wanted in (("hour", path), ("day", path.partition("/")[0])):
        export(tmp_path / "events.db", tmp_path / by, options=ExportOptions(partition_by=by))
        assert [os.path.dirname(part["name"]) for part in parts(tmp_path / by)] == [f"data/{wanted}"]
        assert verify(tmp_path / by).ok


@pytest.mark.parametrize("by", ["day", "hour"])
def test_query_engines_agree_about_the_partition_column(by: str, place: Path, penstock: Command) -> None:
    for end in (60, 120):
        with SqliteAnalyticsStorage(place / f"{end}.db") as store:
            store.append(EVENTS[:end])
    (place / "60.db").rename(place / "growing.db")
    assert penstock("export", "growing.db", "runs/", "--partition-by", by, "--incremental").code == 0
    with SqliteAnalyticsStorage(place / "growing.db") as store:
        store.append(EVENTS)
    assert penstock("export", "growing.db", "runs/", "--partition-by", by, "--incremental").code == 0
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = f"read_parquet('{place}/runs/**/*.parquet', hive_partitioning=true)"
        hour = " AND hour = extract('hour' FROM timestamp)" if by == "hour" else ""
        agreed = f"SELECT count(*), count(DISTINCT id) FROM {source} WHERE date = timestamp::DATE{hour}"
        assert connection.execute(agreed).fetchall() == [(120, 120)]
        one = f"SELECT count(*) FROM {source} WHERE date = DATE '2026-11-05'"
        ((count,),) = connection.execute(one).fetchall()
    frame = polars.read_parquet(f"{place}/runs/**/*.parquet", hive_partitioning=True)
    assert frame.height == 120
    assert (frame["timestamp"].dt.date() == frame["date"].cast(polars.Date)).all()
    assert by == "day" or (frame["timestamp"].dt.hour() == frame["hour"].cast(polars.Int8)).all()
    assert frame.filter(polars.col("date").cast(polars.Date) == datetime(2026, 11, 5).date()).height == count
    assert count == sum(event.timestamp.date() == datetime(2026, 11, 5).date() for event in EVENTS) > 0


@pytest.mark.parametrize("by", ["day", "hour"])
def test_readers_see_a_column_and_folders_that_were_called_otherwise(
    by: str, tmp_path: Path, penstock: Command
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as app, app:
        app.execute('CREATE TABLE visits (id INTEGER PRIMARY KEY, "date" TEXT, "Hour" INT, day TEXT, at DATETIME)')
        rows = [(f"d{n}", n % 5, "x", f"2026-11-{n % 3 + 20} {n % 24:02}:30:00") for n in range(60)]
        app.executemany('INSERT INTO visits ("date", "Hour", day, at) VALUES (?, ?, ?, ?)', rows)
    told = ("export", "app.db", "out/", "--table", "visits", "--time", "at", "--partition-by", by, "--incremental")
    refused = penstock(*told)
    assert refused.code == 2
    assert "--partition-name day2\n" in refused.stderr
    assert penstock(*told, "--partition-name", "on").code == 0
    with closing(sqlite3.connect(tmp_path / "app.db")) as app, app:
        app.execute("INSERT INTO visits VALUES (61, 'last', 7, 'x', '2026-11-25 05:00:00')")
    assert penstock(*told, "--partition-name", "off").code == 2
    assert penstock(*told).code == 2
    assert penstock("resume", "app.db", "out").code == 0
    assert penstock("diff", "app.db", "out", "--table", "visits", "--time", "at").code == 0
    whole(tmp_path / "out")
    under = "on=2026-11-25" if by == "day" else "on=2026-11-25/on_hour=05"
    assert len(list((tmp_path / "out/data" / under).glob("*.parquet"))) == 1
    wanted = [
        (n + 1, date, hour, at[:10], int(at[11:13]))
        for n, (date, hour, _, at) in enumerate([*rows, ("last", 7, "x", "2026-11-25 05:00:00")])
    ]
    folders = ["on"] if by == "day" else ["on", "on_hour"]
    wanted = [row[: 3 + len(folders)] for row in wanted]
    names = ["id", "date", "Hour", *folders]
    source = f"read_parquet('{tmp_path}/out/data/**/*.parquet', hive_partitioning=true)"
    with duckdb.connect() as connection:
        texts = ", ".join(f'"{name}"::TEXT' for name in names)
        read = connection.execute(f"SELECT {texts} FROM {source} ORDER BY id").fetchall()
    assert [(*row[:4], *(str(int(hour)) for hour in row[4:])) for row in read] == [
        tuple(map(str, row)) for row in wanted
    ]
    frame = polars.read_parquet(f"{tmp_path}/out/data/**/*.parquet", hive_partitioning=True).sort("id")
    assert [tuple(map(str, row)) for row in frame.select(names).rows()] == [tuple(map(str, row)) for row in wanted]
    table = pandas.read_parquet(tmp_path / "out/data").sort_values("id")
    found = table[names].astype(str).itertuples(index=False, name=None)
    assert list(found) == [tuple(map(str, row)) for row in wanted]


def test_late_events_are_further_parts_of_their_partition(place: Path, penstock: Command) -> None:
    told = ("export", "events.db", "runs/", "--partition-by", "day", "--incremental", "--format", "ndjson")
    assert penstock(*told).code == 0
    before = files(place / "runs")
    late = [
        AnalyticsEvent("late", id=sample_events.uuid_of(9000 + n), timestamp=f"2026-11-0{5 + n}T10:00:00Z")
        for n in range(2)
    ]
    append(place, late)
    assert penstock(*told).code == 0
    after = files(place / "runs")
    new = sorted(after.keys() - before.keys())
    assert [os.path.dirname(name) for name in new] == ["_penstock/runs"] * 2 + [DAY, "data/date=2026-11-06"]
    assert {name: text for name, text in after.items() if name in before} == before
    assert penstock(*told, "--json").summary["parts"] == 0
    assert len(rows_in(place / "runs", "day")) == 122
    whole(place / "runs")


def test_the_same_export_has_the_same_names_and_bytes(place: Path, penstock: Command) -> None:
    for name, workers in (("one", 1), ("other", 4)):
        assert penstock("export", "events.db", f"{name}/", "--partition-by", "hour", "--workers", workers).code == 0
    one, other = files(place / "one"), files(place / "other")
    assert one.pop("_penstock/manifest.json") != other.pop("_penstock/manifest.json")
    assert one == other


def test_a_lineage_keeps_its_partitions(place: Path, penstock: Command) -> None:
    told = ("export", "events.db", "runs/", "--incremental")
    assert penstock(*told, "--partition-by", "day").code == 0
    for other in ((), ("--partition-by", "hour")):
        said = penstock(*told, *other)
        assert said.code == 2
        assert "the lineage was begun with another options" in said.stderr
    assert penstock("export", "events.db", "plain/", "--incremental").code == 0
    assert penstock("export", "events.db", "plain/", "--incremental", "--partition-by", "day").code == 2


@pytest.mark.parametrize(
    "told", [("a.parquet",), ("-",), ("out/", "--max-bytes", "1MB"), ("a.csv", "--dry-run")], ids=" ".join
)
def test_what_has_no_folders_has_no_partitions(told: tuple[str, ...], place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", *told, "--partition-by", "day").code == 2
    assert [path.name for path in place.iterdir() if not path.name.startswith("events.db")] == []
    with pytest.raises(UsageError):
        ExportOptions(partition_by="week")
    for name in ("", "a/b", "..", "a=b", "_a", "1a", "ä", "a" * 65, "a\n"):
        with pytest.raises(UsageError, match="plain word"):
            ExportOptions(partition_by="day", partition_name=name)
    assert penstock("export", "events.db", "out/", "--partition-name", "on").code == 2


@pytest.mark.parametrize("kind", [(), ("--incremental",)], ids=["plain", "lineage"])
def test_no_events_are_no_part(kind: tuple[str, ...], place: Path, penstock: Command) -> None:
    told = ("export", "events.db", "out/", "--partition-by", "day", "--event-type", "none", *kind)
    assert penstock(*told).code == 0
    assert verify(place / "out").event_count == len(parts(place / "out")) == 0
    assert penstock("restore", "out", "--into", "back.db").code == 0


def test_limits_columns_and_part_sizes_hold(place: Path, penstock: Command) -> None:
    told = ("export", "events.db", "out/", "--partition-by", "day", "--format", "csv")
    assert penstock(*told, "--columns", "id,seq", "--limit", "70", "--part-size", "2rows").code == 0
    found = [row for part in parts(place / "out") for row in foreign_readers.read(place / "out" / part["name"])]
    wanted = {event.id: folder(event.timestamp_micros, "day") for event in EVENTS[:70]}
    assert sorted(row["id"] for row in found) == sorted(wanted)
    for part in parts(place / "out"):
        rows = foreign_readers.read(place / "out" / part["name"])
        assert len(rows) == part["rows"] <= 2
        assert {wanted[row["id"]] for row in rows} == {os.path.dirname(part["name"])}
    whole(place / "out")


@pytest.mark.parametrize("format", ["ndjson", "parquet"])
@pytest.mark.parametrize("scattered", [False, True])
def test_more_rows_than_memory_for_them(scattered: bool, format: str, tmp_path: Path) -> None:
    """Scattered rows wait until each partition is one part; rows in the order of time become parts as they come."""
    count = 600
    events = [
        AnalyticsEvent(
            "feature_used",
            id=sample_events.uuid_of(number),
            timestamp=sample_events.START + timedelta(days=number * 7 % 40 if scattered else number // 300),
            data={"n": number, "text": f"{number:x}" * 15_000},
        )
        for number in range(count)
    ]
    append(tmp_path, events)
    options = ExportOptions(partition_by="day", format=format, memory_limit=64 << 20, workers=2)
    result = export(tmp_path / "events.db", tmp_path / "out", options=options)
    found = [os.path.dirname(part["name"]) for part in parts(tmp_path / "out")]
    assert (len(found) == 40) if scattered else (len(found) > len(set(found)) == 2)
    assert foreign_readers.without_arrival(rows_in(tmp_path / "out", "day")) == foreign_readers.rows_of(events)
    assert result.metadata.event_count == count
    whole(tmp_path / "out")


def test_a_full_scratch_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(
        tmp_path,
        [
            AnalyticsEvent(
                "feature_used", timestamp=sample_events.START + timedelta(days=n % 30), data={"t": "x" * 40_000}
            )
            for n in range(300)
        ],
    )

    def full(**_: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(NoSpace, match="TMPDIR"):
        export(
            tmp_path / "events.db", tmp_path / "out", options=ExportOptions(partition_by="day", memory_limit=64 << 20)
        )
    assert not (tmp_path / "out").exists()


def test_replacing_leaves_no_folder_and_touches_nobody_elses_file(place: Path, penstock: Command) -> None:
    told = ("export", "events.db", "out/", "--format", "ndjson")
    assert penstock(*told, "--partition-by", "hour").code == 0
    assert penstock(*told, "--partition-by", "hour").code == 2
    stranger = place / "out" / DAY / "hour=notes.txt"
    stranger.write_text("mine")
    assert "1 files here are not of this export and were left alone: data/date=2026-11-05/hour=notes.txt" in (
        penstock("verify", "out").stderr
    )
    assert penstock(*told, "--partition-by", "day", "--overwrite").code == 0
    assert len(rows_in(place / "out", "day")) == 120
    whole(place / "out")
    assert not list((place / "out").glob("data/*/hour=??"))
    assert penstock(*told, "--overwrite").code == 0
    whole(place / "out")
    assert {name for name in files(place / "out") if "date=" in name} == {f"{DAY}/hour=notes.txt"}
    assert [path.name for path in (place / "out/data").iterdir() if path.is_dir()] == [Path(DAY).name]
    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("kind", [(), ("--incremental",)], ids=["plain", "lineage"])
@pytest.mark.parametrize("by", ["day", "hour"])
def test_nothing_is_written_or_read_through_a_link(
    by: str, kind: tuple[str, ...], place: Path, penstock: Command
) -> None:
    told = ("export", "events.db", "out/", "--partition-by", by, "--format", "ndjson", *kind)
    (place / "out/data").mkdir(parents=True)
    hours = [f"hour={hour:02}" for hour in range(24)]
    for hour in hours:
        (place / "elsewhere" / hour).mkdir(parents=True)
    (place / "out" / DAY).symlink_to(place / "elsewhere")
    said = penstock(*told)
    assert said.code == 2
    assert "is in the way" in said.stderr
    assert sorted(str(path.relative_to(place / "elsewhere")) for path in (place / "elsewhere").rglob("*")) == hours
    assert [str(path.relative_to(place / "out")) for path in (place / "out").rglob("*")] == ["data", DAY]
    (place / "out" / DAY).unlink()
    assert penstock(*told).code == 0
    (place / "out" / DAY).rename(place / "moved")
    (place / "out" / DAY).symlink_to(place / "moved")
    inside = [part["name"] for part in parts(place / "out") if part["name"].startswith(DAY)]
    assert {problem.part for problem in verify(place / "out").problems} == set(inside)
    for verb in (("verify", "out"), ("verify", "out", "--quick"), ("restore", "out", "--into", "back.db")):
        assert penstock(*verb).code == 4
    if not kind:
        before = files(place / "moved")
        assert penstock(*told, "--overwrite").code == 2
        (place / "out" / DAY).unlink()
        (place / "out" / DAY).write_text("a file")
        assert penstock(*told, "--overwrite").code == 2
        assert penstock("verify", "out").code == 4
        assert files(place / "moved") == before


def _signed(raw: dict[str, Any]) -> bytes:
    raw = {name: value for name, value in raw.items() if name != "manifest_sha256"}
    head = json.dumps(raw, indent=2, ensure_ascii=False).encode()[:-2]
    return head + f',\n  "manifest_sha256": "{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode()


@pytest.mark.parametrize(
    "name",
    [
        "data/../date=2026-11-05/x",
        "data/date=2026-11-05/../x",
        "data/date=2026-11-05/../../x",
        "data/date=2026-11-05//etc/passwd",
        "data/date=2026-11-05/hour=01/hour=01/x",
        "data/date=2026-11-05/a/x",
        "data/date=2026-11-05/",
        "data/date=2026-11-05/.hidden",
        "data/date=2026-11-5/x",
        "data/date=2026-11-٠5/x",
        "data/hour=01/x",
        "data/a/date=2026-11-05/x",
        "data/x",
        "data/date=1999-01-01/x",
        "data/date=2026-11-05/hour=01/x",
    ],
)
@pytest.mark.parametrize("parts_left", [1, 2])
def test_a_part_that_is_not_in_its_folder_is_refused(
    name: str, parts_left: int, tmp_path: Path, penstock: Command
) -> None:
    append(tmp_path, [AnalyticsEvent("a", timestamp=f"2026-11-0{5 + n}T03:00:00Z") for n in range(parts_left)])
    assert penstock("export", "events.db", "out/", "--partition-by", "day", "--format", "ndjson").code == 0
    path = tmp_path / "out" / "_penstock/manifest.json"
    raw = json.loads(path.read_bytes())
    raw["parts"][0]["name"] = name
    path.write_bytes(_signed(raw))
    with pytest.raises(ManifestError):
        verify(tmp_path / "out")
    assert penstock("verify", "out").code == penstock("restore", "out", "--into", "back.db").code == 4


def test_partitions_that_a_manifest_does_not_tell_of_are_refused(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "out/", "--partition-by", "day").code == 0
    path = place / "out" / "_penstock/manifest.json"
    raw = json.loads(path.read_bytes())
    for by in (None, "hour", "week", 7, []):
        raw["options"]["partition_by"] = by
        path.write_bytes(_signed(raw))
        with pytest.raises(ManifestError):
            verify(place / "out")
    raw["options"]["partition_by"] = "day"
    for name in ("on", "../..", 7, "DATE"):
        raw["options"]["partition_name"] = name
        path.write_bytes(_signed(raw))
        with pytest.raises(ManifestError):
            verify(place / "out")


def _export(place: Path, kind: str, *faults: Fault, rows: int = 25) -> list[Operation]:
    """Export 40 events into some partitions, as a new directory, in a directory's place, or as a second run."""
    ops = FaultyOps(*faults)
    options = ExportOptions(partition_by="hour", format="ndjson", workers=1, part_rows=rows)
    with SqliteAnalyticsStorage(place / "events.db") as store:
        if kind == "lineage":
            layout = options.resolve(format=ExportFormat.NDJSON, codec=None)
            export_incremental(
                store,
                DirectoryDestination(place / "out", ops=ops).lineage(),
                layout=layout,
                filter=ExportFilter(),
                options=options,
                clock=SystemClock(),
                workers=Workers(threads=ThreadRunner(1)),
            )
        else:
            Exporter(store).export(
                DirectoryDestination(place / "out", ops=ops), options=options, overwrite=kind == "replaced"
            )
    return ops.log


def _some(start: int, count: int) -> list[AnalyticsEvent]:
    return [
        AnalyticsEvent(
            "a", id=sample_events.uuid_of(n), timestamp=sample_events.START + timedelta(hours=n % 3 * 9, seconds=n)
        )
        for n in range(start, start + count)
    ]


def _ready(place: Path, kind: str) -> None:
    """The state before the export: none, an export of half the events, or a lineage with one run."""
    place.mkdir()
    append(place, _some(0, 20))
    if kind != "new":
        _export(place, kind)
    append(place, _some(20, 20))
    if kind != "new":
        (place / "out" / "data/date=2026-11-01" / "notes.txt").write_text("mine")


@pytest.mark.parametrize("kind", ["new", "replaced", "lineage"])
def test_names_are_durable_before_the_commit(kind: str, tmp_path: Path) -> None:
    _ready(tmp_path / "p", kind)
    log = _export(tmp_path / "p", kind)
    manifest = (
        tmp_path / "p" / "out" / ("_penstock/runs/000002.json" if kind == "lineage" else "_penstock/manifest.json")
    )
    assert order_problems(log, tmp_path / "p" / "out", manifest) == []
    synced = {operation.path for operation in log if operation.name == "fsync_directory"}
    assert {os.path.dirname(operation.path) for operation in log if operation.name == "mkdir"} <= synced


def _settled(place: Path, kind: str) -> None:
    """After one more export, in other parts: every event once, nothing left behind, nothing foreign gone."""
    _export(place, "replaced" if kind == "new" else kind, rows=3)
    out = place / "out"
    assert sorted(row["id"] for row in rows_in(out, "hour")) == sorted(event.id for event in _some(0, 40))
    whole(out)
    named = {*(str(path.relative_to(out)) for path in sums_of(out)), *(part["name"] for part in parts(out))}
    named |= {name for name in files(out) if name.endswith(".json")}
    strangers = set() if kind == "new" else {"data/date=2026-11-01/notes.txt"}
    assert set(files(out)) - named == strangers
    assert [path for path in out.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


@pytest.mark.parametrize("kind", ["new", "lineage"])
def test_clearing_up_does_not_follow_a_link(kind: str, tmp_path: Path) -> None:
    _ready(tmp_path / "p", kind)
    stuck = (
        Fail(on=("link",), ending="2.json" if kind == "lineage" else "manifest.json", code=errno.ENOSPC),
        Fail(on=("unlink",), code=errno.ENOSPC, lasting=True),
    )
    with pytest.raises(NoSpace):
        _export(tmp_path / "p", kind, *stuck)
    assert stuck[1].fired
    out, moved = tmp_path / "p" / "out", tmp_path / "moved"
    (out / "data/date=2026-11-01").rename(moved)
    (out / "data/date=2026-11-01").symlink_to(moved)
    before = files(moved)
    assert [name for name in before if name.endswith(".ndjson")]
    # A lineage whose parts lie behind the link has lost them: it is refused for that, before the folder is.
    with pytest.raises(DestinationExists if kind == "new" else IntegrityError):
        _export(tmp_path / "p", kind, rows=3)
    assert files(moved) == before


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["new", "replaced", "lineage"])
def test_a_failure_at_any_operation_leaves_the_old_or_the_new(kind: str, late: bool, tmp_path: Path) -> None:
    _ready(tmp_path / "plan", kind)
    shutil.copytree(tmp_path / "plan", tmp_path / "work")
    log = _export(tmp_path / "work", kind)
    _settled(tmp_path / "work", kind)
    plan = [operation.number for operation in log][:: 1 if FULL else 2]
    fired = passed = 0
    for nth in plan:
        shutil.rmtree(tmp_path / "work")
        shutil.copytree(tmp_path / "plan", tmp_path / "work")
        out = tmp_path / "work" / "out"
        fault = Fail(nth=nth, code=errno.ENOSPC, late=late)
        with suppress(NoSpace, IoError, Unconfirmed):
            _export(tmp_path / "work", kind, fault)
        fired += fault.fired
        if out.exists() and manifests(out):
            assert verify(out).event_count in (20, 40)
            assert verify(out).problems == ()
        else:
            assert kind == "new"
        _settled(tmp_path / "work", kind)
        passed += 1
    assert 15 < len(plan) == fired == passed


_PEAK = """
import sys
from penstock.cli import run
code = run(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
def test_thousands_of_hours_in_random_order_stay_below_the_ceiling(tmp_path: Path) -> None:
    count = 10_000 if FULL else 1_500
    hours = sorted(range(count), key=lambda hour: hashlib.sha256(b"%d" % hour).digest())
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(
            AnalyticsEvent("a", timestamp=sample_events.START + timedelta(hours=hour), data={"text": "x" * 6000})
            for _ in range(max(2, 9_000 // count))
            for hour in hours
        )
    script = [sys.executable, "-c", _PEAK, "export", "events.db", "out/", "--partition-by", "hour", "-q"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 300 << 10
    assert len(parts(tmp_path / "out")) == count
    assert verify(tmp_path / "out", quick=True).ok


def test_other_verbs_know_partitions(place: Path, penstock: Command) -> None:
    told = ("export", "events.db", "runs/", "--partition-by", "hour", "--incremental", "--format", "ndjson")
    assert penstock(*told).code == 0
    append(place, _some(5000, 9))
    assert penstock("resume", "events.db", "runs").code == 0
    assert len(rows_in(place / "runs", "hour")) == 129
    whole(place / "runs")
    assert penstock("diff", "runs", "events.db").code == 0
    assert penstock("gaps", "runs").code == 0
    (place / "runs" / parts(place / "runs")[0]["name"]).unlink()
    assert penstock("gaps", "runs").code == penstock("resume", "events.db", "runs").code == 4
