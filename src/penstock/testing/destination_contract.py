"""What every destination promises, as checks that any backend's tests run: ``check(place, kind)`` for each of
:data:`CHECKS` and each of :data:`KINDS`.

Each check wants an empty :class:`~penstock.testing.backend_place.Place` of its own, and fails with ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeAlias

from penstock.errors import DestinationExists, IntegrityError, Locked, ManifestError, NotFound
from penstock.model.columns import EVENTS
from penstock.model.lineage import Lineage
from penstock.model.manifest import Manifest, PartEntry, parse_manifest
from penstock.model.manifest import Shape as Layout
from penstock.model.options import ExportFormat, ExportOptions
from penstock.model.span import Span
from penstock.ports.backend import Backend, Expect
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.publication import Publication
from penstock.publishing.shapes import Directory, OneFile, Run, Shape
from penstock.testing.backend_place import Place, keys, read, refused

_LAYOUT = ExportOptions().resolve(format=ExportFormat.NDJSON, codec=None)
_THEIRS = b"somebody else's"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of destination: the shape of the first export there, and whether it can be replaced."""

    name: str
    shape: Shape
    replaceable: bool = True

    def begin(self, backend: Backend, *, overwrite: bool = False) -> Publication:
        """A new attempt at this destination."""
        if not self.replaceable:
            return LineageDestination(backend).begin()
        return ExportDestination(backend, self.shape).begin(overwrite=overwrite)

    def manifest(self, backend: Backend) -> Manifest:
        """The committed manifest. Raises :class:`~penstock.errors.NotFound` if nothing is there."""
        if self.replaceable:
            return parse_manifest(ExportDestination(backend, self.shape).read_manifest(), where=self.name)
        runs = list(LineageDestination(backend).runs())
        if not runs:
            raise NotFound("no run is there")
        return parse_manifest(runs[-1][1], where=self.name)

    def content(self, backend: Backend) -> bytes:
        """The bytes of the parts, as a reader finds them: by the manifest."""
        place = ExportDestination(backend, self.shape) if self.replaceable else LineageDestination(backend)
        found = b""
        for entry in self.manifest(backend).parts:
            with place.part(entry.name).open() as file:
                found += file.read()
        return found


KINDS: Sequence[Kind] = (
    Kind(name="file", shape=OneFile("out.ndjson")),
    Kind(name="directory", shape=Directory()),
    Kind(name="lineage", shape=Run(1), replaceable=False),
)
Check: TypeAlias = Callable[[Place, Kind], None]


def staged(attempt: Publication, shape: Shape, *texts: bytes, at: int = 0) -> Manifest:
    """Stage a part for each text; gives the manifest of them."""
    entries = []
    for number, text in enumerate(texts):
        upload = attempt.stage()
        upload.write(memoryview(text)[:3])
        upload.write(text[3:])
        assert upload.finish().size == len(text)
        entries.append(_entry(attempt, number, text))
        with attempt.read_back(number, entries[-1]).open() as file:
            assert file.read() == text
    return manifest_of(shape, entries, at=at)


def _entry(attempt: Publication, number: int, text: bytes) -> PartEntry:
    digest = sha256(text).hexdigest()
    entry = PartEntry(
        name="",
        rows=1,
        bytes=len(text),
        sha256=digest,
        content_bytes=len(text),
        content_sha256=digest,
        rows_digest="0" * 32,
        seq_range=Span(first=number, last=number),
    )
    return replace(entry, name=attempt.part_name(number, entry, ".ndjson"))


def manifest_of(shape: Shape, entries: Sequence[PartEntry], *, at: int = 0) -> Manifest:
    """A manifest of these parts, made at some moment, which is all that tells two exports of the same parts apart."""
    run = shape.number if isinstance(shape, Run) else None
    return Manifest(
        version="1",
        exported_at=at,
        shape=Layout.FILE if shape.single else Layout.DIRECTORY if run is None else Layout.LINEAGE,
        dataset=EVENTS,
        format=_LAYOUT.format,
        codec=_LAYOUT.codec,
        level=_LAYOUT.level,
        options=_LAYOUT.to_json(),
        filter={},
        source={},
        rows=len(entries),
        rows_digest="0" * 32,
        checksum="0" * 64,
        lineage=None if run is None else _lineage(run),
        parts=tuple(entries),
    )


def _lineage(run: int) -> Lineage:
    previous = None if run == 1 else "a" * 64
    return Lineage(run=run, previous=previous, after=run, upto=run + 1, store="penstock:test", reached=run + 1)


def publish(kind: Kind, backend: Backend, *texts: bytes, overwrite: bool = False, at: int = 0) -> Manifest:
    """An export from its begin to its end."""
    attempt = kind.begin(backend, overwrite=overwrite)
    try:
        manifest = staged(attempt, kind.shape, *texts, at=at)
        attempt.publish(manifest)
    finally:
        attempt.close()
    return manifest


