"""A disk that is really full: the error says so, the old export stays, nothing is left behind, and space is enough to
go on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import real_command as real

from foreign_sqlite import execute
from penstock import ExportFilter, ExportOptions, StorageConfig, export, verify
from penstock.errors import NoSpace
from proof_ledger import Ledger

_PAGE = 4096


@contextlib.contextmanager
def small_disk(where: Path, options: str) -> Iterator[Path]:
    """A file system in memory with very little room."""
    where.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], check=True, capture_output=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", str(where)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("space")
    try:
        with small_disk(place / "try", "size=64k"):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here (that takes root): {error}")
    return real.fill_store(place / "events.db", 200)


def _contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


_SHAPES = {
    "file": ("out.ndjson", ExportOptions(workers=1)),
    "columnar file": ("out.parquet", ExportOptions(workers=1, row_group_rows=50)),
    "directory": ("out", ExportOptions(workers=1, part_rows=40, format="csv")),
}


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("resource", ["bytes", "inodes"])
def test_every_size_of_disk_until_it_is_enough(
    shape: str, resource: str, store: Path, tmp_path: Path, ledger: Ledger
) -> None:
    dest, options = _SHAPES[shape]
    for step in range(1, 80):
        size = f"size={_PAGE * (2 + step)}" if resource == "bytes" else f"size=1m,nr_inodes={step + 1}"
        with small_disk(tmp_path / "disk", size) as disk:
            if not _full(store, disk / dest, options):
                break
    else:
        raise AssertionError("no size was enough")
    assert step > 3
    name = f"{shape} on a disk short of {resource}"
    ledger.add(name, "full disks", planned=step - 1, fired=step - 1, passed=step - 1)


def _full(store: Path, dest: Path, options: ExportOptions) -> bool:
    """Replace an export, if there was room for it, by a larger one; whether the disk was too small for that."""
    if not _told_no_space(store, dest, ExportFilter(limit=30), options):
        before = _contents(dest.parent)
        # A filter keeps the size from being estimated, so that it is the writing that fails.
        if not _told_no_space(store, dest, ExportFilter(limit=190), options):
            assert verify(dest).ok
            assert not real.leftovers(dest.parent)
            return False
        assert _contents(dest.parent) == before
        assert verify(dest).ok
    else:
        assert list(dest.parent.iterdir()) == []
    assert not real.leftovers(dest.parent)
    return True


def _told_no_space(store: Path, dest: Path, filter: ExportFilter, options: ExportOptions) -> bool:
    try:
        export(store, dest, filter=filter, options=options, overwrite=True)
    except NoSpace as error:
        return "space" in str(error) and error.exit_code == 5
    return False


def test_the_estimate_saves_the_work(store: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=16k") as disk:
        with pytest.raises(NoSpace, match="bytes free, about"):
            export(store, disk / "out.ndjson")
        with pytest.raises(NoSpace, match="bytes free, about"):
            export(store, disk / "out", options=ExportOptions(format="ndjson"))
        assert list(disk.iterdir()) == []


def test_the_command_says_it_and_goes_on_when_there_is_space(store: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 40_000)
        ended = real.run("export", store, disk / "out.csv", "--limit", "190")
        assert ended.code == 5
        assert "No space left on device" in ended.told
        assert "Traceback" not in ended.told
        assert list(disk.iterdir()) == [ballast]
        ballast.unlink()
        assert real.run("export", store, disk / "out.csv", "--limit", "100").code == 0
        assert verify(disk / "out.csv").ok


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_standard_output(store: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "stream.manifest.json"
    with open("/dev/full", "wb") as full:
        ended = real.run("export", store, "-", "--manifest", manifest, output=full)
    assert ended.code == 5
    assert "No space left on device" in ended.told
    assert "Traceback" not in ended.told
    assert not manifest.exists()
    assert not real.leftovers(tmp_path)


def test_the_place_for_scratch_is_named_when_it_is_what_is_full(
    store: Path, tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run of a table's lineage reads is noted there, and compared there when rows came late."""
    del store  # disks can be mounted
    table, runs = tmp_path / "app.db", tmp_path / "runs"
    many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
    execute(table, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", f"{many} INSERT INTO t SELECT 2 * i, i FROM n")
    planned = 0
    for change in ("DELETE FROM t WHERE id = 7", "INSERT INTO t VALUES (7, 7)"):
        execute(table, change)
        for pages in range(1, 1000, 15):
            with small_disk(tmp_path / "disk", f"size={_PAGE * pages}") as disk:
                monkeypatch.setattr(tempfile, "tempdir", str(disk))
                before = _contents(runs)
                try:
                    export(table, runs, config=StorageConfig(table="t"), incremental=True)
                    break
                except NoSpace as error:
                    said = f"{error.message} {error.hint}"
                planned += 1
                left = list(disk.iterdir())
            assert (str(disk) in said, "TMPDIR" in said) == (True, True), said
            assert (_contents(runs), left) == (before, [])
        else:
            raise AssertionError("no size was enough")
    assert planned > 3
    assert verify(runs).ok
    ledger.add("a full place for scratch", "full disks", planned=planned, fired=planned, passed=planned)
