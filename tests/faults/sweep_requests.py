"""What the test files ask of the crash servers; how much of it is in ``proof_size``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from proof_size import FULL, share

__all__ = ["FULL", "Sweep", "share", "sweep"]


@dataclass(frozen=True)
class Sweep:
    """A sweep to run: its function's name, the scenario, and its arguments. ``least`` faults have to be in it."""

    sweep: str
    scenario: str
    arguments: tuple[tuple[str, Any], ...] = ()
    least: int = 1

    @property
    def sampled(self) -> bool:
        """Whether not every point is taken."""
        strides = ("step", "first", "second")
        given = dict(self.arguments)
        return any(given.get(name, 1) > 1 for name in strides) or any(
            given.get(name) for name in ("most", "most_writes")
        )


def sweep(function: str, scenario: str, *, least: int = 1, **arguments: Any) -> Any:
    """A test parameter with a readable name."""
    wanted = Sweep(function, scenario, tuple(arguments.items()), least)
    given = {key: value for key, value in arguments.items() if value not in (None, False)}
    flags = [key if value is True else f"{key}={value}" for key, value in given.items()]
    return pytest.param(wanted, id="-".join([scenario, *flags]))
