"""What an ``sftp://`` URL and the variables beside it mean, before any server is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.backends.sftp.access import Secret, access_from
from penstock.backends.sftp.address import Address, parse_address
from penstock.errors import AccessDenied, UsageError
from penstock.model.location import Location

SECRET = "c4n4ry-s3cr3t"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host/srv/out/", Address(host="host", path="/srv/out")),
        ("me@host:2222/srv/a b%20?", Address(host="host", path="/srv/a b%20?", user="me", port=2222)),
        ("me@host/~/out", Address(host="host", path="out", user="me")),
        ("host/~", Address(host="host", path=".")),
        ("host", Address(host="host", path="/")),
        ("[::1]:22/ä", Address(host="::1", path="/ä", port=22)),
    ],
)
def test_a_url_names_user_host_port_and_directory(text: str, address: Address) -> None:
    assert parse_address(Location("sftp", text)) == address


@pytest.mark.parametrize("text", ["", "/srv", "host:port/srv", "host:99999/srv", "[host/srv", "me@/srv", "host/a\0b"])
def test_a_url_that_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(Location("sftp", text))


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(Location("sftp", f"me:{SECRET}@host/srv"))
    assert SECRET not in str(refused.value)
    assert "PENSTOCK_SFTP_PASSWORD_FILE" in str(refused.value)


def test_a_secret_is_looked_up_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("PENSTOCK_SFTP_PASSWORD", SECRET)
    for given in (
        {"PENSTOCK_SFTP_PASSWORD": "read when it is needed"},
        {"PENSTOCK_SFTP_PASSWORD_FILE": str(tmp_path / "secret")},
        {"PENSTOCK_SFTP_PASSWORD_COMMAND": f"cat '{tmp_path}/secret'"},
    ):
        access = access_from(given)
        assert access.password.look_up() == SECRET
        assert SECRET not in repr(access)
    assert access_from({}).password.look_up() is None


def test_two_places_of_one_secret_are_refused() -> None:
    with pytest.raises(UsageError, match="both set"):
        access_from({"PENSTOCK_SFTP_PASSPHRASE": "x", "PENSTOCK_SFTP_PASSPHRASE_FILE": "y"})


@pytest.mark.parametrize(
    "secret",
    [
        Secret(file="/nowhere/secret"),
        Secret(command=""),
        Secret(command="'"),
        Secret(command="/nowhere/command"),
        Secret(command=f"sh -c 'echo {SECRET}; exit 1'"),
    ],
)
def test_a_secret_that_cannot_be_had_is_no_access(secret: Secret) -> None:
    with pytest.raises(AccessDenied) as refused:
        secret.look_up()
    assert SECRET not in str(refused.value)


def test_without_the_library_the_line_that_installs_it_is_told() -> None:
    script = """
import sys
sys.modules["asyncssh"] = None
from penstock.errors import UsageError
try:
    import penstock.backends.sftp.backend
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'penstock[sftp]'" in done.stdout
