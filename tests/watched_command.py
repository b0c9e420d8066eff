"""The command in a process of its own under a ceiling, and how much memory it had at most: for files made to harm."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

#: What any of these files may cost, in MiB.
MOST_MIB = 512
#: Beyond this the child gets no memory at all, so that a defect does not take the machine down.
_CEILING = 4 << 30
_COMMAND = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
from penstock.cli import run
code = run(sys.argv[3:])
sys.stdout.flush()
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1], flush=True)
os._exit(code)  # as the command leaves: Arrow's threads may still be ending
"""


@dataclass(frozen=True)
class Watched:
    """How a run ended: its exit code (negative: the signal that ended it), what it said, its peak memory."""

    code: int
    said: str
    peak_mib: int


def watched(*arguments: object, cwd: Path, seconds: int = 100, most_mib: int = MOST_MIB) -> Watched:
    """Run the command; it has to live, to show no traceback, to stay under ``most_mib``, and to take no more processor
    time than so many ``seconds``."""
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, str(_CEILING), str(seconds), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode >= 0, f"signal {-done.returncode}: {done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "out of memory" not in done.stderr, done.stderr
    found = Watched(done.returncode, done.stderr, int(done.stdout.split()[-1]) >> 10)
    assert found.peak_mib < most_mib, found
    return found
