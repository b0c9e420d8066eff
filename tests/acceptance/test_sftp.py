"""Exports to a directory of OpenSSH's server: every verb, by the command, read back where the files lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars
import pytest

from penstock_command import Run
from sftp_server import SftpServer

Penstock = Callable[..., Run]
SECRET = "c4n4ry-s3cr3t"


@pytest.fixture
def far(sshd: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the server has, and the environment that lets a client in."""
    for name, value in sshd.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "far ä").mkdir()
    return tmp_path / "far ä"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A database with a table, made by another SQLite."""
    path = tmp_path / "app.db"
    _sql(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, name TEXT)")
    _add(path, 0, 3000)
    return path


def _sql(path: Path, *statements: str) -> None:
    code = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c: [c.execute(s) for s in sys.argv[2:]]"
    subprocess.run([sys.executable, "-c", code, str(path), *statements], check=True)


def _add(path: Path, first: int, stop: int) -> None:
    rows = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {stop}) "
    _sql(path, f"INSERT INTO t {rows} SELECT i, '2026-01-0' || (1 + i % 3) || 'T00:00:00Z', 'name ' || i FROM n")


def _named(folder: Path, manifest: str) -> list[Path]:
    return [folder / part["name"] for part in json.loads((folder / manifest).read_text())["parts"]]


def test_every_verb_works_on_a_lineage(
    penstock_process: Penstock, app: Path, far: Path, sshd: SftpServer, tmp_path: Path
) -> None:
    url = sshd.url(far / "orders")
    said = [penstock_process("export", app, f"{url}/", "--table", "t", "--incremental", "--key", "id")]
    _add(app, 3000, 3500)
    said.append(penstock_process("resume", app, f"{url}/"))
    said += [penstock_process("verify", f"{url}/"), penstock_process("gaps", sshd.url(far) + "/")]
    said.append(penstock_process("export", app, "here/", "--table", "t"))
    said.append(penstock_process("diff", "here/", f"{url}/"))
    assert [run.code for run in said] == [0] * len(said), [run.stderr for run in said]
    runs = [f"_penstock/runs/{number:06d}.json" for number in (1, 2)]
    parts = [path for run in runs for path in _named(far / "orders", run)]
    assert sorted(polars.read_parquet(parts)["id"]) == list(range(3500))
    assert not list(far.rglob(".*"))
    parts[0].unlink()
    damaged = penstock_process("verify", f"{url}/")
    repaired = penstock_process("repair", f"{url}/", "--from", app)
    assert (damaged.code, repaired.code, penstock_process("verify", f"{url}/").code) == (4, 0, 0), repaired.stderr
    sums = subprocess.run(
        "cat _penstock/runs/*.sha256 | sha256sum -c --quiet", shell=True, cwd=far / "orders", check=False
    )
    assert sums.returncode == 0


def test_events_are_restored_from_a_server(
    penstock_process: Penstock, far: Path, sshd: SftpServer, tmp_path: Path
) -> None:
    lines = [json.dumps({"event_type": "a", "timestamp": 1_760_000_000 + n, "data": {"n": n}}) for n in range(500)]
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    url = sshd.url(far / "events.parquet")
    said = [
        penstock_process("ingest", "events.db", "in.ndjson"),
        penstock_process("export", "events.db", url),
        penstock_process("restore", url, "--into", "again.db"),
        penstock_process("diff", "again.db", url),
    ]
    assert [run.code for run in said] == [0] * 4, [run.stderr for run in said]
    assert polars.read_parquet(far / "events.parquet").height == 500


def test_a_directory_and_a_file_are_replaced_when_asked(
    penstock_process: Penstock, app: Path, far: Path, sshd: SftpServer
) -> None:
    for name in ("d/", "f.csv"):
        url = sshd.url(far / name) + "/" * name.endswith("/")
        assert penstock_process("export", app, url, "--table", "t").code == 0
    _add(app, 3000, 3100)
    for name in ("d/", "f.csv"):
        url = sshd.url(far / name) + "/" * name.endswith("/")
        assert penstock_process("export", app, url, "--table", "t").code == 2
        assert penstock_process("export", app, url, "--table", "t", "--overwrite").code == 0
        assert penstock_process("verify", url).code == 0
    assert polars.read_parquet(_named(far / "d", "_penstock/manifest.json")).height == 3100
    assert len(list((far / "d" / "data").iterdir())) == len(_named(far / "d", "_penstock/manifest.json"))
    assert polars.read_csv(far / "f.csv").height == 3100
    assert json.loads((far / "f.csv.manifest.json").read_text())["guarantees"] == {}


def test_partitions_processes_and_all_tables(
    penstock_process: Penstock, app: Path, far: Path, sshd: SftpServer
) -> None:
    url = sshd.url(far)
    given = ("--table", "t", "--time", "at", "--partition-by", "day", "--format", "ndjson")
    parted = penstock_process("export", app, f"{url}/days/", *given)
    spread = penstock_process("export", app, f"{url}/spread/", "--table", "t", "--runner", "processes")
    every = penstock_process("export", app, f"{url}/all/", "--all-tables")
    assert (parted.code, spread.code, every.code) == (0, 0, 0), (parted.stderr, spread.stderr, every.stderr)
    assert [penstock_process("verify", f"{url}/{name}/").code for name in ("days", "spread", "all/t")] == [0] * 3
    days = _named(far / "days", "_penstock/manifest.json")
    assert [path.parent.name for path in days] == [f"date=2026-01-0{day}" for day in (1, 2, 3)]
    assert sorted(json.loads(line)["id"] for path in days for line in path.read_text().splitlines()) == [*range(3000)]


def test_what_cannot_be_is_told_with_what_to_do(
    penstock_process: Penstock, app: Path, far: Path, sshd: SftpServer, asyncssh_server: SftpServer, tmp_path: Path
) -> None:
    url = sshd.url(far)
    other = f"[127.0.0.1]:{sshd.port} {(asyncssh_server.folder / 'host.pub').read_text()}"
    (tmp_path / "changed").write_text(other)
    (tmp_path / "none").write_text("")
    wrong = {"PENSTOCK_SFTP_KEY": f"{asyncssh_server.folder}/user"}
    cases = [
        (f"{url}/x/", {"PENSTOCK_SFTP_KNOWN_HOSTS": str(tmp_path / "none")}, 7, f"ssh-keyscan -p {sshd.port}"),
        (f"{url}/x/", {"PENSTOCK_SFTP_KNOWN_HOSTS": str(tmp_path / "nowhere")}, 7, "is not in"),
        (f"{url}/x/", {"PENSTOCK_SFTP_KNOWN_HOSTS": str(tmp_path / "changed")}, 7, "ssh-keygen -R '[127.0.0.1]"),
        (f"{url}/x/", wrong, 7, "lets nobody in"),
        (f"{url}/x/", {"PENSTOCK_SFTP_KEY": "/nowhere/key"}, 6, "there is no key"),
        (f"{url}/x/", {"PENSTOCK_SFTP_KEY": str(app)}, 7, "is no private key"),
        (f"{url}/x/", {"PENSTOCK_SFTP_PASSWORD_COMMAND": "/nowhere/pass"}, 7, "printed no secret"),
        (f"sftp://me:{SECRET}@127.0.0.1:{sshd.port}/x/", {}, 2, "PENSTOCK_SFTP_PASSWORD_FILE"),
        (f"sftp://127.0.0.1:{sshd.port}/sys/x/", {}, 7, "Permission denied"),
        ("sftp:///x/", {}, 2, "lacks a name"),
        ("sftp://nobody.invalid/x/", {}, 6, "there is no host"),
        (f"sftp://127.0.0.1:{sshd.port}{app}/x/", {}, 2, "is a file, a directory is meant"),
        (f"{url}/x.zzz", {}, 2, "unknown ending"),
    ]
    for address, environment, code, text in cases:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            run = penstock_process("export", app, address, "--table", "t")
        assert (run.code, text in run.stderr, SECRET in run.stderr) == (code, True, False), (address, run.stderr)
    assert not list(far.iterdir())
    assert penstock_process("verify", f"{url}/x/").code == 6


def test_a_password_by_reference_lets_in_and_is_told_nowhere(
    penstock_process: Penstock, app: Path, asyncssh_server: SftpServer, tmp_path: Path
) -> None:
    (asyncssh_server.folder / "password").write_text(SECRET)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "out").mkdir()
    url = asyncssh_server.url(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_SFTP_KNOWN_HOSTS", asyncssh_server.environment()["PENSTOCK_SFTP_KNOWN_HOSTS"])
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        patch.setenv("PENSTOCK_SFTP_PASSWORD_FILE", str(tmp_path / "secret"))
        said = [penstock_process("export", app, f"{url}/a/", "--table", "t", "--json")]
        said.append(penstock_process("verify", f"{url}/a/"))
        patch.delenv("PENSTOCK_SFTP_PASSWORD_FILE")
        patch.setenv("PENSTOCK_SFTP_PASSWORD", f"not {SECRET}")
        said.append(penstock_process("export", app, f"{url}/b/", "--table", "t"))
    assert [run.code for run in said] == [0, 0, 7], [run.stderr for run in said]
    manifest = json.loads((tmp_path / "out" / "a" / "_penstock" / "manifest.json").read_text())
    assert manifest["guarantees"] == {"durable": "assumed"}  # this server makes no names durable
    assert "outlives a power failure" in said[0].stderr + said[0].stdout.decode()
    texts = [text for run in said for text in (run.stdout, run.stderr.encode())]
    texts += [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [text for text in texts if SECRET.encode() in text]


def test_an_agent_lets_in(
    penstock_process: Penstock, app: Path, far: Path, sshd: SftpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PENSTOCK_SFTP_KEY")
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", f"{sshd.folder}/user"], check=True)
        run = penstock_process("export", app, sshd.url(far / "x") + "/", "--table", "t")
    finally:
        agent.kill()
        agent.wait()
    assert run.code == 0, run.stderr
    assert sorted(path.name for path in (far / "x").iterdir()) == ["_penstock", "data"]


def test_the_package_that_lacks_is_named(app: Path) -> None:
    code = "import sys; sys.modules['asyncssh'] = None; from penstock.cli import main; main()"
    command = [sys.executable, "-c", code, "export", str(app), "sftp://host/x/", "--table", "t"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'penstock[sftp]'" in done.stderr) == (2, True), done.stderr
