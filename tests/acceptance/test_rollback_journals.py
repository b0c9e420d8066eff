"""Databases without a write-ahead log, in which whoever reads keeps whoever writes waiting: an export lets a writer in
between what it reads, says so, and loses nothing by it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

import foreign_readers
import sample_events
from adopted_tables import build, elsewhere, opened, seqs, spans
from penstock import AdoptedTable, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, StorageConfig, verify
from penstock.errors import StoreBusy
from penstock.exporting import growth
from penstock.model.result import ExportResult
from penstock.ports.source import Source
from penstock.sources.pool import TURN_SECONDS, Pool
from watching import Watching

_ROWS = 4_000
#: Writes fifty times a second at most, and gives up after one without the lock; a byte in a file tells of either.
_WRITER = """
import sqlite3, sys, time
path, statement, committed, failed = sys.argv[1:]
connection = sqlite3.connect(path, timeout=1)
number = 0
while True:
    number += 1
    try:
        connection.execute(statement, [number, "w%d" % number])
        connection.commit()
        told = committed
    except sqlite3.OperationalError as error:
        assert "locked" in str(error), error
        connection.rollback()
        told = failed
    with open(told, "ab") as file:
        file.write(b".")
    time.sleep(0.02)
"""


class Writer:
    """A second process that writes on and on."""

    def __init__(self, path: Path, statement: str) -> None:
        self._told = [path.with_name(f"{path.name}.{what}") for what in ("committed", "failed")]
        for file in self._told:
            file.write_bytes(b"")
        self.process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path), statement, *map(str, self._told)])

    @property
    def committed(self) -> int:
        return self._told[0].stat().st_size

    @property
    def failed(self) -> int:
        return self._told[1].stat().st_size

    def goes_on(self, *_: Any) -> None:
        """Wait until it committed once more, or failed at all."""
        if self.failed:
            return
        before, end = self.committed + self.failed, time.monotonic() + 60
        while self.committed + self.failed == before:
            assert time.monotonic() < end, "the writer came to no end at all"
            assert self.process.poll() is None
            time.sleep(0.001)


@contextmanager
def writing(path: Path, statement: str) -> Iterator[Writer]:
    writer = Writer(path, statement)
    try:
        writer.goes_on()
        yield writer
    finally:
        writer.process.kill()
        writer.process.wait()


def _table(place: Path) -> Path:
    return build(
        place / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)",
        rows=[(number, 1793536215 + number, "click") for number in range(1, _ROWS + 1)],
    )


_INSERT = "INSERT INTO hits VALUES (1000000 + ?, 1793536215, ?)"
_EVENT = (
    "INSERT INTO events (id, category, event_type, timestamp, session_id, priority, data, metadata, received_at)"
    " VALUES ('w' || ?, 'custom', ?, 0, NULL, 1, '{}', '{}', 0)"
)


def _as_it_is(place: Path, **more: Any) -> tuple[Source, Path, str]:
    path = _table(place)
    return AdoptedTable(path, StorageConfig(table="hits", **more)), path, _INSERT


def _as_events(place: Path, **more: Any) -> tuple[Source, Path, str]:
    path = _table(place)
    mapping = {"timestamp": "at", "event_type": "name"}
    return AdoptedTable(path, StorageConfig(table="hits", mapping=mapping, **more)), path, _INSERT


def _our_own(place: Path, **more: Any) -> tuple[Source, Path, str]:
    path = place / "events.db"
    with SqliteAnalyticsStorage(path, StorageConfig(wal=False)) as store:
        store.append(sample_events.varied(_ROWS))
    return SqliteAnalyticsStorage(path, StorageConfig(wal=False, **more), read_only=True), path, _EVENT


Kind = Callable[..., tuple[Source, Path, str]]
KINDS = pytest.mark.parametrize("kind", [_as_it_is, _as_events, _our_own])


def _export(source: Source, place: Path, writer: Writer | None, **more: Any) -> ExportResult:
    observer = Watching(then=None if writer is None else writer.goes_on)
    options = ExportOptions(format="ndjson", part_rows=500, **more)
    return Exporter(source).export(place, options=options, observer=observer)


def _rows(result: ExportResult) -> pa.Table:
    return pa.table(result)


@KINDS
@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_writer_that_waits_a_second_never_fails_while_its_table_is_exported(
    kind: Kind, runner: str, tmp_path: Path
) -> None:
    source, path, statement = kind(tmp_path)
    with writing(path, statement) as writer:
        result = _export(source, tmp_path / "out", writer, runner=runner, workers=2)
        assert (writer.committed > 8, writer.failed) == (True, 0)
    assert result.manifest.guarantees["moment"] == "span"
    assert any("span of time" in note for note in result.notes)
    assert verify(tmp_path / "out").problems == ()
    assert foreign_readers.manifest_of(tmp_path / "out")["guarantees"] == {"moment": "span"}
    order = source.dataset.order
    assert order is not None
    numbers = _rows(result)[order].to_pylist()
    assert numbers[:_ROWS] == list(range(1, _ROWS + 1))
    assert numbers == sorted(set(numbers)), "no row twice"
    assert max(numbers) == result.manifest.source["horizon"]
    source.close()


@KINDS
def test_who_asks_for_one_moment_keeps_the_writer_waiting(kind: Kind, tmp_path: Path) -> None:
    source, path, statement = kind(tmp_path, one_moment=True)
    with writing(path, statement) as writer:
        result = _export(source, tmp_path / "out", writer, workers=2)
        assert writer.failed > 0
    assert "moment" not in result.manifest.guarantees
    assert not [note for note in result.notes if "span" in note]
    source.close()


@KINDS
def test_what_nobody_writes_meanwhile_is_of_one_moment(kind: Kind, tmp_path: Path) -> None:
    source, *_ = kind(tmp_path)
    result = _export(source, tmp_path / "out", None, workers=2)
    assert "moment" not in result.manifest.guarantees
    assert result.manifest.rows == _ROWS
    source.close()


@pytest.mark.parametrize("where", [None, "n >= 0"], ids=["all", "some"])
@pytest.mark.parametrize("late", [5, 1_000])
def test_a_row_that_comes_below_what_was_read_is_in_the_next_run(tmp_path: Path, where: str | None, late: int) -> None:
    """It comes behind the back of a run: into a gap that was read already, and must not count as known."""
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, n)",
        rows=[(number, number % 3 - 1) for number in range(1, 2_001) if number != late],
    )
    came: list[int] = []

    def come(progress: Any) -> None:
        if progress.rows >= 1_200 * (1 if where is None else 2 / 3) and not came:
            came.append(late)
            elsewhere(path, f"INSERT INTO hits VALUES ({late}, 7)")

    filter = ExportFilter(where=where)
    options = ExportOptions(format="ndjson", part_rows=100, workers=1)
    with AdoptedTable(path, StorageConfig(table="hits")) as source:
        exporter = Exporter(source)
        first = exporter.export(
            tmp_path / "out", incremental=True, options=options, filter=filter, observer=Watching(then=come)
        )
        assert came
        assert first.manifest.guarantees["moment"] == "span"
        second = exporter.export(tmp_path / "out", incremental=True, options=options, filter=filter)
        third = exporter.export(tmp_path / "out", incremental=True, options=options, filter=filter)
    found = [number for run in (first, second, third) for number in _rows(run)["id"].to_pylist()]
    wanted = [number for number in range(1, 2_001) if number == late or where is None or number % 3 - 1 >= 0]
    assert sorted(found) == wanted
    assert late in _rows(second)["id"].to_pylist()
    assert third.manifest.rows == 0
    assert verify(tmp_path / "out").problems == ()


def test_a_turn_is_over_long_before_a_writer_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 0.0
    with opened(_table(tmp_path)) as view:
        monkeypatch.setattr("penstock.sources.pool.time", SimpleNamespace(monotonic=lambda: moment))
        over = view._pinned.pool.clock()
        assert not over()
        moment = TURN_SECONDS / 2
        assert over()


def test_a_table_that_is_written_while_its_rows_are_counted_is_exported_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, n)",
        rows=[(number, number % 2) for number in range(1, 101)],
    )
    wanted = {"options": ExportOptions(format="ndjson"), "filter": ExportFilter(where="n = 1"), "incremental": True}
    write_roll = growth.write_roll

    def written_meanwhile(*given: Any) -> Any:
        elsewhere(path, "INSERT INTO hits VALUES (0, 1)")
        return write_roll(*given)

    with AdoptedTable(path, StorageConfig(table="hits")) as source:
        monkeypatch.setattr(growth, "write_roll", written_meanwhile)
        with pytest.raises(StoreBusy, match="written while its rows were counted"):
            Exporter(source).export(tmp_path / "out", **wanted)
        assert not list((tmp_path / "out").rglob("*.json"))
        monkeypatch.undo()
        result = Exporter(source).export(tmp_path / "out", **wanted)
    assert sorted(_rows(result)["id"].to_pylist()) == [0, *range(1, 101, 2)]
    assert verify(tmp_path / "out").problems == ()


@pytest.mark.parametrize("shared", [False, True], ids=["unique", "shared"])
def test_what_takes_longer_than_a_turn_is_read_in_several(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is always time to end."""
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)",
        "CREATE INDEX ats ON hits (at)",
        rows=[(number, 1793536215 + number // 7, "click") for number in range(1, 20_001)],
    )
    lent: list[int] = []
    lend = Pool._turn

    def counting(self: Pool, connection: Any) -> Any:
        lent.append(1)
        return lend(self, connection)

    monkeypatch.setattr(Pool, "_turn", counting)
    monkeypatch.setattr("penstock.sources.pool.TURN_SECONDS", 0)
    mapping = {"seq": "at", "id": "id"} if shared else {}
    with opened(path, readers=2, **mapping) as view:
        found = spans(view, rows=30_000, size=8 << 20)
        assert len(found) == 1
        before = len(lent)
        numbers = seqs(view, found)
        assert len(numbers) == 20_000
        assert numbers == sorted(numbers)
        assert (len(lent) - before > 1) != shared
        monkeypatch.setattr("penstock.sources.tables.view.RANGE_ROWS", 10)
        arrived = [number for some in view.arrivals(None, view.upto) for number in some.to_pylist()]
        assert arrived == numbers
        assert not view.moved
    assert TURN_SECONDS <= 0.25


@pytest.mark.parametrize("sampled", [False, True])
def test_rows_that_cannot_match_are_not_passed_over_in_one_turn(sampled: bool, tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, status INT)",
        rows=[(number, 200) for number in range(1, 9_001)],
    )
    source = AdoptedTable(path, StorageConfig(table="hits"))
    filter = ExportFilter(where="status = 500")
    with source.pin() as view:
        found = list(view.plan(filter, max_rows=500, max_bytes=8 << 20, sampled=sampled))
        assert len(found) >= 18
        assert all(int(span.upto) - int(span.after) <= 500 for span in found)
        assert not any(list(view.read(span, filter)) for span in found)
    build(path, "PRAGMA journal_mode = WAL")
    with source.pin() as view:
        assert list(view.plan(filter, max_rows=500, max_bytes=8 << 20)) == []
