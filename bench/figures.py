"""Medians, ratios and spreads out of the figures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

US, FLOOR = "penstock", "floor"
Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long another takes: of medians, and between the extremes of both."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return times(self.value) + (
            "" if self.low == self.high else f" ({times(self.low)[:-1]}–{times(self.high)[:-1]})"
        )


def times(value: float) -> str:
    """A factor with three significant digits at most."""
    return f"{value:.0f}×" if value >= 100 else f"{value:.1f}×" if value >= 10 else f"{value:.2f}×"


def seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def case_of(results: Results, output: str, rows: str = "full") -> Mapping[str, Any] | None:
    """The case of that output and choice of rows, if it was run."""
    found = (case for case in results["cases"] if (case["output"], case["rows"]) == (output, rows))
    return next(found, None)


def values(case: Mapping[str, Any] | None, engine: str, key: str = "wall") -> list[float]:
    """A figure of every run of an engine."""
    return [run[key] for run in case["runs"].get(engine, ())] if case is not None else []


def middle(case: Mapping[str, Any] | None, engine: str, key: str = "wall") -> float | None:
    """The median of a figure of an engine, if it ran."""
    found = values(case, engine, key)
    return median(found) if found else None


def ratio(case: Mapping[str, Any] | None, other: str, to: str = US) -> Ratio | None:
    """Wall time of another as a multiple of ours, if both ran."""
    ours, theirs = values(case, to), values(case, other)
    if not ours or not theirs:
        return None
    return Ratio(median(theirs) / median(ours), min(theirs) / max(ours), max(theirs) / min(ours))


def shares(overhead: Mapping[str, Any]) -> dict[str, float]:
    """Share of wall time that each part of the proofs costs, by the name it was measured under."""
    walls = overhead["walls"]
    if not walls.get("all on"):
        return {}
    base = median(walls["all on"])
    return {name: 1 - median(found) / base for name, found in walls.items() if name != "all on" and found}
