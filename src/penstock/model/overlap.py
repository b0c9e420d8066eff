"""How far below its cursor a run of a lineage looks again: a number of rows, or a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.errors import UsageError

_TEXT = re.compile(r"(\d{1,15})([smhd]?)\Z", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """So many of the last ``rows``, or those of the last ``micros`` before the newest time; one of the two is set."""

    rows: int | None = None
    micros: int | None = None


def parse_overlap(text: str | int) -> Overlap:
    """Read ``5000``, ``90s``, ``15m``, ``1h`` or ``7d``. Raises :class:`UsageError`."""
    match = _TEXT.match(str(text).strip())
    if match is None or int(match[1]) == 0:
        hint = "write a number of rows, or a time as 90s, 15m, 1h"
        raise UsageError(f"cannot read the overlap {str(text)!r}", hint=hint)
    count = int(match[1])
    return Overlap(micros=count * _SECONDS[match[2]] * _MICROS) if match[2] else Overlap(rows=count)
