"""What the fault tests share: servers that run the sweeps, the command in a process of its own, and the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import pytest
from sweep_requests import FULL, Sweep, share

from penstock.testing.forks import QUIET

_SERVER = Path(__file__).with_name("crash_server.py")
_SERVERS = 2
_LINES = pytest.StashKey[list[str]]()


__all__ = ["FULL", "share"]


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
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) and not FULL else None
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
def counted(_pending: dict[Sweep, Any], tell: Callable[[str], None]) -> Callable[[Sweep], dict[str, Any]]:
    """The outcome of a sweep: fails unless as many faults fired as were planned."""

    def wait(wanted: Sweep) -> dict[str, Any]:
        count: dict[str, Any] = _pending[wanted].result()
        tell(f"{count['name']}: planned {count['planned']}, fired {count['fired']}, passed {count['passed']}")
        assert count["planned"] >= wanted.least
        assert count["fired"] == count["planned"]
        return count

    return wait


@pytest.fixture
def proven(counted: Callable[[Sweep], dict[str, Any]]) -> Callable[[Sweep], None]:
    """Fails unless every fault of the sweep fired and left everything right."""

    def check(wanted: Sweep) -> None:
        count = counted(wanted)
        assert not count["wrong"], "\n".join(count["wrong"][:20])
        assert count["passed"] == count["planned"]

    return check


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Add a line to the report at the end."""
    return request.config.stash[_LINES].append


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[_LINES]
    if lines:
        terminalreporter.section("faults planned, fired and passed" + (", full proof" if FULL else ""))
        for line in lines:
            terminalreporter.write_line(line)
