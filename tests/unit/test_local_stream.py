"""An open stream as destination, and the manifest that goes to a file of its own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock import Exporter, ExportOptions, SqliteAnalyticsStorage
from penstock.backends.descriptor import DescriptorSink
from penstock.backends.local.backend import LocalBackend
from penstock.errors import DestinationExists, Locked, NoSpace, NotFound, ReaderGone, UsageError
from penstock.model.manifest import parse_manifest
from penstock.publishing.stream import StreamDestination
from penstock.testing.faults import Fail, Fault, FaultyOps, Meddle

Export = Callable[..., None]


def _stream(fd: int, manifest: Path, *faults: Fault) -> StreamDestination:
    backend = LocalBackend(manifest.parent, make=False, ops=FaultyOps(*faults))
    return StreamDestination(DescriptorSink(fd), (backend, manifest.name))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    return place


@pytest.fixture
def export(filled: SqliteAnalyticsStorage, tmp_path: Path, place: Path) -> Export:
    """Export to a plain descriptor, with the manifest in ``place``."""

    def run(*faults: Fault, overwrite: bool = False, name: str = "m.json") -> None:
        fd = os.open(tmp_path / "stream", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            Exporter(filled).export(
                _stream(fd, place / name, *faults),
                options=ExportOptions(format="ndjson", workers=1),
                overwrite=overwrite,
            )
        finally:
            os.close(fd)

    return run


def _names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_the_manifest_is_of_what_was_streamed(export: Export, place: Path, tmp_path: Path) -> None:
    export()
    manifest = parse_manifest((place / "m.json").read_bytes(), where="m.json")
    assert manifest.parts[0].bytes == (tmp_path / "stream").stat().st_size
    assert _names(place) == {"m.json"}


def test_a_manifest_that_is_there_is_replaced_only_when_asked(export: Export, place: Path) -> None:
    (place / "m.json").write_bytes(b"mine")
    with pytest.raises(DestinationExists):
        export()
    with pytest.raises(DestinationExists, match="not a manifest"):
        export(overwrite=True)
    assert (place / "m.json").read_bytes() == b"mine"
    (place / "m.json").unlink()
    export()
    export(overwrite=True)
    assert parse_manifest((place / "m.json").read_bytes(), where="m.json").rows == 500
    assert _names(place) == {"m.json"}


def test_a_manifest_that_appears_meanwhile_is_left_alone(export: Export, place: Path) -> None:
    target = place / "m.json"
    fault = Meddle(on=("link",), action=lambda _: target.write_bytes(b"mine"))
    with pytest.raises(DestinationExists, match="appeared"):
        export(fault)
    assert fault.fired == 1
    assert target.read_bytes() == b"mine"
    assert _names(place) == {"m.json"}


@pytest.mark.parametrize("on", ["create", "write", "fsync", "close", "link", "fsync_directory"])
def test_a_full_disk_leaves_nothing_beside_the_manifest(on: str, export: Export, place: Path) -> None:
    fault = Fail(on=(on,), code=errno.ENOSPC)
    with pytest.raises(NoSpace):
        export(fault)
    assert fault.fired == 1
    assert _names(place) <= {"m.json"}


def test_what_a_killed_run_left_is_cleared(export: Export, place: Path) -> None:
    staging = place / ".m.json.penstock"
    staging.mkdir()
    (staging / "lock").touch()
    (staging / "intent").write_bytes(b"half a mani")
    export()
    assert _names(place) == {"m.json"}


def test_one_manifest_has_one_writer(filled: SqliteAnalyticsStorage, place: Path) -> None:
    first = _stream(1, place / "m.json").begin()
    with pytest.raises(Locked):
        _stream(1, place / "m.json").begin()
    first.close()
    first.close()
    assert _names(place) == set()


def test_a_place_that_cannot_be(export: Export, place: Path) -> None:
    with pytest.raises(NotFound):
        export(name="no/m.json")
    (place / "directory").mkdir()
    with pytest.raises(UsageError):
        export(name="directory", overwrite=True)


def test_a_reader_that_goes_away(filled: SqliteAnalyticsStorage, place: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(ReaderGone):
            Exporter(filled).export(_stream(writing, place / "m.json"), options=ExportOptions(format="ndjson"))
    finally:
        os.close(writing)
    assert _names(place) == set()


def test_a_descriptor_that_does_not_wait_is_waited_for(filled: SqliteAnalyticsStorage) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    received = bytearray()

    def read() -> None:
        while text := os.read(reading, 512):
            received.extend(text)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        result = Exporter(filled).export(
            StreamDestination(DescriptorSink(writing)), options=ExportOptions(format="ndjson", workers=1)
        )
    finally:
        os.close(writing)
        reader.join()
        os.close(reading)
    assert len(received) == result.file_size
    assert len(received) > 65_536, "less than a pipe holds proves nothing"
