"""A run's place in an incremental export: which stretch of arrival order it covers, which run it follows, and by which
rows the next run sees that the store still holds what this one claims.

The runs of a lineage form a chain: each names its predecessor by the digest of its manifest, and begins where that one
ended, unless the store could not prove that end any more. ``docs/format.md``, "Lineages", is the normative description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from penstock.model import claims
from penstock.model.arrival import Arrival, arrival_json, parse_arrival
from penstock.model.maintenance import Removed, Waived, parse_removed, parse_waived
from penstock.model.roll import Known, Roll, parse_known, parse_roll

#: Where the manifests and the sums of a lineage's runs lie.
RUNS = "_penstock/runs/"
_RUN_NAME = re.compile(rf"{RUNS}(\d{{6,12}})\.(?:json|sha256)\Z", re.ASCII)
_ROLL_NAME = re.compile(rf"{RUNS}(\d{{6,12}})(|-[0-9a-f]{{12}})\.roll\Z", re.ASCII)
#: How many rows before the last one at or below a cursor its anchors stand: at most 16 of them.
ROWS_BACK = (0, *(1 << power for power in range(15)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """A row that stood at or below a cursor. ``key`` is the event's id, ``digest`` its events digest in the run's
    columns; both are ``None`` for a row that was no event."""

    seq: Arrival
    key: str | None
    digest: str | None

    def to_json(self) -> dict[str, Any]:
        return {**arrival_json(self.seq), "key": self.key, "digest": self.digest}


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """That the store did not prove any more where the run before ended: ``cursor`` is that end, ``why`` a sentence."""

    cursor: Arrival
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What a lineage holds with a run: the number of its parts, their bytes and rows, and 32 hex digits over the names
    and sizes of all. Names and sizes that lie there and do not add up to this tell of a missing part."""

    parts: int
    bytes: int
    rows: int
    names: str

    def to_json(self) -> dict[str, Any]:
        return {"parts": self.parts, "bytes": self.bytes, "rows": self.rows, "names": self.names}


