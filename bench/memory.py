"""Peak memory of whole export processes, one a format, on a generated store.

Each export runs as its own process; the peak is what the operating system accounts to it when it ends (``ru_maxrss``).
Ends with 1 if a peak is over the limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from generate import WORK, store_of

TARGETS = ("x.json", "x.ndjson", "x.csv", "x.parquet", "x.arrow", "x.ndjson.gz", "x.csv.zst", "parts/")


def run(arguments: list[str]) -> tuple[int, float, float]:
    """Run ``penstock`` with arguments; returns exit code, seconds and peak MiB of the process."""
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, "-m", "penstock", *arguments], os.environ)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--limit-mib", type=int, default=512)
    parser.add_argument("--store", type=Path, help="use this store instead of a generated one")
    parser.add_argument("--quick", action="store_true", help="only prove that it runs: one text and one columnar format")
    given = parser.parse_args()
    store = given.store if given.store is not None else store_of(given.events)
    out = WORK / "memory"
    failed = False
    print(f"| {store.name} to | seconds | MB written | peak MiB of the process | under {given.limit_mib} MiB |")
    print("| --- | ---: | ---: | ---: | --- |")
    for target in ("x.ndjson.gz", "x.parquet") if given.quick else TARGETS:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        code, seconds, peak = run(["export", str(store), str(out / target), "--quiet"])
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        ok = code == 0 and peak < given.limit_mib
        failed = failed or not ok
        print(f"| {target} | {seconds:.1f} | {size / 1e6:,.0f} | {peak:.0f} | {'yes' if ok else f'NO (exit {code})'} |")
    shutil.rmtree(out, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
