"""What is measured besides the contest: floor, cost of the proofs, appending, incremental export, start-up, machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import appends as appending
import measure
import overhead
from measure import BENCH, Failed
from peers import versions_of

_OVERHEAD_OUTPUTS = ("ndjson", "ndjson.gz", "csv", "parquet")
_OURS = ["penstock", "pyarrow", "adbc-driver-sqlite", "isal", "zlib-ng", "backports.zstd", "xxhash", "msgspec"]
_NEW = 10_000
_APPEND = """import sys
sys.path.insert(0, {bench!r})
from pathlib import Path
from generate import fill
fill(Path({store!r}), {start}, {stop})"""
_BULK, _SINGLES = 1_000_000, {"normal": 20_000, "full": 5_000, "sync": 5_000}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    kind = subprocess.run(["df", "--output=fstype", str(BENCH)], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory[0] / (1 << 20), 1) if memory else None,
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "filesystem": kind.stdout.split()[-1] if kind.stdout.split() else "unknown",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def our_versions() -> dict[str, str]:
    return versions_of(sys.executable, _OURS)


def source_digest() -> str:
    """A digest of the product's source files: figures mean nothing if it changes while they are taken."""
    spec = find_spec("penstock")
    assert spec is not None
    assert spec.origin is not None
    found = hashlib.sha256()
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def floor() -> tuple[Path | None, str]:
    """The floor's program, compiled, and which SQLite it uses; or nothing, and why."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None, "not measured: there is no C compiler (cc)"
    program = measure.PLACE / "floor"
    flags = ["-O2", "-o", str(program), str(BENCH / "floor.c"), "-lsqlite3", "-lpthread"]
    done = subprocess.run([compiler, *flags], capture_output=True, text=True, check=False)
    if done.returncode:
        return None, "not measured: bench/floor.c needs sqlite3.h and libsqlite3 (Debian: libsqlite3-dev)"
    return program, "compiled with -O2 against the system's SQLite"


def overheads(store: Path, outputs: list[str], rounds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Wall times of the same export with each part of the proofs switched off, with all on, and with all off."""
    variants = {"all on": "", **{part: part for part in overhead.PARTS}, "all off": ",".join(overhead.PARTS)}
    found = []
    for output in (name for name in _OVERHEAD_OUTPUTS if name in outputs):
        walls: dict[str, list[float]] = {}
        failed: dict[str, str] = {}
        for _ in range(rounds):
            for name, without in variants.items():
                if name in failed:
                    continue
                out = measure.fresh(settled=rounds > 1) / f"x.{output}"
                runner = [sys.executable, str(BENCH / "overhead.py"), "--without", without]
                try:
                    run = measure.run([*runner, "export", str(store), str(out), "--quiet"])
                    walls.setdefault(name, []).append(round(run.wall, 4))
                    say(f"  {output:10} {'without ' * bool(without)}{name:14} {run.wall:8.2f} s")
                except Failed as error:
                    failed[name] = str(error)
                    walls.pop(name, None)
                    say(f"  {output:10} {name}: {error}")
        found.append({"output": output, "walls": walls, "failed": failed})
    return found


def appends(store: Path, events: int, *, quick: bool) -> list[dict[str, Any]]:
    """Rates of appending to a new store, each kind in a process of its own."""
    found = []
    for kind, title in appending.KINDS.items():
        count = _SINGLES.get(kind, min(events, _BULK)) // (100 if quick and kind in _SINGLES else 1)
        place = measure.fresh()
        log = measure.PLACE / "appends.log"
        program = [sys.executable, str(BENCH / "appends.py"), kind, str(place / "new.db"), "--events", str(count)]
        row: dict[str, Any] = {"kind": kind, "title": title}
        try:
            run = measure.run(program, log=log)
            row |= {**json.loads(log.read_text().splitlines()[-1]), "peak_mib": round(run.peak_mib)}
        except Failed as error:
            row["failed"] = str(error)
        found.append(row)
    found.append(_ingest(store, min(events, _BULK)))
    return found


def _ingest(store: Path, events: int) -> dict[str, Any]:
    """``penstock ingest`` of NDJSON, as a whole process."""
    row: dict[str, Any] = {"kind": "ingest", "title": "penstock ingest of NDJSON, whole process", "events": events}
    place = measure.fresh()
    lines = str(place / "x.ndjson")
    try:
        measure.run(measure.penstock("export", str(store), lines, "--quiet", "--limit", str(events)))
        os.sync()
        try:
            measure.run(measure.penstock("ingest", "--help"))
        except Failed:
            return {**row, "failed": "the verb is not there"}
        run = measure.run(measure.penstock("ingest", str(place / "new.db"), lines, "--quiet"))
        return {**row, "seconds": run.wall, "peak_mib": round(run.peak_mib)}
    except Failed as error:
        return {**row, "failed": str(error)}


def incremental(store: Path, events: int, rounds: int) -> dict[str, Any]:
    """A first run of a lineage over a copy of the store, then runs that each find some new events."""
    log = measure.PLACE / "help.log"
    measure.run(measure.penstock("export", "--help"), log=log)
    if "--incremental" not in log.read_text():
        return {"failed": "there is no export --incremental"}
    place = measure.fresh()
    copy, lineage = place / "events.db", place / "lineage"
    export = measure.penstock("export", "--incremental", str(copy), f"{lineage}/", "--format", "ndjson", "--quiet")
    shutil.copyfile(store, copy)
    found: dict[str, Any] = {"new": _NEW, "walls": []}
    try:
        found["first"] = round(measure.run(export, synced=lineage).wall, 4)
        for number in range(rounds):
            before = {path for path in lineage.rglob("*.ndjson*") if path.suffix != ".json"}
            start = events + number * _NEW
            append = _APPEND.format(bench=str(BENCH), store=str(copy), start=start, stop=start + _NEW)
            measure.run([sys.executable, "-c", append])
            os.sync()
            run = measure.run(export, synced=lineage)
            after = {path for path in lineage.rglob("*.ndjson*") if path.suffix != ".json"}
            measure.check_rows("ndjson", sorted(after - before), _NEW)
            found["walls"].append(round(run.wall, 4))
            found["peak_mib"] = round(run.peak_mib)
    except Failed as error:
        found["failed"] = str(error)
    return found


def flattened(store: Path, rounds: int) -> dict[str, Any]:
    """Parquet with payloads as they are and as typed columns, in turn: wall times, and the highest peak."""
    found: dict[str, Any] = {"plain": [], "flattened": []}
    try:
        for _ in range(rounds):
            for name, words in (("plain", []), ("flattened", ["--flatten", "data,metadata"])):
                place = measure.fresh(settled=rounds > 1)
                command = ["export", str(store), str(place / "x.parquet"), "--quiet", *words]
                run = measure.run(measure.penstock(*command), synced=place)
                found[name].append(round(run.wall, 4))
                found["peak_mib"] = max(round(run.peak_mib), found.get("peak_mib", 0))
    except Failed as error:
        found["failed"] = str(error)
    return found


def startup(ten: Path, rounds: int) -> dict[str, Any]:
    """Whole processes that have next to nothing to do, in seconds."""
    found: dict[str, Any] = {}
    commands = {"help": ["--help"], "ten": ["export", str(ten), str(measure.PLACE / "out/x.ndjson"), "--quiet"]}
    for name, words in commands.items():
        walls = []
        try:
            for _ in range(rounds):
                place = measure.fresh(settled=rounds > 1)
                walls.append(round(measure.run(measure.penstock(*words), synced=place).wall, 4))
        except Failed:
            continue
        found[name] = {"median": median(walls), "walls": walls}
    return found
