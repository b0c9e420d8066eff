"""An export by other processes is the same as one by threads, byte for byte, or it is refused, and says so."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import foreign_sqlite
import sample_events
from adopted_tables import build
from penstock import (
    AdoptedTable,
    AnalyticsEvent,
    Exporter,
    ExportFilter,
    ExportOptions,
    SqliteAnalyticsStorage,
    StorageConfig,
    export,
    verify,
)
from penstock.backends.memory import MemoryBackend
from penstock.errors import StorageError, StoreBusy, UsageError, WorkerLost
from penstock.ports.source import Ticket
from penstock.publishing.destination import ExportDestination
from penstock.publishing.shapes import Directory
from penstock.runners import processes
from penstock.testing.arrow_source import ArrowSource
from penstock_command import run

EVENTS = sample_events.varied(20_000, payload=60)
LAYOUTS: Sequence[dict[str, Any]] = (
    {"part_rows": 1500},
    {"part_bytes": 400_000},
    {"part_bytes": 300_000, "format": "ndjson", "compression": "gzip"},
    {"part_rows": 6000, "format": "csv", "columns": ["id", "timestamp", "data"]},
    {"part_rows": 5000, "part_bytes": 500_000, "format": "arrow", "verify_written": True},
    {"format": "json"},
)
FILTERS = [
    ExportFilter(event_types=["checkout"]),
    ExportFilter(start=EVENTS[50].timestamp),
    ExportFilter(event_types=["never"]),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "events.db"
    with SqliteAnalyticsStorage(path) as made:
        for start in range(0, len(EVENTS), 5000):
            made.append(EVENTS[start : start + 5000])
        made.delete(ExportFilter(priority="high", limit=700))
    return path


def both(make: Callable[[ExportOptions], Any], **given: Any) -> list[Any]:
    return [make(ExportOptions(runner=runner, workers=2, **given)) for runner in ("threads", "processes")]


def told(place: Path) -> dict[str, Any]:
    """Everything in a directory; of manifests what an export repeats."""
    found: dict[str, Any] = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.suffix == ".json" and path.parent.name in ("_penstock", "runs"):
            raw = json.loads(path.read_bytes())
            for name in ("exported_at", "manifest_sha256", "attempt"):
                raw.pop(name, None)
            raw.get("lineage", {}).pop("previous", None) if raw.get("lineage") else None
            found[str(path.relative_to(place))] = raw
        elif path.is_file():
            found[str(path.relative_to(place))] = path.read_bytes()
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_directory_is_the_same_to_the_byte(store: Path, tmp_path: Path, layout: dict[str, Any]) -> None:
    made = both(lambda options: export(store, f"{tmp_path}/{options.runner}/", options=options), **layout)
    threads, others = told(tmp_path / "threads"), told(tmp_path / "processes")
    assert threads == others
    assert made[0].manifest.rows == len(EVENTS) - 700
    assert (len(made[0].manifest.parts) > 3) is (layout != {"format": "json"})
    assert verify(tmp_path / "processes").problems == ()


@pytest.mark.parametrize("filter", FILTERS, ids=lambda wanted: str(wanted.to_json()))
@pytest.mark.parametrize("layout", LAYOUTS[:3], ids=str)
def test_with_a_filter_the_rows_are_the_same_in_at_most_twice_the_parts(
    store: Path, tmp_path: Path, layout: dict[str, Any], filter: ExportFilter
) -> None:
    one, other = both(
        lambda options: export(store, f"{tmp_path}/{options.runner}/", options=options, filter=filter).manifest,
        **layout,
    )
    assert (one.rows, one.rows_digest, one.counts) == (other.rows, other.rows_digest, other.counts)
    assert len(other.parts) <= 2 * len(one.parts)
    assert sorted(path.name for path in (tmp_path / "processes").iterdir()) == ["_penstock", "data"]
    assert verify(tmp_path / "processes").problems == ()


def test_a_lineage_is_the_same_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    for begin in (0, 3000, 3000, 9000):
        with SqliteAnalyticsStorage(path) as made:
            made.append(EVENTS[begin : begin + 3000])
        both(
            lambda options: export(path, f"{tmp_path}/{options.runner}/", options=options, incremental=True),
            part_rows=500,
        )
    threads, others = told(tmp_path / "threads"), told(tmp_path / "processes")
    assert threads == others
    assert len([name for name in others if name.startswith("_penstock/runs/") and name.endswith(".json")]) == 4
    assert verify(tmp_path / "processes").problems == ()


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_an_adopted_table_is_the_same_to_the_byte_and_in_its_counts(tmp_path: Path, journal: str) -> None:
    rows = [
        (number, 1793536215 + number if number % 5 else "never", "click", b"x" * (number % 90))
        for number in range(4000)
    ]
    path = build(
        tmp_path / "app.db",
        f"PRAGMA journal_mode = {journal}",
        "CREATE TABLE hits (n, at, name, x)",
        rows=rows[::-1],
    )
    config = StorageConfig(table="hits", mapping={"seq": "n", "timestamp": "at", "event_type": "name"})
    made = both(
        lambda options: export(path, f"{tmp_path}/{options.runner}/", options=options, config=config), part_rows=300
    )
    assert told(tmp_path / "threads") == told(tmp_path / "processes")
    assert made[1].manifest.counts["skipped_bad_timestamp"] == 800


@pytest.mark.parametrize(
    ("place", "given"),
    [
        ("one.parquet", []),
        ("-", []),
        ("parts/", ["--limit", "5"]),
        ("parts/", ["--partition-by", "day"]),
        ("parts/", ["--max-bytes", "1MiB"]),
        ("parts/", ["--max-duration", "60"]),
        ("parts/", ["--max-duration", "60", "--incremental"]),
    ],
)
def test_what_needs_one_process_is_refused(store: Path, tmp_path: Path, place: str, given: list[str]) -> None:
    done = run("export", store, place, "--runner", "processes", *given, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, b"")
    assert "process" in done.stderr or "one writer" in done.stderr or "--incremental" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_exports_by_processes(store: Path, tmp_path: Path) -> None:
    done = run("export", store, "parts/", "--runner", "processes", "--part-size", "4000rows", "--json", cwd=tmp_path)
    assert (done.code, done.summary["event_count"]) == (0, len(EVENTS) - 700), done.stderr
    assert done.summary["parts"] > 3


def test_what_only_this_process_holds_is_refused(store: Path, tmp_path: Path) -> None:
    options = ExportOptions(runner="processes", workers=1)
    source = ArrowSource("numbers", pa.table({"n": [1, 2, 3]}))
    with pytest.raises(UsageError, match="only the process that holds this source can read it"):
        Exporter(source).export(tmp_path / "numbers", options=options)
    memory = ExportDestination(MemoryBackend("here"), Directory())
    with pytest.raises(UsageError, match="can be written by the process that holds it alone"):
        export(store, memory, options=options)
    assert list(memory.backend.list("")) == []
    with pytest.raises(UsageError, match="runner must be threads or processes"):
        ExportOptions(runner="fibres")


def test_a_failure_names_its_task(store: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(store.read_bytes())
    foreign_sqlite.execute(
        broken,
        "PRAGMA writable_schema=1",
        "UPDATE sqlite_schema SET sql = replace(sql, 'timestamp INTEGER', 'timestamp ANY') WHERE name = 'events'",
        "PRAGMA writable_schema=0",
    )
    foreign_sqlite.execute(broken, "UPDATE events SET timestamp = 1 << 62 WHERE seq = 9000")
    named = r"task \d+ \(rows behind arrival number \d+, up to arrival number \d+\): .*no event"
    with pytest.raises(StorageError, match=named):
        export(broken, f"{tmp_path}/parts/", options=ExportOptions(runner="processes", workers=2, part_rows=2000))
    assert not (tmp_path / "parts").exists()


def test_a_store_that_is_written_meanwhile_gives_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with SqliteAnalyticsStorage(path) as made:
        made.append(EVENTS[:6000])
    stop = threading.Event()

    def write() -> None:
        with SqliteAnalyticsStorage(path) as writer:
            number = 6000
            while not stop.is_set() and number < len(EVENTS):
                writer.append([EVENTS[number]])
                number += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        result = export(
            path, f"{tmp_path}/parts/", options=ExportOptions(runner="processes", workers=2, part_rows=1000)
        )
    finally:
        stop.set()
        writing.join()
    assert result.manifest.seq_range is not None
    assert result.manifest.rows == result.manifest.seq_range.last >= 6000
    assert pa.table(result)["id"].to_pylist() == [event.id for event in EVENTS[: result.manifest.rows]]


class Others:
    """Other processes, as a source sees them: what happens while they pin, and what they say."""

    def __init__(self, source: Any, happens: Sequence[Callable[[], None] | None]) -> None:
        self._source = source
        self._happens = list(happens)
        self.asked = 0

    def __call__(self) -> Sequence[Ticket]:
        self.asked += 1
        with self._source.pin() as view:
            ticket = view.ticket
        happens = self._happens.pop(0) if self._happens else None
        if happens is not None:
            happens()
        return [ticket]


def test_all_begin_again_when_something_is_committed_before_the_barrier(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append(EVENTS[:100])
        delete = lambda: foreign_sqlite.execute(path, "DELETE FROM events WHERE seq = 7") and None  # noqa: E731
        append = lambda: store.append([AnalyticsEvent("late")]) and None  # noqa: E731
        others = Others(store, [append, delete, None])
        with store.pin(peers=others) as view:
            assert (others.asked, view.upto) == (3, 101)
            assert view.unmoved()
            foreign_sqlite.execute(path, "DELETE FROM events WHERE seq = 8")
            assert not view.unmoved()
        with store.pin() as alone:
            assert not alone.unmoved(), "nobody watched"
        always = Others(store, [delete_one(path, number) for number in range(10, 70)])
        with pytest.raises(StoreBusy, match="without a pause"):
            store.pin(peers=always)


def delete_one(path: Path, number: int) -> Callable[[], None]:
    def delete() -> None:
        foreign_sqlite.execute(path, f"DELETE FROM events WHERE seq = {number}")

    return delete


def test_a_table_whose_views_cannot_be_proven_to_agree_has_no_ticket(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)",
        rows=[(number, 1793536215, "click") for number in range(1, 101)],
    )
    table = AdoptedTable(path, StorageConfig(table="hits", mapping={"timestamp": "at", "event_type": "name"}))

    def insert() -> None:
        foreign_sqlite.execute(path, "INSERT INTO hits VALUES (NULL, 1793536215, 'click')")

    others = Others(table, [insert, None])
    with table.pin(peers=others) as view:
        assert (others.asked, view.upto, view.unmoved()) == (2, 101, True)
        assert view.ticket == replace(view.ticket, upto=101)
        insert()
        assert not view.unmoved()
    with table.pin(peers=Others(table, [insert] * 50)) as view:
        assert view.ticket is None
        assert len(list(view.plan(ExportFilter(), max_rows=10, max_bytes=1 << 20))) > 10


@pytest.mark.parametrize("room", [1 << 20, 24 << 20])
def test_a_worker_that_runs_out_of_memory_makes_no_short_export(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    real, again = processes._Worker.begin, processes.ProcessRunner._again
    squeezed: list[int] = []
    lost: list[str] = []

    def begin(self: Any, order: Any) -> None:
        if len(squeezed) < 2:
            pid = self._process.pid
            size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(pid, resource.RLIMIT_AS, (size + room, size + room))
            squeezed.append(pid)
        real(self, order)

    def noted(self: Any, order: Any, why: str, *given: Any) -> None:
        lost.append(why)
        again(self, order, why, *given)

    monkeypatch.setattr(processes._Worker, "begin", begin)
    monkeypatch.setattr(processes.ProcessRunner, "_again", noted)
    options = ExportOptions(runner="processes", workers=2, part_rows=10_000, compression="zstd")
    with suppress(WorkerLost):  # any other error is none that this may end with
        export(store, f"{tmp_path}/parts/", options=options)
        assert verify(tmp_path / "parts").ok
    export(store, f"{tmp_path}/whole/", options=replace(options, runner="threads"))
    if (tmp_path / "parts").exists():
        assert told(tmp_path / "parts") == told(tmp_path / "whole")
    assert len(squeezed) == 2
    assert lost or room > 1 << 20, "the limit was felt"
