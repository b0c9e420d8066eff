"""What every backend promises, on real SFTP servers, plain and wrapped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from penstock.backends.retrying import RetryingBackend
from penstock.backends.sftp.access import Access
from penstock.backends.sftp.attempts import Lease
from penstock.backends.sftp.backend import SftpBackend
from penstock.model.location import Location
from penstock.ports.backend import Backend
from penstock.testing.backend_contract import CHECKS
from penstock.testing.backend_place import Place
from sftp_server import SftpServer

_LEASE = Lease(beat=0.1, look=0.25, seconds=5)
Connecting: TypeAlias = Callable[[Location, Access], Backend]


def plain(location: Location, access: Access) -> Backend:
    return SftpBackend(location, access=access, lease=_LEASE)


def wrapped(location: Location, access: Access) -> Backend:
    return RetryingBackend(plain(location, access))


def place_at(server: SftpServer, folder: Path, connect: Connecting) -> Place:
    (folder / "place").mkdir()
    (folder / "link").symlink_to("place")
    return Place(
        connect=partial(connect, server.location(folder / "place"), server.access()),
        elsewhere=partial(connect, server.location(folder / "link"), server.access()),
        processes=True,
        lies_there=lambda: [path.name for path in (folder / "place").rglob("*")],
    )


@pytest.fixture(params=["openssh", "retrying-openssh", "asyncssh"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    wrapper, _, kind = request.param.rpartition("-")
    server = request.getfixturevalue({"openssh": "sshd", "asyncssh": "asyncssh_server"}[kind])
    return place_at(server, tmp_path, wrapped if wrapper else plain)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_the_port_promises(check: Callable[[Place], None], place: Place) -> None:
    check(place)


def test_names_are_durable_where_the_server_says_so(
    sshd: SftpServer, asyncssh_server: SftpServer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    assert place_at(sshd, tmp_path, plain).connect().traits.durable
    assert not place_at(asyncssh_server, tmp_path / "other", plain).connect().traits.durable
