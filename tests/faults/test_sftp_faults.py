"""The commit on a real SFTP server, while clients die or are paused, and connections, servers and answers are lost."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_commit_sweep import SCENARIOS, Stage, Tally, _undisturbed

import penstock.backends.sftp.backend as sftp_backend
from cutting_proxy import CuttingProxy
from penstock.backends.sftp.address import parse_address
from penstock.backends.sftp.attempts import Lease
from penstock.backends.sftp.backend import SftpBackend
from penstock.backends.sftp.server import Server
from penstock.backends.sftp.session import Session, Timeouts
from penstock.errors import IoError, Locked, NoSpace, NotDurable, Unknown
from penstock.ports.backend import Expect, Move
from penstock.publishing.attempt import Attempt
from penstock.publishing.shapes import Directory
from penstock.testing.destination_contract import KINDS, publish, staged
from penstock.testing.faults import Meddle, Operation
from penstock.testing.faulty import Die, Died, FaultyBackend, LoseAnswer
from proof_ledger import Ledger
from proof_size import FULL, SEED, share
from sftp_server import NO_SSHD, SSHD, SftpServer, prepared

_LEASE = Lease(beat=0.2, look=0.3, seconds=3)
_DIRECTORY = next(kind for kind in KINDS if kind.name == "directory")
#: What dies leaves files open: the process is only said to be gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def _backend(server: SftpServer, path: Path, **given: Any) -> SftpBackend:
    return SftpBackend(server.location(path), access=server.access(), **{"lease": _LEASE, **given})


@pytest.fixture
def fresh(sshd: SftpServer, tmp_path: Path) -> Callable[[str], Stage]:
    """Makes the stage of a scenario, as often as one is wanted."""
    numbers = itertools.count()

    def make(name: str) -> Stage:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return Stage(partial(_backend, sshd, folder), SCENARIOS[name])

    return make


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_death_at_any_call_is_harmless(name: str, fresh: Callable[[str], Stage], ledger: Ledger) -> None:
    new, log = _undisturbed(name)
    tally = Tally(ledger, f"sftp, {name}: died at a call", "crash points")
    points = [(one.number, after) for one in log for after in (False, True) if not (after and one.failed)]
    for number, after in points[SEED % share(12) :: share(12)]:
        stage = fresh(name)
        fault = Die(nth=number, after_it=after)
        with pytest.raises(Died):
            stage.export(fault)
        tally.met(fault)
        state = stage.judge(new)
        stage.settle(state, new)
    tally.end()


class Countdown:
    """The requests of a client, which dies at one of them: before it is sent, or after it was answered."""

    def __init__(self, nth: int, *, answered: bool) -> None:
        self.met = 0
        self.dead = False
        self._nth, self._answered = nth, answered
        self._signs: list[Callable[[], object]] = []

    def counted(self, ask: Callable[[], Any]) -> Any:
        self.met += 1
        if self.dead or (self.met == self._nth and not self._answered):
            self._die()
        try:
            return ask()
        finally:
            if self.met == self._nth:
                self._die()

    def _die(self) -> None:
        self.dead = True
        for end in self._signs:
            end()
        raise Died

    def session(self, *given: Any) -> Session:
        """A session that counts; signs of life end with the client."""
        session = Session(*given)
        ask, use, keep_doing = session.ask, session.use, session.keep_doing

        def kept(*given: Any, **named: Any) -> Callable[[], object]:
            self._signs.append(keep_doing(*given, **named))
            return self._signs[-1]

        def used(work: Any) -> Any:
            try:
                return self.counted(lambda: use(work))
            finally:
                work.close()

        session.ask = lambda *given, **named: self.counted(lambda: ask(*given, **named))  # type: ignore[method-assign]
        session.use, session.keep_doing = used, kept  # type: ignore[method-assign]
        return session


@pytest.mark.parametrize("name", ["file-overwrite", "directory-overwrite", "run"])
def test_a_client_that_dies_at_any_request_is_harmless(
    name: str, sshd: SftpServer, tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, _ = _undisturbed(name)
    tally = Tally(ledger, f"sftp, {name}: died at a request", "crash points")
    seen = set()
    for number in itertools.count(1 + SEED % share(29), share(29)):
        countdown = Countdown(number // 2 + 1, answered=bool(number % 2))
        folder = tmp_path / str(number)
        folder.mkdir()
        stage = Stage(partial(_backend, sshd, folder, lease=replace(_LEASE, look=0.1, seconds=1)), SCENARIOS[name])
        with monkeypatch.context() as patch:
            patch.setattr(sftp_backend, "Session", countdown.session)
            try:
                stage.export()
            except Died:
                tally.planned += 1
                tally.fired += 1
            else:
                assert countdown.met <= number // 2
                break
        state = stage.judge(new)
        seen.add(state)
        stage.settle(state, new)
    tally.end()
    assert tally.fired > 3
    assert len(seen) > 1 or not FULL


@pytest.mark.parametrize("happens", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("name", ["directory-overwrite", "run"])
def test_an_answer_of_the_commit_that_is_lost_is_read_back(
    name: str, happens: bool, fresh: Callable[[str], Stage]
) -> None:
    new, log = _undisturbed(name)
    manifest = SCENARIOS[name].shape.manifest
    commit = next(one.number for one in log if one.name == "put" and one.path == manifest)
    stage = fresh(name)
    fault = LoseAnswer(nth=commit, happens=happens)
    stage.export(fault)
    assert fault.fired
    assert stage.judge(new) == "new"


@pytest.fixture
def proxy(sshd: SftpServer) -> Iterator[tuple[CuttingProxy, SftpServer]]:
    """A proxy before the server, and the server as it is seen through it."""
    with CuttingProxy(sshd.port) as proxy:
        known = sshd.folder / "known_hosts"
        key = (sshd.folder / "host.pub").read_text()
        known.write_text(f"{known.read_text()}[127.0.0.1]:{proxy.port} {key}")
        yield proxy, replace(sshd, port=proxy.port)


@pytest.mark.parametrize("answers", [False, True], ids=["requests", "answers"])
def test_a_connection_that_is_cut_at_any_request_of_a_put_never_lies(
    answers: bool, proxy: tuple[CuttingProxy, SftpServer], tmp_path: Path
) -> None:
    cutting, server = proxy
    seen: set[tuple[str, bool]] = set()
    for nth in itertools.count(1 + SEED % share(2), share(2)):
        folder = tmp_path / f"{nth}"
        folder.mkdir()
        backend = _backend(server, folder)
        assert backend.stat("a") is None
        fired = cutting.fired
        cutting.arm(nth, answers=answers)
        outcome = "done"
        try:
            backend.put("data/a", b"whole", expect=Expect.ABSENT, attempt="try")
        except (IoError, Unknown, NotDurable) as error:
            outcome = type(error).__name__
        if cutting.fired == fired:
            break
        there = (folder / "data" / "a").exists()
        seen.add((outcome, there))
        assert not there or (folder / "data" / "a").read_bytes() == b"whole"
        assert backend.stat("data/a") is not None if there else backend.stat("data/a") is None  # connected anew
    assert nth > 10
    assert not {("done", False), ("IoError", True)} & seen
    assert ("Unknown", answers) in seen, seen


def test_a_server_that_is_killed_at_a_change_leaves_it_unknown(tmp_path: Path) -> None:
    if not os.path.exists(SSHD):
        pytest.skip(NO_SSHD)
    running = prepared(tmp_path, openssh=True)
    running.start()
    server = Server(Session(parse_address(running.location(tmp_path)), running.access()))
    assert server.make_folder(f"{tmp_path}/first")
    for pid in running.sessions():
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        changing = pool.submit(server.make_folder, f"{tmp_path}/second")
        time.sleep(0.5)  # the request is with a server that does nothing
        running.stop()
        with pytest.raises(Unknown, match="was lost"):
            changing.result()
    with pytest.raises(IoError, match="cannot reach"):
        server.look(f"{tmp_path}/second")
    running.start()
    assert server.make_folder(f"{tmp_path}/second")
    running.stop()


_CHILD = """
import json, sys
from pathlib import Path
from penstock.backends.sftp.access import Access
from penstock.backends.sftp.attempts import Lease
from penstock.backends.sftp.backend import SftpBackend
from penstock.errors import ExportError
from penstock.model.location import Location
from penstock.publishing.attempt import Attempt
from penstock.publishing.shapes import Directory
from penstock.testing.destination_contract import staged
location, key, known, mode = sys.argv[1:]
backend = SftpBackend(
    Location("sftp", location), access=Access(key=key, known_hosts=known), lease=Lease(beat=0.2, look=0.3, seconds=3)
)
attempt = Attempt(backend, Directory())
attempt.aim(Directory())
if mode == "uploading":
    upload = attempt.stage()
    print("ready", flush=True)
    while True:
        upload.write(b"x" * 100_000)
