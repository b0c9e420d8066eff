"""The library as its users call it: results that other libraries read, and verbs that mirror the command."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import penstock
from penstock import AnalyticsEvent, Exporter, ExportOptions, SqliteAnalyticsStorage
from penstock.errors import NotFound, UsageError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of twenty events."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append([AnalyticsEvent("feature_used", data={"n": n}) for n in range(20)])
    return tmp_path / "events.db"


@pytest.mark.parametrize("name", ["x.json", "x.ndjson.gz", "x.csv.zst", "x.parquet", "x.arrow", "parts/"])
def test_a_result_reads_as_arrow(store: Path, tmp_path: Path, name: str) -> None:
    result = penstock.export(store, f"{tmp_path}/{name}")

    frame = pl.DataFrame(result)

    assert frame["seq"].to_list() == list(range(1, 21))
    assert frame["data"].to_list() == [f'{{"n":{n}}}' for n in range(20)]


def test_a_result_whose_file_was_changed_is_not_read(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.ndjson"
    result = penstock.export(store, target)
    target.write_bytes(target.read_bytes().replace(b'"n":7', b'"n":8'))

    with pytest.raises(pa.ArrowInvalid, match="SHA-256 differs"):
        pa.table(result)


def test_inspect_counts_what_is_there(store: Path) -> None:
    stats = penstock.inspect(store)

    assert (stats.total_events, stats.last_seq) == (20, 20)
    assert stats.events_by_category == {"usage": 20}


def test_a_restore_that_is_refused_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        penstock.restore(tmp_path / "nothing.ndjson", tmp_path / "new.db")

    assert not (tmp_path / "new.db").exists()


def test_a_lineage_is_not_a_stream(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="directory"):
        penstock.export(store, "-", incremental=True)

    assert not Path("-").exists()


def test_a_store_is_not_exported_onto_itself(tmp_path: Path) -> None:
    store = tmp_path / "events.json"
    with SqliteAnalyticsStorage(store) as storage:
        storage.append([AnalyticsEvent("feature_used")])

        with pytest.raises(UsageError, match="the store itself"):
            Exporter(storage).export(store, overwrite=True)

    assert penstock.inspect(store).total_events == 1


def test_an_export_repeated_has_the_same_bytes(store: Path, tmp_path: Path) -> None:
    for name in ("x.ndjson.gz", "x.parquet", "x.arrow", "x.csv.zst"):
        first = penstock.export(store, tmp_path / f"1{name}", options=ExportOptions(workers=1))
        second = penstock.export(store, tmp_path / f"2{name}", options=ExportOptions(workers=2))

        assert first.metadata.checksum == second.metadata.checksum
