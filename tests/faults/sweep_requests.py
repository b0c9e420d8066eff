"""What the test files ask of the crash servers, and how much of it.

``PENSTOCK_PROOF=full`` takes every point; without it a fixed share of them is taken, so that a run ends in minutes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

FULL = os.environ.get("PENSTOCK_PROOF") == "full"


@dataclass(frozen=True)
class Sweep:
    """A sweep to run: its function's name, the scenario, and its arguments. ``least`` faults have to be in it."""

    sweep: str
    scenario: str
    arguments: tuple[tuple[str, Any], ...] = ()
    least: int = 1


def sweep(function: str, scenario: str, *, least: int = 1, **arguments: Any) -> Any:
    """A test parameter with a readable name."""
    wanted = Sweep(function, scenario, tuple(arguments.items()), least)
    given = {key: value for key, value in arguments.items() if value not in (None, False)}
    flags = [key if value is True else f"{key}={value}" for key, value in given.items()]
    return pytest.param(wanted, id="-".join([scenario, *flags]))


def share(ci: int, full: int = 1) -> int:
    """Every how many points are taken: ``ci``, or in a full proof every one, or as many as ``full`` says."""
    return full if FULL else ci
