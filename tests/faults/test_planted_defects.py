"""The proof of the proofs: with a defect planted in the protocol, the sweep that is there for it has to turn red, and
for the right reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crash_defects import DEFECTS
from sweep_requests import Sweep, sweep

#: Defect, the sweep that sees it, and words of what it says.
_CAUGHT: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("no-pending-manifest", "kill_sweep", "file", "the next run refused", {"step": 2}),
    ("no-pending-manifest", "order_check", "file", "before the manifest was staged", {}),
    ("manifest-first", "kill_sweep", "file", "is not what the manifest names: missing", {"step": 2}),
    ("no-withdrawal", "kill_sweep", "file-overwrite", "is not what the manifest names", {"step": 2}),
    ("data-not-synced", "order_check", "file", "before its bytes were durable", {}),
    (
        "data-not-synced",
        "power_sweep",
        "file",
        "is neither the old file",
        {"most": 8, "step": 4},
    ),
    ("names-not-synced", "order_check", "directory", "the commit came before the names", {}),
    ("names-not-synced", "power_sweep", "file-overwrite", "is not what the manifest names", {"most": 8, "step": 3}),
    ("new-directory-not-synced", "order_check", "directory", "new directory was never made durable", {}),
    ("new-directory-not-synced", "power_sweep", "directory", "was acknowledged", {"most": 8, "step": 1000}),
    ("written-in-place", "kill_sweep", "file", "is neither the old file nor the new one", {"step": 2}),
    ("old-parts-first", "kill_sweep", "directory-overwrite", "is not what the manifest names: missing", {"step": 2}),
    ("manifest-in-place", "kill_sweep", "file", "the manifest is neither the old nor the new one", {}),
    ("recovery-forgets", "kill_sweep", "directory", "the next run refused", {"step": 2}),
    ("recovery-forgets", "kill_sweep", "file-overwrite", "the none export is there", {"step": 2, "then_plain": True}),
    (
        "recovery-without-sync",
        "power_in_recovery_sweep",
        "file-overwrite",
        "is not what",
        {"most": 16, "at": "unlink out"},
    ),
    ("recovery-sweeps-all", "kill_sweep", "directory-strangers", "the foreign file", {"step": 20}),
    ("rename-over", "intruder_sweep", "file", "the foreign file was changed", {}),
    ("short-writes-ignored", "short_write_sweep", "file", "is not what the manifest names", {}),
    ("fsync-tried-again", "error_sweep", "file", "an fsync was tried again", {"codes": ("EIO",)}),
    ("failure-leaves-all", "error_sweep", "directory", "was left behind", {"codes": ("ENOSPC",)}),
]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        pytest.param(*sweep(function, scenario, defect=defect, **more).values, said, id=f"{defect}-{function}")
        for defect, function, scenario, said, more in _CAUGHT
    ],
)
def test_a_planted_defect_is_seen(wanted: Sweep, said: str, counted: Callable[[Sweep], dict[str, Any]]) -> None:
    wrong = counted(wanted)["wrong"]
    assert any(said in text for text in wrong), wrong[:5]


def test_every_defect_is_caught_by_something() -> None:
    assert {defect for defect, *_ in _CAUGHT} == set(DEFECTS)
    assert len(DEFECTS) >= 15
