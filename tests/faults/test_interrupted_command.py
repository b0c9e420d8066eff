"""Ctrl-C, SIGTERM and a second exporter: who comes late waits or leaves, and nothing half-written is left."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import real_command as real
from sweep_requests import FULL, Sweep, sweep

from penstock import verify
from proof_ledger import Ledger

_PATIENCE = 60.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that an export at the highest level is still at work when it has begun to write."""
    return real.fill_store(tmp_path_factory.mktemp("interrupted") / "events.db", 60_000, padding=800)


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command, running; killed at the end if it still does."""
    process = subprocess.Popen(
        real.command(*arguments), env=real.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_until_it_writes(process: subprocess.Popen[bytes], place: Path) -> None:
    """Wait for more staged bytes than a prologue has. The patience is for machines that hang, nothing is measured."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if any(_size(path) > 1 << 16 for path in place.rglob("data-*")):
            return
        assert process.poll() is None, "the export ended before it was seen to write"
        time.sleep(0.005)
    raise AssertionError("the export never began to write")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # it is being published at this moment


_SHAPES = {
    "file": ("out.json.gz", ["--level", "9", "--workers", "1"]),
    "directory": (
        "out",
        ["--format", "csv", "--compression", "gzip", "--level", "9", "--part-size", "5000rows", "--workers", "1"],
    ),
}


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_leaves_nothing_behind(shape: str, number: int, code: int, store: Path, tmp_path: Path) -> None:
    name, flags = _SHAPES[shape]
    with started("export", store, tmp_path / name, *flags) as process:
        _wait_until_it_writes(process, tmp_path)
        process.send_signal(number)
        _, told = process.communicate(timeout=_PATIENCE)
    assert process.returncode == code, told
    assert b"nothing half-written was left behind" in told
    assert b"Traceback" not in told
    assert list(tmp_path.iterdir()) == []


_SIGNAL_AT_THREAD_START = """
import os, signal, sys, threading
from penstock.cli import run
real = threading.Thread.start
def start(self):
    real(self)
    if self.name.startswith("penstock"):
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread.start = start
sys.exit(run(sys.argv[1:]))
"""


def test_a_signal_while_a_worker_starts(store: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNAL_AT_THREAD_START, "export", str(store), str(tmp_path / "out.csv")],
        env=real.environment(),
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", _SHAPES)
def test_a_signal_leaves_the_old_export(shape: str, store: Path, tmp_path: Path) -> None:
    name, flags = _SHAPES[shape]
    assert real.run("export", store, tmp_path / name, *flags, "--limit", "100").code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with started("export", store, tmp_path / name, *flags, "--overwrite") as process:
        _wait_until_it_writes(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_PATIENCE)
    assert process.returncode == 143
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not real.leftovers(tmp_path)


@pytest.mark.parametrize("shape", _SHAPES)
def test_a_second_exporter_is_told_to_wait(shape: str, store: Path, tmp_path: Path) -> None:
    name, flags = _SHAPES[shape]
    with started("export", store, tmp_path / name, *flags) as first:
        _wait_until_it_writes(first, tmp_path)
        first.send_signal(signal.SIGSTOP)
        second = real.run("export", store, tmp_path / name, *flags, "--overwrite")
        assert second.code == 11, second.told
        assert "another process works at" in second.told
        first.send_signal(signal.SIGCONT)
        first.communicate(timeout=_PATIENCE)
    assert first.returncode == 0
    assert verify(tmp_path / name).ok
    assert not real.leftovers(tmp_path)


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("name", ["out.ndjson", "out"])
def test_of_racing_exporters_one_wins(name: str, overwrite: bool, tmp_path: Path, ledger: Ledger) -> None:
    small = real.fill_store(tmp_path / "events.db", 200)
    place = tmp_path / "place"
    place.mkdir()
    flags = ["--overwrite"] if overwrite else []
    rounds = 20 if FULL else 4
    for turn in range(rounds):
        dest = place / f"{turn}{name}"
        with contextlib.ExitStack() as racing:
            racers = [racing.enter_context(started("export", small, dest, *flags)) for _ in range(3)]
            told = [racer.communicate(timeout=_PATIENCE)[1] for racer in racers]
        codes = sorted(racer.returncode for racer in racers)
        assert codes[0] == 0, told
        assert set(codes[1:]) <= ({0, 11} if overwrite else {2, 11}), told
        assert verify(dest).ok
        assert not real.leftovers(place)
    suite = f"{name}: three racing exporters, {'with' if overwrite else 'without'} --overwrite"
    ledger.add(suite, "races", planned=rounds, fired=rounds, passed=rounds)


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("interrupt_sweep", name, least=20, step=1 if FULL else 2)
        for name in ("file", "file-overwrite", "file-overwrite-bare", "directory", "directory-overwrite")
    ],
)
def test_ctrl_c_between_any_two_operations(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least
