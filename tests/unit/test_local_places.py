"""What may stand at a destination, or at the names beside it: links, pipes, directories, strangers, names too long."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock import (
    DirectoryDestination,
    ExportDestination,
    Exporter,
    ExportOptions,
    FileDestination,
    SqliteAnalyticsStorage,
    verify,
)
from penstock.errors import (
    AccessDenied,
    DestinationExists,
    ExportError,
    ManifestError,
    NewerVersion,
    NotFound,
    UsageError,
)
from penstock.testing.faults import Fail, FaultyOps, Meddle

Export = Callable[..., None]


@pytest.fixture
def export(filled: SqliteAnalyticsStorage) -> Export:
    """Export to a file destination, or to a directory of several parts."""

    def run(destination: ExportDestination, *, overwrite: bool = False) -> None:
        parts: Any = {} if destination.single else {"part_rows": 100, "format": "ndjson"}
        options = ExportOptions(workers=1, **parts)
        Exporter(filled).export(destination, options=options, overwrite=overwrite)

    return run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory apart from the store."""
    place = tmp_path / "place"
    place.mkdir()
    return place


def _names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_not_written_through(target: str, export: Export, place: Path) -> None:
    there = place / "there"
    there.write_bytes(b"precious")
    link = place / "out.ndjson"
    link.symlink_to(place / target)
    with pytest.raises(DestinationExists):
        export(FileDestination(link))
    assert link.is_symlink()
    export(FileDestination(link), overwrite=True)
    assert not link.is_symlink()
    assert there.read_bytes() == b"precious"
    assert _names(place) == {"there", "out.ndjson", "out.ndjson.manifest.json"}
    assert verify(link).ok


def test_a_link_at_the_manifests_name_is_not_written_through(export: Export, place: Path) -> None:
    (place / "there").write_bytes(b"precious")
    (place / "out.ndjson.manifest.json").symlink_to(place / "there")
    with pytest.raises(DestinationExists):
        export(FileDestination(place / "out.ndjson"))
    with pytest.raises(DestinationExists, match="not a manifest of Penstock's"):
        export(FileDestination(place / "out.ndjson"), overwrite=True)
    assert (place / "there").read_bytes() == b"precious"


def test_a_pipe_is_neither_opened_nor_waited_for(export: Export, place: Path) -> None:
    os.mkfifo(place / "out.ndjson")
    with pytest.raises(DestinationExists):
        export(FileDestination(place / "out.ndjson"))
    with pytest.raises(ManifestError, match="missing"):
        verify(place / "out.ndjson")
    export(FileDestination(place / "out.ndjson"), overwrite=True)
    assert stat.S_ISREG(os.lstat(place / "out.ndjson").st_mode)


def test_a_pipe_in_the_place_of_a_part_or_a_manifest_is_told(export: Export, place: Path) -> None:
    export(DirectoryDestination(place / "out"))
    part = next((place / "out").glob("data/part-*"))
    part.unlink()
    os.mkfifo(part)
    problems = {problem.part: problem.message for problem in verify(place / "out").problems}
    assert list(problems) == [f"data/{part.name}"]
    assert "missing" in problems[f"data/{part.name}"]
    (place / "out" / "_penstock/manifest.json").unlink()
    os.mkfifo(place / "out" / "_penstock/manifest.json")
    with pytest.raises(ManifestError, match="missing"):
        verify(place / "out")
    with pytest.raises(DestinationExists):
        export(DirectoryDestination(place / "out"), overwrite=True)


