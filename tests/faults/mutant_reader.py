"""The process that reads mutants, many one after another, through the public functions. It says what it is about to do
before it does it, so that whoever watches it knows what ended it; see ``mutant_watch``.

``python mutant_reader.py PLACE FORMAT SEED``, with ranges of numbers on standard input."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from crash_defects import planted
from mutants import Mutants

import penstock
from penstock.errors import ExportError

#: No more memory than this is given at all: an error then tells of it before the machine is in need.
CEILING = 3 << 30
#: What a load may set aside: a few bytes may be any number of records.
_ASIDE = 1 << 20


def _verbs(path: Path, place: Path, *, own: bool) -> dict[str, Callable[[], object]]:
    """What is done with each file."""
    aside = place / "aside.ndjson"
    aside.unlink(missing_ok=True)
    given = {"quarantine": aside, "max_quarantine_bytes": _ASIDE}
    verbs: dict[str, Callable[[], object]] = {
        "ingest --dry-run": lambda: penstock.ingest(place / "none.db", path, dry_run=True, **given),
        "ingest": lambda: penstock.ingest(place / "events.db", path, **given),
    }
    if own:
        verbs["verify"] = lambda: penstock.verify(path)
        verbs["restore"] = lambda: penstock.restore(path, place / "back.db", on_conflict="skip")
    return verbs


def _read(mutants: Mutants, number: int, place: Path) -> None:
    mutant = mutants.make(number)
    path = place / mutant.name
    path.write_bytes(mutant.content)
    manifest = path.with_name(path.name + ".manifest.json")
    if mutant.manifest is not None:
        manifest.write_bytes(mutant.manifest)
    for verb, act in _verbs(path, place, own=mutant.manifest is not None).items():
        print("begin", number, verb, flush=True)
        try:
            act()
        except ExportError:
            continue
        except Exception as error:
            told = "".join(traceback.format_exception(error)[-3:]).replace("\n", " | ")
            print("traceback", number, verb, type(error).__name__, told, flush=True)
    path.unlink()
    manifest.unlink(missing_ok=True)
    print("done", number, _peak(), flush=True)


def _peak() -> int:
    """The most memory this process had, in KiB. (What the system counts as used includes what its parent had.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])


def main() -> None:
    whole, format, seed = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))
    mutants = Mutants(Path(whole), format, int(seed))
    with planted(os.environ.get("PENSTOCK_DEFECT")):
        for line in sys.stdin:
            first, last = map(int, line.split())
            with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else whole) as place:
                for number in range(first, last):
                    _read(mutants, number, Path(place))
            print("ready", flush=True)


if __name__ == "__main__":
    main()
