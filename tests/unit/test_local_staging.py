"""The staging directory: its lock, who gets it, and writing that is never short."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.naming import give_name, open_plain
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.destinations.naming import read_if_there
from penstock.destinations.staging import LOCK, Staging
from penstock.errors import DestinationExists, IoError, Locked, ManifestError, NoSpace
from penstock.model.manifest import MAX_MANIFEST_BYTES
from penstock.testing.faults import Fail, FaultyOps, Meddle, Short


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".out.penstock"


@pytest.fixture
def staging(directory: Path) -> Iterator[Staging]:
    staging = Staging(directory, FileOps())
    yield staging
    staging.close()


def test_a_second_holder_is_refused_and_comes_in_afterwards(staging: Staging, directory: Path) -> None:
    with pytest.raises(Locked) as refused:
        Staging(directory, FileOps())
    assert refused.value.exit_code == 11
    assert staging.close()
    assert not directory.exists()
    assert Staging(directory, FileOps()).close()


def test_closing_twice_is_safe(staging: Staging, directory: Path) -> None:
    assert staging.close()
    second = Staging(directory, FileOps())
    assert staging.close()
    assert directory.exists()
    assert second.close()


@pytest.mark.parametrize("on", ["mkdir", "open_lock"])
def test_a_directory_that_its_holder_removes_at_that_moment(on: str, directory: Path) -> None:
    directory.mkdir()
    (directory / LOCK).touch()
    vanishing = Meddle(on=(on,), when="before", action=lambda _: shutil.rmtree(directory))
    taken = Staging(directory, FaultyOps(vanishing))
    assert vanishing.fired == 1
    assert (directory / LOCK).exists()
    assert taken.close()


def test_a_directory_that_goes_between_being_found_and_being_looked_at(directory: Path) -> None:
    directory.mkdir()

    class Vanishing(FileOps):
        def mkdir(self, path: Path) -> None:
            try:
                super().mkdir(path)
            except FileExistsError:
                os.rmdir(path)
                raise

    assert Staging(directory, Vanishing()).close()


def test_a_lock_that_is_exchanged_under_its_holder_is_not_taken_for_its_own(staging: Staging, directory: Path) -> None:
    (directory / LOCK).unlink()
    other = Staging(directory, FileOps())
    assert staging.close()
    assert (directory / LOCK).exists(), "the lock of the other holder was removed"
    with pytest.raises(Locked):
        Staging(directory, FileOps())
    assert other.close()


def test_a_lock_that_cannot_be_made_leaves_no_directory(directory: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        Staging(directory, FaultyOps(Fail(on=("open_lock",), code=errno.ENOSPC)))
    assert not directory.exists()


def test_what_is_not_ours_is_not_cleared(staging: Staging, directory: Path) -> None:
    (directory / "notes.txt").write_bytes(b"mine")
    staging.store("new-manifest", b"text")
    staging.clear()
    assert {path.name for path in directory.iterdir()} == {LOCK, "notes.txt"}
    shutil.rmtree(directory)


def test_short_writes_are_continued(staging: Staging) -> None:
    fault = Short(on=("write",), take=3, lasting=True)
    staged = LocalStagedFile(staging.data(0), FaultyOps(fault))
    staged.write(b"0123456789")
    staged.write(memoryview(b"abcdef")[::1])
    assert staged.finish() == 16
    assert fault.fired == 6
    assert staging.data(0).read_bytes() == b"0123456789abcdef"
    staging.clear()


class _Lying(FileOps):
    """Says that it wrote, and did not."""

    def __init__(self, takes: int) -> None:
        self.takes = takes

    def write(self, fd: int, data: Any) -> int:
        return self.takes


def test_a_write_that_takes_nothing_ends_in_an_error(staging: Staging) -> None:
    staged = LocalStagedFile(staging.data(0), _Lying(0))
    with pytest.raises(IoError, match="takes no more bytes"):
        staged.write(b"text")
    staged.abort()
    staging.clear()


def test_bytes_that_did_not_arrive_are_missed(staging: Staging) -> None:
    staged = LocalStagedFile(staging.data(0), _Lying(4))
    staged.write(b"text")
    with pytest.raises(IoError, match="has 0 bytes, 4 were written"):
        staged.finish()
    staging.clear()


def test_a_failed_fsync_is_not_repeated(staging: Staging) -> None:
    ops = FaultyOps(Fail(on=("fsync",), code=errno.EIO))
    staged = LocalStagedFile(staging.data(0), ops)
    staged.write(b"text")
    with pytest.raises(IoError):
        staged.finish()
    staged.abort()
    staged.abort()
    assert [operation.name for operation in ops.log] == ["create", "write", "fsync", "close"]
    staging.clear()


def test_a_failed_store_leaves_no_descriptor(staging: Staging) -> None:
    ops = FaultyOps(Fail(on=("write",), code=errno.ENOSPC))
    staging.ops = ops
    with pytest.raises(NoSpace):
        staging.store("new-manifest", b"text")
    assert [operation.name for operation in ops.log] == ["create", "write", "close"]
    staging.clear()


def test_a_name_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    give_name(FileOps(), tmp_path / "a", tmp_path / "b")
    give_name(FileOps(), tmp_path / "a", tmp_path / "b")  # it is the same file already
    (tmp_path / "c").write_bytes(b"c")
    with pytest.raises(DestinationExists):
        give_name(FileOps(), tmp_path / "c", tmp_path / "b")
    with pytest.raises(DestinationExists):
        give_name(FaultyOps(Fail(on=("link",), code=errno.EPERM)), tmp_path / "c", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"a"


def test_an_exclusive_rename_takes_no_other_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        FileOps().rename_new(tmp_path / "a", tmp_path / "b")
    FileOps().rename_new(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"a"


def test_reading_never_waits_and_never_swallows_the_huge(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ManifestError, match="not a regular file"):
        open_plain(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(ManifestError, match="larger than"):
        read_if_there(tmp_path / "huge")
    assert read_if_there(tmp_path / "nothing") is None
