"""Whether what an export read is of one moment, and what is said where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from penstock.exporting.run import Run
from penstock.model.manifest import Manifest
from penstock.ports.source import View

_MOMENT, _SPAN = "moment", "span"


def of_moment(manifest: Manifest, view: View, run: Run) -> Manifest:
    """The manifest, with what it says if the source was written between what was read of it."""
    if not (view.moved or run.moved):
        return manifest
    return replace(manifest, guarantees={**manifest.guarantees, _MOMENT: _SPAN})


def told(manifest: Manifest) -> Iterator[str]:
    """What is said of that to whoever asked for the export."""
    if manifest.guarantees.get(_MOMENT) == _SPAN:
        yield (
            "the source was written while it was read: the rows are of a span of time, not of one moment"
            " (--one-moment keeps writers out)"
        )
