"""What is missing from a destination, or looks as if it were: the findings of ``gaps``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from penstock.model import times


class GapKind(StrEnum):
    """What kind of gap it is. All but ``quiet`` are proof that something is missing, or not as it was written."""

    #: Runs whose manifests are not there.
    MISSING_RUN = "missing_run"
    #: A manifest that cannot be read, is not its own, contradicts itself, or is of another lineage.
    BAD_MANIFEST = "bad_manifest"
    #: A run whose predecessor is not the run before it.
    PREDECESSOR = "predecessor"
    #: Arrival numbers between two neighbouring runs that neither covers.
    SEQ_GAP = "seq_gap"
    #: Arrival numbers that two runs cover.
    SEQ_OVERLAP = "seq_overlap"
    #: A part that is not there, or has another size than its manifest says.
    MISSING_PART = "missing_part"
    #: Whole hours or days without an event, between others with events.
    QUIET = "quiet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """One gap of the export at ``place``, with what is known of it.

    ``runs`` are first and last number, both inclusive. ``seq`` is a stretch of arrival order: above the first number,
    up to the second; the first is ``None`` where nothing tells it. ``time`` is a span of event time in microseconds,
    for ``quiet`` half-open and on the bounds of windows, for a part its first and last event. ``part`` is its name.
    """

    kind: GapKind
    place: Path | str
    message: str
    runs: tuple[int, int] | None = None
    seq: tuple[int | None, int] | None = None
    time: tuple[int, int] | None = None
    part: str | None = None

    @property
    def suspicious(self) -> bool:
        """Whether it may be no gap at all, but a time when nothing happened."""
        return self.kind is GapKind.QUIET

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """``time`` as aware datetimes in UTC."""
        return None if self.time is None else (times.from_micros(self.time[0]), times.from_micros(self.time[1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class GapsResult:
    """What ``gaps`` found at the exports it looked at. ``notes`` are sentences for a person."""

    places: tuple[Path | str, ...]
    runs: int
    parts: int
    event_count: int
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is missing; there may be suspicious windows."""
        return all(gap.suspicious for gap in self.gaps)
