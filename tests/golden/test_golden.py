"""Exact bytes: what a small store of fixed events is exported to, data and manifest, to be changed only on purpose.

The expected files were checked by eye and against ``naive_format``. To write them anew after a deliberate change of the
format: ``PENSTOCK_WRITE_GOLDEN=1 pytest tests/golden``, then read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import foreign_readers
import naive_format
import sample_events
from penstock import Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, verify

EXPECTED = Path(__file__).parent / "expected"
CASES: dict[str, dict[str, Any]] = {
    "fixed.ndjson": {},
    "fixed.json": {},
    "pretty.json": {"options": ExportOptions(pretty=True)},
    "fixed.csv": {},
    "null.csv": {"options": ExportOptions(csv_null="NULL")},
    "columns.csv": {"options": ExportOptions(columns=["seq", "session_id", "data", "timestamp"], csv_null="2")},
    "filtered.jsonl": {"filter": ExportFilter(priority="high", start="2026-11-01", end="2026-12-01", limit=7)},
    "flat.ndjson": {"options": ExportOptions(flatten=["data", "metadata"])},
    "flat.csv": {"options": ExportOptions(flatten=["data"], flatten_schema={"data.n": "float64", "data.a": "int64"})},
    "empty.json": {"filter": ExportFilter(limit=0)},
    "empty.csv": {"filter": ExportFilter(limit=0)},
    "empty.ndjson": {"filter": ExportFilter(limit=0)},
}


class FixedClock:
    """It is always the same time."""

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.fixture
def exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporter]:
    """A store of the fixed events, which all arrived at the same moment."""
    arrival = (naive_format.RECEIVED - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    monkeypatch.setattr("penstock.sources.sqlite.binding.time.time_ns", lambda: round(arrival * 1e6) * 1000)
    monkeypatch.setattr("penstock.exporting.run.VERSION", "0.0.0")
    with SqliteAnalyticsStorage(tmp_path / "events.db") as storage:
        storage.append(sample_events.fixed())
        yield Exporter(storage, clock=FixedClock())


@pytest.mark.parametrize("name", CASES)
def test_an_export_has_exactly_these_bytes(exporter: Exporter, tmp_path: Path, name: str) -> None:
    exporter.export(tmp_path / name, **CASES[name])
    for file in (name, f"{name}.manifest.json"):
        found, expected = (tmp_path / file).read_bytes(), EXPECTED / file
        if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
            expected.write_bytes(found)
        assert found == expected.read_bytes(), file


def test_the_expected_bytes_are_those_of_the_plain_implementation() -> None:
    batch = naive_format.arrived(sample_events.fixed())
    batch = batch.set_column(9, batch.schema.field(9), batch["received_at"].take([0, 0, 0, 0]))
    picked = batch.select(["seq", "session_id", "data", "timestamp"])
    assert (EXPECTED / "fixed.ndjson").read_bytes() == naive_format.ndjson(batch)
    assert (EXPECTED / "fixed.json").read_bytes() == naive_format.json_array(batch)
    assert (EXPECTED / "fixed.csv").read_bytes() == naive_format.csv(batch)
    assert (EXPECTED / "null.csv").read_bytes() == naive_format.csv(batch, "NULL")
    assert (EXPECTED / "columns.csv").read_bytes() == naive_format.csv(picked, "2")
    assert (EXPECTED / "filtered.jsonl").read_bytes() == naive_format.ndjson(batch.slice(3, 1))
    pretty = sample_events.shape((EXPECTED / "pretty.json").read_bytes())
    assert pretty == sample_events.shape(naive_format.json_array(batch))


@pytest.mark.parametrize("name", CASES)
def test_expected_exports_verify_and_are_read_by_other_libraries(name: str, tmp_path: Path) -> None:
    for file in (name, f"{name}.manifest.json"):
        (tmp_path / file).write_bytes((EXPECTED / file).read_bytes())
    result = verify(tmp_path / name)
    assert result.problems == ()
    null = {"null.csv": "NULL", "columns.csv": "2"}.get(name)
    rows = foreign_readers.read_csv(tmp_path / name, null=null) if null else foreign_readers.read(tmp_path / name)
    assert len(rows) == result.event_count
