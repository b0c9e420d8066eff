"""Directories, partitioned ones and lineages, opened as directories by what people read Parquet with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow as pa
import pytest
from pyarrow import dataset

from penstock import Exporter, ExportOptions, SqliteAnalyticsStorage

#: What opens a directory, and gives ``id`` and ``data`` of every row.
READERS: dict[str, Callable[[Path], pa.Table]] = {
    "pandas": lambda place: pa.Table.from_pandas(pandas.read_parquet(place)[["id", "data"]], preserve_index=False),
    "pyarrow": lambda place: dataset.dataset(place).to_table(columns=["id", "data"]),
    "polars": lambda place: polars.read_parquet(place / "data").select("id", "data").to_arrow(),
    "duckdb": lambda place: duckdb.sql(f"SELECT id, data FROM '{place}/data/**/*.parquet'").arrow().read_all(),
}


def _directory(store: SqliteAnalyticsStorage, place: Path) -> None:
    Exporter(store).export(place, options=ExportOptions(part_rows=120))


def _partitioned(store: SqliteAnalyticsStorage, place: Path) -> None:
    Exporter(store).export(place, options=ExportOptions(partition_by="day"))


def _lineage(store: SqliteAnalyticsStorage, place: Path) -> None:
    for _ in range(3):
        Exporter(store).export(place, options=ExportOptions(part_rows=120), incremental=True)


@pytest.mark.parametrize("make", [_directory, _partitioned, _lineage])
@pytest.mark.parametrize("reader", READERS)
def test_a_directory_is_read_as_it_is(
    reader: str, make: Callable[[SqliteAnalyticsStorage, Path], None], filled: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    make(filled, tmp_path / "out")
    assert len(list((tmp_path / "out/data").rglob("*.parquet"))) > 1
    found = READERS[reader](tmp_path / "out")
    rows = sorted(zip(found["id"].to_pylist(), found["data"].to_pylist(), strict=True))
    stored = [row for batch in filled.scan() for row in batch.select(["id", "data"]).to_pylist()]
    assert rows == sorted((row["id"], row["data"]) for row in stored)
    assert len(rows) == 500