def test_a_socket_is_told(export: Export, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(FileDestination(place / "out.ndjson"))
    (place / "out.ndjson").unlink()
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("out.ndjson")
        problems = verify(place / "out.ndjson").problems
    assert ["missing" in problem.message for problem in problems] == [True]


def test_a_directory_where_a_file_is_meant(export: Export, place: Path) -> None:
    (place / "out.ndjson").mkdir()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is a directory"):
            export(FileDestination(place / "out.ndjson"), overwrite=overwrite)
    assert _names(place) == {"out.ndjson"}


def test_a_file_where_a_directory_is_meant(export: Export, place: Path) -> None:
    (place / "out").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is a file"):
        export(DirectoryDestination(place / "out"), overwrite=True)
    (place / "loop").symlink_to(place / "nowhere")
    with pytest.raises(UsageError):
        export(DirectoryDestination(place / "loop"))
    assert (place / "out").read_bytes() == b"mine"


def test_a_link_to_a_directory_is_that_directory(export: Export, place: Path) -> None:
    (place / "real").mkdir()
    (place / "out").symlink_to(place / "real")
    export(DirectoryDestination(place / "out"))
    assert verify(place / "real").ok


def test_a_directory_that_is_missing_above(export: Export, place: Path) -> None:
    with pytest.raises(NotFound, match="no directory"):
        export(FileDestination(place / "no" / "out.ndjson"))
    with pytest.raises(NotFound):
        export(DirectoryDestination(place / "no" / "out"))
    (place / "file").write_bytes(b"")
    with pytest.raises(ExportError):
        export(FileDestination(place / "file" / "out.ndjson"))
    with pytest.raises(ExportError):
        export(DirectoryDestination(place / "file" / "out"))


@pytest.mark.parametrize("planted", ["link", "dangling link", "file", "pipe"])
def test_something_else_at_the_staging_name(planted: str, export: Export, place: Path) -> None:
    staging = place / ".out.ndjson.penstock"
    (place / "elsewhere").mkdir()
    if planted == "file":
        staging.write_bytes(b"mine")
    elif planted == "pipe":
        os.mkfifo(staging)
    else:
        staging.symlink_to(place / ("elsewhere" if planted == "link" else "nowhere"))
    before = os.lstat(staging)
    with pytest.raises(UsageError, match="in the way"):
        export(FileDestination(place / "out.ndjson"))
    assert os.lstat(staging).st_ino == before.st_ino
    assert _names(place) == {"elsewhere", staging.name}
    assert _names(place / "elsewhere") == set()


def test_a_link_at_the_lock_is_not_followed(export: Export, place: Path) -> None:
    staging = place / ".out.ndjson.penstock"
    staging.mkdir()
    (staging / "lock").symlink_to(place / "created-by-lock")
    with pytest.raises(UsageError):
        export(FileDestination(place / "out.ndjson"))
    assert not (place / "created-by-lock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_staging_directory_of_a_stranger_is_not_trusted_where_all_may_write(export: Export, place: Path) -> None:
    place.chmod(0o1777)
    staging = place / ".out.ndjson.penstock"
    staging.mkdir()
    os.chown(staging, 12345, 12345)
    with pytest.raises(AccessDenied, match="belongs to another user"):
        export(FileDestination(place / "out.ndjson"))
    place.chmod(0o755)
    export(FileDestination(place / "out.ndjson"))
    assert verify(place / "out.ndjson").ok


def test_a_strangers_file_in_the_staging_directory_stays(export: Export, place: Path) -> None:
    staging = place / ".out.ndjson.penstock"
    staging.mkdir()
    (staging / "notes.txt").write_bytes(b"mine")
    export(FileDestination(place / "out.ndjson"))
    assert (staging / "notes.txt").read_bytes() == b"mine"
    assert verify(place / "out.ndjson").ok


def test_a_name_that_leaves_no_room_is_refused_before_the_work(filled: SqliteAnalyticsStorage, place: Path) -> None:
    longest = os.pathconf(place, "PC_NAME_MAX") - len(".manifest.json")
    ops = FaultyOps()
    for extra in (1, 5, 40):
        name = "x" * (longest + extra - len(".ndjson")) + ".ndjson"
        with pytest.raises(UsageError, match="too long"):
            FileDestination(place / name, ops=ops).begin()
    assert ops.log == []
    fits = place / ("x" * (longest - len(".ndjson")) + ".ndjson")
    Exporter(filled).export(FileDestination(fits))
    assert verify(FileDestination(fits)).ok


def test_names_of_many_bytes_count_as_bytes(filled: SqliteAnalyticsStorage, place: Path) -> None:
    with pytest.raises(UsageError, match="too long"):
        Exporter(filled).export(FileDestination(place / ("ü" * 120 + ".ndjson")))


@pytest.mark.parametrize("make", [FileDestination, DirectoryDestination])
def test_a_nul_in_a_name_is_refused(make: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match="NUL"):
        make("a\0b.ndjson")


@pytest.mark.parametrize("text", [b"{}", b"", b'{"name": "web app", "icons": []}', b"\x00\x01"])
def test_a_manifest_of_another_program_is_never_replaced(text: bytes, export: Export, place: Path) -> None:
    manifest = place / "_penstock/manifest.json"
    manifest.parent.mkdir()
    manifest.write_bytes(text)
    for overwrite in (False, True):
        with pytest.raises(DestinationExists):
            export(DirectoryDestination(place), overwrite=overwrite)
    assert manifest.read_bytes() == text
    assert list(place.rglob("*")) == [manifest.parent, manifest]


def test_a_damaged_manifest_of_ours_is_replaced_when_asked(export: Export, place: Path) -> None:
    export(DirectoryDestination(place / "out"))
    manifest = place / "out" / "_penstock/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 5', b'"rows": 6'))
    export(DirectoryDestination(place / "out"), overwrite=True)
    assert verify(place / "out").ok


def test_a_newer_manifest_is_not_replaced(export: Export, place: Path) -> None:
    for destination in (FileDestination(place / "out.ndjson"), DirectoryDestination(place / "out")):
        export(destination)
        manifest = next(place.glob("out.ndjson.manifest.json" if destination.single else "out/_penstock/manifest.json"))
        newer = manifest.read_bytes().replace(b'"penstock_manifest": 1', b'"penstock_manifest": 99')
        manifest.write_bytes(newer)
        with pytest.raises(NewerVersion):
            export(destination, overwrite=True)
        assert manifest.read_bytes() == newer
    assert not list(place.rglob(".*penstock"))


def test_foreign_sums_are_left_alone(export: Export, place: Path) -> None:
    (place / "_penstock").mkdir()
    (place / "_penstock/SHA256SUMS").write_bytes(b"of somebody else\n")
    with pytest.raises(DestinationExists, match="SHA256SUMS"):
        export(DirectoryDestination(place), overwrite=True)
    assert list(place.rglob("*")) == [place / "_penstock", place / "_penstock/SHA256SUMS"]


def test_foreign_files_in_a_directory_are_left_alone_and_told(export: Export, place: Path) -> None:
    (place / "out/data").mkdir(parents=True)
    (place / "out/data/part-00000-1-100-deadbeef.ndjson").write_bytes(b"looks like ours")
    (place / "out" / "notes").mkdir()
    (place / "out/notes/mine.txt").write_bytes(b"mine")
    export(DirectoryDestination(place / "out"))
    export(DirectoryDestination(place / "out"), overwrite=True)
    assert (place / "out/data/part-00000-1-100-deadbeef.ndjson").read_bytes() == b"looks like ours"
    result = verify(place / "out")
    assert result.ok
    assert any("2 files here are not of this export" in note for note in result.notes)


def test_a_part_of_the_old_export_that_was_changed_since_is_left_alone(export: Export, place: Path) -> None:
    export(DirectoryDestination(place / "out"))
    part = sorted((place / "out").glob("data/part-*"))[0]
    part.write_bytes(b"annotated by hand")
    with pytest.raises(DestinationExists, match="appeared"):
        export(DirectoryDestination(place / "out"), overwrite=True)
    assert part.read_bytes() == b"annotated by hand"


def test_a_file_that_appears_right_before_publishing_is_left_alone(export: Export, place: Path) -> None:
    target = place / "out.ndjson"
    intruder = Meddle(on=("link",), ending="/out.ndjson", action=lambda _: target.write_bytes(b"mine"))
    with pytest.raises(DestinationExists, match="appeared while the export was running"):
        export(FileDestination(target, ops=FaultyOps(intruder)))
    assert intruder.fired == 1
    assert target.read_bytes() == b"mine"
    assert _names(place) == {"out.ndjson"}


def test_a_place_without_permission(export: Export, place: Path) -> None:
    for code in (errno.EACCES, errno.EPERM, errno.EROFS):
        for destination in (
            FileDestination(place / "out.ndjson", ops=FaultyOps(Fail(on=("mkdir",), code=code))),
            DirectoryDestination(place / "out", ops=FaultyOps(Fail(on=("mkdir",), code=code))),
        ):
            with pytest.raises(AccessDenied):
                export(destination)
    assert _names(place) == set()
