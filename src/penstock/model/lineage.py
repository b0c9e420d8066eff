"""A run's place in an incremental export: which stretch of arrival order it covers, and which run it follows.

The runs of a lineage form a chain: each names its predecessor by the digest of its manifest, and begins where that one
ended. ``docs/format.md``, "Lineages", is the normative description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RUN_NAME = re.compile(r"run-(\d{6,12})\.manifest\.json\Z")
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """The last event that a run's stretch held in the store: what tells a store from another or an older one."""

    seq: int
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """Run number ``run`` (from 1) covers ``after < seq <= upto``.

    ``previous`` is the ``manifest_sha256`` of the run before, ``None`` for the first. ``store`` identifies the store
    (its own random id, or a digest of what an adopted table is). ``anchor`` is the last event at or below ``upto`` when
    the run was made, ``None`` if there was none yet.
    """

    run: int
    previous: str | None
    after: int
    upto: int
    store: str
    anchor: Anchor | None

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "previous": self.previous,
            "after": self.after,
            "upto": self.upto,
            "store": self.store,
            "anchor": None if self.anchor is None else {"seq": self.anchor.seq, "id": self.anchor.id},
        }


def parse_lineage(raw: Mapping[str, Any]) -> Lineage:
    """Read the ``lineage`` member of a manifest. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    run, after, upto = (_integer(raw[name]) for name in ("run", "after", "upto"))
    previous, anchor = raw["previous"], raw["anchor"]
    if run < 1 or upto < after or (previous is None) is not (run == 1):
        raise ValueError("the run's number, stretch and predecessor do not fit together")
    if previous is not None and not (isinstance(previous, str) and _HEX64.match(previous)):
        raise ValueError("previous is not a digest")
    return Lineage(
        run=run,
        previous=previous,
        after=after,
        upto=upto,
        store=str(raw["store"]),
        anchor=None if anchor is None else Anchor(seq=_integer(anchor["seq"]), id=str(anchor["id"])),
    )


def run_name(run: int) -> str:
    """File name of a run's manifest."""
    return f"run-{run:06d}.manifest.json"


def run_number(name: str) -> int | None:
    """The run whose manifest has this file name, or ``None`` if it is no run's name."""
    match = _RUN_NAME.match(name)
    if match is None or run_name(int(match[1])) != name:
        return None
    return int(match[1])


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"not an integer: {value!r}")
    return value
