"""The real command in a process of its own, alone or under strace, and what it left, told from the outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from penstock import AnalyticsEvent, verify
from penstock.errors import ManifestError, NotFound
from penstock.sources.sqlite.store import SqliteAnalyticsStorage
from proof_ledger import Kind

STRACE = shutil.which("strace")
NO_STRACE = "strace is not installed: no real system call can be made to fail (apt-get install strace)"
#: What these kills count as.
KILLS: Kind = "SIGKILLs in system calls"
_CALL = re.compile(r"^\d+ +(\w+)\((.*?)(?:\) += |<unfinished)", re.MULTILINE)
_EPOCH = datetime(2026, 11, 1, tzinfo=UTC)


def fill_store(path: Path, count: int, *, padding: int = 0) -> Path:
    """A store with so many events, the same at every call; ``padding`` adds bytes that hardly compress to each."""
    with SqliteAnalyticsStorage(path) as storage:
        storage.append(
            AnalyticsEvent(
                "feature_used",
                data={"n": number, "noise": hashlib.shake_128(b"%d" % number).hexdigest(padding // 2)},
                timestamp=_EPOCH + timedelta(seconds=number),
                id=f"00000000-0000-4000-8000-{number:012x}",
            )
            for number in range(count)
        )
    return path


@dataclass(frozen=True)
class Ended:
    """How the command ended; ``fired`` is how often strace injected something."""

    code: int
    told: str
    trace: str = ""

    @property
    def killed(self) -> bool:
        return self.code in (-9, 137) and "+++ killed by SIGKILL +++" in self.trace

    @property
    def fired(self) -> int:
        return self.trace.count("(INJECTED)")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "penstock", *(str(argument) for argument in arguments)]


def environment() -> dict[str, str]:
    """So that the interpreter itself changes no file."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(*arguments: object, output: IO[bytes] | None = None) -> Ended:
    """Run the command to its end. ``output`` is its standard output."""
    done = subprocess.run(
        command(*arguments), env=environment(), check=False, stdout=output or subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return Ended(code=done.returncode, told=done.stderr.decode())


def run_under_strace(
    arguments: Sequence[object], log: Path, *, paths: Sequence[Path], calls: str, inject: Sequence[str] = ()
) -> Ended:
    """Run the command and inject faults into the ``calls`` that touch one of ``paths``.

    A relative path would never match, without a word: it is refused.
    """
    assert STRACE is not None
    assert all(path.is_absolute() for path in paths), "strace -P takes absolute paths, or matches nothing"
    traced = [argument for path in paths for argument in ("-P", str(path))]
    injected = [argument for one in inject for argument in ("-e", f"inject={one}")]
    done = subprocess.run(
        [STRACE, "-f", "-o", str(log), *traced, "-e", f"trace={calls}", *injected, *command(*arguments)],
        env=environment(),
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    return Ended(code=done.returncode, told=done.stderr.decode(), trace=log.read_text())


def counted_calls(trace: str) -> dict[str, int]:
    """How often each system call stands in a trace."""
    counts: dict[str, int] = {}
    for name, _ in _CALL.findall(trace):
        counts[name] = counts.get(name, 0) + 1
    return counts


def parts_of(dest: Path) -> Mapping[str, str]:
    """Names and digests that the manifest at a destination gives; empty if there is no manifest."""
    manifest = dest.with_name(dest.name + ".manifest.json") if "." in dest.name else dest / "_penstock/manifest.json"
    try:
        text = manifest.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {part["name"]: part["sha256"] for part in json.loads(text)["parts"]}


def found(dest: Path, *expected: Mapping[str, str]) -> int | None:
    """Which of the expected exports is there, whole; ``None`` if there is none. Anything else fails."""
    parts = parts_of(dest)
    if not parts:
        try:
            verify(dest)
        except (ManifestError, NotFound):
            return None
        raise AssertionError("verify found an export without a manifest")
    base = dest.parent if "." in dest.name else dest
    for name, digest in parts.items():
        assert hashlib.sha256((base / name).read_bytes()).hexdigest() == digest, name
    result = verify(dest)
    assert result.ok, result.problems
    return [dict(one) for one in expected].index(dict(parts))


def leftovers(place: Path) -> list[str]:
    """Staging directories under a place."""
    return sorted(path.name for path in place.rglob(".*penstock"))