NO_TOTALS = Totals(parts=0, bytes=0, rows=0, names="0" * 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """Run number ``run`` (from 1) covers ``after < seq <= upto``.

    ``previous`` is the ``manifest_sha256`` of the run before, ``None`` for the first. ``store`` identifies the store
    (its own random id, or a digest of what an adopted table is). ``anchors`` are rows at or below ``upto``, the newest
    first. ``deletions`` is how many the store had counted, ``None`` where it counts none. ``reached`` is the highest
    ``upto`` of this run and those before: up to there the lineage may hold rows above ``after``, which are not held
    twice. With ``broken`` the run begins at an older proven row than where the run before ended. ``totals`` are of the
    parts that the lineage holds with this run. ``removed`` are parts of runs before that it holds no more. ``waived``
    are all runs, of this and those before, whose manifests were lost. ``known`` says of which rows the lineage knows at
    or below ``upto``, and ``roll`` where those lie that this run found; ``None`` where the growing is not checked.
    ``compared`` is by how many of its first columns, those of run 1, a row is compared with others.
    ``accepted`` is the store of the run before, where ``store`` was accepted in its place.
    """

    run: int
    previous: str | None
    after: Arrival
    upto: Arrival
    store: str
    anchors: tuple[Anchor, ...] = ()
    deletions: int | None = None
    reached: Arrival
    broken: Break | None = None
    totals: Totals = NO_TOTALS
    removed: tuple[Removed, ...] = ()
    waived: tuple[Waived, ...] = ()
    known: Known | None = None
    roll: Roll | None = None
    accepted: str | None = None
    compared: int = 0

    @property
    def follows(self) -> Arrival:
        """The ``upto`` of the run before, as this one tells it."""
        return self.after if self.broken is None else self.broken.cursor

    def to_json(self) -> dict[str, Any]:
        broken = self.broken
        return {
            "run": self.run,
            "previous": self.previous,
            "after": arrival_json(self.after),
            "upto": arrival_json(self.upto),
            "store": self.store,
            "accepted": self.accepted,
            "anchors": [anchor.to_json() for anchor in self.anchors],
            "compared": self.compared,
            "deletions": self.deletions,
            "reached": arrival_json(self.reached),
            "broken": None if broken is None else {"cursor": arrival_json(broken.cursor), "why": broken.why},
            "totals": self.totals.to_json(),
            "removed": [part.to_json() for part in self.removed],
            "waived": [run.to_json() for run in self.waived],
            "known": None if self.known is None else self.known.to_json(),
            "roll": None if self.roll is None else self.roll.to_json(),
        }


def parse_lineage(raw: Mapping[str, Any]) -> Lineage:
    """Read the ``lineage`` member of a manifest. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    run, previous, broken = claims.integer(raw["run"]), raw["previous"], raw["broken"]
    found = Lineage(
        run=run,
        previous=previous,
        after=parse_arrival(raw["after"]),
        upto=parse_arrival(raw["upto"]),
        store=str(raw["store"]),
        accepted=None if raw["accepted"] is None else str(raw["accepted"]),
        anchors=tuple(_anchor(anchor) for anchor in raw["anchors"]),
        compared=claims.count(raw["compared"]),
        deletions=None if raw["deletions"] is None else claims.integer(raw["deletions"]),
        reached=parse_arrival(raw["reached"]),
        broken=None if broken is None else Break(cursor=parse_arrival(broken["cursor"]), why=str(broken["why"])),
        totals=_totals(raw["totals"]),
        removed=tuple(parse_removed(part) for part in raw["removed"]),
        waived=tuple(parse_waived(lost) for lost in raw["waived"]),
        known=None if raw["known"] is None else parse_known(raw["known"]),
        roll=None if raw["roll"] is None else parse_roll(raw["roll"]),
    )
    if run < 1 or (previous is None) is not (run == 1) or (broken is not None and run == 1):
        raise ValueError("the run's number and predecessor do not fit together")
    if previous is not None:
        claims.hex_digits(previous, 64)
    if not found.after <= found.upto <= found.reached or found.follows < found.after:
        raise ValueError("the run's stretch runs backwards")
    places = [anchor.seq for anchor in found.anchors]
    disordered = any(one <= other for one, other in pairwise(places)) or any(place > found.upto for place in places[:1])
    if len(places) > len(ROWS_BACK) or disordered:
        raise ValueError("the anchors are too many, above the cursor or in no order")
    if any(not lost.run < lost.by <= run for lost in found.waived):
        raise ValueError("a run is waived by one that is not behind it")
    if found.roll is not None and (found.known is None or run_of_roll(found.roll.name) != run):
        raise ValueError("the roll is not that of the run")
    return found


def _anchor(raw: Mapping[str, Any]) -> Anchor:
    key, digest = raw["key"], raw["digest"]
    if (key is None) is not (digest is None):
        raise ValueError("an anchor has a key or a digest alone")
    if digest is not None:
        claims.text(key), claims.hex_digits(digest, 32)
    return Anchor(seq=parse_arrival(raw), key=key, digest=digest)


def _totals(raw: Mapping[str, Any]) -> Totals:
    counts = {name: claims.count(raw[name]) for name in ("parts", "bytes", "rows")}
    return Totals(**counts, names=claims.hex_digits(raw["names"], 32))


def run_name(run: int) -> str:
    """Where a run's manifest lies."""
    return f"{RUNS}{run:06d}.json"


def sums_name(run: int) -> str:
    """Where the sums of a run's parts lie."""
    return f"{RUNS}{run:06d}.sha256"


def roll_name(run: int, apart: str = "") -> str:
    """Where a run's roll lies; ``apart`` is what tells it from that of another attempt: ``-`` and 12 hex digits."""
    return f"{RUNS}{run:06d}{apart}.roll"


def run_of_roll(name: str) -> int | None:
    """The run whose roll lies there, or ``None`` if none can."""
    match = _ROLL_NAME.match(name)
    if match is None or roll_name(int(match[1]), match[2]) != name:
        return None
    return int(match[1])


def run_number(name: str, *, naming: Callable[[int], str] = run_name) -> int | None:
    """The run whose manifest, or what else ``naming`` names, lies there, or ``None`` if it is no run's."""
    match = _RUN_NAME.match(name)
    if match is None or naming(int(match[1])) != name:
        return None
    return int(match[1])
