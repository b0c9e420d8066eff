"""The report of a run in Markdown, from its figures: ``report.py DIRECTORY`` renders report and plot there again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from figures import FLOOR, US, Results, case_of, middle, ratio, seconds, shares, times, values
from overhead import PARTS
from peers import OUTPUTS, TITLES
from plot import plot
from targets import AGAINST, Verdict, against, further, others

_ROWS = {"range": "a 1 % time range", "category": "one category"}
_NOTES = """\
Wall time of whole processes, each with the sync of its output counted; medians. The store lies in the page cache, the
order of the tools moves on by one each round, and a tool that takes more than ten times as long as Penstock runs one
round only. Rows are counted after every run. Ratios are *peer / Penstock*: above 1 Penstock is faster; in brackets the
range between the extremes of both. **✗** marks what is faster than Penstock."""
_FAIRNESS = """\
Peers write the columns as they are stored: times as integers, payloads as JSON inside a string. Penstock spells times
out as RFC 3339, names priorities and embeds payloads as JSON, and its time includes two SHA-256, a digest of every
event, the manifest and the syncs of the publish protocol. A peer has no digest and no manifest, and only its data is
synced. Peers run with their own defaults, compression levels included. The floor is a C program that steps through the
same rows on two threads with SQLite alone, then writes as many bytes as Penstock did, and syncs."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> str:
    """A Markdown table whose columns from that one on are right-aligned."""
    rule = ["---" if at < numbers_from else "---:" for at in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def render(results: Results) -> str:
    """The whole report."""
    parts = ["# Side by side", *_head(results)]
    if results["cases"]:
        parts += [
            "![Events per second of full exports](report.svg)",
            "## Full exports",
            _NOTES,
            _times(results, "full"),
        ]
        for rows, title in _ROWS.items():
            if any(case["rows"] == rows for case in results["cases"]):
                count = next(case["count"] for case in results["cases"] if case["rows"] == rows)
                parts += [
                    f"## Exports of {title}",
                    f"{count:,} of {results['events']:,} events.",
                    _times(results, rows),
                ]
    parts += ["## Targets", *_targets(results)]
    if results["cases"]:
        parts += ["## Fairness", _FAIRNESS, "## Every figure", _details(results)]
    parts += [*_overheads(results), *_appends(results), *_incremental(results), *_startup(results), *_commands(results)]
    return "\n\n".join(parts) + "\n"


def _head(results: Results) -> Iterator[str]:
    box, versions = results["machine"], results["versions"]
    yield (
        f"{results['events']:,} generated events, a store of {results['store_bytes'] / 1e6:,.0f} MB, "
        f"{results['rounds']} round{'s' * (results['rounds'] > 1)}, {results['date']}. `{results['command']}`"
    )
    yield (
        f"{box['cpu']}, {box['cores']} cores, {box['memory_gib']} GiB, {box['system']}, {box['filesystem']}; load"
        f" average before the run {box['load_before']}."
    )
    yield "Penstock's environment: " + ", ".join(f"{name} {number}" for name, number in versions["ours"].items()) + "."
    peers = ", ".join(f"{name} {number}" for name, number in versions["peers"].items())
    yield f"The peers': {peers or 'none is installed'}. The floor: {results.get('floor', 'not measured')}."
    if results["missing"]:
        gone = "; ".join(f"{name} ({why})" for name, why in results["missing"].items())
        yield f"**Not compared:** {gone}."
    if box["load_before"] > box["cores"] / 2:
        yield "**Other work was running on this machine: take no figure from this run.**"
    if results.get("source_changed"):
        yield "**Penstock's source changed while it was measured: take no figure from this run.**"
    if results["quick"]:
        yield "**A quick run: it proves that the benchmark runs; its figures mean nothing.**"


def _times(results: Results, rows: str) -> str:
    engines = [name for name in results["peers"] if any(values(case_of(results, o, rows), name) for o in OUTPUTS)]
    floor = rows == "full" and any(values(case_of(results, output), FLOOR) for output in OUTPUTS)
    head = ["output", "Penstock", *(results["peers"][name] for name in engines), *["floor"] * floor]
    lines = []
    for output in OUTPUTS:
        case = case_of(results, output, rows)
        if case is None:
            continue
        ours = middle(case, US)
        line = [TITLES[output], seconds(ours) if ours is not None else "failed"]
        line += [_cell(case, name) for name in engines]
        if floor:
            limit = ratio(case, US, to=FLOOR)
            line.append(f"{seconds(middle(case, FLOOR) or 0)} · {times(limit.value)} of it" if limit else "–")
        lines.append(line)
    return table(head, lines)


def _cell(case: Any, name: str) -> str:
    took, found = middle(case, name), ratio(case, name)
    if took is None:
        return "failed" if name in case["failed"] else "–"
    if found is None:
        return seconds(took)
    text = f"{seconds(took)} · {times(found.value)}"
    return f"**{text} ✗**" if found.value < 1 else text


def _targets(results: Results) -> Iterator[str]:
    cores = results["machine"]["cores"]
    if results["events"] != 5_000_000 or cores != 2:
        yield f"They are meant for 5,000,000 events on 2 cores; this run has {results['events']:,} on {cores}."
    columns = {"duckdb": "DuckDB `COPY`", "sqlite3": "`sqlite3` (+ `gzip`)", "dlt": "dlt"}
    lines = []
    for output in AGAINST:
        verdicts = [against(results, output, peer) for peer in columns]
        lines.append([TITLES[output], *("–" if found is None else _verdict(found) for found in verdicts)])
    yield table(["output", *(f"against {title}" for title in columns.values())], lines, 4)
    rest = list(others(results))
    if rest:
        lost = [found for found in rest if (found.attained or 0) < 1]
        yield f"Faster than every other peer in every output: {len(rest) - len(lost)} of {len(rest)}." + (
            " Slower: " + "; ".join(f"{found.name} {found.measured}" for found in lost) + "." if lost else ""
        )
    verdicts = [[found.name, found.target, found.measured or "–", found.mark] for found in further(results)]
    yield table(["what", "target", "measured", ""], verdicts, 4)


def _verdict(found: Verdict) -> str:
    return f"{found.target}: {found.measured} {found.mark}" if found.attained is not None else f"{found.target}: –"


def _details(results: Results) -> str:
    head = ["output", "rows", "tool", "median s", "min–max s", "sync s", "CPU s", "peak MiB", "MB written", "ratio"]
    lines = []
    for case in results["cases"]:
        first = [TITLES[case["output"]], case["rows"]]
        for name in case["runs"]:
            walls = values(case, name)
            found = ratio(case, name)
            lines.append(
                [
                    *first,
                    _title(results, name),
                    f"{middle(case, name):.2f}",
                    f"{min(walls):.2f}–{max(walls):.2f}" if len(walls) > 1 else "one round",
                    f"{middle(case, name, 'sync'):.2f}",
                    f"{middle(case, name, 'cpu'):.2f}",
                    f"{middle(case, name, 'peak_mib'):.0f}",
                    f"{(middle(case, name, 'bytes') or 0) / 1e6:,.1f}",
                    "" if name == US or found is None else str(found) + " ✗" * (found.value < 1 and name != FLOOR),
                ]
            )
        lines += [[*first, _title(results, name), "failed", why, *[""] * 5] for name, why in case["failed"].items()]
    return table(head, lines, 3)


def _title(results: Results, name: str) -> str:
    return {US: "Penstock", **results["peers"]}.get(name, name)


def _overheads(results: Results) -> Iterator[str]:
    if not results.get("overheads"):
        return
    yield "## What the proofs cost"
    yield (
        "Share of the wall time of a full export that goes when one part is switched off, and when all are: in the"
        " benchmark's own process only, the product has no such switch. What overlaps with other work costs nothing"
        " alone."
    )
    names = {**PARTS, "all off": "all together"}
    lines = []
    for overhead in results["overheads"]:
        found = shares(overhead)
        on = overhead["walls"].get("all on")
        cells = [f"{max(found[name], 0):.0%}" if name in found else "–" for name in names]
        lines.append([TITLES[overhead["output"]], seconds(median(on)) if on else "–", *cells])
    yield table(["output", "all on", *names.values()], lines)
    for overhead in results["overheads"]:
        for name, why in overhead["failed"].items():
            yield f"{TITLES[overhead['output']]}, {names.get(name, name)}: {why}"


def _appends(results: Results) -> Iterator[str]:
    if not results.get("appends"):
        return
    yield "## Appending to a new store"
    lines = []
    for row in results["appends"]:
        rate = f"{row['events'] / row['seconds']:,.0f}" if "seconds" in row else f"not measured: {row['failed']}"
        lines.append(
            [row["title"], f"{row['events']:,}" if "events" in row else "–", rate, str(row.get("peak_mib", "–"))]
        )
    yield table(["how", "events", "a second", "peak MiB"], lines)


def _incremental(results: Results) -> Iterator[str]:
    found = results.get("incremental")
    if not found:
        return
    yield "## Incremental export"
    if found.get("failed"):
        yield f"Not measured: {found['failed']}."
    if found.get("walls"):
        walls = found["walls"]
        spread = f" ({min(walls):.2f}–{max(walls):.2f})" if len(walls) > 1 else ""
        yield (
            f"{found['new']:,} new events behind {results['events']:,}, NDJSON, whole process:"
            f" {seconds(median(walls))}{spread}, peak {found['peak_mib']} MiB. The first run, over the whole store:"
            f" {seconds(found['first'])}."
        )


def _startup(results: Results) -> Iterator[str]:
    if not results.get("startup"):
        return
    yield "## Start-up, whole processes"
    names = {"help": "`penstock --help`", "ten": "`penstock export` of 10 events"}
    lines = []
    for key, row in results["startup"].items():
        walls = [wall * 1000 for wall in row["walls"]]
        lines.append([names[key], f"{row['median'] * 1000:.0f} ms", f"{min(walls):.0f}–{max(walls):.0f} ms"])
    yield table(["command", "median", "min–max"], lines)


def _commands(results: Results) -> Iterator[str]:
    if not results["commands"]:
        return
    yield "## What each peer ran"
    for name, programs in results["commands"].items():
        yield f"### {results['peers'][name]}"
        kept = [output for output in ("ndjson.gz", "parquet") if output in programs] or list(programs)[:1]
        for output in kept:
            kind = "bash" if name == "sqlite3" else "python"
            yield f"{TITLES[output]}:\n\n```{kind}\n{programs[output]}\n```"


def main() -> None:
    directory = Path(sys.argv[1])
    results = json.loads((directory / "results.json").read_text())
    (directory / "report.md").write_text(render(results))
    (directory / "report.svg").write_text(plot(results))


if __name__ == "__main__":
    main()
