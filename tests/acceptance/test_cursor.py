"""A run begins where the store can prove that the run before ended: stores that were put back, replaced, or written by
other programs lose no event in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import foreign_sqlite
from penstock import ExportOptions, StorageConfig, export
from penstock.errors import UsageError

TABLE = "CREATE TABLE hits (n INTEGER PRIMARY KEY, at INTEGER, name TEXT, path TEXT)"
BEGUN = 1_790_000_000


def insert(path: Path, first: int, count: int, *, into: str = "at, name, path") -> None:
    """Rows of somebody else's application, in one transaction of its own process."""
    foreign_sqlite.execute(
        path,
        f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first + count - 1})"
        f" INSERT INTO hits ({into}) SELECT {BEGUN} + i, 'hit', '/' || i FROM n",
    )


def test_two_paths_that_are_not_utf8_are_two_tables(tmp_path: Path) -> None:
    config = StorageConfig(table="hits", mapping={"timestamp": "at:s", "event_type": "name"})
    one, other = (tmp_path / os.fsdecode(name) for name in (b"a\xfe.db", b"a\xff.db"))
    for path in (one, other):
        foreign_sqlite.execute(path, TABLE)
        insert(path, 1, 10)
    export(one, tmp_path / "runs", config=config, options=ExportOptions(format="ndjson"), incremental=True)
    with pytest.raises(UsageError, match="not the store of the lineage"):
        export(other, tmp_path / "runs", config=config, options=ExportOptions(format="ndjson"), incremental=True)
