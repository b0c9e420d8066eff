"""The shipped checks of table destinations, on each real database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.tables.duckdb import duckdb_table
from penstock.tables.sqlite import sqlite_table
from penstock.testing.table_contract import CHECKS, Check, Place


def _sqlite(folder: Path) -> Place:
    return Place(lambda name: sqlite_table(folder / "out.db", name))


def _duckdb(folder: Path) -> Place:
    return Place(lambda name: duckdb_table(folder / "out.duckdb", name))


@pytest.mark.parametrize("database", [_sqlite, _duckdb])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_table(check: Check, database: Callable[[Path], Place], tmp_path: Path) -> None:
    check(database(tmp_path))
