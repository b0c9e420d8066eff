"""The kit that the other tests stand on: forking where it is safe, faults that count, and a disk that forgets."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.testing.faults import Fail, FaultyOps, Kill, Meddle, Operation, Short
from penstock.testing.forks import QUIET
from penstock.testing.ordering import order_problems
from penstock.testing.powerloss import Disk, lay_out, tree_of

_FORKING = """
import os, signal, sys, threading, time
import penstock.api, penstock.sources.sqlite.store, pyarrow.compute
from penstock.testing.forks import ChildFailed, assert_can_fork, run_forked

assert run_forked(lambda marker: 42).value == 42
ended = run_forked(lambda marker: os.write(marker, b"a mark\\n") and os.kill(os.getpid(), signal.SIGKILL))
assert (ended.signal, ended.marks, ended.killed) == (signal.SIGKILL, ("a mark",), True)
assert not run_forked(lambda marker: os.kill(os.getpid(), signal.SIGKILL)).killed, "a death without a mark is no proof"
for work, said in (
    (lambda marker: 1 / 0, "ZeroDivisionError"),
    (lambda marker: os._exit(3), "left with 3"),
    (lambda marker: time.sleep(60), "hung"),
):
    try:
        run_forked(work, seconds=0.5)
    except ChildFailed as failed:
        assert said in str(failed), failed
    else:
        raise AssertionError(said)
with open(sys.argv[1], "wb"):
    try:
        assert_can_fork(".db")
    except AssertionError as error:
        assert "is open" in str(error)
    else:
        raise SystemExit("an open store was not seen")
release = threading.Event()
threading.Thread(target=release.wait).start()
try:
    run_forked(lambda marker: None)
except AssertionError:
    print("one thread only")
