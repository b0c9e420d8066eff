"""Keys as files: what an error of the system says about the change, what lies in the way, and who holds the lock."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.backends.local import mounts
from penstock.backends.local.backend import LocalBackend
from penstock.backends.local.fileops import FileOps
from penstock.errors import (
    Changed,
    Exists,
    ExportError,
    IoError,
    Locked,
    NoSpace,
    NotDurable,
    NotFound,
    UsageError,
)
from penstock.ports.backend import Expect, Move, Staged
from penstock.testing.backend_place import staged
from penstock.testing.faults import Fail, FaultyOps, Meddle


def _put(backend: LocalBackend) -> object:
    return backend.put("data/a", b"new", expect=Expect.ABSENT, attempt="try")


def _replace(backend: LocalBackend) -> object:
    there = backend.stat("old")
    assert there is not None
    return backend.put("old", b"new", expect=there.version, attempt="try")


def _place(backend: LocalBackend) -> object:
    return backend.place([Move(staged=Staged(attempt="laid", name="a", size=3), key="data/a")])


def _replace_by_move(backend: LocalBackend) -> object:
    move = Move(staged=Staged(attempt="laid", name="a", size=3), key="old", expect=Expect.ANY)
    return backend.place([move])


def _delete(backend: LocalBackend) -> object:
    return backend.delete("folder/old")


def _laid(place: Path) -> dict[str, bytes]:
    """Keys and bytes, read without the backend."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.parent.name.startswith(".")
    }


def _prepare(place: Path) -> None:
    place.mkdir()
    (place / "folder").mkdir()
    (place / "folder" / "old").write_bytes(b"old")
    (place / "old").write_bytes(b"old")
    staged(LocalBackend(place), "a", b"new", attempt="laid")


@pytest.mark.parametrize("change", [_put, _replace, _place, _replace_by_move, _delete])
@pytest.mark.parametrize("late", [False, True], ids=["refused", "answer lost"])
def test_an_error_says_whether_the_change_happened(
    change: Callable[[LocalBackend], object], late: bool, tmp_path: Path
) -> None:
    """Every operation of every change fails, before it had its effect and after it: a temporary error means that
    nothing changed, anything else that is not a refusal that all did."""
    counting = FaultyOps()
    _prepare(tmp_path / "count")
    before = _laid(tmp_path / "count")
    change(LocalBackend(tmp_path / "count", ops=counting))
    after = _laid(tmp_path / "count")
    assert before != after
    fired, ends = 0, set()
    for nth in range(1, len(counting.log) + 1):
        place = tmp_path / f"{nth}"
        _prepare(place)
        fault = Fail(nth=nth, code=errno.EIO, late=late)
        try:
            change(LocalBackend(place, ops=FaultyOps(fault)))
            assert _laid(place) == after
            ends.add("done")
        except NotDurable:
            assert _laid(place) == after
            ends.add("not durable")
        except IoError:
            assert _laid(place) == before
            ends.add("not done")
        fired += fault.fired
    assert fired == len(counting.log)
    assert "not durable" in ends