def what_was_published_is_read_back(place: Place, kind: Kind) -> None:
    manifest = publish(kind, place.connect(), b"one\n")
    other = place.connect()
    assert kind.manifest(other) == manifest
    assert kind.content(other) == b"one\n"
    if kind.replaceable:
        assert ExportDestination(other, kind.shape).inspect(manifest) == ([], [])
    else:
        assert LineageDestination(other).inspect([manifest]) == ([], [])
    _no_work_is_left(place, kind)


def _no_work_is_left(place: Place, kind: Kind) -> None:
    assert not list(place.connect().staged(kind.shape.attempt))
    assert not list(place.connect().attempts())
    if place.lies_there is not None:
        assert not [name for name in place.lies_there() if name.startswith(".")]


def nothing_is_there_before_the_commit_or_after_giving_up(place: Place, kind: Kind) -> None:
    backend, other = place.connect(), place.connect()
    attempt = kind.begin(backend)
    staged(attempt, kind.shape, b"one\n")
    with refused_any(NotFound, ManifestError):
        kind.manifest(other)
    assert not keys(other)
    attempt.close()
    attempt.close()
    assert not keys(other)
    with refused_any(NotFound, ManifestError):
        kind.manifest(other)
    _no_work_is_left(place, kind)


def refused_any(*kinds: type[BaseException]) -> _Refused:
    """Fail unless the block raises one of these errors."""
    return _Refused(kinds)


