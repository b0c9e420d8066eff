"""The side-by-side benchmark runs, and its report holds what it promises. Figures are not looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCH / "compare.py", *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a quick run on a small store, with no peer but the command that most machines have."""
    directory = tmp_path_factory.mktemp("bench")
    sizes = ("--quick", "--events", 2000, "--outputs", "ndjson,parquet")
    done = compare(*sizes, "--peers", "sqlite3,polars", "--peer-python", directory / "none", "--out", directory)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (directory / "report.md").read_text().strip()
    return directory


@pytest.fixture(scope="module")
def results(out: Path) -> Any:
    return json.loads((out / "results.json").read_text())


def test_every_case_was_run_and_counted(results: Any) -> None:
    cases = {(case["output"], case["rows"]): case for case in results["cases"]}

    assert set(cases) == {("ndjson", "full"), ("parquet", "full"), ("ndjson", "range"), ("ndjson", "category")}
    assert cases["ndjson", "full"]["count"] == 2000
    assert 0 < cases["ndjson", "range"]["count"] < cases["ndjson", "category"]["count"] < 2000
    for case in cases.values():
        assert not case["failed"]
        (run,) = case["runs"]["penstock"]
        assert all(run[name] > 0 for name in ("wall", "cpu", "peak_mib", "bytes"))


def test_absent_peers_are_named(results: Any, out: Path) -> None:
    assert "polars" in results["missing"]
    assert "polars (not installed" in (out / "report.md").read_text()


def test_every_proof_could_be_switched_off(results: Any) -> None:
    for overhead in results["overheads"]:
        assert not overhead["failed"]
        assert set(overhead["walls"]) == {"all on", "sha256", "events-digest", "fsync", "manifest", "all off"}


def test_flattened_payloads_are_measured_beside_others(results: Any, out: Path) -> None:
    found = results["flattened"]
    assert min(*found["plain"], *found["flattened"], found["peak_mib"]) > 0
    assert "Parquet of flattened payloads, of the unflattened | ≤ 2×" in (out / "report.md").read_text()


def test_report_is_well_formed(out: Path) -> None:
    text = (out / "report.md").read_text()
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)

    assert len(tables) >= 6
    for table in tables:
        widths = {line.count(" | ") for line in table.strip().splitlines()}
        assert len(widths) == 1, table
    for heading in (
        "Full exports",
        "Targets",
        "What the proofs cost",
        "Appending to a new store",
        "Incremental export",
        "Start-up",
    ):
        assert f"## {heading}" in text
    assert str(ROOT) not in text
    assert str(ROOT) not in (out / "results.json").read_text()


def test_plot_is_well_formed(out: Path) -> None:
    picture = ElementTree.parse(out / "report.svg").getroot()

    assert picture.tag.endswith("svg")
    assert len([part for part in picture.iter() if part.tag.endswith("rect")]) >= 2


def test_too_few_rows_are_a_failure(tmp_path: Path) -> None:
    lines = tmp_path / "x.ndjson"
    lines.write_text('{"seq":1}\n{"seq":2}\n')
    script = (
        f"import sys; sys.path.insert(0, {str(BENCH)!r}); import measure\n"
        f"from pathlib import Path\n"
        f"try: measure.check_rows('ndjson', [Path({str(lines)!r})], 3)\n"
        f"except measure.Failed as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "it wrote 2 rows, not 3\n"


def test_tables_are_measured_and_who_fails_has_no_time(tmp_path: Path) -> None:
    """The peers' Python is one without DuckDB's scanner."""
    command = [sys.executable, BENCH / "tables.py", "--quick", "--rows", 800, "--shapes", "narrow,random"]
    given = [str(word) for word in (*command, "--peer-python", sys.executable, "--out", tmp_path)]
    subprocess.run(given, check=True, capture_output=True)
    shapes = json.loads((tmp_path / "tables.json").read_text())["shapes"]
    assert list(shapes) == ["narrow", "random"]
    assert all(sorted(cases) == ["csv", "ndjson", "parquet"] for cases in shapes.values())
    for case in shapes["narrow"].values():
        assert set(case["runs"]) == {"as it is", "as events", "own store"}
        assert list(case["failed"]) == ["DuckDB"]
    assert "| NDJSON | as it is |" in (tmp_path / "tables.md").read_text()
    for case in shapes["random"].values():
        assert (set(case["runs"]), list(case["failed"])) == ({"as it is", "own store"}, ["DuckDB"])


def test_a_table_of_figures_says_how_many_times_as_fast_and_what_was_not_reached() -> None:
    def runs(size: int, peak: int, *walls: float) -> list[dict[str, float]]:
        return [{"wall": wall, "bytes": size, "peak_mib": peak} for wall in walls]

    own = {"DuckDB": runs(900, 500, 5, 90, 6), "own store": runs(2000, 200, 2)}
    cases = {
        "ndjson": {"as it is": runs(2000, 256, 1, 2.5, 30), "as events": runs(1000, 90, 3), **own},
        "csv": {"as it is": runs(2000, 257, 1), "as events": runs(1000, 90, 4.5), **own},
        "parquet": {"as it is": runs(1000, 90, 2), "as events": runs(1000, 90, 4), **own},
    }
    results = {
        "rows": 100,
        "rounds": 3,
        "shapes": {"narrow": {output: {"runs": case, "failed": {}} for output, case in cases.items()}},
    }
    script = (
        f"import json, sys; sys.path.insert(0, {str(BENCH)!r}); import tables\n"
        "print(tables.render(json.load(sys.stdin)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(results), capture_output=True, text=True, check=True
    )
    assert [line for line in done.stdout.splitlines() if "| as " in line] == [
        "| NDJSON | as it is | 2.50 s | 6.00 s | 2.40× | 1.25× | 256 MiB | ✓ |",
        "| NDJSON | as events | 3.00 s | 6.00 s | 2.00× | 3.00× | 90 MiB | ✓ |",
        "| CSV | as it is | 1.00 s | 6.00 s | 6.00× | 0.50× | 257 MiB | ✗ |",
        "| CSV | as events | 4.50 s | 6.00 s | 1.33× | 4.50× | 90 MiB | ✗ |",
        "| Parquet zstd | as it is | 2.00 s | 6.00 s | 3.00× | 2.00× | 90 MiB | ✗ |",
        "| Parquet zstd | as events | 4.00 s | 6.00 s | 1.50× | 4.00× | 90 MiB | ✓ |",
    ]


def test_unknown_peer_is_a_usage_error() -> None:
    done = compare("--peers", "paper")

    assert done.returncode == 2
    assert "unknown: paper" in done.stderr
