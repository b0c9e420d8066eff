"""Every shape of destination, over every backend: nothing before the commit, everything after it, one writer."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_backend_contract import KINDS as BACKENDS
from test_backend_contract import OBJECTS

from penstock.errors import DestinationExists, UsageError
from penstock.model.manifest import parse_manifest
from penstock.ports.backend import Expect
from penstock.ports.format import Buffer
from penstock.publishing.shapes import Run
from penstock.publishing.stream import StreamDestination
from penstock.testing.backend_place import Place, keys, read
from penstock.testing.destination_contract import CHECKS, KINDS, Check, Kind, manifest_of


@pytest.fixture(params=["local", "memory", *OBJECTS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param in OBJECTS:
        request.getfixturevalue(request.param)
    return BACKENDS[request.param](tmp_path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_every_destination_promises(check: Check, kind: Kind, place: Place) -> None:
    check(place, kind)


class Gathered:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.text = b""

    def write(self, data: Buffer) -> None:
        self.text += bytes(data)


def test_a_stream_has_its_bytes_at_once_and_its_manifest_at_the_end(place: Place) -> None:
    sink, backend = Gathered(), place.connect()
    attempt = StreamDestination(sink, (backend, "m.json")).begin()
    upload = attempt.stage()
    upload.write(b"one\n")
    assert sink.text == b"one\n"
    assert upload.finish().size == 4
    assert not keys(backend)
    manifest = manifest_of(KINDS[0].shape, [])
    with pytest.raises(UsageError):
        StreamDestination(sink).begin().read_back(0, None)  # type: ignore[arg-type]
    attempt.publish(manifest)
    attempt.close()
    assert keys(backend) == ["m.json"]
    assert parse_manifest(read(backend, "m.json"), where="m") == manifest


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_manifest_of_a_stream_replaces_only_another_and_when_asked(place: Place, overwrite: bool) -> None:
    sink, backend = Gathered(), place.connect()
    old = manifest_of(Run(1), [], at=1)
    backend.put("m.json", old.to_bytes() if overwrite else b"theirs", expect=Expect.ABSENT, attempt="x")
    destination = StreamDestination(sink, (backend, "m.json"))
    with pytest.raises(DestinationExists):
        destination.begin(overwrite=not overwrite)
    if overwrite:
        attempt = destination.begin(overwrite=True)
        attempt.publish(manifest_of(Run(1), [], at=2))
        attempt.close()
        assert parse_manifest(read(backend, "m.json"), where="m").exported_at == 2
    assert keys(backend) == ["m.json"]
