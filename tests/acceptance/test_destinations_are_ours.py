"""Whatever may be replaced is first shown to be ours: a store, a stranger's file and stranger's sums never are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import sample_events
from penstock import Exporter, SqliteAnalyticsStorage
from penstock.errors import UsageError
from penstock_command import Run
from watching import Watching

Penstock = Callable[..., Run]


def _named(path: Path, kind: str) -> str:
    """A name of the file by which it is not known at once."""
    if kind == "itself":
        return path.name
    other = path.with_name(f"{kind} of it")
    if kind == "symlink":
        other.symlink_to(path.name)
    else:
        os.link(path, other)
    return other.name


@pytest.mark.parametrize("kind", ["itself", "symlink", "hard link"])
def test_a_manifest_never_replaces_the_store(
    kind: str, filled: SqliteAnalyticsStorage, tmp_path: Path, penstock: Penstock
) -> None:
    filled.close()
    before = filled.path.read_bytes()
    name = _named(filled.path, kind)
    told = penstock("export", "events.db", "-", "--manifest", name, "--overwrite")
    assert (told.code, told.stdout) == (2, b"")
    assert "is the store itself" in told.stderr
    assert filled.path.read_bytes() == before
    with SqliteAnalyticsStorage(filled.path, create=False) as store:
        assert store.count() == 500


@pytest.mark.parametrize("log", ["-wal", "-shm"])
def test_a_manifest_never_replaces_what_belongs_to_the_store(
    log: str, filled: SqliteAnalyticsStorage, penstock: Penstock
) -> None:
    assert Path(f"{filled.path}{log}").exists()
    told = penstock("export", "events.db", "-", "--manifest", f"events.db{log}", "--overwrite")
    assert (told.code, told.stdout) == (2, b"")
    assert "is the store itself" in told.stderr


@pytest.mark.parametrize("text", [b"", b"mine\n", b'{"name": "not of ours"}\n', b'SELECT "penstock_manifest";\n'])
def test_a_manifest_replaces_only_a_manifest(
    text: bytes, filled: SqliteAnalyticsStorage, tmp_path: Path, penstock: Penstock
) -> None:
    (tmp_path / "notes").write_bytes(text)
    told = penstock("export", "events.db", "-", "--manifest", "notes", "--overwrite")
    assert (told.code, told.stdout) == (2, b"")
    assert "is not a manifest" in told.stderr
    assert (tmp_path / "notes").read_bytes() == text
    assert penstock("export", "events.db", "-", "--manifest", "m.json").code == 0
    first = (tmp_path / "m.json").read_bytes()
    assert penstock("export", "events.db", "-", "--manifest", "m.json", "--limit", "3", "--overwrite").code == 0
    assert (tmp_path / "m.json").read_bytes() != first


def test_a_manifest_beside_a_file_never_replaces_the_store(tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(tmp_path / "out.csv.manifest.json") as store:
        with pytest.raises(UsageError, match="is the store itself"):
            Exporter(store).export(tmp_path / "out.csv", overwrite=True)
        assert store.append(sample_events.fixed()).inserted == 4


def test_sums_of_another_are_left_alone(filled: SqliteAnalyticsStorage, tmp_path: Path, penstock: Penstock) -> None:
    theirs = b"0" * 64 + b"  holiday.jpg\n"
    for name, more in (("runs/000001.sha256", ["--incremental"]), ("SHA256SUMS", []), ("SHA256SUMS", ["--overwrite"])):
        sums = tmp_path / "out/_penstock" / name
        sums.parent.mkdir(parents=True, exist_ok=True)
        sums.write_bytes(theirs)
        told = penstock("export", "events.db", "out/", *more)
        assert told.code == 2
        assert f"{sums.name} exists" in told.stderr
        assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [sums]
        assert sums.read_bytes() == theirs
        sums.unlink()


@pytest.mark.parametrize("incremental", [False, True])
def test_sums_that_appear_meanwhile_are_left_alone(
    incremental: bool, filled: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    theirs = b"0" * 64 + b"  holiday.jpg\n"
    sums = tmp_path / "out/_penstock" / ("runs/000001.sha256" if incremental else "SHA256SUMS")

    def meddle(_: object) -> None:
        sums.parent.mkdir(parents=True, exist_ok=True)
        sums.write_bytes(theirs)

    result = Exporter(filled).export(tmp_path / "out/", incremental=incremental, observer=Watching(then=meddle))
    assert sums.read_bytes() == theirs
    assert any(sums.name in note for note in result.notes)


def test_sums_that_somebody_else_put_in_the_place_of_ours_stay(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    out, theirs = tmp_path / "out", b"0" * 64 + b"  holiday.jpg\n"
    Exporter(filled).export(out)
    (out / "_penstock/SHA256SUMS").write_bytes(theirs)
    with pytest.raises(UsageError, match="SHA256SUMS"):
        Exporter(filled).export(out, overwrite=True)
    assert (out / "_penstock/SHA256SUMS").read_bytes() == theirs
    (out / "_penstock/SHA256SUMS").write_bytes(b"0" * 64 + b"  data/damaged\n")
    result = Exporter(filled).export(out, overwrite=True)
    assert (out / "_penstock/SHA256SUMS").read_bytes() == result.manifest.sums()