manifest = staged(attempt, Directory(), b"theirs\\n", at=1)
print("ready", flush=True)
sys.stdin.readline()
try:
    attempt.publish(manifest)
except ExportError as error:
    print(type(error).__name__, flush=True)
else:
    print("published", flush=True)
attempt.close()
"""


def _child(server: SftpServer, folder: Path, mode: str) -> subprocess.Popen[str]:
    access = server.access()
    command = [sys.executable, "-c", _CHILD, server.location(folder).path, str(access.key), access.known_hosts, mode]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_a_client_that_is_killed_in_an_upload_is_cleared_up_after(sshd: SftpServer, tmp_path: Path) -> None:
    with _child(sshd, tmp_path, "uploading") as child:
        wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in tmp_path.glob(".penstock/*/data-*")))
        child.kill()
    manifest = publish(_DIRECTORY, _backend(sshd, tmp_path), b"ours\n", at=2)
    assert _DIRECTORY.manifest(_backend(sshd, tmp_path)) == manifest
    assert _DIRECTORY.content(_backend(sshd, tmp_path)) == b"ours\n"
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith((".", "data-"))]


def test_a_client_that_was_paused_and_taken_over_changes_nothing_any_more(sshd: SftpServer, tmp_path: Path) -> None:
    with _child(sshd, tmp_path, "publishing") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        with pytest.raises(Locked):
            _DIRECTORY.begin(_backend(sshd, tmp_path))  # it lives
        child.send_signal(signal.SIGSTOP)
        attempt = _DIRECTORY.begin(_backend(sshd, tmp_path))
        manifest = staged(attempt, Directory(), b"ours\n", at=2)
        child.send_signal(signal.SIGCONT)
        child.stdin.write("go\n")
        child.stdin.flush()
        assert child.stdout.readline() == "Locked\n"
        assert child.wait() == 0
        attempt.publish(manifest)
    assert _DIRECTORY.manifest(_backend(sshd, tmp_path)) == manifest
    assert _DIRECTORY.content(_backend(sshd, tmp_path)) == b"ours\n"
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith((".", "data-"))]


def test_a_holder_that_is_taken_over_in_its_commit_takes_nothing_from_who_did(sshd: SftpServer, tmp_path: Path) -> None:
    """It has placed a part that both have, byte for byte: to clear up would be to take the other's."""
    done = []

    def take_over(_: Operation) -> None:
        done.append(publish(_DIRECTORY, _backend(sshd, tmp_path), b"one\n", at=2))

    silent = SftpBackend(sshd.location(tmp_path), access=sshd.access(), lease=replace(_LEASE, beat=3600))
    client = FaultyBackend(silent, Meddle(on=("put",), action=take_over))
    attempt = Attempt(client, Directory())
    attempt.aim(Directory())
    with pytest.raises(Locked):
        attempt.publish(staged(attempt, Directory(), b"one\n", at=1))
    attempt.close()
    assert [_DIRECTORY.manifest(_backend(sshd, tmp_path))] == done
    assert _DIRECTORY.content(_backend(sshd, tmp_path)) == b"one\n"
    assert not list(tmp_path.glob(".penstock"))


