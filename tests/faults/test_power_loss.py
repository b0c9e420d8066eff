"""What a disk holds after a power failure, at any moment of an export or of a recovery, is as good as after a kill;
and an export that was acknowledged is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep_requests import FULL, Sweep, share, sweep

_MOST = 96 if FULL else 12
_SCENARIOS = ("file", "file-overwrite", "file-overwrite-bare", "directory", "directory-overwrite")


@pytest.mark.parametrize(
    "wanted", [sweep("order_check", name) for name in (*_SCENARIOS, "directory-strangers", "directory-overwrite-all")]
)
def test_what_is_built_upon_is_durable_first(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted", [sweep("order_check", name, no_links=True) for name in ("file", "file-overwrite", "directory")]
)
def test_the_order_holds_without_hard_links(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize("wanted", [sweep("lineage_order_check", name) for name in ("first", "later", "empty")])
def test_a_run_is_durable_before_it_counts(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("lineage_power_sweep", "first", least=15, most=_MOST, step=share(9)),
        sweep("lineage_power_sweep", "later", least=15, most=_MOST, step=share(6)),
    ],
)
def test_a_power_loss_while_a_run_is_added(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted", [sweep("power_sweep", name, least=15, most=_MOST, step=share(3)) for name in _SCENARIOS]
)
def test_a_power_loss_at_any_moment_is_harmless(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("power_in_recovery_sweep", name, least=5, most=min(_MOST, 32), first=share(2), step=share(8, 6))
        for name in _SCENARIOS
    ],
)
def test_a_power_loss_during_the_recovery_is_harmless(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least
