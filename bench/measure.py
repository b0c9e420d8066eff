"""One process at a time, measured: wall time with its output synced, processor time, peak memory, output size and rows.

The runner itself stays small and imports nothing heavy: Linux accounts the memory of the process that starts a child to
the child's peak, so no peak below the runner's own can be seen (some 25 MiB).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent
WORK = BENCH / "work"
#: Where everything of this run is written; another run at the same time has another.
PLACE = WORK / f"run-{os.getpid()}"
_READ = 1 << 20
_TAIL = 400


class Failed(Exception):
    """A process that ended badly, took too long or wrote the wrong number of rows; the text says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One measured process. ``wall`` counts the sync of the output, whose share is ``sync``; times are in seconds.

    ``peak_mib`` is that of the largest process where a command line starts several.
    """

    wall: float
    sync: float
    cpu: float
    peak_mib: float
    bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def penstock(*arguments: str) -> list[str]:
    """The command under test: the one beside the interpreter that runs the benchmark."""
    script = Path(sys.executable).with_name("penstock")
    return [str(script), *arguments] if script.exists() else [sys.executable, "-m", "penstock", *arguments]


def fresh(*, settled: bool = True) -> Path:
    """An empty directory for the next run's output; ``settled``: with nothing left to be written back by anyone."""
    directory = PLACE / "out"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if settled:
        os.sync()
    return directory


def run(command: list[str], *, synced: Path | None = None, time_limit: float = 3600, log: Path | None = None) -> Run:
    """Run a command to its end and sync every file below ``synced``; raises :class:`Failed`."""
    log = log if log is not None else PLACE / "run.log"
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), write, 0o666),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setpgroup=0)
    timer = threading.Timer(time_limit, _kill, [child])
    timer.start()
    try:
        _, status, usage = os.wait4(child, 0)
    except BaseException:
        _kill(child)
        os.waitpid(child, 0)
        raise
    finally:
        timer.cancel()
    ended = time.perf_counter()
    for path in synced.rglob("*") if synced is not None else ():
        if path.is_file():
            _fsync(path)
    done = time.perf_counter()
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL and ended - began >= time_limit:
        raise Failed(f"stopped after {time_limit:.0f} s")
    if code:
        raise Failed(f"exit {code}: {_reason(log)}")
    return Run(
        wall=done - began,
        sync=done - ended,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
    )


def _kill(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        return


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace")[-_TAIL * 4 :].splitlines() if line.strip()]
    return lines[-1].replace(f"{BENCH.parent}/", "")[:_TAIL] if lines else "no message"


def count_rows(output: str, paths: list[Path]) -> int:
    """Rows of what was written, counted by a process of its own."""
    command = [sys.executable, str(BENCH / "rows.py"), output, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"its output cannot be read: {done.stderr.strip().splitlines()[-1][:_TAIL]}")
    return int(done.stdout)


def check_rows(output: str, paths: list[Path], expected: int) -> None:
    """Raise :class:`Failed` unless exactly the expected rows were written."""
    if not paths:
        raise Failed("it wrote no file")
    found = count_rows(output, paths)
    if found != expected:
        raise Failed(f"it wrote {found:,} rows, not {expected:,}")


def warm(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(_READ):
            pass
