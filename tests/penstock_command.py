"""The command as a user starts it: its exit code, and what it said; in a process of its own, or, much quicker, in one
process that runs command line after command line with its standard streams turned to files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PENSTOCK = (sys.executable, "-m", "penstock")


@dataclass(frozen=True)
class Run:
    """How one run of the command ended. ``stdout`` is bytes, since it may be data."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last JSON line, which has to be the summary."""
        last = self.lines[-1]
        assert last["type"] == "summary", last
        return last


def run(*arguments: object, cwd: Path) -> Run:
    """Run the command in a process of its own. A traceback is never right."""
    done = subprocess.run(
        [*PENSTOCK, *(argument if isinstance(argument, bytes) else str(argument) for argument in arguments)],
        cwd=cwd,
        capture_output=True,
        timeout=120,
        check=False,
    )
    said = done.stderr.decode("utf-8", "backslashreplace")
    assert "Traceback" not in said, said
    return Run(done.returncode, done.stdout, said)


_SERVER = """
import base64, json, os, sys, tempfile
from penstock.cli import run
requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
complaints = os.dup(2)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for request in requests:
    place, arguments = json.loads(request)
    os.chdir(place)
    files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    try:
        code = run(arguments)
    except BaseException as error:
        code = f"Traceback: {type(error).__name__}: {error}"
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(complaints, 2)
    said = [(file.seek(0), base64.b64encode(file.read()).decode())[1] for file in files]
    print(json.dumps([code, *said]), file=answers, flush=True)
"""


class Server:
    """Runs command lines one after another in one process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def run(self, *arguments: object, cwd: Path) -> Run:
        """Like the function of this name."""
        from base64 import b64decode

        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(cwd), [str(argument) for argument in arguments]]) + "\n")
        process.stdin.flush()
        code, stdout, stderr = json.loads(process.stdout.readline())
        said = b64decode(stderr).decode("utf-8", "backslashreplace")
        assert isinstance(code, int), (arguments, code)
        assert "Traceback" not in said, (arguments, said)
        return Run(code, b64decode(stdout), said)

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        if self._process.stdout is not None:
            self._process.stdout.close()
