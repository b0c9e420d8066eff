"""One reading, several destinations: each is whole by itself, and none waits for one that failed."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.parquet as pq
import pytest

import penstock as library
from penstock import AnalyticsEvent, ExportFilter, ExportOptions, SqliteAnalyticsStorage, StorageConfig
from penstock.errors import Cancelled
from penstock.exporting.shared import SharedView
from penstock.pipeline.onward import Onward
from penstock.ports.observer import Progress
from penstock.ports.source import Reading, Slice
from penstock_command import Run

Command: TypeAlias = Callable[..., Run]
ROWS = 60_000
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, x REAL)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ((n, f"w{n % 7}", n / 8) for n in range(ROWS)))
    return path


def digests(*places: Path) -> set[str]:
    return {json.dumps(json.loads(place.read_text())["rows_digest"]) for place in places}


def test_every_destination_has_all_rows_and_the_same_digest(app: Path, tmp_path: Path, penstock: Command) -> None:
    names = ["a.ndjson", "b.parquet", "c.csv.gz", "d/"]
    done = penstock("export", app, *names, "--table", "t", "--json")
    assert done.code == 0, done
    assert done.summary["exported"] == names
    assert [line["rows"] for line in done.lines if line["type"] == "export"] == [ROWS] * 4
    assert pq.read_table(tmp_path / "b.parquet").to_pydict() == pq.read_table(tmp_path / "d/data").to_pydict()
    assert pq.read_table(tmp_path / "b.parquet")["id"].to_pylist() == list(range(ROWS))
    lines = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert [line["x"] for line in lines] == [n / 8 for n in range(ROWS)]
    unpacked = subprocess.run(["zcat", tmp_path / "c.csv.gz"], check=True, capture_output=True, text=True).stdout
    assert len(list(csv.reader(unpacked.splitlines()))) == ROWS + 1
    manifests = [tmp_path / f"{name}.manifest.json" for name in names[:3]]
    assert len(digests(*manifests, tmp_path / "d/_penstock/manifest.json")) == 1
    for name in names:
        assert penstock("verify", name).code == 0


@pytest.mark.parametrize(
    "more",
    [
        ["--query", "SELECT * FROM t ORDER BY x"],
        ["--where", "word = 'w3'"],
        ["--limit", "40000"],
        ["--columns", "x,id"],
    ],
    ids=lambda more: str(more[0]),
)
def test_what_is_asked_for_is_asked_of_all(more: list[str], app: Path, tmp_path: Path, penstock: Command) -> None:
    table = [] if more[0] == "--query" else ["--table", "t"]
    assert penstock("export", app, "a.ndjson", "b.parquet", *table, *more).code == 0
    assert penstock("export", app, "alone.ndjson", *table, *more).code == 0
    assert (tmp_path / "a.ndjson").read_bytes() == (tmp_path / "alone.ndjson").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert pq.read_table(tmp_path / "b.parquet").to_pylist() == lines


def test_one_that_fails_keeps_no_other_from_being_exported(app: Path, tmp_path: Path, penstock: Command) -> None:
    (tmp_path / "there.csv").write_text("mine")
    done = penstock("export", app, "a.ndjson", "there.csv", "b/", "--table", "t", "--json")
    assert (done.code, done.summary["exported"]) == (3, ["a.ndjson", "b/"])
    assert done.summary["failed"]["there.csv"]["exit_code"] == 2
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert [penstock("verify", name).code for name in ("a.ndjson", "b/")] == [0, 0]
    again = penstock("export", app, "a.ndjson", "there.csv", "--table", "t", "--json")
    assert (again.code, again.summary["exported"]) == (2, []), "none was exported"


def test_a_full_disk_of_one_is_not_that_of_another(app: Path, tmp_path: Path, penstock: Command) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs the superuser")
    (tmp_path / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path / "small"], check=True)
    try:
        done = penstock("export", app, "small/a.ndjson", "b.ndjson", "--table", "t", "--json")
        assert done.summary["failed"]["small/a.ndjson"]["exit_code"] == 5, done
        assert not list((tmp_path / "small").iterdir())
    finally:
        subprocess.run(["umount", tmp_path / "small"], check=True)
    assert (done.code, penstock("verify", "b.ndjson").code) == (3, 0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["a.csv", "a.csv"], "named twice"),
        (["d", "d/"], "named twice"),
        (["a.csv", "-"], "standard output is no destination beside others"),
        (["a.csv", "b.xyz"], "known endings are"),
        (["a.csv", "b/", "--part-size", "10rows"], "--part-size"),
        (["a/", "b/", "--runner", "processes"], "one reader"),
        (["a.csv", "b.csv", "--dry-run"], "--dry-run is about one destination"),
        (["a.csv", "b.csv", "--manifest", "m.json"], "--manifest is about one destination"),
        (["a/", "b/", "--all-tables"], "--all-tables is about one destination"),
        (["a.csv", "b.csv", "--flatten", "word"], "--flatten-schema"),
    ],
)
def test_what_is_no_set_of_destinations_is_refused_before_anything_is_written(
    line: list[str], said: str, app: Path, tmp_path: Path, penstock: Command
) -> None:
    done = penstock("export", app, *line, "--table", "t")
    assert (done.code, said in done.stderr) == (2, True), done
    assert not list(tmp_path.iterdir())


def test_lineages_are_added_to_one_after_the_other(app: Path, tmp_path: Path, penstock: Command) -> None:
    first = penstock("export", app, "old/", "--incremental", "--table", "t", "--limit", "10")
    assert first.code in (0, 2)
    assert penstock("export", app, "old/", "--incremental", "--table", "t").code == 0
    done = penstock("export", app, "old/", "new/", "--incremental", "--table", "t", "--json")
    assert done.code == 0, done
    assert [line["rows"] for line in done.lines if line["type"] == "export"] == [0, ROWS]


class _Counting(Onward):
    """Rows of which it is counted how often each slice is read, and how many are read and not yet handed on."""

    def __init__(self, rows: Any) -> None:
        super().__init__(rows)
        self.reads: Counter[int] = Counter()

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        self.reads[span.after] += 1
        return super().read(span, filter)


def test_each_slice_is_read_once_and_who_is_ahead_waits(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("page_view", data={"n": n}) for n in range(300)])
    with SqliteAnalyticsStorage(tmp_path / "events.db", read_only=True) as store, store.pin(readers=2) as view:
        rows = _Counting(view)
        shared = SharedView(rows, ExportFilter(), count=2, most=4)
        fast, slow = shared.members()
        spans = list(fast.plan(ExportFilter(), max_rows=10, max_bytes=1 << 30))
        assert list(slow.plan(ExportFilter(), max_rows=10, max_bytes=1 << 30)) == spans
        found: dict[str, list[Any]] = {"fast": [], "slow": []}

        def read(name: str, member: Any) -> None:
            for span in spans:
                found[name] += [
                    event for batch in member.read(span, ExportFilter()) for event in batch["id"].to_pylist()
                ]
            member.end()

        ahead = threading.Thread(target=read, args=("fast", fast))
        ahead.start()
        deadline = time.monotonic() + 20
        while len(found["fast"]) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        ahead.join(0.2)
        assert (ahead.is_alive(), len(found["fast"]), sum(rows.reads.values())) == (True, 40, 4)
        read("slow", slow)
        ahead.join(20)
        assert found["fast"] == found["slow"]
        assert (len(found["fast"]), set(rows.reads.values())) == (300, {1})


def test_an_error_of_the_source_is_everyones_and_a_cancel_ends_all(app: Path, tmp_path: Path) -> None:
    config = StorageConfig(table="t", types={"word": "int64"})
    result = library.export_to_each(app, [tmp_path / "a.csv", tmp_path / "b.ndjson"], config=config)
    assert not result.exported
    assert len({error.message for error in result.failed.values()}) == 1
    assert not list(tmp_path.iterdir())

    class Impatient:
        cancelled = False

        def progress(self, at: Progress, /) -> None:
            self.cancelled = True

    with pytest.raises(Cancelled):
        library.export_to_each(
            app,
            [tmp_path / "a.csv", tmp_path / "b.ndjson"],
            config=StorageConfig(query=ENDLESS, types={"i": "int64"}),
            options=ExportOptions(max_duration=60),
            observer=Impatient(),
        )
    assert not list(tmp_path.iterdir())


def test_a_signal_between_the_beginnings_of_two_waits_for_both(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, fired = ThreadPoolExecutor.submit, []

    def interrupted(pool: ThreadPoolExecutor, work: Any, *given: Any) -> Any:
        begun = submit(pool, work, *given)
        if pool._thread_name_prefix == "penstock-export" and not fired:
            fired.append(True)
            signal.raise_signal(signal.SIGINT)
        return begun

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        library.export_to_each(app, [tmp_path / "a.csv", tmp_path / "b.ndjson"], config=StorageConfig(table="t"))
    assert fired
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("penstock")]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_interrupt_ends_all_and_leaves_nothing(app: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "penstock",
        "export",
        str(app),
        "a.ndjson",
        "b.csv",
        "--query",
        ENDLESS,
        "--types",
        "i:int64",
    ]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while len(list(tmp_path.rglob("*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, "Traceback" in said) == (130, False), said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
