"""Tables that are no event stores, exported as they are and as events, beside DuckDB's ``COPY`` and our own store.

``tables.py --rows N`` makes one SQLite file a shape on first use: ``narrow`` (text, integer, real, JSON and epoch
columns), ``wide`` (40 columns, an eighth of the rows) and ``random`` (a random text key, WITHOUT ROWID). Whole
processes alternate as in ``compare.py``, and rows are counted after each. Times of our own store are set beside them by
output byte: the store is of events, and no table has the same content. Prints the report; writes it with all figures to
a directory.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import measure
from compare import generated
from figures import times
from measure import WORK, Failed, Run
from peers import DUCKDB, TITLES, Job, Rows, copy_options
from report import table

ROOT = Path(__file__).parents[1]
OUTPUTS = ("ndjson", "csv", "parquet")
_WORDS = ("basket", "café", "order, paid", 'say "hi"', "search", "signup", "upgrade", "view")
_WIDE = 40
#: How many times as long as Penstock DuckDB has to take, and how much longer than our own store a byte may take.
_WANTED = {"ndjson": 2.0, "csv": 1.5, "parquet": 1.5}
_ALIKE = 1.3
_PEAK_MIB = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A table to be exported: how it is made of a number ``i`` from 1 on, and what maps its rows to events."""

    name: str
    create: str
    select: str
    share: int
    events: tuple[str, ...]


def _word(factor: int) -> str:
    listed = " ".join(f"WHEN {at} THEN '{word}'" for at, word in enumerate(_WORDS))
    return f"CASE (i * {factor}) % {len(_WORDS)} {listed} END"


