"""What the export's own proofs cost: the same export with digests, syncs and manifest switched off, one by one.

    overhead.py --without sha256,fsync export STORE OUT …

runs one command of ``penstock`` in this process with the named parts replaced by nothing, and ends with 70 if a part
was not there to be replaced or was never reached: then its figure would mean nothing. The product has no such switch.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

#: Part and what the report calls it. The digests are taken on the way, the others at the end of an export.
PARTS = {
    "sha256": "SHA-256 of content and stored bytes",
    "events-digest": "events digest",
    "fsync": "fsync",
    "manifest": "manifest and its publishing",
}
NOT_REACHED = 70


class _NoHash:
    """Stands for SHA-256; counts what it was given."""

    reached = 0
    digest_size, block_size, name = 32, 64, "sha256"

    def __init__(self, data: Any = b"", **_: Any) -> None:
        self.update(data)

    def update(self, data: Any) -> None:
        _NoHash.reached += memoryview(data).nbytes

    def digest(self) -> bytes:
        return bytes(32)

    def hexdigest(self) -> str:
        return "0" * 64


def _without_sha256(out: str) -> Callable[[], bool]:
    hashlib.sha256 = _NoHash  # type: ignore[assignment, misc]
    return lambda: _NoHash.reached >= Path(out).stat().st_size


def _without_fsync(out: str) -> Callable[[], bool]:
    calls: list[int] = []
    os.fsync = os.fdatasync = calls.append  # type: ignore[assignment]
    return lambda: bool(calls)


def _without_events_digest(out: str) -> Callable[[], bool]:
    """The native library goes on rendering and hashes nothing."""
    library = import_module("penstock.pipeline.native").library()
    calls = 0

    def unhashed(render: Any) -> Any:
        def render_only(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return render(*arguments[:-1], None)

        return render_only

    library.penstock_lines = unhashed(library.penstock_lines)
    library.penstock_csv = unhashed(library.penstock_csv)
    library.penstock_digest = unhashed(lambda *_: None)
    return lambda: bool(calls)


def _without_manifest(out: str) -> Callable[[], bool]:
    """The data takes its name, and that is all."""
    attempt = import_module("penstock.publishing.attempt").Attempt
    backend = import_module("penstock.ports.backend")

    def publish(self: Any, manifest: Any) -> None:
        (staged,) = self._taken
        self._backend.place([backend.Move(staged=staged, key=self._shape.data, expect=backend.Expect.ANY)])
        self.close()

    attempt.publish = publish
    return lambda: not Path(f"{out}.manifest.json").exists()


_SWITCHES = {
    "sha256": _without_sha256,
    "events-digest": _without_events_digest,
    "fsync": _without_fsync,
    "manifest": _without_manifest,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", default="", help=f"parts to switch off: {', '.join(PARTS)}")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    out = given.command[2]
    try:
        checks = {part: _SWITCHES[part](out) for part in given.without.split(",") if part}
        from penstock.cli import run
    except (AttributeError, ImportError) as error:
        print(f"a part is not where it was: {error}", file=sys.stderr)
        return NOT_REACHED
    code = run(given.command)
    missed = [PARTS[part] for part, reached in checks.items() if not reached()]
    if not code and missed:
        print(f"switched off, but never reached: {', '.join(missed)}", file=sys.stderr)
        return NOT_REACHED
    return code


if __name__ == "__main__":
    sys.exit(main())