release.set()
"""


def _forking(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _FORKING, str(tmp_path / "a.db")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_children_are_told_apart_and_forked_from_one_thread_only(tmp_path: Path) -> None:
    done = _forking(tmp_path, **QUIET)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one thread only\n"


def test_a_thread_of_a_library_is_seen(tmp_path: Path) -> None:
    done = _forking(tmp_path, JE_ARROW_MALLOC_CONF="background_thread:true")
    assert done.returncode != 0
    assert "threads, 1 of them of Python" in done.stderr


def test_faults_fire_where_they_are_meant_and_count_it(tmp_path: Path) -> None:
    seen: list[Operation] = []
    once = Fail(on=("mkdir",), nth=2, code=errno.ENOSPC)
    late = Fail(on=("rmdir",), code=errno.EIO, late=True)
    ops = FaultyOps(once, late, Meddle(on=("link",), when="after", action=seen.append))
    ops.mkdir(tmp_path / "a")
    with pytest.raises(OSError, match="No space"):
        ops.mkdir(tmp_path / "b")
    ops.mkdir(tmp_path / "c")
    with pytest.raises(OSError, match="Input/output"):
        ops.rmdir(tmp_path / "c")
    assert (once.fired, late.fired) == (1, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert [(str(operation), operation.failed) for operation in ops.log] == [
        ("1 mkdir a", False),
        ("2 mkdir b", True),
        ("3 mkdir c", False),
        ("4 rmdir c", False),
    ]
    (tmp_path / "file").touch()
    ops.link(tmp_path / "file", tmp_path / "name")
    assert [str(operation) for operation in seen] == ["5 link file -> name"]


def test_every_operation_is_passed_on(tmp_path: Path) -> None:
    ops = FaultyOps(Short(on=("write",), take=2), keep_data=True)
    fd = ops.create(tmp_path / "a")
    assert ops.write(fd, b"text") == 2
    assert ops.write(fd, b"xt") == 2
    ops.fsync(fd)
    ops.close(fd)
    os.close(ops.open_lock(tmp_path / "lock"))
    ops.rename(tmp_path / "a", tmp_path / "b")
    ops.rename_new(tmp_path / "b", tmp_path / "c")
    ops.unlink(tmp_path / "lock")
    ops.fsync_directory(tmp_path)
    assert (tmp_path / "c").read_bytes() == b"text"
    assert [operation.data for operation in ops.log if operation.name == "write"] == [b"te", b"xt"]
    assert {operation.path for operation in ops.log if operation.fd is not None} == {
        str(tmp_path / "a"),
        str(tmp_path / "lock"),
    } - {str(tmp_path / "lock")}


def test_a_kill_leaves_its_mark_and_half_a_write(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = (
        "import sys; from pathlib import Path; from penstock.testing.faults import FaultyOps, Kill\n"
        "ops = FaultyOps(Kill(on=('write',), when='during', marker=int(sys.argv[2])))\n"
        "ops.write(ops.create(Path(sys.argv[1])), b'0123456789')\n"
    )
    target = tmp_path / "half"
    done = subprocess.run([sys.executable, "-c", code, str(target), str(writing)], pass_fds=[writing], check=False)
    os.close(writing)
    assert done.returncode == -signal.SIGKILL
    assert os.read(reading, 100) == b"during 2 write half\n"
    os.close(reading)
    assert target.read_bytes() == b"01234"
    assert Kill().fired == 0


def _disk(place: Path) -> tuple[FaultyOps, Disk]:
    place.mkdir()
    (place / "old").write_bytes(b"safe")
    return FaultyOps(keep_data=True), Disk(place)


def test_a_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    place = tmp_path / "place"
    ops, disk = _disk(place)
    fd = ops.create(place / "new")
    ops.write(fd, b"12")
    ops.write(fd, b"34")
    for operation in ops.log:
        disk.apply(operation)
    assert disk.now() == tree_of(place)
    states = [tree.get(str(place / "new"), b"no name") for tree in disk.after_power_loss()]
    assert set(states) == {b"no name", b"", b"12", b"1234"}
    assert all(tree[str(place / "old")] == b"safe" for tree in disk.after_power_loss())
    ops.fsync(fd)
    ops.fsync_directory(place)
    for operation in ops.log[3:]:
        disk.apply(operation)
    assert [tree[str(place / "new")] for tree in disk.after_power_loss()] == [b"1234"]
    ops.close(fd)


def test_a_rename_happens_as_a_whole_and_names_in_any_order(tmp_path: Path) -> None:
    place = tmp_path / "place"
    ops, disk = _disk(place)
    ops.mkdir(place / "inner")
    ops.rename(place / "old", place / "inner" / "moved")
    for operation in ops.log:
        disk.apply(operation)
    found = {tuple(sorted(Path(path).name for path in tree)) for tree in disk.after_power_loss()}
    assert found == {("old",), ("inner", "old"), ("inner", "moved"), ()}
    lay_out(disk.now(), place)
    assert tree_of(place) == disk.now()


def test_many_unsafe_names_are_sampled(tmp_path: Path) -> None:
    place = tmp_path / "place"
    ops, disk = _disk(place)
    for number in range(12):
        ops.mkdir(place / f"{number}")
    for operation in ops.log:
        disk.apply(operation)
    states = list(disk.after_power_loss(most=60))
    assert states == list(disk.after_power_loss(most=60))
    assert 30 <= len(states) <= 64
    assert {str(place / "old"): b"safe"} in [dict(tree) for tree in states]
    assert disk.now() in states


def test_the_order_of_a_careless_writer_is_seen(tmp_path: Path) -> None:
    ops = FaultyOps()
    (tmp_path / ".penstock").mkdir()
    fd = ops.create(tmp_path / ".penstock" / "data-00000")
    ops.write(fd, b"text")
    ops.close(fd)
    ops.link(tmp_path / ".penstock" / "data-00000", tmp_path / "out")
    ops.unlink(tmp_path / ".penstock" / "data-00000")
    problems = order_problems(ops.log, tmp_path, tmp_path / "manifest.json")
    assert [text.split(": ")[-1] for text in problems] == [
        "a file took its name before its bytes were durable",
        "data took its name before the intent was staged",
        "nothing was committed",
    ]
