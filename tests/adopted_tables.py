"""Foreign tables for tests: made by another SQLite, changed by another process, opened and read as snapshots."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from penstock import AdoptedTable, ExportFilter, StorageConfig
from penstock.ports.source import Slice
from penstock.sources.tables.view import ForeignView

NEEDED = {"timestamp": "at", "event_type": "name"}
PLAIN = ExportFilter()
TIME = 1793536215


def build(path: Path, *statements: str, rows: Sequence[Sequence[Any]] = (), into: str = "hits") -> Path:
    """A database that other SQLite has made and closed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            connection.execute(statement)
        if rows:
            connection.executemany(f"INSERT INTO {into} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return path


def elsewhere(path: Path, *statements: str) -> None:
    """Statements in one transaction of another process, while this one may have the file open."""
    script = (
        "import sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], timeout=10)\n"
        "for statement in sys.argv[2:]: connection.execute(statement)\nconnection.commit()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path), *statements], check=True)


def opened(
    path: Path, *, table: str = "hits", readers: int = 1, busy: float = 10, one_moment: bool = False, **mapping: str
) -> ForeignView:
    config = StorageConfig(table=table, mapping={**NEEDED, **mapping}, busy_timeout=busy, one_moment=one_moment)
    view = AdoptedTable(path, config).pin(readers=readers)
    assert isinstance(view, ForeignView)
    return view


def spans(view: ForeignView, filter: ExportFilter = PLAIN, *, rows: int = 100, size: int = 1 << 20) -> list[Slice]:
    return list(view.plan(filter, max_rows=rows, max_bytes=size))


def seqs(view: ForeignView, found: Sequence[Slice], filter: ExportFilter = PLAIN) -> list[int]:
    return [seq for span in found for batch in view.read(span, filter) for seq in batch["seq"].to_pylist()]
