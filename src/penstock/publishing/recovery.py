"""What is to be done about an attempt that did not come to its end: a pure function from what lies at a place.

The manifest under its key is the commit. Before anything else has a key, the attempt's :class:`Intent` lies durably
among what it staged: the finished manifest, and what it is to replace. So whoever comes next can tell what was begun,
and either takes it back, or completes it where there is no way back. ``docs/format.md``, "Publishing", is the norm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from penstock.errors import ManifestError, NewerVersion
from penstock.model.manifest import Manifest, PartEntry, parse_manifest
from penstock.model.roll import Roll
from penstock.publishing.shapes import Shape

INTENT = "intent"
#: The sums are staged before the commit, so that nothing has to be written after it.
SUMS = "sums"


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """A manifest that is to be published, and what it replaces, if it ``replaces`` something: the text of the ``old``
    manifest, if there is one, and, of one file, the version of the ``data`` that is to go, if there is any."""

    manifest: bytes
    replaces: bool = False
    old: bytes | None = None
    data: str | None = None
    #: What the manifest's text says, where somebody has it already: it may be large.
    known: Manifest | None = field(default=None, repr=False, compare=False)

    @property
    def described(self) -> Manifest:
        """What the manifest's text says."""
        manifest = self.known if self.known is not None else readable(self.manifest)
        assert manifest is not None
        return manifest

    def to_bytes(self) -> bytes:
        """A line that says how long the texts behind it are, and these as they are: they may be large."""
        head = {
            "penstock_intent": 1,
            "manifest": len(self.manifest),
            "replaces": self.replaces,
            "old": None if self.old is None else len(self.old),
            "data": self.data,
        }
        return b"".join((json.dumps(head).encode(), b"\n", self.manifest, self.old or b""))


def parse_intent(text: bytes) -> Intent | None:
    """Read an intent; ``None`` for a torn one: then nothing was done for it."""
    head, _, texts = text.partition(b"\n")
    try:
        raw = json.loads(head)
        size, old = raw["manifest"], raw["old"]
        if len(texts) != size + (old or 0):
            return None
        manifest = texts[:size]
        known = readable(manifest)
        if known is None:
            return None
        return Intent(
            manifest=manifest,
            replaces=bool(raw["replaces"]),
            old=None if old is None else texts[size:],
            data=raw["data"],
            known=known,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def readable(text: bytes | None) -> Manifest | None:
    """A manifest, unless there is none or it cannot be read."""
    try:
        return None if text is None else parse_manifest(text, where="manifest")
    except (ManifestError, NewerVersion):
        return None


class Data(Enum):
    """What stands under the name of one file, seen from an intent to replace it: its new bytes, what was to go, or what
    other hands put there."""

    NEW = "new"
    BEFORE = "before"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies at a place that somebody holds: the ``intent`` of an attempt, what stands under its ``shape``'s
    ``manifest``, and whether anything is staged. Of one file that is replaced also what stands as ``data``, and whether
    its new bytes are ``staged`` whole.

    ``alive`` says that it is this very attempt that failed, and not one that is dead. It may not have given any name
    (``gave``).
    """

    shape: Shape
    intent: Intent | None = None
    manifest: bytes | None = None
    data: Data = Data.OTHER
    staged: bool = False
    leftovers: bool = True
    alive: bool = False
    gave: bool = True


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Remove what stands under an entry's name, if it is what the entry says."""

    entry: PartEntry | Roll


@dataclass(frozen=True, slots=True)
class PutData:
    """Give the staged bytes of one file its name, in place of what the intent says."""


@dataclass(frozen=True, slots=True)
class PutManifest:
    """Put this text under the manifest's key, where nothing stands."""

    text: bytes


@dataclass(frozen=True, slots=True)
class PutSums:
    """Let the sums be those of a manifest; what they replace are those of the ``old`` one."""

    manifest: Manifest
    old: bytes | None


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop all that is staged, the intent last."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Let whoever called know."""

    note: str


Action: TypeAlias = TakeBack | PutData | PutManifest | PutSums | Clear | Tell


def decide(found: Found) -> list[Action]:
    """What makes a whole export, or none, out of what was found; in this order, each step durable before the next.

    Only what a manifest of ours names, with the digest that it gives, is ever touched.
    """
    intent = found.intent
    cleared = [] if found.alive else [Tell("an interrupted run was cleared up first")]
    if intent is None:
        return [Clear(), *cleared] if found.leftovers else []
    if found.manifest == intent.manifest:
        told = [] if found.alive else [Tell(f"the interrupted run of {found.shape.manifest} was committed already")]
        return [*after_commit(found.shape, intent), Clear(), *told]
    if found.shape.single and intent.replaces:
        completed = _replaced_file(found, intent)
        return [*completed, Clear(), *([] if completed else cleared)]
    return [*_take_back(found, intent), Clear(), *cleared]


def after_commit(shape: Shape, intent: Intent) -> list[Action]:
    """What is left to do when the manifest stands: the sums, then the old export's own parts go."""
    manifest, old = intent.described, readable(intent.old)
    kept = {entry.name for entry in manifest.parts}
    gone = [entry for entry in (old.parts if old is not None else ()) if entry.name not in kept]
    sums: list[Action] = [] if shape.sums is None else [PutSums(manifest, intent.old)]
    return [*sums, *(TakeBack(entry) for entry in gone)]


def _replaced_file(found: Found, intent: Intent) -> list[Action]:
    """The old manifest goes first, then the data is exchanged: from there on there is only forward."""
    if found.manifest is not None:
        return []  # nothing was touched yet
    untouched = found.data is Data.BEFORE and found.staged
    if untouched and found.alive:
        return [] if intent.old is None else [PutManifest(intent.old)]
    if not untouched and found.data is not Data.NEW:
        return []  # other hands changed the file since: it is theirs
    data: list[Action] = [PutData()] if untouched else []
    return [*data, PutManifest(intent.manifest), Tell("an interrupted replacement was completed first")]


def _take_back(found: Found, intent: Intent) -> list[Action]:
    """The names that an export gave out which is not committed. What stands there may have them of its own."""
    manifest, there = intent.described, readable(found.manifest)
    if not found.gave or (found.manifest is not None and there is None and not found.alive):
        return []  # a manifest that cannot be read may name any of them
    kept = {entry.name for entry in there.stored} if there is not None else set()
    return [TakeBack(entry) for entry in manifest.stored if entry.name not in kept]
