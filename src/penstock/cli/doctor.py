"""``penstock doctor``."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from penstock.cli.talk import Talk, clean
from penstock.errors import ExportError, IoError, PermanentError

_PACKAGES = (
    "pyarrow",
    "adbc-driver-sqlite",
    "adbc-driver-manager",
    "isal",
    "zlib-ng",
    "backports.zstd",
    "msgspec",
    "click",
    "rich",
)
#: SQLite 3.7.0 to 3.51.2 can corrupt a write-ahead log when two connections checkpoint at a bad moment.
_WAL_FIXED = (3, 51, 3)
_WAL_FIXED_OLDER = {(3, 44): 6, (3, 50): 7}


@click.command("doctor", epilog="Example:\n\n  penstock doctor events.db")
@click.argument("store", required=False)
@click.option("--dest", metavar="DIR", default=".", help="Directory to try publishing in; the current one by default.")
@click.option("--json", "machine", is_flag=True, help="JSON lines, one a check; the last one is a summary.")
def command(store: str | None, dest: str, machine: bool) -> None:
    """Check this installation, a destination and, if it is given, STORE. Each check says how to mend what it finds.

    Exit 0 if all is well, otherwise the code of the first check that failed.
    """
    talk = Talk(machine=machine, data_on_stdout=False)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", _python),
        ("packages", _packages),
        ("sqlite of penstock", _own_sqlite),
        ("sqlite of python", _other_sqlite),
        (f"publishing in {dest}", lambda: _publishing(Path(dest))),
    ]
    if store is not None:
        path = Path(store)
        checks += [("store", lambda: _store(path)), ("store's pages", lambda: _pages(path))]
    failed = 0
    for name, check in checks:
        try:
            fact, ok, hint = check(), True, None
        except ExportError as error:
            fact, ok, hint = error.message, False, error.hint
            failed = failed or error.exit_code
        talk.emit("check", name=name, ok=ok, message=fact, hint=hint)
        if not machine:
            click.echo(f"{'ok  ' if ok else 'FAIL'}  {clean(name)}: {clean(fact)}")
            if hint:
                click.echo(f"      {hint}")
    talk.emit("summary", ok=not failed, exit_code=failed)
    if failed:
        click.get_current_context().exit(failed)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _packages() -> str:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise PermanentError(f"{name} is not installed", hint="pip install penstock") from None
    return ", ".join(found)


def _own_sqlite() -> str:
    from penstock.sources.connection import Connection

    with tempfile.TemporaryDirectory() as place:
        connection = Connection(Path(place) / "try.db", mode="rwc", busy_timeout=1)
        try:
            text = str(connection.query("SELECT sqlite_version() AS version")[0]["version"])
        finally:
            connection.close()
    if not _is_sound(text):
        raise PermanentError(f"{text} has the write-ahead log bug", hint="pip install -U adbc-driver-sqlite")
    return text


def _other_sqlite() -> str:
    text = sqlite3.sqlite_version
    if _is_sound(text):
        return text
    return f"{text} has the write-ahead log bug; let it not write a store while others do (penstock does not use it)"


def _is_sound(text: str) -> bool:
    number = tuple(int(piece) for piece in text.split("."))
    patched = _WAL_FIXED_OLDER.get((number[0], number[1]))
    return number >= _WAL_FIXED or (patched is not None and number[2] >= patched)


def _publishing(directory: Path) -> str:
    """Do once, with a file of a few bytes, everything that publishing an export needs."""
    from penstock.backends.local.fileops import FileOps

    ops = FileOps()
    with tempfile.TemporaryDirectory(prefix=".penstock-doctor-", dir=directory) as place:
        first, second = Path(place) / "first", Path(place) / "second"
        fd = ops.create(first)
        ops.write(fd, b"penstock")
        ops.fsync(fd)
        ops.close(fd)
        how = "link"
        try:
            ops.link(first, second)
        except OSError:
            how = "rename"
            ops.rename_new(first, second)
        ops.fsync_directory(Path(place))
        if second.read_bytes() != b"penstock":
            raise IoError(f"a file in {directory} reads back changed", hint="do not export here")
    room = os.statvfs(directory)
    return f"create, fsync, {how} without overwriting: ok, {room.f_bavail * room.f_frsize / 1e9:.1f} GB free"


def _store(path: Path) -> str:
    from penstock.sources.sqlite.store import SqliteAnalyticsStorage

    with SqliteAnalyticsStorage(path, read_only=True, create=False) as storage:
        stats = storage.stats()
    return f"{stats.total_events:,} events, {stats.database_size_bytes:,} bytes, log {stats.wal_size_bytes:,} bytes"


def _pages(path: Path) -> str:
    from penstock.sources.connection import Connection

    connection = Connection(path, mode="ro", busy_timeout=10)
    try:
        found = [str(row["quick_check"]) for row in connection.query("PRAGMA quick_check(5)")]
    finally:
        connection.close()
    if found != ["ok"]:
        raise PermanentError(f"damaged: {found[0]}", hint="export what can be read, then 'sqlite3 FILE .recover'")
    return "quick_check ok"
