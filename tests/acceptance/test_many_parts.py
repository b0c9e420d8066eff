"""Very many parts: more than a manifest can name are refused before they are written, and each takes little memory."""

from __future__ import annotations

import os
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

import sample_events
from penstock import AnalyticsEvent, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, verify
from penstock.backends.local.fileops import FileOps
from penstock.errors import UsageError
from penstock.exporting import run as running
from penstock.model.columns import batch_of

MOST = 50_000


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One event more than there may be parts, an hour apart."""
    path = tmp_path_factory.mktemp("crowded") / "events.db"
    hour = timedelta(hours=1)
    with SqliteAnalyticsStorage(path) as store:
        for start in range(0, MOST + 1, 10_000):
            store.append(
                batch_of(
                    [
                        AnalyticsEvent("x", timestamp=sample_events.START + number * hour)
                        for number in range(start, min(start + 10_000, MOST + 1))
                    ]
                ),
                checked=True,
            )
    return path


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were made."""
    made: list[str] = []
    real = FileOps.create

    def create(self: FileOps, path: Path) -> int:
        made.append(path.name)
        assert len(made) < 100, "parts are written"
        return real(self, path)

    monkeypatch.setattr(FileOps, "create", create)
    return made


@pytest.mark.parametrize(
    "options",
    [
        ExportOptions(format="ndjson", part_rows=1),
        ExportOptions(format="parquet", part_rows=1),
        ExportOptions(format="ndjson", partition_by="hour"),
    ],
    ids=["rows", "rows of Parquet", "hours"],
)
def test_too_many_parts_are_refused_before_the_first(
    options: ExportOptions, crowded: Path, created: list[str], tmp_path: Path
) -> None:
    with SqliteAnalyticsStorage(crowded, read_only=True) as store:
        with pytest.raises(UsageError, match="more than 50,000 parts"):
            Exporter(store).export(tmp_path / "out", options=options)
        assert not (tmp_path / "out").exists()
        with pytest.raises(UsageError, match="more than 50,000 parts"):
            Exporter(store).export(tmp_path / "out", options=options, incremental=True)
    assert not (tmp_path / "out").exists()
    assert len(created) <= 2


def test_a_limit_that_leaves_few_parts_is_no_reason_to_refuse(crowded: Path, tmp_path: Path) -> None:
    with SqliteAnalyticsStorage(crowded, read_only=True) as store:
        few = ExportFilter(limit=3)
        result = Exporter(store).export(tmp_path / "a", filter=few, options=ExportOptions(format="ndjson", part_rows=1))
        assert len(result.manifest.parts) == 3
        day = ExportFilter(end=sample_events.START + timedelta(hours=5))
        options = ExportOptions(format="ndjson", partition_by="hour")
        assert len(Exporter(store).export(tmp_path / "b", filter=day, options=options).manifest.parts) == 5


def test_the_part_that_is_too_many_is_not_begun(
    filled: SqliteAnalyticsStorage, created: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the plan cannot tell, since a filter decides how many rows there are."""
    monkeypatch.setattr(running, "MOST_PARTS", 20)
    some = ExportFilter(priority="low")
    with pytest.raises(UsageError, match="more than 20 parts"):
        Exporter(filled).export(
            tmp_path / "out", filter=some, options=ExportOptions(format="ndjson", part_rows=1, workers=1)
        )
    assert len(created) == 20
    assert not (tmp_path / "out").exists()


def test_a_part_takes_little_memory(crowded: Path, tmp_path: Path) -> None:
    """More parts: what they need more is shared out among them. Of few parts the plan takes more than they do."""
    peaks = []
    with SqliteAnalyticsStorage(crowded, read_only=True) as store:
        for count in (20, 400, 1000):
            tracemalloc.start()
            Exporter(store).export(
                tmp_path / str(count),
                filter=ExportFilter(limit=count),
                options=ExportOptions(format="ndjson", part_rows=1, workers=1),
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert (peaks[2] - peaks[1]) / 600 < 3_000, peaks
    assert verify(tmp_path / "1000", quick=True).ok
    assert len(os.listdir(tmp_path / "1000/data")) == 1000
