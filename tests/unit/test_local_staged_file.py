"""Large files are written past the page cache: what arrives is what was given, wherever the writing stumbles."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

from penstock.backends.local.fileops import FileOps
from penstock.backends.local.naming import give_name, open_plain
from penstock.backends.local.staged_file import LocalStagedFile
from penstock.errors import DestinationExists, ExportError, IoError, ManifestError
from penstock.testing.faults import Fail, Fault, FaultyOps, Short

MIB = 1 << 20
CONTENT = random.Random(7).randbytes(21 * MIB + 4097)


def _pieces(seed: int, most: int) -> list[bytes]:
    source = random.Random(seed)
    pieces, start = [], 0
    while start < len(CONTENT):
        stop = start + source.randint(1, most)
        pieces.append(CONTENT[start:stop])
        start = stop
    return pieces


def _written(path: Path, ops: FileOps, pieces: list[bytes]) -> LocalStagedFile:
    staged = LocalStagedFile(path, ops)
    for piece in pieces:
        staged.write(piece)
    return staged


@pytest.mark.parametrize("most", [100_000, 3 * MIB, 30 * MIB])
@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 12 * MIB, 12 * MIB + 1, len(CONTENT)])
def test_what_was_given_is_what_is_there(tmp_path: Path, size: int, most: int) -> None:
    pieces, left = [], size
    for piece in _pieces(size, most):
        pieces.append(piece[:left])
        left -= len(pieces[-1])
    staged = _written(tmp_path / "a", FileOps(), pieces)
    assert staged.finish() == size
    assert (tmp_path / "a").read_bytes() == CONTENT[:size]


def test_a_large_file_is_written_directly_and_its_last_bytes_are_not(tmp_path: Path) -> None:
    ops = FaultyOps()
    _written(tmp_path / "a", ops, _pieces(1, MIB)).finish()
    names = [operation.name for operation in ops.log]
    assert names.count("set_direct") == 2
    assert names[-4:] == ["set_direct", "write", "fsync", "close"]


def test_small_files_are_written_as_they_come(tmp_path: Path) -> None:
    ops = FaultyOps()
    _written(tmp_path / "a", ops, [b"x" * 1000] * 10).finish()
    assert [operation.name for operation in ops.log] == ["create", *["write"] * 10, "fsync", "close"]


@pytest.mark.parametrize(
    "fault",
    [
        Fail(on=("set_direct",), code=errno.EINVAL),
        *(
            Short(on=("write",), nth=nth, take=take)
            for nth in (9, 10, 11, 12, 13, 14)
            for take in (1, 4095, 4096, 8193)
        ),
        Short(on=("write",), nth=10, take=5000, lasting=True),
        Short(on=("write",), nth=10, take=8192, lasting=True),
    ],
    ids=str,
)
def test_refusals_and_short_writes_lose_nothing(tmp_path: Path, fault: Fault) -> None:
    staged = _written(tmp_path / "a", FaultyOps(fault), _pieces(2, MIB))
    assert staged.finish() == len(CONTENT)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert fault.fired


class _Picky(FileOps):
    """A device that wants larger blocks than a page."""

    refused = 0

    def set_direct(self, fd: int, on: bool) -> None:
        super().set_direct(fd, on)
        self.direct = on

    def write(self, fd: int, data: Any) -> int:
        if getattr(self, "direct", False):
            self.refused += 1
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return super().write(fd, data)


def test_a_device_that_refuses_a_direct_write_gets_it_the_other_way(tmp_path: Path) -> None:
    ops = _Picky()
    assert _written(tmp_path / "a", ops, _pieces(3, MIB)).finish() == len(CONTENT)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert ops.refused == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("late", [False, True])
def test_every_failing_operation_is_raised(tmp_path: Path, code: int, late: bool) -> None:
    counting = FaultyOps()
    _written(tmp_path / "count", counting, _pieces(4, MIB)).finish()
    fired = 0
    for nth, operation in enumerate(counting.log, 1):
        if operation.name == "create" or (operation.name == "set_direct" and nth < len(counting.log) - 4):
            continue  # a file system without direct writing is no failure
        fault = Fail(nth=nth, code=code, late=late)
        with pytest.raises(ExportError):
            _written(tmp_path / f"a{nth}", FaultyOps(fault), _pieces(4, MIB)).finish()
        fired += fault.fired
    assert fired == len(counting.log) - 2


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no file system in memory")
def test_a_file_system_in_memory_will_do(request: pytest.FixtureRequest) -> None:
    path = Path(f"/dev/shm/penstock-test-{os.getpid()}")
    request.addfinalizer(lambda: path.unlink(missing_ok=True))
    assert _written(path, FileOps(), _pieces(5, MIB)).finish() == len(CONTENT)
    assert path.read_bytes() == CONTENT


def test_an_abandoned_file_writes_no_more(tmp_path: Path) -> None:
    ops = FaultyOps()
    staged = _written(tmp_path / "a", ops, _pieces(6, MIB))
    before = len(ops.log)
    staged.abort()
    staged.abort()
    assert [operation.name for operation in ops.log[before:]] == ["close"]


def test_short_writes_are_continued(tmp_path: Path) -> None:
    fault = Short(on=("write",), take=3, lasting=True)
    staged = LocalStagedFile(tmp_path / "data", FaultyOps(fault))
    staged.write(b"0123456789")
    staged.write(memoryview(b"abcdef")[::1])
    assert staged.finish() == 16
    assert fault.fired == 6
    assert (tmp_path / "data").read_bytes() == b"0123456789abcdef"


class _Lying(FileOps):
    """Says that it wrote, and did not."""

    def __init__(self, takes: int) -> None:
        self.takes = takes

    def write(self, fd: int, data: Any) -> int:
        return self.takes


def test_a_write_that_takes_nothing_ends_in_an_error(tmp_path: Path) -> None:
    staged = LocalStagedFile(tmp_path / "data", _Lying(0))
    with pytest.raises(IoError, match="takes no more bytes"):
        staged.write(b"text")
    staged.abort()


def test_bytes_that_did_not_arrive_are_missed(tmp_path: Path) -> None:
    staged = LocalStagedFile(tmp_path / "data", _Lying(4))
    staged.write(b"text")
    with pytest.raises(IoError, match="has 0 bytes, 4 were written"):
        staged.finish()


def test_a_failed_fsync_is_not_repeated(tmp_path: Path) -> None:
    ops = FaultyOps(Fail(on=("fsync",), code=errno.EIO))
    staged = LocalStagedFile(tmp_path / "data", ops)
    staged.write(b"text")
    with pytest.raises(IoError):
        staged.finish()
    staged.abort()
    staged.abort()
    assert [operation.name for operation in ops.log] == ["create", "write", "fsync", "close"]


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


def test_reading_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ManifestError, match="not a regular file"):
        open_plain(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)