class _Refused:
    def __init__(self, kinds: tuple[type[BaseException], ...]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        assert kind is not None, "nothing was raised"
        return issubclass(kind, self._kinds)


def a_part_that_is_given_up_in_the_middle_leaves_nothing(place: Place, kind: Kind) -> None:
    backend = place.connect()
    attempt = kind.begin(backend)
    upload = attempt.stage()
    upload.write(b"half")
    upload.abort()
    attempt.close()
    assert not keys(backend)
    _no_work_is_left(place, kind)


def there_is_one_writer_at_a_time(place: Place, kind: Kind) -> None:
    backend = place.connect()
    if backend.traits.apart and not kind.shape.single:
        return
    attempt = kind.begin(backend)
    with refused(Locked):
        kind.begin(place.connect(), overwrite=kind.replaceable)
    attempt.publish(staged(attempt, kind.shape, b"one\n"))
    attempt.close()
    if kind.replaceable:
        with refused(DestinationExists):
            kind.begin(place.connect())
    assert kind.content(place.connect()) == b"one\n"


def what_is_there_is_replaced_only_when_asked_and_then_wholly(place: Place, kind: Kind) -> None:
    if not kind.replaceable:
        return
    publish(kind, place.connect(), b"one\n")
    before = keys(place.connect())
    with refused(DestinationExists):
        kind.begin(place.connect())
    assert kind.content(place.connect()) == b"one\n"
    publish(kind, place.connect(), b"two, longer\n", overwrite=True, at=1)
    assert kind.content(place.connect()) == b"two, longer\n"
    assert len(keys(place.connect())) == len(before)


def a_replacement_that_is_given_up_leaves_the_old_export(place: Place, kind: Kind) -> None:
    if not kind.replaceable:
        return
    backend = place.connect()
    publish(kind, backend, b"one\n")
    before = {key: read(backend, key) for key in keys(backend)}
    attempt = kind.begin(backend, overwrite=True)
    staged(attempt, kind.shape, b"two\n", at=1)
    assert kind.content(place.connect()) == b"one\n"
    attempt.close()
    assert {key: read(backend, key) for key in keys(backend)} == before


def an_empty_export_is_one(place: Place, kind: Kind) -> None:
    if kind.shape.single:
        return
    manifest = publish(kind, place.connect())
    assert kind.manifest(place.connect()) == manifest
    assert not manifest.parts


def the_manifest_of_somebody_else_is_left_alone(place: Place, kind: Kind) -> None:
    backend = place.connect()
    attempt = kind.begin(backend)
    manifest = staged(attempt, kind.shape, b"one\n")
    key = kind.shape.data or kind.shape.manifest
    place.connect().put(key, _THEIRS, expect=Expect.ABSENT, attempt="theirs")
    with refused(DestinationExists):
        attempt.publish(manifest)
    attempt.close()
    assert read(backend, key) == _THEIRS
    assert keys(backend) == [key]


def who_comes_second_is_superseded(place: Place, kind: Kind) -> None:
    """Where no lock keeps two apart, the commit does; the parts of the winner stay."""
    backend = place.connect()
    attempt = kind.begin(backend)
    manifest = staged(attempt, kind.shape, b"one\n", at=1)
    theirs = replace(manifest, exported_at=2)
    place.connect().put(kind.shape.manifest, theirs.to_bytes(), expect=Expect.ABSENT, attempt="theirs")
    with refused(Locked):
        attempt.publish(manifest)
    attempt.close()
    assert kind.manifest(place.connect()) == theirs


def of_two_at_once_the_first_commit_wins(place: Place, kind: Kind) -> None:
    """Where attempts are told apart: what others wrote harms nothing, and goes with the commit or their own failure."""
    if not place.connect().traits.apart or kind.shape.single:
        return
    for old in (False, True) if kind.replaceable else (False,):
        slow, fast, dead = (kind.begin(place.connect(), overwrite=old) for _ in range(3))
        late = staged(slow, kind.shape, b"same\n", at=3)
        staged(dead, kind.shape, b"never\n", at=4)
        theirs = staged(fast, kind.shape, b"same\n", at=5)
        fast.publish(theirs)
        fast.close()
        with refused_any(Locked, NotFound):
            slow.publish(late)
        slow.close()
        assert kind.content(place.connect()) == b"same\n"
        assert kind.manifest(place.connect()) == theirs
        assert len([key for key in keys(place.connect()) if key.startswith("data/")]) == 1
        _no_work_is_left(place, kind)
        dead.close()


def what_is_in_work_is_left_to_who_does_it(place: Place, kind: Kind) -> None:
    """Where attempts are told apart: one that aims at what comes next loses nothing to who commits before."""
    if not place.connect().traits.apart or kind.replaceable:
        return
    publish(kind, place.connect(), b"one\n")
    next = kind.begin(place.connect())
    shape = Run(2)
    manifest = staged(next, shape, b"two\n")
    late = kind.begin(place.connect())
    late.close()
    assert list(place.connect().attempts())
    next.publish(manifest)
    next.close()
    assert LineageDestination(place.connect()).numbers() == [1, 2]
    _no_work_is_left(place, kind)


def sums_of_somebody_else_are_never_replaced(place: Place, kind: Kind) -> None:
    if kind.shape.sums is None:
        return
    backend = place.connect()
    backend.put(kind.shape.sums, _THEIRS, expect=Expect.ABSENT, attempt="theirs")
    with refused(DestinationExists):
        kind.begin(backend, overwrite=kind.replaceable)
    assert keys(backend) == [kind.shape.sums]
    assert read(backend, kind.shape.sums) == _THEIRS


def a_manifest_that_is_not_ours_is_never_replaced(place: Place, kind: Kind) -> None:
    if not kind.replaceable:
        return
    backend = place.connect()
    backend.put(kind.shape.manifest, _THEIRS, expect=Expect.ABSENT, attempt="theirs")
    with refused(DestinationExists):
        kind.begin(backend, overwrite=True)
    assert keys(backend) == [kind.shape.manifest]


def parts_are_asked_for_by_plain_names_only(place: Place, kind: Kind) -> None:
    backend = place.connect()
    publish(kind, backend, b"one\n")
    reader = ExportDestination(backend, kind.shape) if kind.replaceable else LineageDestination(backend)
    other = reader.part("other" if kind.shape.single else "data/other")
    assert other.size is None
    with refused(NotFound):
        other.open()
    for name in ("../secret", "/etc/passwd", "..", "", "a/b", "a\x00b", "data/../a", "data//a", "data/.penstock/a"):
        with refused(IntegrityError):
            reader.part(name)


def a_directory_is_of_one_kind(place: Place, kind: Kind) -> None:
    if kind.shape.single:
        return
    publish(kind, place.connect(), b"one\n")
    for other in KINDS:
        if other is not kind and not other.shape.single:
            with refused(DestinationExists):
                other.begin(place.connect(), overwrite=other.replaceable)
    assert kind.content(place.connect()) == b"one\n"


def runs_follow_each_other(place: Place, kind: Kind) -> None:
    if kind.replaceable:
        return
    for number in range(1, 4):
        publish(replace(kind, shape=Run(number)), place.connect(), b"%d\n" % number)
    lineage = LineageDestination(place.connect())
    assert lineage.numbers() == [1, 2, 3]
    assert [parse_manifest(text, where=name).lineage for name, text in lineage.runs()] == [
        _lineage(number) for number in (1, 2, 3)
    ]
    assert list(lineage.live().values()) == [2, 2, 2]


CHECKS: Sequence[Check] = (
    what_was_published_is_read_back,
    nothing_is_there_before_the_commit_or_after_giving_up,
    a_part_that_is_given_up_in_the_middle_leaves_nothing,
    there_is_one_writer_at_a_time,
    what_is_there_is_replaced_only_when_asked_and_then_wholly,
    a_replacement_that_is_given_up_leaves_the_old_export,
    an_empty_export_is_one,
    the_manifest_of_somebody_else_is_left_alone,
    who_comes_second_is_superseded,
    of_two_at_once_the_first_commit_wins,
    what_is_in_work_is_left_to_who_does_it,
    sums_of_somebody_else_are_never_replaced,
    a_manifest_that_is_not_ours_is_never_replaced,
    parts_are_asked_for_by_plain_names_only,
    a_directory_is_of_one_kind,
    runs_follow_each_other,
)
