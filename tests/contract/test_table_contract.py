"""The shipped checks of table destinations, on each real database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.model.table_url import parse_table_url
from penstock.tables.duckdb import duckdb_table
from penstock.tables.postgres import postgres_table
from penstock.tables.sqlite import sqlite_table
from penstock.testing.table_contract import CHECKS, Check, Place
from postgres_server import Server


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(lambda name: sqlite_table(tmp_path / "out.db", name, patience=0.5))
    if request.param == "duckdb":
        return Place(lambda name: duckdb_table(tmp_path / "out.duckdb", name))
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    server: Server = request.getfixturevalue("postgres")
    url = parse_table_url(server.url(new_database(), "?password=env:PENSTOCK_TEST_SECRET"))
    assert url is not None
    return Place(lambda name: postgres_table(url, name, patience=0.5))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_table(check: Check, place: Place) -> None:
    check(place)