_JSON = (
    '\'{"path":"/docs/\' || (i * 7919 % 5000) || \'","word":\' || json_quote('
    + _word(11)
    + ") || ',\"ms\":' || (i * 31 % 900) || '.5,\"ok\":true}'"
)
_EPOCH_MS = "1767225600000 + i * 250"
_AMOUNT = "(i * 17 % 100000) / 100.0"
_PAIRS = range((_WIDE - 4) // 2)
_AS_EVENTS = ("--map", "timestamp=created_at:ms,event_type=kind")
SHAPES = (
    Shape(
        name="narrow",
        create="(id INTEGER PRIMARY KEY, created_at INTEGER, kind TEXT, customer TEXT, quantity INTEGER, amount REAL,"
        " props JSON, note TEXT)",
        select=f"i, {_EPOCH_MS}, {_word(5)}, 'c-' || (i * 7907 % 100000), i * 13 % 40, {_AMOUNT}, {_JSON},"
        " CASE WHEN i % 3 = 0 THEN NULL ELSE 'order ' || i || ' of customer ' || (i * 7907 % 100000) END",
        share=1,
        events=_AS_EVENTS,
    ),
    Shape(
        name="wide",
        create="(id INTEGER PRIMARY KEY, created_at INTEGER, kind TEXT, "
        + ", ".join(f"f{n} REAL, t{n} TEXT" for n in _PAIRS)
        + ", tail JSON)",
        select=f"i, {_EPOCH_MS}, {_word(5)}, "
        + ", ".join(f"(i * {n + 3} % 10007) / 8.0, 'v' || (i * {n + 7} % 10007)" for n in _PAIRS)
        + f", {_JSON}",
        share=8,
        events=_AS_EVENTS,
    ),
    Shape(
        name="random",
        create="(key TEXT PRIMARY KEY, created_at INTEGER, kind TEXT, amount REAL, props JSON) WITHOUT ROWID",
        select=f"printf('%016x', i * 0x5deece66d % 0x7fffffffffffff), {_EPOCH_MS}, {_word(5)}, {_AMOUNT}, {_JSON}",
        share=4,
        events=(),
    ),
)


def made(shape: Shape, rows: int) -> Path:
    """The file with the shape's table, called like the shape; made on first use."""
    path = WORK / f"{shape.name}-{rows}.db"
    if path.exists():
        return path
    WORK.mkdir(exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as database:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        database.execute(f"CREATE TABLE {shape.name} {shape.create}")
        numbers = f"WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {rows})"
        order = " ORDER BY 1" if shape.name == "random" else ""
        database.execute(f"INSERT INTO {shape.name} {numbers} SELECT {shape.select} FROM numbers{order}")
        database.commit()
    draft.rename(path)
    return path


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to export: its name in the report, and the command that writes an output from a file."""

    name: str
    command: Callable[[Path, Path, str], list[str]]


def engines(shape: Shape, python: Path) -> Iterator[Engine]:
    """Penstock as it is and as events, and DuckDB where it is installed."""

    def ours(*options: str) -> Callable[[Path, Path, str], list[str]]:
        return lambda file, out, output: measure.penstock(
            "export", str(file), str(out), "--quiet", "--table", shape.name, *options
        )

    def duckdb(file: Path, out: Path, output: str) -> list[str]:
        job = Job(store=str(file), out=str(out), output=output, rows=Rows(name="full", title="all rows"))
        program = DUCKDB.format(store=file) + f"""duckdb.sql("COPY {shape.name} TO '{out}' ({copy_options(job)})")"""
        return [str(python), "-c", program]

    yield Engine("as it is", ours())
    if shape.events:
        yield Engine("as events", ours(*shape.events))
    if python.exists():
        yield Engine("DuckDB", duckdb)


def _own(file: Path, out: Path, output: str) -> list[str]:
    return measure.penstock("export", str(file), str(out), "--quiet")


def contest(chosen: list[Engine], files: dict[str, Path], rows: dict[str, int], rounds: int, output: str) -> Any:
    """Every engine on its file in alternating rounds: the runs of each, or why it failed."""
    runs: dict[str, list[Run]] = {}
    failed: dict[str, str] = {}
    for number in range(rounds):
        turn = number % len(chosen)
        for engine in [*chosen[turn:], *chosen[:turn]]:
            if engine.name in failed:
                continue
            out = measure.fresh(settled=rounds > 1) / f"x.{output}"
            try:
                run = measure.run(engine.command(files[engine.name], out, output), synced=out.parent)
                measure.check_rows(output, [out], rows[engine.name])
            except Failed as error:
                failed[engine.name] = str(error)
                continue
            runs.setdefault(engine.name, []).append(replace(run, bytes=out.stat().st_size))
            print(
                f"  {output:8} {engine.name:10} {run.wall:6.2f} s {run.peak_mib:5.0f} MiB", file=sys.stderr, flush=True
            )
    return {"runs": {name: [run.to_json() for run in found] for name, found in runs.items()}, "failed": failed}


def middle(case: Any, engine: str, figure: str) -> float | None:
    """The median of a figure over an engine's runs."""
    found = [run[figure] for run in case["runs"].get(engine, ())]
    return median(found) if found else None


def render(results: Any) -> str:
    """The report in Markdown: a table a shape, and what was wanted."""
    parts = [
        "# Tables that are no event stores",
        f"{results['rows']:,} rows (wide: an eighth, random: a quarter), {results['rounds']} rounds. Medians of whole"
        " processes, the sync of the output counted. Ratios are *DuckDB / Penstock*: above 1 Penstock is faster. *A"
        " byte* is the time for each byte of output beside that of our own store in the same format: above 1 the table"
        " is slower.",
    ]
    for name, cases in results["shapes"].items():
        parts += [
            f"## {name}",
            table(("output", "way", "time", "DuckDB", "ratio", "a byte", "peak", "wanted"), _rows(cases)),
        ]
        parts += [f"{engine} failed: {why}" for case in cases.values() for engine, why in case["failed"].items()]
    return "\n\n".join(parts) + "\n"


def _rows(cases: Any) -> Iterator[tuple[str, ...]]:
    for output, case in cases.items():
        peer = middle(case, "DuckDB", "wall")
        own = middle(case, "own store", "wall")
        for way in ("as it is", "as events"):
            took = middle(case, way, "wall")
            if took is None:
                continue
            ratio = None if peer is None else peer / took
            pace = took / (middle(case, way, "bytes") or 1)
            alike = None if own is None else pace / (own / (middle(case, "own store", "bytes") or 1))
            peak = middle(case, way, "peak_mib") or 0
            good = ratio is not None and ratio >= _WANTED[output] and peak <= _PEAK_MIB
            good = good and (way != "as it is" or alike is None or alike <= _ALIKE)
            yield (
                TITLES[output],
                way,
                f"{took:.2f} s",
                "–" if peer is None else f"{peer:.2f} s",
                "–" if ratio is None else times(ratio),
                "–" if alike is None else times(alike),
                f"{peak:.0f} MiB",
                "✓" if good else "✗",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="5,000,000 or, with --quick, 20,000")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--shapes", default="narrow,wide,random", help="comma list of narrow, wide, random")
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-bench/bin/python", help="DuckDB's Python")
    parser.add_argument("--quick", action="store_true", help="only prove that it runs")
    parser.add_argument("--out", type=Path, help="where the report goes; docs/benchmarks, or with --quick bench/work")
    given = parser.parse_args()
    rows = given.rows or (20_000 if given.quick else 5_000_000)
    rounds = given.rounds or (1 if given.quick else 3)
    out = given.out or (WORK / "quick" if given.quick else ROOT / "docs/benchmarks")
    store = generated(rows)
    results: dict[str, Any] = {"rows": rows, "rounds": rounds, "shapes": {}}
    for shape in [each for each in SHAPES if each.name in given.shapes.split(",")]:
        file = made(shape, rows // shape.share)
        measure.warm(file)
        measure.warm(store)
        chosen = [*engines(shape, given.peer_python), Engine("own store", _own)]
        files = {engine.name: file for engine in chosen} | {"own store": store}
        counts = dict.fromkeys(files, rows // shape.share) | {"own store": rows}
        print(shape.name, file=sys.stderr)
        results["shapes"][shape.name] = {output: contest(chosen, files, counts, rounds, output) for output in OUTPUTS}
    out.mkdir(parents=True, exist_ok=True)
    (out / "tables.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "tables.md").write_text(render(results))
    print(render(results))


if __name__ == "__main__":
    main()
