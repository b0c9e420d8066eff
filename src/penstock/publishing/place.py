"""What lies at a place, found out through its backend; and what recovery decided, done there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from penstock.errors import Changed, ManifestError, NotFound
from penstock.model.manifest import MAX_MANIFEST_BYTES, Manifest, PartEntry, parse_manifest
from penstock.model.roll import Roll
from penstock.ports.backend import Backend, Expect, Expectation, Move, Staged, Stat
from penstock.publishing.recovery import (
    INTENT,
    SUMS,
    Action,
    Clear,
    Data,
    Found,
    Intent,
    PutData,
    PutManifest,
    PutSums,
    TakeBack,
    Tell,
    decide,
    parse_intent,
)
from penstock.publishing.shapes import Shape, are_sums, told_apart

#: How every manifest of ours begins, however damaged behind it.
_MARK = b'{\n  "penstock_manifest"'
#: What an attempt, or a put on its behalf, lays down.
_OURS = re.compile(rf"(?:(?:data|put)-\d{{5,}}(?:-[0-9a-f]{{32}})?|{SUMS}|{INTENT})\Z", re.ASCII)
_READ = 1 << 20
#: An intent holds two manifests, as JSON text.
_MAX_INTENT_BYTES = 5 * MAX_MANIFEST_BYTES


class Place:
    """A backend, as those see it who publish there: manifests, parts that are what an entry says, intents."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def where(self, key: str) -> str:
        """A key in words."""
        location = str(self.backend.location)
        return key if location == "." else f"{location.removesuffix('/')}/{key}"

    def read(self, key: str) -> tuple[bytes | None, Stat | None]:
        """A small whole and what it is, or nothing twice. Raises :class:`ManifestError` for a huge one."""
        stat = self.backend.stat(key)
        if stat is None:
            return None, None
        if stat.size > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{self.where(key)} is larger than {MAX_MANIFEST_BYTES} bytes: not a manifest")
        try:
            with self.backend.open(key, version=stat.version) as file:
                return file.read(MAX_MANIFEST_BYTES + 1), stat
        except NotFound:
            return None, None

    def holds(self, entry: PartEntry | Roll) -> Stat | None:
        """What stands under an entry's name, if it is exactly what the entry says."""
        there = self.backend.stat(entry.name)
        if there is None or there.size != entry.bytes:
            return None
        try:
            with self.backend.open(there.key, version=there.version) as file:
                return there if _sha256(file) == entry.sha256 else None
        except (NotFound, Changed):
            return None

    def attempts(self, shape: Shape) -> Sequence[str]:
        """The names of all attempts at a place that is told of by this shape."""
        if not self.backend.traits.apart or shape.single:
            return [shape.attempt]
        return [name for name in self.backend.attempts() if name == shape.attempt or told_apart(name)]

    def in_work(self, shape: Shape) -> bool:
        """Whether an attempt at this shape left something, or is about to."""
        return any(self._left(attempt) for attempt in self.attempts(shape))

    def _left(self, attempt: str) -> bool:
        return any(_OURS.match(one.name) for one in self.backend.staged(attempt))

    def intends(self, shape: Shape, manifest: bytes) -> bool:
        """Whether an attempt at this shape was, or is, about to publish this manifest."""
        found = map(self._intent, self.attempts(shape))
        return any(intent is not None and intent.manifest == manifest for intent in found)

    def _intent(self, attempt: str) -> Intent | None:
        """What an attempt was, or is, about to do."""
        for staged in self.backend.staged(attempt):
            if staged.name == INTENT and staged.size <= _MAX_INTENT_BYTES:
                with self.backend.open_staged(staged) as file:
                    return parse_intent(file.read())
        return None

    def look(self, shape: Shape) -> Found:
        """What another attempt left here, which is dead: this one holds its lock."""
        found = Found(shape=shape, intent=self._intent(shape.attempt), leftovers=self._left(shape.attempt))
        return self.look_after(found)

    def clear_over(self, shape: Shape, version: str | None) -> list[str]:
        """Clear what attempts left that can commit no more, where this version of the shape's manifest stands, or none:
        they are dead, or will fail at their commit. Returns what is to be told of it."""
        told: list[str] = []
        for name in self.attempts(shape) if self.backend.traits.apart else ():
            if name != shape.attempt and shape.is_over(name, version):
                found = self.look(shape.named(name))
                told += self.execute(found, decide(found))
        return list(dict.fromkeys(told))

    def look_after(self, found: Found) -> Found:
        """What came of an intent. What was found is settled first, since recovery builds on it."""
        manifest = None if found.intent is None else found.intent.described
        if found.intent is None or manifest is None:
            return replace(found, intent=None)
        shape = found.shape.of(manifest)
        if not shape.could_be(manifest):
            return replace(found, intent=None)
        self.backend.settle([shape.manifest])
        text, _ = self.read(shape.manifest)
        found = replace(found, shape=shape, manifest=text)
        if shape.single and found.intent is not None and found.intent.replaces and text is None:
            return self._look_at_data(found, found.intent, manifest.parts[0])
        return found

    def _look_at_data(self, found: Found, intent: Intent, entry: PartEntry) -> Found:
        self.backend.settle([entry.name])
        there = self.backend.stat(entry.name)
        staged = self._staged(found.shape, staged_name(0))
        whole = staged is not None and staged.size == entry.bytes and self._digest(staged) == entry.sha256
        # the same version again is what was put, if it is no more staged: the bytes are the same
        if (None if there is None else there.version) == intent.data and (whole or self.holds(entry) is None):
            data = Data.BEFORE
        else:
            data = Data.OTHER if self.holds(entry) is None else Data.NEW
        return replace(found, data=data, staged=whole)

    def _staged(self, shape: Shape, name: str) -> Staged | None:
        return next((one for one in self.backend.staged(shape.attempt) if one.name == name), None)

    def _digest(self, staged: Staged) -> str:
        with self.backend.open_staged(staged) as file:
            return _sha256(file)

    def execute(self, found: Found, actions: Sequence[Action]) -> list[str]:
        """Do what was decided, in order; returns what is to be told of it."""
        told: list[str] = []
        gone: list[str] = []
        for action in actions:
            match action:
                case TakeBack(entry):
                    gone += self._take_back(found.shape, entry)
                case PutData():
                    self._put_data(found)
                case PutManifest(text):
                    shape = found.shape
                    self.backend.put(shape.manifest, text, expect=Expect.ABSENT, attempt=shape.attempt)
                case PutSums(manifest, old):
                    told += self._put_sums(found.shape, manifest, old)
                case Clear():
                    if gone and not found.alive:
                        self.backend.settle(gone)
                    self._clear(found.shape)
                case Tell(note):
                    told.append(note)
        return told

    def _take_back(self, shape: Shape, entry: PartEntry | Roll) -> list[str]:
        """Remove what an entry names. Gives the name where nothing is: who removed it may have died before that was
        durable. A name that only this attempt gives needs no reading."""
        mark = told_apart(shape.attempt)
        there = self.backend.stat(entry.name) if mark and mark in entry.name else self.holds(entry)
        if there is None:
            return [entry.name]
        self.backend.delete(entry.name, version=there.version)
        return []

    def _put_data(self, found: Found) -> None:
        staged = self._staged(found.shape, staged_name(0))
        assert staged is not None
        assert found.intent is not None
        assert found.shape.data is not None
        expect: Expectation = Expect.ABSENT if found.intent.data is None else found.intent.data
        self.backend.place([Move(staged=staged, key=found.shape.data, expect=expect)])

    def _put_sums(self, shape: Shape, manifest: Manifest, old: bytes | None) -> list[str]:
        """The sums follow their manifest. Returns a note if somebody else's file has their place."""
        assert shape.sums is not None
        there, stat = self.read(shape.sums)
        if there == manifest.sums():
            return []
        if stat is not None and (old is None or not are_sums(there or b"")):
            return [f"{self.where(shape.sums)} is not ours and was left alone; it does not cover the export"]
        expect: Expectation = Expect.ABSENT if stat is None else stat.version
        staged = self._staged(shape, SUMS)
        if staged is not None and staged.size == len(manifest.sums()):
            self.backend.place([Move(staged=staged, key=shape.sums, expect=expect)])
        else:
            self.backend.put(shape.sums, manifest.sums(), expect=expect, attempt=shape.attempt)
        return []

    def _clear(self, shape: Shape) -> None:
        staged = [one for one in self.backend.staged(shape.attempt) if _OURS.match(one.name)]
        for one in sorted(staged, key=lambda one: (one.name == INTENT, one.name)):
            self.backend.drop(one)


def is_ours(text: bytes) -> bool:
    """Whether this is a manifest of ours, whole or damaged. Raises :class:`~penstock.errors.NewerVersion` for a newer
    one."""
    try:
        parse_manifest(text, where="manifest")
    except ManifestError:
        return text.startswith(_MARK)
    return True


def staged_name(index: int, who: str = "") -> str:
    """Under which name a part is staged; ``who`` is 32 hex digits by which workers keep out of each other's way."""
    return f"data-{index:05d}" + (f"-{who}" if who else "")


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := file.read(_READ):
        digest.update(data)
    return digest.hexdigest()
