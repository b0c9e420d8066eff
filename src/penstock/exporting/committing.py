"""The few moments of an export that a signal must not cut in two: taking a place, committing, and clearing up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from penstock.model.manifest import Manifest
from penstock.ports.observer import Observer, Progress
from penstock.publishing.publication import Publication

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals that Python would handle wait for the end of the block; they are dropped if it raises, which ends the
    export anyway. Only the main thread is ever interrupted, so that elsewhere there is nothing to do."""
    came: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)

    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, wait)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for late in dict.fromkeys(came):
        signal.raise_signal(late)


def commit(publication: Publication, manifest: Manifest, total: int, observer: Observer | None) -> Manifest:
    """Publish, clear up, and say so; ``total`` is what there was to do. Returns the manifest as it was published.
    Raises what :meth:`penstock.publishing.publication.Publication.publish` raises."""
    manifest = publication.signed(manifest)
    stored = sum(entry.bytes for entry in manifest.parts)
    with uninterrupted():
        publication.publish(manifest)
        publication.close()
        if observer is not None:
            observer.progress(Progress(rows=manifest.rows, bytes=stored, done=total, total=total, committed=True))
    return manifest


def close(publication: Publication | None) -> None:
    """Let go of a place that was taken, whatever came of it."""
    if publication is not None:
        with uninterrupted():
            publication.close()
