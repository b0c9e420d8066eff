"""What lies around the parts of an export, seen by whoever reads it: sums, leftovers, strangers; and a part's bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from penstock.errors import ManifestError
from penstock.model.manifest import Manifest
from penstock.ports.backend import Backend, Staged
from penstock.publishing.place import Place
from penstock.publishing.shapes import Shape

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes to be fetched: how many lie there, ``None`` if they do not; whether that is on this machine, in a file that
    can seek; and what opens them, once through elsewhere. It raises :class:`~penstock.errors.NotFound`. ``rows`` is how
    many they are where rows lie there, of which the bytes are made."""

    size: int | None
    local: bool
    open: Callable[[], BinaryIO]
    rows: int | None = None


def stored(backend: Backend, key: str) -> Stored:
    """What lies under a key."""
    there = backend.stat(key)
    return Stored(None if there is None else there.size, is_local(backend), partial(backend.open, key))


def stored_part(backend: Backend, part: Staged) -> Stored:
    """What is staged of a part; its length was checked when it was finished."""
    return Stored(part.size, is_local(backend), partial(backend.open_staged, part))


def leftovers(backend: Backend, shape: Shape) -> list[str]:
    """A note, if something is staged."""
    if not Place(backend).in_work(shape):
        return []
    return [f".{shape.attempt} holds the work of a running or interrupted export; the next one clears it"]


def look_at_sums(
    backend: Backend, shape: Shape, manifest: Manifest, gone: Collection[str] = ()
) -> tuple[list[tuple[str, str]], list[str]]:
    """Problems and notes about the sums of a manifest, some of whose parts may be ``gone``. They follow it: while its
    intent lies there they may lack."""
    assert shape.sums is not None
    try:
        sums, _ = Place(backend).read(shape.sums)
    except ManifestError:
        sums = b""
    if sums == manifest.sums(gone):
        return [], []
    if Place(backend).intends(shape, manifest.to_bytes()):
        return [], [f"{shape.sums} does not cover the export yet; the next one completes it"]
    state = "is missing" if sums is None else "does not match the manifest"
    return [(shape.sums, f"{shape.sums} {state}")], []


def strangers(backend: Backend, known: set[str]) -> list[str]:
    """A note, if there are keys that are not known."""
    found = [stat.key for stat in backend.list("") if stat.key not in known]
    if not found:
        return []
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return [f"{len(found)} files here are not of this export and were left alone: {shown}"]


def is_local(backend: Backend) -> bool:
    """Whether keys are files of this machine."""
    return backend.location.scheme == "file"


def local_path(backend: Backend, key: str | None) -> Path | None:
    """The path of a key, or of the location, if it is local."""
    if not is_local(backend):
        return None
    path = Path(backend.location.path)
    return path if key is None else path / key
