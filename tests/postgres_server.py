"""A real PostgreSQL server for tests, in a folder of its own, and what its own client reads there."""

from __future__ import annotations

import csv
import io
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Why there is none, if there is none, and what brings it.
MISSING = "PostgreSQL is not installed (apt-get install postgresql)"
PASSWORD = "canary-7f3a-Pg"


def programs() -> Path | None:
    """Where the server's programs lie."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    there = shutil.which("initdb")
    return found[-1].parent if found else Path(there).parent if there else None


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Its superuser is ``postgres``, whom it asks for a password."""

    programs: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PGPASSWORD": PASSWORD}

    def url(self, database: str, more: str = "") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}{more}"

    def ask(self, database: str, *statements: str) -> list[list[str | None]]:
        """The rows of the last statement, as psql writes them; ``None`` for null."""
        commands = [argument for one in statements for argument in ("-c", one)]
        done = subprocess.run(
            [
                *(self.programs / "psql", "-X", "-q", "--csv", "-t", "-v", "ON_ERROR_STOP=1", "-P", "null=\\N"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database, *commands),
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        rows = csv.reader(io.StringIO(done.stdout, newline=""))
        return [[None if field == "\\N" else field for field in row] for row in rows]


def _as_postgres(command: Sequence[str | Path]) -> list[str]:
    plain = [str(part) for part in command]
    return ["runuser", "-u", "postgres", "--", *plain] if os.geteuid() == 0 else plain


@contextmanager
def running() -> Iterator[Server]:
    """A server that runs until the block ends."""
    where = programs()
    assert where is not None, MISSING
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(secret, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    flags = ["-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    control: Sequence[str | Path] = (where / "pg_ctl", "-D", data, "-w", "-l", folder / "log")
    options = f"-p {port} -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    subprocess.run(_as_postgres([where / "initdb", "-D", data, *flags]), cwd="/", capture_output=True, check=True)
    try:
        subprocess.run(
            _as_postgres([*control, "-o", options, "start"]), cwd="/", stdout=subprocess.DEVNULL, check=True, timeout=60
        )
        yield Server(where, port)
    finally:
        with suppress(subprocess.SubprocessError):
            subprocess.run(
                _as_postgres([*control, "-m", "immediate", "stop"]), cwd="/", stdout=subprocess.DEVNULL, check=False
            )
        shutil.rmtree(folder, ignore_errors=True)
