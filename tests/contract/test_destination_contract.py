"""What every destination promises: nothing before the commit, everything after it, and one writer at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from penstock import DirectoryDestination, ExportDestination, ExportFormat, FileDestination
from penstock.errors import DestinationExists, ExportError, Locked, ManifestError, NotFound
from penstock.model.columns import EVENTS
from penstock.model.manifest import Manifest, PartEntry, Shape, parse_manifest
from penstock.model.span import Span
from penstock.ports.destination import Publication

Make = Callable[[], ExportDestination]


@pytest.fixture(params=["file", "directory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the same destination again and again, as several runs do."""
    if request.param == "file":
        return lambda: FileDestination(tmp_path / "out.ndjson")
    return lambda: DirectoryDestination(tmp_path / "out")


def _write(publication: Publication, text: bytes) -> Manifest:
    """Stage one part; gives the manifest of it."""
    staged = publication.stage()
    staged.write(memoryview(text)[:3])
    staged.write(text[3:])
    assert staged.finish() == len(text)
    with staged.read_back() as file:
        assert file.read() == text
    sha = hashlib.sha256(text).hexdigest()
    entry = PartEntry(
        name="",
        rows=1,
        bytes=len(text),
        sha256=sha,
        content_bytes=len(text),
        content_sha256=sha,
        rows_digest="0" * 32,
        seq_range=Span(first=1, last=1),
    )
    named = replace(entry, name=publication.part_name(0, entry, ".ndjson"))
    return Manifest(
        version="1",
        exported_at=0,
        shape=Shape.DIRECTORY if named.name.startswith("part-") else Shape.FILE,
        dataset=EVENTS,
        format=ExportFormat.NDJSON,
        codec="none",
        level=None,
        options={},
        filter={},
        source={},
        rows=1,
        rows_digest="0" * 32,
        checksum=sha,
        parts=(named,),
    )


def _publish(make: Make, text: bytes, *, overwrite: bool = False) -> Manifest:
    publication = make().begin(overwrite=overwrite)
    manifest = _write(publication, text)
    publication.publish(manifest)
    publication.close()
    return manifest


def _tree(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def _read(make: Make) -> bytes:
    """The export as a reader finds it: by its manifest."""
    destination = make()
    manifest = parse_manifest(destination.read_manifest(), where=destination.manifest_name)
    (entry,) = manifest.parts
    with destination.open_part(entry.name) as file:
        assert file.seekable()
        return file.read()


def test_it_is_a_destination(make: Make) -> None:
    destination = make()
    assert isinstance(destination, ExportDestination)
    assert destination.path is not None


def test_what_was_published_is_read_back(make: Make, tmp_path: Path) -> None:
    manifest = _publish(make, b"one\n")
    destination = make()
    assert destination.read_manifest() == manifest.to_bytes()
    assert _read(make) == b"one\n"
    assert destination.inspect(manifest) == ([], [])
    assert not [name for name in _tree(tmp_path) if "penstock" in name]


def test_nothing_is_there_before_the_commit_or_after_giving_up(make: Make, tmp_path: Path) -> None:
    publication = make().begin()
    _write(publication, b"one\n")
    with pytest.raises((NotFound, ManifestError)):
        make().read_manifest()
    publication.close()
    publication.close()
    assert _tree(tmp_path) == set()
    with pytest.raises(NotFound):
        make().read_manifest()


def test_a_part_that_is_given_up_in_the_middle_leaves_nothing(make: Make, tmp_path: Path) -> None:
    publication = make().begin()
    staged = publication.stage()
    staged.write(b"half")
    staged.abort()
    staged.abort()
    publication.close()
    assert _tree(tmp_path) == set()


def test_there_is_one_writer_at_a_time(make: Make) -> None:
    publication = make().begin()
    with pytest.raises(Locked) as caught:
        make().begin(overwrite=True)
    assert caught.value.exit_code == 11
    publication.publish(_write(publication, b"one\n"))
    publication.close()
    with pytest.raises(DestinationExists):
        make().begin()
    assert _read(make) == b"one\n"


def test_what_is_there_is_replaced_only_when_asked_and_then_wholly(make: Make, tmp_path: Path) -> None:
    _publish(make, b"one\n")
    before = _tree(tmp_path)
    with pytest.raises(DestinationExists) as caught:
        make().begin()
    assert caught.value.exit_code == 2
    assert _read(make) == b"one\n"
    _publish(make, b"two\n", overwrite=True)
    assert _read(make) == b"two\n"
    assert len(_tree(tmp_path)) == len(before)


def test_a_replacement_that_is_given_up_leaves_the_old_export(make: Make, tmp_path: Path) -> None:
    _publish(make, b"one\n")
    before = {name: (tmp_path / name).read_bytes() for name in _tree(tmp_path) if (tmp_path / name).is_file()}
    publication = make().begin(overwrite=True)
    _write(publication, b"two\n")
    assert _read(make) == b"one\n"
    publication.close()
    after = {name: (tmp_path / name).read_bytes() for name in _tree(tmp_path) if (tmp_path / name).is_file()}
    assert after == before


def test_a_file_that_appears_meanwhile_is_left_alone(make: Make, tmp_path: Path) -> None:
    publication = make().begin()
    manifest = _write(publication, b"one\n")
    destination = make()
    assert destination.path is not None
    stranger = destination.path if destination.single else destination.path / destination.manifest_name
    stranger.write_text("somebody else's")
    with pytest.raises(DestinationExists):
        publication.publish(manifest)
    publication.close()
    assert stranger.read_text() == "somebody else's"
    assert _tree(tmp_path) <= {str(path.relative_to(tmp_path)) for path in (stranger, stranger.parent)}


def test_parts_are_asked_for_by_plain_names_only(make: Make) -> None:
    _publish(make, b"one\n")
    with pytest.raises(NotFound), make().open_part("other"):
        pass
    for name in ("../secret", "/etc/passwd", "..", "", "a/b", "a\x00b"):
        with pytest.raises(ExportError) as caught, make().open_part(name):
            pass
        assert caught.value.exit_code == 4
