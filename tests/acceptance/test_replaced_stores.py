"""A store whose file is replaced by another while it is opened or read: an error, never rows of both in one export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import adbc_driver_manager as adbc
import pytest

import foreign_sqlite
from penstock import AnalyticsEvent, ExportOptions, SqliteAnalyticsStorage, StorageConfig, export
from penstock.errors import ExportError, StoreBusy
from penstock.sources.connection import Connection
from watching import Watching

ROWS = 3_000
Swap = Callable[[Path, Path], None]


def _stored(path: Path, name: str, rows: int = ROWS) -> Path:
    with SqliteAnalyticsStorage(path) as store:
        store.append(AnalyticsEvent(name) for _ in range(rows))
    return path


def _adopted(path: Path, name: str, rows: int = ROWS) -> Path:
    foreign_sqlite.execute(
        path,
        "CREATE TABLE log (n INTEGER PRIMARY KEY, at INTEGER, kind TEXT)",
        f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})"
        f" INSERT INTO log SELECT n, 1764000000000000 + n, '{name}' FROM c",
    )
    return path


_TABLE = StorageConfig(table="log", mapping={"event_type": "kind", "timestamp": "at"})
_KINDS = {"a store": (_stored, None), "a table": (_adopted, _TABLE)}


def _put(new: Path, path: Path) -> None:
    os.replace(new, path)


def _exchange(one: Path, other: Path) -> None:
    """The files change places; what was there comes back at the next time."""
    aside = one.with_name("aside")
    os.rename(one, aside)
    os.rename(other, one)
    os.rename(aside, other)


@contextmanager
def _after(monkeypatch: pytest.MonkeyPatch, times: set[int], act: Callable[[], None]) -> Iterator[list[int]]:
    """Do something after the connections of these numbers were opened."""
    opened: list[int] = []
    real = Connection.__init__

    def init(self: Connection, *given: object, **more: object) -> None:
        real(self, *given, **more)  # type: ignore[arg-type]
        opened.append(len(opened))
        if opened[-1] in times:
            act()

    with monkeypatch.context() as patches:
        patches.setattr(Connection, "__init__", init)
        yield opened


def _types(out: Path) -> set[str]:
    return {json.loads(line)["event_type"] for part in out.glob("*.ndjson") for line in part.read_text().splitlines()}


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("there_and_back", [False, True], ids=["put in place", "there and back"])
@pytest.mark.parametrize("kind", _KINDS)
def test_a_store_that_is_replaced_while_readers_open(
    kind: str, there_and_back: bool, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, config = _KINDS[kind]
    path, other = make(tmp_path / "events.db", "old"), make(tmp_path / "other.db", "new", 5_000)
    times = {first, first + 1} if there_and_back else {first}
    swap: Swap = _exchange if there_and_back else _put
    out = tmp_path / "out"
    with _after(monkeypatch, times, lambda: swap(other, path)) as opened, suppress(StoreBusy):
        export(path, out, options=ExportOptions(format="ndjson", workers=4, part_rows=100), config=config)
    assert not out.exists() or len(_types(out)) == 1
    assert len(opened) > first + there_and_back


@pytest.mark.parametrize("kind", _KINDS)
def test_one_reader_opens_another_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path names the same file before and after, and another at the moment at which SQLite opens it."""
    make, config = _KINDS[kind]
    path, other = make(tmp_path / "events.db", "old"), make(tmp_path / "other.db", "new", 5_000)
    real, opened = adbc.AdbcConnection, []

    def connect(*given: object, **more: object) -> object:
        opened.append(len(opened))
        if opened[-1] != 2:
            return real(*given, **more)
        _exchange(path, other)
        try:
            return real(*given, **more)
        finally:
            _exchange(path, other)

    monkeypatch.setattr(adbc, "AdbcConnection", connect)
    with pytest.raises(StoreBusy, match="replaced"):
        export(path, tmp_path / "out", options=ExportOptions(workers=3, part_rows=100), config=config)
    assert len(opened) > 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", _KINDS)
def test_a_store_that_is_replaced_while_it_is_read(kind: str, workers: int, tmp_path: Path) -> None:
    make, config = _KINDS[kind]
    path, other = make(tmp_path / "events.db", "old"), make(tmp_path / "other.db", "new", 5_000)
    options = ExportOptions(workers=workers, part_rows=500)

    def replace(_: object) -> None:
        if other.exists():
            os.replace(other, path)

    with pytest.raises(StoreBusy, match="replaced"):
        export(path, tmp_path / "out", options=options, config=config, observer=Watching(then=replace))
    assert not (tmp_path / "out").exists()
    assert export(path, tmp_path / "out", options=options, config=config).manifest.rows == 5_000


_SWAPPER = """
import os, shutil, sys
one, two, path = sys.argv[1:]
print("swapping", flush=True)
while True:
    for source in (one, two):
        shutil.copyfile(source, path + ".new")
        os.replace(path + ".new", path)
"""


def test_under_a_constant_swap_no_export_has_rows_of_both(tmp_path: Path) -> None:
    one, two = _stored(tmp_path / "one.db", "old", 500), _stored(tmp_path / "two.db", "new", 700)
    path = _stored(tmp_path / "events.db", "old", 5)
    command = [sys.executable, "-c", _SWAPPER, str(one), str(two), str(path)]
    whole = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as swapper:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == "swapping\n"
        try:
            for turn in range(60):
                out = tmp_path / f"{turn}"
                try:
                    export(path, out, options=ExportOptions(format="ndjson", workers=3, part_rows=50))
                except ExportError:
                    assert not out.exists()
                else:
                    assert len(_types(out)) == 1
                    whole += 1
        finally:
            swapper.kill()
    assert whole < 60, "nothing was replaced in time"
