"""Large rows and very wide ones, exported and read back: what they cost in memory is bounded, or they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import foreign_sqlite
from watched_command import watched

WIDE = [f"c{number}" for number in range(1899)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``app.db`` with a table of rows of a megabyte, and one of very many columns."""
    root = tmp_path_factory.mktemp("large")
    foreign_sqlite.execute(
        root / "app.db",
        "BEGIN",
        "CREATE TABLE large (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID",
        f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {', '.join(f'{name} TEXT' for name in WIDE)})",
        *(("INSERT INTO large VALUES (?, hex(randomblob(500000)))", [f"k{row:05}"]) for row in range(250)),
        *(f"INSERT INTO wide VALUES ({row}, {', '.join(['hex(randomblob(100))'] * 1899)})" for row in range(100)),
        "COMMIT",
    )
    return root


def test_row_groups_of_few_large_rows_are_not_read_together(place: Path) -> None:
    """A batch of so many rows would hold the whole file."""
    assert watched("export", "app.db", "large.parquet", "--table", "large", cwd=place).code == 0
    assert watched("verify", "large.parquet", cwd=place, most_mib=256).code == 0


def test_lines_of_very_many_texts_take_no_more_room_than_they_have(place: Path) -> None:
    """Each text could be as long as what is left of its line, and none is."""
    assert watched("export", "app.db", "wide.ndjson", "--table", "wide", cwd=place).code == 0
    assert watched("verify", "wide.ndjson", cwd=place, most_mib=180).code == 0
