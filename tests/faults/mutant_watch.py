"""Whoever watches the process that reads mutants: it notes signals, tracebacks, and memory above the limit, and starts
it again behind the file that ended it."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_READER = Path(__file__).with_name("mutant_reader.py")
#: What reading any mutant may cost, in KiB, of the whole process.
MOST_KIB = 512 << 10
#: So many are read by one process: what Arrow and SQLite keep for later is not taken for the cost of a file.
_EACH = 400
#: A process that says nothing for so many seconds hangs.
_PATIENCE = 120


@dataclass
class Outcome:
    """What became of the mutants of a format."""

    files: int = 0
    signals: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    above: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return [*self.signals, *self.tracebacks, *self.above]

    def __str__(self) -> str:
        return (
            f"mutated {self.files:,} files · {len(self.signals)} signals · {len(self.tracebacks)} tracebacks"
            f" · {len(self.above)} above the limit"
        )


def watch(place: Path, format: str, seed: int, count: int, *, environment: Mapping[str, str] | None = None) -> Outcome:
    """Have the first ``count`` mutants of a format read, from the whole files in ``place``."""
    outcome = Outcome()
    begin = 0
    while begin < count:
        begin = _one_process(outcome, [str(place), format, str(seed)], begin, min(begin + _EACH, count), environment)
    outcome.files = count
    return outcome


def _one_process(
    outcome: Outcome, arguments: list[str], begin: int, end: int, environment: Mapping[str, str] | None
) -> int:
    """Read mutants in one process until all are read, or it ends or grows; returns the number of the next one."""
    format, doing, number = arguments[1], "start", begin
    with subprocess.Popen(
        [sys.executable, str(_READER), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_READER.parents[1]), *sys.path]), **(environment or {})},
    ) as process:
        assert process.stdin is not None
        process.stdin.write(f"{begin} {end}\n")
        process.stdin.flush()
        for line in _lines(process):
            what, *rest = line.split(maxsplit=2)
            if what == "ready":
                process.stdin.close()
                process.wait(_PATIENCE)
                return end
            number = int(rest[0])
            if what == "begin":
                doing = rest[1]
            elif what == "traceback":
                outcome.tracebacks.append(f"{format} {number}: {rest[1]}")
            elif what == "done" and int(rest[1]) > MOST_KIB:
                outcome.above.append(f"{format} {number}: {int(rest[1]) >> 10} MiB")
                process.kill()
                return number + 1
        process.kill()
        if doing == "start":
            raise RuntimeError(f"the reader of mutants ended with {process.wait()} before it read one")
        outcome.signals.append(f"{format} {number}: {doing}: ended with {process.wait()}")
    return number + 1


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the process says, until it ends or says nothing for too long."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        descriptor, held = process.stdout.fileno(), b""
        while selector.select(_PATIENCE) and (data := os.read(descriptor, 1 << 16)):
            *lines, held = (held + data).split(b"\n")
            yield from (line.decode() for line in lines)
