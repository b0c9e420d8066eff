"""The roll of a run: which rows it found in a source that proves nothing by itself, in 16 bytes each.

Whoever continues the lineage sees by the rolls of its runs which rows came late, vanished or changed.
``docs/format.md``, "Rolls", is the normative description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from penstock.model import claims

#: An arrival number and a hash, 64 bits each.
RECORD_BYTES = 16


class Growth(StrEnum):
    """On what it rests that rows only come above those that a run has covered."""

    PROVEN = "proven"
    CHECKED = "checked"
    ASSUMED = "assumed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """How many rows a lineage knows of at or below its cursor, and the sum of the hashes of their arrival numbers, 32
    hex digits. A source that holds other rows there has lost some, or got some late."""

    rows: int
    numbers: str

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "numbers": self.numbers}


@dataclass(frozen=True, kw_only=True, slots=True)
class Roll:
    """The file of a run's rows: ``rows`` records of those that it found, then ``gone`` of those that it missed."""

    name: str
    rows: int
    gone: int
    sha256: str

    @property
    def bytes(self) -> int:
        return RECORD_BYTES * (self.rows + self.gone)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "rows": self.rows, "gone": self.gone, "sha256": self.sha256}


def parse_known(raw: Mapping[str, Any]) -> Known:
    """Read what :meth:`Known.to_json` wrote. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    return Known(rows=claims.count(raw["rows"]), numbers=claims.hex_digits(raw["numbers"], 32))


def parse_roll(raw: Mapping[str, Any]) -> Roll:
    """Read what :meth:`Roll.to_json` wrote. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    return Roll(
        name=claims.text(raw["name"]),
        rows=claims.count(raw["rows"]),
        gone=claims.count(raw["gone"]),
        sha256=claims.hex_digits(raw["sha256"], 64),
    )
