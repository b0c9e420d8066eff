"""Standard output and error that nobody reads, that are closed or full: the right exit code, and never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import sample_events
from penstock import SqliteAnalyticsStorage, export, verify
from penstock_command import PENSTOCK

VERBS = {
    "inspect events.db": 0,
    "diff a.csv events.db": 4,
    "diff a.csv events.db --json": 4,
    "verify a.csv --json": 0,
    "gaps runs --json": 0,
    "export --help": 0,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, an export that lacks rows of it, and a lineage."""
    root = tmp_path_factory.mktemp("output")
    with SqliteAnalyticsStorage(root / "events.db") as store:
        store.append(sample_events.varied(3000)[:10])
        export(root / "events.db", root / "a.csv")
        store.append(sample_events.varied(3000)[10:])
    export(root / "events.db", root / "runs", incremental=True)
    return root


def told(verb: str, into: str, place: Path) -> tuple[int, str]:
    """Exit code and standard error of the command with its output led elsewhere by a shell."""
    script = f"{{ {' '.join(PENSTOCK)} {verb} 2>said; echo $? >code; }} {into}"
    subprocess.run(["bash", "-c", script], cwd=place, check=False, timeout=60)
    said = (place / "said").read_text()
    assert "Traceback" not in said
    return int((place / "code").read_text()), said


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_is_gone_is_told_by_the_exit_code_of_every_verb(verb: str, place: Path) -> None:
    assert told(verb, "| (exec 0<&-; sleep 20)", place) == (141, "")


@pytest.mark.parametrize("verb", VERBS)
def test_output_that_is_closed_is_no_failure(verb: str, place: Path) -> None:
    assert told(verb, ">&-", place)[0] == VERBS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_output_that_is_full_is_said_to_be(verb: str, place: Path) -> None:
    code, said = told(verb, ">/dev/full", place)
    assert code == 5
    assert "No space left on device" in said


@pytest.mark.parametrize("into", ["2>/dev/full", "2> >(exec 0<&-; sleep 5)", "2>&-"])
def test_talk_that_nobody_hears_changes_nothing(into: str, place: Path, tmp_path: Path) -> None:
    """What is committed is done, whoever was to hear of it."""
    script = f"{' '.join(PENSTOCK)} export {place / 'events.db'} a.ndjson {into}; echo $?"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert done.stdout.split() == [b"0"]
    assert verify(tmp_path / "a.ndjson").ok
