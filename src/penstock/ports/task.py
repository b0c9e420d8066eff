"""The work of a part as plain data: what is sent to whoever does it, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.model.arrival import said
from penstock.model.filter import ExportFilter
from penstock.model.location import Location
from penstock.model.manifest import PartEntry
from penstock.model.options import ExportOptions, Layout
from penstock.ports.backend import Staged
from penstock.ports.source import Slice, SourceRef
from penstock.ports.step import Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Joining:
    """A view that a worker is to pin, of which source, and the name by which tasks mean it."""

    name: str
    source: SourceRef


@dataclass(frozen=True, kw_only=True, slots=True)
class PartTask:
    """The slices of the view ``view`` that become a part, or a few if that would be too large; read under ``filter``,
    changed by ``steps``, written as ``layout`` and ``options`` say, and staged for ``attempt`` at ``place``. ``source``
    is what the files say of the source."""

    number: int
    view: str
    slices: tuple[Slice, ...]
    filter: ExportFilter
    steps: tuple[Step, ...]
    options: ExportOptions
    layout: Layout
    source: Mapping[str, Any]
    place: Location
    attempt: str

    def __str__(self) -> str:
        return f"task {self.number} (rows behind {said(self.slices[0].after)}, up to {said(self.slices[-1].upto)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartReceipt:
    """What became of a task: the parts, named by nobody yet, each with where it lies and its size uncompressed; by
    reason what was coerced and left out; and whether the worker's view ``moved``."""

    parts: tuple[tuple[PartEntry, Staged, int], ...]
    counts: Mapping[str, int]
    moved: bool
