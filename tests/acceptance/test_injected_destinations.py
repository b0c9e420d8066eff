"""Destinations that are objects of a program's own: used as they are, and given what files of their names hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest

from penstock import Exporter, ExportOptions, SqliteAnalyticsStorage, verify
from penstock.destinations.lineage import LineageDirectory
from penstock.destinations.local import DirectoryDestination, FileDestination
from penstock.destinations.stream import StreamDestination
from penstock.errors import UsageError
from penstock.model.manifest import Manifest
from penstock.ports.destination import LineageDestination, Publication
from penstock.testing.faults import FaultyOps


class Elsewhere:
    """Keeps its parts where no path leads: here, in a directory that it does not tell."""

    single = False
    streamed = False
    path = None
    manifest_name = "manifest.json"

    def __init__(self, place: Path) -> None:
        self._place = DirectoryDestination(place)

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> Publication:
        return self._place.begin(overwrite=overwrite, estimated_bytes=estimated_bytes)

    def lineage(self) -> LineageDestination:
        return self._place.lineage()

    def read_manifest(self) -> bytes:
        return self._place.read_manifest()

    @contextmanager
    def open_part(self, name: str) -> Iterator[BinaryIO]:
        with self._place.open_part(name) as file:
            yield file

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        return self._place.inspect(manifest)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_an_arrow_file_is_a_file_wherever_it_lies(
    compression: str, filled: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    elsewhere = Elsewhere(tmp_path / "out")
    options = ExportOptions(format="arrow", compression=compression, part_rows=200)
    Exporter(filled).export(elsewhere, options=options)
    parts = sorted((tmp_path / "out").glob("*.arrow"))
    assert len(parts) == 3
    assert sum(pa.ipc.open_file(part.read_bytes()).read_all().num_rows for part in parts) == 500
    assert verify(elsewhere).ok
    assert verify(tmp_path / "out").ok


def test_a_run_is_added_by_the_destination_that_was_given(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    ops = FaultyOps()
    plain = DirectoryDestination(tmp_path / "plain", ops=ops)
    assert Exporter(filled).export(plain, incremental=True).manifest.rows == 500
    assert any("run-000001" in (operation.target or "") for operation in ops.log)
    ops = FaultyOps()
    lineage = LineageDirectory(tmp_path / "lineage", ops=ops)
    assert Exporter(filled).export(lineage, incremental=True).manifest.rows == 500
    assert any("run-000001" in (operation.target or "") for operation in ops.log)
    assert Exporter(filled).export(Elsewhere(tmp_path / "lineage"), incremental=True).manifest.rows == 0
    assert verify(tmp_path / "lineage").runs == 2


def test_what_takes_no_runs_says_so(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    for other in (FileDestination(tmp_path / "out.csv"), StreamDestination(1), tmp_path / "out.csv", "-"):
        with pytest.raises(UsageError, match="an incremental export needs a directory"):
            Exporter(filled).export(other, incremental=True)
    with pytest.raises(UsageError, match="incremental"):
        Exporter(filled).export(LineageDirectory(tmp_path / "out"))