def test_who_was_taken_over_can_change_nothing(sshd: SftpServer, tmp_path: Path) -> None:
    silent = SftpBackend(sshd.location(tmp_path), access=sshd.access(), lease=replace(_LEASE, beat=3600))
    silent.lock("try")
    upload = silent.stage("try", "begun")
    ours = _backend(sshd, tmp_path)
    with ours.lock("try"):
        there = ours.put("a", b"ours", expect=Expect.ABSENT, attempt="try")
        with pytest.raises(Locked):
            silent.delete("a", version=there.version)
        with pytest.raises(Locked):
            silent.put("b", b"theirs", expect=Expect.ANY, attempt="try")
        with pytest.raises(Locked):
            silent.place([Move(staged=upload.finish(), key="b")])
        assert [stat.key for stat in ours.list("")] == ["a"]
        assert [one.name for one in ours.staged("try")] == ["begun"]  # it is the new holder's, to clear


def test_a_silent_server_is_told_apart_by_what_was_asked(
    proxy: tuple[CuttingProxy, SftpServer], tmp_path: Path
) -> None:
    cutting, server = proxy
    backend = _backend(server, tmp_path, timeouts=Timeouts(connect=2, login=2, request=1, keepalive=60))
    upload = backend.stage("try", "a")
    cutting.silent = True
    upload.write(b"x")
    with pytest.raises(IoError, match="did not answer in time"):
        upload.finish()
    with pytest.raises(IoError, match=r"did not answer in time|cannot reach"):
        backend.stat("a")
    cutting.silent = False
    assert backend.stat("a") is None


def test_a_full_disk_is_no_space(sshd: SftpServer, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here (that takes root)")
    try:
        backend = _backend(sshd, disk)
        with pytest.raises(NoSpace, match="about 99999999 are needed"):
            backend.stage("try", "hinted", size_hint=99_999_999)
        upload = backend.stage("try", "large")
        with pytest.raises(NoSpace):
            upload.write(b"x" * 10_000_000)
        upload.abort()
        assert not list(backend.staged("try"))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)
