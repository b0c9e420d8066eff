"""Fixtures that tests of every kind share: an empty store, a filled one, and the command as a user starts it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import object_services
import penstock_command
import postgres_server
import sample_events
from penstock import SqliteAnalyticsStorage
from proof_ledger import Ledger
from proof_size import JUDGED, SEED, TIMES
from sftp_server import asyncssh_server, sshd  # noqa: F401  # fixtures

#: For every process that tests start, of which one is begun only once.
os.environ["PENSTOCK_TEST_SECRET"] = postgres_server.PASSWORD
_LEDGER = pytest.StashKey[Ledger]()

settings.register_profile(
    "penstock", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("penstock")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteAnalyticsStorage]:
    """An empty store, open for writing."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        yield storage


@pytest.fixture
def filled(store: SqliteAnalyticsStorage) -> SqliteAnalyticsStorage:
    """A store with the events of :func:`sample_events.varied`."""
    store.append(sample_events.varied())
    return store


@pytest.fixture(scope="session")
def command_server() -> Iterator[penstock_command.Server]:
    """One process that runs command lines for all tests."""
    with penstock_command.Server() as server:
        yield server


@pytest.fixture
def penstock(tmp_path: Path, command_server: penstock_command.Server) -> Callable[..., penstock_command.Run]:
    """The command, run in ``tmp_path``: ``penstock("export", "events.db", "out.csv")``."""
    return lambda *arguments: command_server.run(*arguments, cwd=tmp_path)


@pytest.fixture
def penstock_process(tmp_path: Path) -> Callable[..., penstock_command.Run]:
    """The same, in a process of its own for each command line."""
    return lambda *arguments: penstock_command.run(*arguments, cwd=tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    """A real PostgreSQL server, whose password is in the environment as ``PENSTOCK_TEST_SECRET``."""
    if postgres_server.programs() is None:
        pytest.skip(postgres_server.MISSING)
    with postgres_server.running() as server:
        yield server


@pytest.fixture
def new_database(postgres: postgres_server.Server) -> Callable[[], str]:
    """Makes a database that is empty, and gives its name."""

    def make() -> str:
        name = f"db_{uuid.uuid4().hex}"
        postgres.ask("postgres", f"CREATE DATABASE {name}")
        return name

    return make


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Where a suite of faults says how many it planned, and how many fired and passed."""
    return request.config.stash[_LEDGER]


def pytest_configure(config: pytest.Config) -> None:
    os.environ["XDG_CONFIG_HOME"] = str(Path(__file__).parent / "nowhere")  # no settings of whoever runs the tests
    for name in [name for name in os.environ if name.startswith(("AWS_", "PENSTOCK_EXPORT_"))]:
        del os.environ[name]
    config.stash[_LEDGER] = Ledger()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledger = config.stash[_LEDGER]
    if ledger.lines:
        terminalreporter.section(f"the proof, {TIMES:g} of its full size, seed {SEED}")
        for text in (*ledger.table(), "", *ledger.summary()):
            terminalreporter.write_line(text)
        for text in ledger.shortfalls() if JUDGED else ():
            terminalreporter.write_line(f"NOT THE PROOF: {text}", red=True)
    if ledger.planted:
        terminalreporter.section("the proof of the proofs")
        for name, checks in ledger.planted.items():
            seen = ledger.caught.get(name)
            terminalreporter.write_line(
                f"{name}: " + ("caught by " + "; ".join(seen) if seen else f"MISSED by {checks}")
            )
        terminalreporter.write_line(f"planted {len(ledger.planted)} = caught {len(ledger.caught)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if JUDGED and session.exitstatus == pytest.ExitCode.OK and session.config.stash[_LEDGER].shortfalls():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _service(start: Callable[[], AbstractContextManager[dict[str, str]]]) -> Iterator[None]:
    with start() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[None]:
    """An S3 that clients find by the environment, as long as the tests run."""
    yield from _service(object_services.moto)


@pytest.fixture(scope="session")
def gs() -> Iterator[None]:
    """The same for Google's, which is a shim."""
    yield from _service(object_services.google)


@pytest.fixture(scope="session")
def az() -> Iterator[None]:
    """The same for Azure's; what needs it is skipped where Azurite is not installed."""
    if object_services.AZURITE is None:
        pytest.skip(object_services.NO_AZURITE)
    yield from _service(object_services.azurite)
