"""A run of a lineage that dies or fails at any operation is committed whole or not at all, and the next run is enough.

Afterwards every event of the store is in exactly one run, nothing is left behind, and the sums cover every part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sweep_requests import share

from penstock.testing.forks import QUIET

_PROGRAM = Path(__file__).with_name("lineage_sweeps.py")
Prove = Callable[..., int]


@pytest.fixture
def proven(enter: Callable[..., None]) -> Prove:
    """Run a sweep in a process of its own, and say how many faults it passed; fails unless every one fired and left
    everything right."""

    def prove(sweep: str, name: str, *, least: int, **arguments: Any) -> int:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="penstock-lineage-", dir=memory) as place:
            request = {"sweep": sweep, "name": name, "root": f"{place}/stage", "arguments": arguments}
            done = subprocess.run(
                [sys.executable, str(_PROGRAM), json.dumps(request)],
                capture_output=True,
                text=True,
                env={**os.environ, **QUIET},
                check=False,
            )
        assert done.returncode == 0, done.stderr
        answer: Mapping[str, Any] = json.loads(done.stdout)
        assert "error" not in answer, answer["error"]
        sampled = any(arguments.get(name, 1) > 1 for name in ("step", "first", "second"))
        enter(sweep, answer["count"], least=least, sampled=sampled)
        return int(answer["count"]["passed"])

    return prove


@pytest.mark.parametrize(("name", "step"), [("first", 4), ("later", 4), ("empty", 2), ("partitioned", 5)])
def test_a_kill_at_any_step_of_a_run_is_harmless(name: str, step: int, proven: Prove) -> None:
    assert proven("kill_sweep", name, least=15, step=share(step)) >= 15


@pytest.mark.parametrize("name", ["first", "later"])
def test_a_kill_of_a_run_is_harmless_without_hard_links(name: str, proven: Prove) -> None:
    assert proven("kill_sweep", name, least=8, step=share(9), no_links=True) >= 8


@pytest.mark.parametrize("name", ["first", "later", "partitioned"])
def test_a_kill_during_the_recovery_of_a_run_is_harmless(name: str, proven: Prove) -> None:
    assert proven("double_sweep", name, least=8, first=share(13, 3), second=share(37, 5)) >= 8


@pytest.mark.parametrize("name", ["first", "later", "empty", "partitioned"])
def test_a_full_disk_at_any_operation_of_a_run(name: str, proven: Prove) -> None:
    assert proven("error_sweep", name, least=9, step=share(2)) >= 9


@pytest.mark.parametrize("how", [{"late": True}, {"lasting": True}, {"no_links": True}], ids=str)
def test_a_disk_that_fails_in_other_ways(how: dict[str, bool], proven: Prove) -> None:
    assert proven("error_sweep", "later", least=9, step=share(3), **how) >= 9
