"""The documents tell the truth: vectors, members, limits and commands that they name are those of the code."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

import penstock
from penstock import AnalyticsEvent, Exporter, SqliteAnalyticsStorage
from penstock.cli import VERBS
from proof_ledger import PROMISED

ROOT = Path(__file__).parents[2]
FORMAT = (ROOT / "docs" / "format.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A small export, one file of NDJSON."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append([AnalyticsEvent("feature_used", data={"n": n}) for n in range(3)])
        Exporter(storage).export(tmp_path / "x.ndjson")
    return tmp_path / "x.ndjson"


def test_digest_vectors_of_the_format_document() -> None:
    rows = re.findall(r"^\| one \| `(.+)` \| `([0-9a-f]{32})` \|$", FORMAT, re.MULTILINE)
    hashes = [xxhash.xxh3_128_intdigest(text.encode()) for text, _ in rows]
    sums = dict(re.findall(r"^\| (both|the first twice) \| \| `([0-9a-f]{32})` \|$", FORMAT, re.MULTILINE))

    assert [f"{value:032x}" for value in hashes] == [digest for _, digest in rows]
    assert sums == {
        "both": f"{sum(hashes) % (1 << 128):032x}",
        "the first twice": f"{2 * hashes[0] % (1 << 128):032x}",
    }


def test_manifest_members_are_the_documented_ones(exported: Path) -> None:
    table = FORMAT[FORMAT.index("| member | meaning |") :].split("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    whole = json.loads(Path(f"{exported}.manifest.json").read_text())
    lineage = exported.parent / "lineage"
    penstock.export(exported.parent / "events.db", lineage, incremental=True)
    run = json.loads((lineage / "_penstock/runs/000001.json").read_text())

    assert list(run) == documented
    assert list(whole) == [name for name in documented if name != "lineage"]


def test_lineage_members_are_the_documented_ones(exported: Path) -> None:
    lineage = exported.parent / "lineage"
    result = penstock.export(exported.parent / "events.db", lineage, incremental=True)
    table = FORMAT[FORMAT.index("## 9. Lineages") :].split("\n\n")[2]
    assert result.manifest.lineage is not None

    documented = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]

    assert list(result.manifest.lineage.to_json()) == documented


def test_manifest_digest_is_that_of_the_bytes_before_its_tail(exported: Path) -> None:
    text = Path(f"{exported}.manifest.json").read_bytes()
    tail = int(re.search(r"always (\d+) bytes", FORMAT)[1])  # type: ignore[index]  # the sentence is there

    assert hashlib.sha256(text[:-tail]).hexdigest() == json.loads(text)["manifest_sha256"]


def test_canonical_bytes_are_the_line_up_to_seq(exported: Path) -> None:
    lines = exported.read_bytes().splitlines()
    total = sum(xxhash.xxh3_128_intdigest(line[: line.index(b',"seq":')]) for line in lines)
    manifest = json.loads(Path(f"{exported}.manifest.json").read_text())

    assert manifest["rows_digest"]["value"] == f"{total % (1 << 128):032x}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", verb, "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert f"penstock {verb}" in done.stdout.partition("Example")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme(verb: str) -> None:
    readme = (ROOT / "README.md").read_text()

    assert re.search(rf"\b(penstock|make) {verb}\b", readme) or f"`{verb}`" in readme


def test_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    codes = {
        kind.exit_code
        for kind in vars(penstock.errors).values()
        if isinstance(kind, type) and issubclass(kind, penstock.ExportError)
    }
    readme = re.search(r"Exit codes: (.*?)\. ", (ROOT / "README.md").read_text(), re.DOTALL)
    assert readme is not None
    told = {int(number) for number in re.findall(r"\b\d+\b", readme[1])}

    assert codes | {0, 143} == told


def test_layers_of_the_architecture_page_are_the_contract() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    page = " ".join((ROOT / "docs" / "architecture.md").read_text().split()).replace("> ", "").replace("`", "")

    assert " ".join(layers) in " ".join(page.split())


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)::(\w+)`", GUARANTEES))
    there = {file: set(re.findall(r"^def (test_\w+)", _source(file), re.MULTILINE)) for file, _ in named}

    assert len(named) > 60
    assert {f"{file}::{test}" for file, test in named if test not in there[file]} == set()


def test_the_guarantees_name_every_incident_that_is_tried() -> None:
    tests = ROOT / "tests"
    tried = {
        f"{path.relative_to(tests)}::{name}"
        for path in tests.rglob("test_incidents*.py")
        for name in re.findall(r"^def (test_incident_\w+)", path.read_text(), re.MULTILINE)
    }

    assert {name for name in tried if f"`{name}`" not in GUARANTEES} == set()


def test_the_guarantees_state_the_size_of_the_proof() -> None:
    table = GUARANTEES[GUARANTEES.index("| | at least |") :].split("\n\n")[0]
    stated = [int(count.replace(",", "")) for count in re.findall(r"\| ([\d,]+) \|$", table, re.MULTILINE)]

    assert stated == [count for kind, count in PROMISED.items() if kind != "steps"]


def _source(file: str) -> str:
    return (ROOT / "tests" / file).read_text()