def test_what_was_named_before_a_failure_is_made_durable(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    moves = [Move(staged=staged(backend, name, b"x"), key=f"data/{name}") for name in "abc"]
    ops = FaultyOps(Fail(on=("link",), nth=2, code=errno.EIO))
    with pytest.raises(IoError):
        LocalBackend(tmp_path, ops=ops).place(moves)
    assert sorted(_laid(tmp_path)) == ["data/a"]
    names = [operation.name for operation in ops.log]
    assert names[names.index("link") :].count("fsync_directory") == 2


def test_bytes_are_durable_before_their_name_and_names_from_the_inside_out(tmp_path: Path) -> None:
    ops = FaultyOps()
    backend = LocalBackend(tmp_path / "new", ops=ops)
    item = staged(backend, "a", b"x")
    backend.place([Move(staged=item, key="data/day=1/a")])
    told = [(operation.name, os.path.relpath(operation.target or operation.path, tmp_path)) for operation in ops.log]
    link = told.index(("link", "new/data/day=1/a"))
    assert {("fsync", "new/.try/a"), ("fsync_directory", "new/.try"), ("fsync_directory", ".")} <= set(told[:link])
    synced = [path for name, path in told[link:] if name == "fsync_directory"]
    assert synced == ["new/data/day=1", "new/data", "new"]


def test_what_is_staged_is_durable_before_a_key_is_taken(tmp_path: Path) -> None:
    ops = FaultyOps()
    backend = LocalBackend(tmp_path, ops=ops)
    backend.put("old", b"", expect=Expect.ABSENT, attempt="try")
    staged(backend, "intent", b"what is to be")
    backend.delete("old")
    staged_at = max(n for n, operation in enumerate(ops.log) if operation.name == "fsync")
    told = [(operation.name, Path(operation.path).name) for operation in ops.log[staged_at:]]
    assert told.index(("fsync_directory", ".try")) < told.index(("unlink", "old"))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_directory_that_cannot_be_synced_is_told(code: int, tmp_path: Path) -> None:
    ops = FaultyOps(Fail(on=("fsync_directory",), code=code, lasting=True))
    with pytest.raises(IoError, match="cannot make the name of"):
        LocalBackend(tmp_path / "new", ops=ops).put("a", b"", expect=Expect.ANY, attempt="try")
    assert not list(tmp_path.iterdir())


def test_no_link_is_made_where_there_are_none(tmp_path: Path) -> None:
    fault = Fail(on=("link",), code=errno.EPERM, lasting=True)
    backend = LocalBackend(tmp_path, ops=FaultyOps(fault))
    backend.put("a", b"1", expect=Expect.ABSENT, attempt="try")
    with pytest.raises(Exists):
        backend.put("a", b"2", expect=Expect.ABSENT, attempt="try")
    assert _laid(tmp_path) == {"a": b"1"}
    neither = Fail(on=("link", "rename_new"), code=errno.EINVAL, lasting=True)
    with pytest.raises(IoError, match="neither link nor rename"):
        LocalBackend(tmp_path, ops=FaultyOps(neither)).put("b", b"2", expect=Expect.ABSENT, attempt="try")
    assert (fault.fired, neither.fired) == (2, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_keys_behind_a_link_or_a_file_do_not_exist(kind: str, tmp_path: Path) -> None:
    place, secret = tmp_path / "place", tmp_path / "secret"
    place.mkdir()
    secret.mkdir()
    (secret / "a").write_text("secret")
    if kind == "link":
        (place / "data").symlink_to(secret)
    else:
        (place / "data").write_text("a file")
    backend = LocalBackend(place)
    assert backend.stat("data/a") is None
    assert "data/a" not in [stat.key for stat in backend.list("")]
    assert not list(backend.list("data/"))
    with pytest.raises(NotFound):
        backend.open("data/a")
    assert not backend.delete("data/a")
    with pytest.raises(Exists, match="in the way"):
        backend.put("data/b", b"", expect=Expect.ANY, attempt="try")
    assert [path.name for path in secret.iterdir()] == ["a"]


def test_what_is_no_regular_file_is_not_read_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "nowhere").symlink_to("missing")
    backend = LocalBackend(tmp_path)
    assert [stat.key for stat in backend.list("")] == ["link", "target"]
    for key in ("folder", "pipe", "nowhere"):
        assert backend.stat(key) is None
        with pytest.raises(NotFound):
            backend.open(key)
        with pytest.raises(Exists):
            backend.put(key, b"", expect=Expect.ABSENT, attempt="try")
    with pytest.raises(Exists, match="is a directory"):
        backend.put("folder", b"", expect=Expect.ANY, attempt="try")
    assert not backend.delete("folder")
    through = backend.stat("link")
    assert through is not None
    with pytest.raises(Changed):
        backend.put("link", b"", expect=through.version, attempt="try")
    assert not backend.delete("link", version=through.version)
    assert (tmp_path / "target").read_text() == "theirs"


@pytest.mark.parametrize("change", ["write", "rename", "touch"])
def test_another_hand_changes_the_version(change: str, tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    version = backend.put("a", b"ours", expect=Expect.ABSENT, attempt="try").version
    if change == "write":
        (tmp_path / "a").write_bytes(b"theirs")
    elif change == "rename":
        (tmp_path / "b").write_bytes(b"them")
        os.rename(tmp_path / "b", tmp_path / "a")
    else:
        os.utime(tmp_path / "a", ns=(1, 1))
    with pytest.raises(Changed):
        backend.put("a", b"ours", expect=version, attempt="try")
    assert not backend.delete("a", version=version)


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_what_has_the_name_of_an_attempt_and_is_no_folder_is_left_alone(in_the_way: str, tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    if in_the_way == "file":
        (place / ".try").write_text("theirs")
    else:
        (place / ".try").symlink_to(elsewhere)
    backend = LocalBackend(place)
    calls: list[Callable[[], Any]] = [lambda: backend.lock("try"), lambda: backend.stage("try", "a")]
    for call in calls:
        with pytest.raises(UsageError, match="in the way"):
            call()
    assert not list(backend.staged("try"))
    assert not list(elsewhere.iterdir())


def test_a_name_of_an_attempts_own_is_not_staged(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    with pytest.raises(UsageError):
        backend.stage("try", "lock")
    with pytest.raises(UsageError):
        backend.open_staged(Staged(attempt="try", name="../../secret", size=0))
    with pytest.raises(UsageError):
        backend.drop(Staged(attempt="../secret", name="a", size=0))


def test_what_a_killed_put_left_is_in_nobodys_way_and_belongs_to_its_attempt(tmp_path: Path) -> None:
    (tmp_path / ".try").mkdir()
    (tmp_path / ".try" / "put-00000").write_text("torn")
    backend = LocalBackend(tmp_path)
    backend.put("a", b"whole", expect=Expect.ABSENT, attempt="try")
    (left,) = backend.staged("try")
    backend.drop(left)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_bytes_that_cannot_fit_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="bytes free"):
        LocalBackend(tmp_path).stage("try", "a", size_hint=1 << 62)
    assert not list(tmp_path.iterdir())


def test_a_directory_is_made_only_where_that_is_meant(tmp_path: Path) -> None:
    assert not list(LocalBackend(tmp_path / "new").list(""))
    assert not (tmp_path / "new").exists()
    lock = LocalBackend(tmp_path / "new").lock("try")
    assert (tmp_path / "new").is_dir()
    lock.release()
    assert not (tmp_path / "new").exists()
    for path, make in ((tmp_path / "new", False), (tmp_path / "new" / "er", True)):
        with pytest.raises(NotFound):
            LocalBackend(path, make=make).lock("try")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        LocalBackend(tmp_path / "file").lock("try")
    with pytest.raises(UsageError):
        LocalBackend("a\0b")
    (tmp_path / "empty").mkdir()
    LocalBackend(tmp_path / "empty").lock("try").release()
    assert (tmp_path / "empty").exists()


def test_a_folder_that_others_remove_and_make_at_that_moment(tmp_path: Path) -> None:
    """Whoever finds the folder of an attempt empty removes it, between its being made and its being used."""
    vanishing = Meddle(on=("create",), action=lambda operation: Path(operation.path).parent.rmdir())
    ops = FaultyOps(vanishing)
    assert staged(LocalBackend(tmp_path, ops=ops), "a", b"x").size == 1
    assert vanishing.fired == 1


def test_a_directory_that_vanishes_again_and_again_is_an_error(tmp_path: Path) -> None:
    always = Meddle(on=("create",), lasting=True, action=lambda operation: Path(operation.path).parent.rmdir())
    with pytest.raises(IoError, match="goes whenever"):
        LocalBackend(tmp_path, ops=FaultyOps(always)).stage("try", "a")


def test_an_upload_that_fails_says_so_and_is_given_up_quietly(tmp_path: Path) -> None:
    full = Fail(on=("write",), code=errno.ENOSPC)
    broken = Fail(on=("close", "unlink", "rmdir"), code=errno.EIO, lasting=True)
    upload = LocalBackend(tmp_path, ops=FaultyOps(full, broken)).stage("try", "a")
    with pytest.raises(NoSpace):
        upload.write(b"x")
    upload.abort()
    assert full.fired
    assert broken.fired


_TRY_LOCK = """
import sys
from penstock.backends.local.backend import LocalBackend
from penstock.errors import Locked
try:
    LocalBackend(sys.argv[1]).lock("try")
    print("got it")
except Locked:
    print("locked")
"""


def test_a_lock_holds_across_mount_points(tmp_path: Path) -> None:
    place, mount = tmp_path / "place", tmp_path / "mount"
    place.mkdir()
    mount.mkdir()
    script = f'mount --bind "{place}" "{mount}" && exec "{sys.executable}" -c "$0" "{mount}"'
    command = ["unshare", "-m", "sh", "-c", script, _TRY_LOCK]
    free = subprocess.run(command, capture_output=True, text=True, check=False)
    if free.returncode != 0 and "Error" not in free.stderr:
        pytest.skip(f"nothing can be mounted here: {free.stderr.strip()}")
    assert free.stdout == "got it\n", free.stderr
    with LocalBackend(place).lock("try"):
        held = subprocess.run(command, capture_output=True, text=True, check=True)
    assert held.stdout == "locked\n"


@pytest.mark.parametrize(("kind", "holds"), [("ext4", True), ("nfs4", False), ("fuse.sshfs", False), ("9p", False)])
def test_a_lock_on_a_file_system_of_several_hosts_is_not_claimed(
    kind: str, holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = os.stat(tmp_path).st_dev
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 27 0:9999 / /other rw - nfs other rw\n"
        f"30 27 {os.major(device)}:{os.minor(device)} / /here rw,relatime shared:1 - {kind} server:/x rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTS", table)
    assert LocalBackend(tmp_path / "not yet" / "there").traits.lock is holds


def test_a_lock_that_was_exchanged_under_its_holder_is_left_to_the_new_one(tmp_path: Path) -> None:
    first = LocalBackend(tmp_path).lock("try")
    (tmp_path / ".try" / "lock").unlink()
    second = LocalBackend(tmp_path).lock("try")
    first.release()
    with pytest.raises(Locked):
        LocalBackend(tmp_path).lock("try")
    second.release()


def test_a_lock_whose_file_is_removed_before_it_is_taken_is_taken_anew(tmp_path: Path) -> None:
    vanishing = Meddle(on=("open_lock",), when="after", action=lambda operation: Path(operation.path).unlink())
    with LocalBackend(tmp_path, ops=FaultyOps(vanishing)).lock("try"), pytest.raises(Locked):
        LocalBackend(tmp_path).lock("try")
    assert vanishing.fired == 1


class _NoFlock(FileOps):
    """Opens a lock as a descriptor that nothing can lock."""

    def open_lock(self, path: Path) -> int:
        return os.open(path, os.O_PATH | os.O_CREAT)


def test_a_lock_that_the_file_system_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / ".try").mkdir()
    (tmp_path / ".try" / "lock").touch()
    with pytest.raises(ExportError, match="cannot write in"):
        LocalBackend(tmp_path, ops=_NoFlock()).lock("try")
