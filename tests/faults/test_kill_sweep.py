"""A process that dies at any step of an export leaves the old export, none, or the new one, and the next run is enough.

Every operation is a point: killed before it, after it, and, for a write, in the middle of it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep_requests import FULL, Sweep, share, sweep

_WRITES = None if FULL else 6


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("kill_sweep", "file", least=40),
        sweep("kill_sweep", "file-gzip", least=20, step=share(3)),
        sweep("kill_sweep", "file-parquet", least=20, step=share(2), most_writes=_WRITES),
        sweep("kill_sweep", "file-overwrite", least=50),
        sweep("kill_sweep", "file-overwrite-bare", least=20, step=share(2)),
        sweep("kill_sweep", "directory", least=80),
        sweep("kill_sweep", "directory-strangers", least=25, step=share(3)),
        sweep("kill_sweep", "directory-overwrite", least=80),
        sweep("kill_sweep", "directory-overwrite-all", least=25, step=share(4), most_writes=_WRITES),
    ],
)
def test_a_kill_at_any_step_is_harmless(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("kill_sweep", name, least=10, step=share(4), no_links=True)
        for name in ("file", "file-overwrite", "directory", "directory-overwrite")
    ],
)
def test_a_kill_is_harmless_without_hard_links(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize("wanted", [sweep("kill_sweep", "file-overwrite", least=30, step=share(2), then_plain=True)])
def test_a_plain_run_completes_an_interrupted_replacement(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("double_sweep", "file", least=25, first=share(7), second=share(7, 2)),
        sweep("double_sweep", "file-overwrite", least=25, first=share(7), second=share(11, 3)),
        sweep("double_sweep", "file-overwrite-bare", least=15, first=share(13, 2), second=share(9, 2)),
        sweep("double_sweep", "directory", least=25, first=share(11, 2), second=share(17, 5)),
        sweep("double_sweep", "directory-overwrite", least=25, first=share(11, 2), second=share(17, 5)),
        sweep("double_sweep", "directory-overwrite", least=5, first=share(19, 5), second=share(29, 9), no_links=True),
    ],
)
def test_a_kill_during_the_recovery_is_harmless(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least
