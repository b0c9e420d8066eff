"""What a run of maintenance did to the runs before it: parts that it removed, and manifests that it does without.

Both stand in the ``lineage`` member of a manifest. ``docs/format.md``, "Maintenance", is the normative description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.model import claims


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """A part that a run before names and that the lineage does not hold any more: what it was, and why it went."""

    name: str
    rows: int
    bytes: int
    sha256: str
    rows_digest: str
    why: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "rows_digest": self.rows_digest,
            "why": self.why,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Waived:
    """A run whose manifest was lost. ``manifest_sha256`` is what the run behind it knows it by, if it does. ``rows``
    and ``rows_digest`` are of what was read again in its place, and lies in the parts of the run ``by``."""

    run: int
    manifest_sha256: str | None
    rows: int
    rows_digest: str
    by: int
    why: str

    def to_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "manifest_sha256": self.manifest_sha256,
            "rows": self.rows,
            "rows_digest": self.rows_digest,
            "by": self.by,
            "why": self.why,
        }


def parse_removed(raw: Mapping[str, Any]) -> Removed:
    """Read what :meth:`Removed.to_json` wrote. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    return Removed(
        name=claims.text(raw["name"]),
        rows=claims.count(raw["rows"]),
        bytes=claims.count(raw["bytes"]),
        sha256=claims.hex_digits(raw["sha256"], 64),
        rows_digest=claims.hex_digits(raw["rows_digest"], 32),
        why=claims.text(raw["why"]),
    )


def parse_waived(raw: Mapping[str, Any]) -> Waived:
    """Read what :meth:`Waived.to_json` wrote. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    digest = raw["manifest_sha256"]
    return Waived(
        run=claims.count(raw["run"]),
        manifest_sha256=None if digest is None else claims.hex_digits(digest, 64),
        rows=claims.count(raw["rows"]),
        rows_digest=claims.hex_digits(raw["rows_digest"], 32),
        by=claims.count(raw["by"]),
        why=claims.text(raw["why"]),
    )
