"""Another program that works on a store: the standard library's SQLite, always in a process of its own.

Two copies of SQLite in one process would drop each other's locks, so tests never import ``sqlite3`` themselves.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

INSERT = (
    "INSERT INTO events (id, category, event_type, timestamp, session_id, priority, data, metadata, received_at)"
    " VALUES (?, 'custom', ?, ?, NULL, 1, ?, '{}', 0)"
)
_RUN = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
found = []
for statement, parameters in json.load(sys.stdin):
    found.append([list(row) for row in connection.execute(statement, parameters)])
connection.close()
print(json.dumps(found))
"""
_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


def execute(path: Path, *statements: str | tuple[str, Sequence[Any]]) -> list[list[list[Any]]]:
    """Run statements one after another, each in its own transaction; gives each one's rows."""
    work = [(each, []) if isinstance(each, str) else each for each in statements]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(path)], input=json.dumps(work), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: list[list[list[Any]]] = json.loads(done.stdout)
    return found


@contextmanager
def holding(path: Path, *statements: str) -> Iterator[subprocess.Popen[str]]:
    """Another process has begun an exclusive transaction and does not end it before the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), *(statements or ("BEGIN EXCLUSIVE",))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        assert holder.stdin is not None
        with suppress(BrokenPipeError):
            holder.stdin.close()
        holder.wait(20)


_PROGRAM = """
import json, sqlite3, sys
for line in sys.stdin:
    path, statements = json.loads(line)
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    found = [[list(row) for row in connection.execute(statement)] for statement in statements]
    connection.close()
    print(json.dumps(found), flush=True)
"""


class Program:
    """Like :func:`execute`, again and again in one process, which opens the database anew each time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def execute(self, path: Path, *statements: str) -> list[list[list[Any]]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(path), statements]) + "\n")
        self._process.stdin.flush()
        found: list[list[list[Any]]] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.communicate()
