"""Destinations that are objects of a program's own: used as they are, and given what files of their names hold."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from penstock import (
    DirectoryDestination,
    ExportDestination,
    Exporter,
    ExportOptions,
    FileDestination,
    SqliteAnalyticsStorage,
    diff,
    gaps,
    restore,
    resume,
    verify,
)
from penstock.backends.descriptor import DescriptorSink
from penstock.backends.memory import MemoryBackend
from penstock.errors import IntegrityError, NotFound, UsageError
from penstock.publishing.shapes import Directory
from penstock.publishing.stream import StreamDestination
from penstock.testing.faults import FaultyOps


@pytest.fixture
def elsewhere(tmp_path: Path) -> ExportDestination:
    """A directory where no path leads."""
    return ExportDestination(MemoryBackend(str(tmp_path)), Directory())


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_an_arrow_file_is_a_file_wherever_it_lies(
    compression: str, filled: SqliteAnalyticsStorage, elsewhere: ExportDestination
) -> None:
    options = ExportOptions(format="arrow", compression=compression, part_rows=200)
    Exporter(filled).export(elsewhere, options=options)
    parts = [stat.key for stat in elsewhere.backend.list("data/")]
    assert len(parts) == 3
    stored = [elsewhere.backend.open(part).read() for part in parts]
    assert sum(pa.ipc.open_file(part).read_all().num_rows for part in stored) == 500
    assert verify(elsewhere).ok


def test_every_verb_takes_what_lies_where_no_path_leads(
    filled: SqliteAnalyticsStorage, elsewhere: ExportDestination, tmp_path: Path
) -> None:
    assert Exporter(filled).export(elsewhere, incremental=True).manifest.rows == 500
    assert Exporter(filled).export(elsewhere, incremental=True).manifest.rows == 0
    assert verify(elsewhere).runs == 2
    assert verify(elsewhere.lineage()).ok
    assert diff(elsewhere, filled).equal
    assert gaps(elsewhere).ok
    assert resume(filled, elsewhere, full=True).export.manifest.rows == 0
    assert verify(elsewhere).runs == 3
    assert restore(elsewhere, tmp_path / "back.db").inserted == 500
    assert all(".db" in name for name in os.listdir(tmp_path))


def test_what_is_missing_is_missed_where_no_path_leads(
    filled: SqliteAnalyticsStorage, elsewhere: ExportDestination
) -> None:
    with pytest.raises(NotFound, match="no export"):
        gaps(elsewhere)
    Exporter(filled).export(elsewhere, incremental=True, options=ExportOptions(part_rows=200))
    parts = [stat.key for stat in elsewhere.backend.list("data/")]
    elsewhere.backend.delete(parts[1])
    assert [gap.part for gap in gaps(elsewhere).gaps] == [parts[1]]
    assert not verify(elsewhere).ok
    with pytest.raises(IntegrityError):
        resume(filled, elsewhere)
    for stat in elsewhere.backend.list("_penstock/"):
        elsewhere.backend.delete(stat.key)
    assert not gaps(elsewhere).ok


def test_a_run_is_added_by_the_destination_that_was_given(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    ops = FaultyOps()
    plain = DirectoryDestination(tmp_path / "plain", ops=ops)
    assert Exporter(filled).export(plain, incremental=True).manifest.rows == 500
    assert any("000001.json" in (operation.target or "") for operation in ops.log)
    ops = FaultyOps()
    lineage = DirectoryDestination(tmp_path / "lineage", ops=ops).lineage()
    assert Exporter(filled).export(lineage, incremental=True).manifest.rows == 500
    assert any("000001.json" in (operation.target or "") for operation in ops.log)


def test_what_takes_no_runs_says_so(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    stream = StreamDestination(DescriptorSink(1))
    for other in (FileDestination(tmp_path / "out.csv"), stream, tmp_path / "out.csv", "-"):
        with pytest.raises(UsageError, match="an incremental export needs a directory"):
            Exporter(filled).export(other, incremental=True)
    with pytest.raises(UsageError, match="incremental"):
        Exporter(filled).export(DirectoryDestination(tmp_path / "out").lineage())
