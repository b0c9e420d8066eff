"""SFTP servers for tests: OpenSSH's, and, where that is missing, asyncssh's own in a process of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from penstock.backends.sftp.access import Access
from penstock.model.location import Location

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
NO_SSHD = "OpenSSH's sshd is not installed: apt-get install openssh-server"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 500
MaxSessions 500
Subsystem sftp internal-sftp -d {folder}
"""


@dataclass
class SftpServer:
    """A server on a port of its own, its keys, and the directory that tests use."""

    folder: Path
    port: int
    command: list[str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Answer, and be known by the tests' file of known hosts."""
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    if connection.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError("the SFTP server does not answer")

    def stop(self) -> None:
        """End, and end what it serves."""
        assert self.process is not None
        for child in self.sessions():
            _kill(child)
        self.process.kill()
        self.process.wait()

    def sessions(self) -> list[int]:
        """The processes that serve somebody, inner ones first."""
        assert self.process is not None
        return _below(self.process.pid)

    def url(self, path: Path) -> str:
        return f"sftp://{_user()}@127.0.0.1:{self.port}{path}"

    def location(self, path: Path) -> Location:
        return Location("sftp", self.url(path).removeprefix("sftp://"))

    def configuration(self, name: str) -> str:
        """What lets a client in who knows the server by a name."""
        lines = ("HostName 127.0.0.1", f"Port {self.port}", f"User {_user()}", f"IdentityFile {self.folder}/user")
        return "\n  ".join([f"Host {name}", *lines])

    def environment(self) -> dict[str, str]:
        """What lets a client in."""
        return {"PENSTOCK_SFTP_KEY": f"{self.folder}/user", "PENSTOCK_SFTP_KNOWN_HOSTS": f"{self.folder}/known_hosts"}

    def access(self) -> Access:
        return Access(key=f"{self.folder}/user", known_hosts=f"{self.folder}/known_hosts")


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _below(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    children = [int(word) for word in listed.stdout.split()]
    return [below for child in children for below in [*_below(child), child]]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def prepared(folder: Path, *, openssh: bool) -> SftpServer:
    """A server that is not started yet."""
    port = _free_port()
    import asyncssh

    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        (folder / name).chmod(0o600)
        key.write_public_key(folder / f"{name}.pub")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    if openssh:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (folder / "config").write_text(_CONFIG.format(port=port, folder=folder))
        return SftpServer(folder, port, [SSHD, "-D", "-e", "-f", str(folder / "config")])
    return SftpServer(folder, port, [sys.executable, __file__, str(folder), str(port)])


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory):
    """OpenSSH's server; what needs it is skipped where it is not installed."""
    if not os.path.exists(SSHD):
        pytest.skip(NO_SSHD)
    server = prepared(tmp_path_factory.mktemp("sshd"), openssh=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def asyncssh_server(tmp_path_factory: pytest.TempPathFactory):
    """A server that pip brings: it makes no names durable."""
    server = prepared(tmp_path_factory.mktemp("asyncssh"), openssh=False)
    server.start()
    yield server
    server.stop()


def _serve(folder: str, port: int) -> None:
    import asyncio

    import asyncssh

    class Passwords(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return password == Path(folder, "password").read_text()

    async def serve() -> None:
        await asyncssh.listen(
            "127.0.0.1",
            port,
            server_factory=Passwords,
            server_host_keys=[f"{folder}/host"],
            authorized_client_keys=f"{folder}/user.pub",
            sftp_factory=True,
        )
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
