"""How much of the proof is run: ``PENSTOCK_PROOF`` is ``tenth`` (as without it), ``full``, or how many times the full
size. ``PENSTOCK_PROOF_SEED`` is where samples and random histories begin."""

from __future__ import annotations

import os

_WANTED = os.environ.get("PENSTOCK_PROOF", "")
TIMES = {"": 0.1, "tenth": 0.1, "full": 1.0}.get(_WANTED) or float(_WANTED)
FULL = TIMES >= 1
#: Whether this is a run of the whole proof, to be judged by its totals, and not of some tests of it.
JUDGED = _WANTED != "" and TIMES >= 0.1
SEED = int(os.environ.get("PENSTOCK_PROOF_SEED", "0"))


def share(ci: int, full: int = 1) -> int:
    """Every how many points are taken: ``ci``, or in a full proof ``full``, and fewer in a longer one."""
    return max(1, int(full / TIMES)) if FULL else ci
