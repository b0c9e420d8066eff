"""What the fault tests share: servers that run the sweeps, and what these say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import pytest
from sweep_requests import Sweep

from penstock.testing.forks import QUIET
from proof_ledger import Kind, Ledger

_SERVER = Path(__file__).with_name("crash_server.py")
_SERVERS = 2
#: What a sweep's faults count as.
_KINDS: dict[str, Kind] = {
    "kill_sweep": "crash points",
    "double_sweep": "double crashes",
    "error_sweep": "operation faults",
    "short_write_sweep": "operation faults",
    "interrupt_sweep": "interrupts",
    "intruder_sweep": "names taken by others",
    "power_sweep": "power losses",
    "power_in_recovery_sweep": "power losses",
    "order_check": "orders checked",
    "lineage_error_sweep": "operation faults",
    "lineage_short_write_sweep": "operation faults",
    "lineage_order_check": "orders checked",
    "lineage_power_sweep": "power losses",
}


class _Server:
    """One process that forks."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **QUIET},
        )

    def ask(self, wanted: Sweep, root: Path) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in wanted.arguments}
        request = {"sweep": wanted.sweep, "name": wanted.scenario, "root": str(root), "arguments": arguments}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the crash server ended"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        count: dict[str, Any] = answer["count"]
        return count

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="session")
def _pending(request: pytest.FixtureRequest) -> Iterator[dict[Sweep, Any]]:
    """Every sweep that was selected, begun in order on the servers. They work in memory where that can be: what a real
    disk does is in the model of it, and in the tests of the command."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    wanted = [
        cast(Sweep, item.callspec.params["wanted"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "wanted" in item.callspec.params
    ]
    scratch = tempfile.TemporaryDirectory(prefix="penstock-sweep-", dir=memory)
    idle: SimpleQueue[_Server] = SimpleQueue()
    servers = [_Server() for _ in range(_SERVERS)]
    for server in servers:
        idle.put(server)

    def run(one: Sweep) -> dict[str, Any]:
        server = idle.get()
        try:
            with tempfile.TemporaryDirectory(dir=scratch.name) as root:
                return server.ask(one, Path(root) / "stage")
        finally:
            idle.put(server)

    with scratch, ThreadPoolExecutor(_SERVERS) as pool:
        futures: dict[Sweep, Future[dict[str, Any]]] = {one: pool.submit(run, one) for one in dict.fromkeys(wanted)}
        yield futures
        for future in futures.values():
            future.cancel()
    for server in servers:
        server.stop()


@pytest.fixture
def enter(ledger: Ledger) -> Callable[..., None]:
    """Put the outcome of a sweep into the table; fails unless every fault fired and left everything right."""

    def put(sweep: str, count: Mapping[str, Any], *, least: int, sampled: bool) -> None:
        numbers = {name: count[name] for name in ("planned", "fired", "passed")}
        ledger.add(count["name"], _KINDS[sweep], **numbers, sampled=sampled, wrong=count["wrong"])
        assert not count["wrong"], "\n".join(count["wrong"][:20])
        assert least <= count["planned"] == count["fired"] == count["passed"]

    return put


@pytest.fixture
def counted(_pending: dict[Sweep, Any]) -> Callable[[Sweep], dict[str, Any]]:
    """The outcome of a sweep, which has to have fired as many faults as it planned."""

    def wait(wanted: Sweep) -> dict[str, Any]:
        count: dict[str, Any] = _pending[wanted].result()
        assert wanted.least <= count["planned"] == count["fired"]
        return count

    return wait


@pytest.fixture
def proven(_pending: dict[Sweep, Any], enter: Callable[..., None]) -> Callable[[Sweep], int]:
    """How many faults of the sweep were passed. Fails unless every one of them fired and left everything right."""

    def check(wanted: Sweep) -> int:
        count = _pending[wanted].result()
        enter(wanted.sweep, count, least=wanted.least, sampled=wanted.sampled)
        return int(count["passed"])

    return check
