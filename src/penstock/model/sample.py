"""A rotating share of the parts of an export, so that each day reads some of them and all days together every one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from penstock.errors import UsageError
from penstock.model import times

MOST_SHARES = 1000
_TEXT = re.compile(r"(?:(\d{1,4}):)?1/(\d{1,4})\Z", re.ASCII)
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Share number ``share`` (from 1) of ``shares``: of the parts in the order of the manifests, every one whose
    number, counted from 0, is ``share - 1`` modulo ``shares``. Runs that are added to a lineage change no part's share.
    """

    share: int
    shares: int

    def __str__(self) -> str:
        return f"{self.share}:1/{self.shares}"

    def takes(self, number: int) -> bool:
        """Whether the part with this number is in the share."""
        return number % self.shares == self.share - 1


def parse_sample(text: str, *, now: datetime) -> Sample:
    """Read ``1/7``, the share of today in UTC, or ``3:1/7``, the third of seven.

    The share of a day is its number since 1970-01-01 modulo the number of shares, plus 1: any seven days in a row read
    all seven. Raises :class:`UsageError`.
    """
    match = _TEXT.match(text.strip())
    shares = 0 if match is None else int(match[2])
    share = 0 if match is None else int(match[1]) if match[1] else times.to_micros(now) // _DAY % max(shares, 1) + 1
    if not 1 <= share <= shares <= MOST_SHARES:
        raise UsageError(
            f"cannot read the sample {text!r}",
            hint=f"write 1/7 for today's seventh, 3:1/7 for the third of seven; at most 1/{MOST_SHARES}",
        )
    return Sample(share, shares)
