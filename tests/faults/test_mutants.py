"""Files that chance damaged, ten thousand of each format at full size: none ends the process that reads it with a
signal or a traceback, or makes it large. ``make mutants`` runs all of them; here are a few hundred."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mutant_watch import Outcome, watch
from mutants import FORMATS, Mutants, whole_files

from proof_size import SEED, TIMES

#: Of these a fifth are foreign files, which are only loaded: 10,000 are left for all verbs.
_FULL = 12_500
_COUNT = int((_FULL if TIMES >= 1 else 3_000) * TIMES)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mutants") / "whole"
    whole_files(made)
    return made


@pytest.fixture(scope="module")
def totals() -> Iterator[list[Outcome]]:
    found: list[Outcome] = []
    yield found
    total = Outcome(sum(one.files for one in found))
    for one in found:
        total.signals += one.signals
        total.tracebacks += one.tracebacks
        total.above += one.above
    print(f"\n{total}")


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_files_are_read_without_harm(format: str, place: Path, totals: list[Outcome]) -> None:
    outcome = watch(place, format, SEED, _COUNT)
    totals.append(outcome)
    print(f"\n{format}: {outcome}")
    assert outcome.files == _COUNT
    assert not outcome.wrong, "\n".join(outcome.wrong[:20])


@pytest.mark.parametrize("format", FORMATS)
def test_mutants_are_the_same_again_and_differ_from_what_they_come_from(format: str, place: Path) -> None:
    one, other = (Mutants(place, format, 7) for _ in range(2))
    whole = {path.read_bytes() for path in (*(place / "own").iterdir(), *(place / "foreign").iterdir())}
    found = [one.make(number) for number in range(50)]
    assert found == [other.make(number) for number in range(50)]
    assert len({mutant.content for mutant in found} - whole) > 45
