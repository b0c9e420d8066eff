"""What every destination promises, on a real SFTP server, plain and wrapped."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_sftp_contract import Connecting, place_at, plain, wrapped

from penstock.testing.destination_contract import CHECKS, KINDS, Check, Kind
from sftp_server import SftpServer


@pytest.mark.parametrize("connect", [plain, wrapped], ids=["plain", "retrying"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_every_destination_promises(
    check: Check, kind: Kind, connect: Connecting, sshd: SftpServer, tmp_path: Path
) -> None:
    check(place_at(sshd, tmp_path, connect), kind)
