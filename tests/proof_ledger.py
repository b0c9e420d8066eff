"""What a proof run did: how many faults each suite planned, how many fired, how many left everything right.

The table at the end is printed from here, and the run is judged by it: a fault that did not fire proves nothing, and a
run that is smaller than what is promised is not the proof.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from proof_size import SEED, TIMES

Kind = Literal[
    "crash points",
    "double crashes",
    "SIGKILLs in system calls",
    "worker kills",
    "operation faults",
    "power losses",
    "interrupts",
    "names taken by others",
    "orders checked",
    "full disks",
    "races",
    "deaths resumed",
    "histories",
    "steps",
    "of these",
]
#: What the full proof has at least. A double crash is a crash point too.
PROMISED: dict[Kind, int] = {
    "crash points": 5_000,
    "double crashes": 500,
    "SIGKILLs in system calls": 200,
    "worker kills": 200,
    "operation faults": 1_000,
    "histories": 500,
    "steps": 500 * 40,
}
_VERDICTS = {
    "lost": r"is gone|is missing|FileNotFoundError|was acknowledged|no manifest, although|the none export"
    r"|next run (refused|failed)",
    "duplicated": r"twice|duplicate",
    "torn": r"is not what the manifest names|neither the old|is not whole|not those of a stretch|of another export"
    r"|^verify:| verify: ",
}
_UNION = re.compile(r"is (\d+) events, not the (\d+)")


@dataclass(frozen=True)
class Line:
    """One suite. ``sampled`` says that it took some of the points, chosen by the seed, and not every one."""

    suite: str
    kind: Kind
    planned: int
    fired: int
    passed: int
    sampled: bool
    wrong: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return 0 < self.planned == self.fired == self.passed and not self.wrong


@dataclass
class Ledger:
    """Every suite of this run, and the planted defects with what caught each."""

    lines: list[Line] = field(default_factory=list)
    planted: dict[str, list[str]] = field(default_factory=dict)
    caught: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self,
        suite: str,
        kind: Kind,
        *,
        planned: int,
        fired: int,
        passed: int,
        sampled: bool = False,
        wrong: Sequence[str] = (),
    ) -> None:
        self.lines.append(Line(suite, kind, planned, fired, passed, sampled, tuple(wrong)))

    def defect(self, name: str, by: str, *, caught: bool) -> None:
        """A planted defect was put to a check."""
        self.planted.setdefault(name, []).append(by)
        if caught:
            self.caught.setdefault(name, []).append(by)

    def totals(self) -> Counter[Kind]:
        """Faults that fired and left everything right, by kind."""
        counts: Counter[Kind] = Counter()
        for line in self.lines:
            counts[line.kind] += line.passed
        counts["crash points"] += counts["double crashes"]
        return counts

    def verdicts(self) -> Counter[str]:
        """How often something was lost, duplicated, torn, or wrong in another way."""
        counts: Counter[str] = Counter()
        for text in (text for line in self.lines for text in line.wrong):
            counts[_verdict(text)] += 1
        return counts

    def shortfalls(self) -> list[str]:
        """Why this run is not the proof, as far as its size and its suites tell."""
        if not self.lines:
            return []
        totals = self.totals()
        wanted = {kind: int(least * min(TIMES, 1)) for kind, least in PROMISED.items()}
        short = [
            f"{kind}: {totals[kind]}, promised are {least}" for kind, least in wanted.items() if totals[kind] < least
        ]
        return short + [
            f"{line.suite}: planned {line.planned}, fired {line.fired}, passed {line.passed}"
            for line in self.lines
            if not line.holds
        ]

    def table(self) -> list[str]:
        """The suites, one a line."""
        if not self.lines:
            return []
        width = max(len(line.suite) for line in self.lines)
        rows = [f"{'suite':{width}}  {'':24}  {'seed':>5}  {'planned':>7} = {'fired':>6} = {'passed':>6}"]
        for line in self.lines:
            seed = str(SEED) if line.sampled else "all"
            counts = f"{line.planned:7,} = {line.fired:6,} = {line.passed:6,}"
            rows.append(f"{line.suite:{width}}  {line.kind:24}  {seed:>5}  {counts}")
        return rows

    def summary(self) -> list[str]:
        """The totals, and what was lost, duplicated or torn."""
        totals, verdicts = self.totals(), self.verdicts()
        kinds = dict.fromkeys((*PROMISED, *(line.kind for line in self.lines if line.kind != "of these")))
        rows = [f"{totals[kind]:9,} {kind}" for kind in kinds]
        said = ", ".join(f"{verdicts[name]} {name}" for name in _VERDICTS)
        return [*rows, said + (f", {verdicts['other']} wrong in another way" if verdicts["other"] else "")]


def _verdict(text: str) -> str:
    union = _UNION.search(text)
    if union is not None:
        return "lost" if int(union[1]) < int(union[2]) else "duplicated"
    return next((name for name, pattern in _VERDICTS.items() if re.search(pattern, text)), "other")
