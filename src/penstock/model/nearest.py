"""What is said where a name is not known: the nearest one that is, and a list of them that stays short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_SHOWN = 40
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def folded(name: str) -> str:
    """A name as SQL compares it: ASCII letters without case, all others as they are."""
    return name.translate(_ASCII_LOWER)


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first forty of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def nearest(name: str, names: Iterable[str]) -> str:
    """``did you mean 'x'? `` where a name is near, else nothing."""
    by_folded = {folded(known): known for known in names}
    near = get_close_matches(folded(name), by_folded, n=1)
    return f"did you mean {by_folded[near[0]]!r}? " if near else ""
