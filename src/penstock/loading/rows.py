"""The values that flow from readers to the store: rows that claim to be events, and records that are set aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from penstock.errors import ExportError
from penstock.pipeline.lines import SAMPLE, Broken, Overlong

#: How records of a file are numbered, both from 1: by the line they begin on, or by their place.
Unit = Literal["line", "record"]
#: What a field is not, in the reason for which a record is set aside.
WANTED = {
    "id": "text or an integer",
    "category": "text",
    "event_type": "text",
    "timestamp": "text or a number",
    "session_id": "text or an integer",
    "priority": "text or a number",
    "data": "a JSON object",
    "metadata": "a JSON object",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """One record that is set aside, or with ``rest`` all that could not be read of a file.

    ``reason`` is one of few, to be counted; ``detail`` is about this record. ``raw`` is the record as it came, or, when
    ``length`` (bytes) is given, only its beginning.
    """

    number: int
    unit: Unit
    reason: str
    detail: str = ""
    raw: bytes = b""
    length: int | None = None
    rest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Records whose fields were found, but not yet held against the event model.

    ``columns`` holds the eight event fields, of equal length and any type that may mean them; null is missing.
    ``extra`` are members for ``data`` that the record had beside it, as a JSON object each. ``payloads_checked`` says
    that ``data`` and ``metadata`` are compact JSON objects already. ``faults`` are rows that are known to be bad, as
    ``reason: detail``. ``locate`` gives number and raw text of a row, ``contents`` the texts that ids are made from.
    """

    columns: Mapping[str, pa.Array]
    unit: Unit
    locate: Callable[[int], tuple[int, bytes]]
    contents: Callable[[Sequence[int]], Sequence[bytes]]
    extra: pa.Array | None = None
    payloads_checked: bool = False
    faults: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["event_type"])

    @property
    def nbytes(self) -> int:
        """The size of the fields, in bytes."""
        fields = sum(int(column.nbytes) for column in self.columns.values())
        return fields + (int(self.extra.nbytes) if self.extra is not None else 0)

    def reject(self, row: int, fault: str) -> Reject:
        """The row, set aside for ``fault`` (``reason: detail``)."""
        number, raw = self.locate(row)
        reason, _, detail = fault.partition(": ")
        return Reject(number=number, unit=self.unit, reason=reason, detail=detail, raw=raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class Portion:
    """What a reader gives at a time. ``names`` are field names of a record, for telling what there is to map."""

    rows: Rows | None = None
    rejects: Sequence[Reject] = ()
    names: Sequence[str] = ()


def set_aside(number: int, unit: Unit, found: Overlong | Broken, limit: int) -> Reject:
    """What a splitter could not give whole."""
    if isinstance(found, Broken):
        return damage(number, unit, found.error, found.rest)
    return oversize(number, unit, limit, found.head, found.length)


def oversize(number: int, unit: Unit, limit: int, head: bytes, length: int) -> Reject:
    """A record that is longer than ``limit`` bytes, of which only the beginning is kept."""
    return Reject(
        number=number,
        unit=unit,
        reason=f"the record is longer than {limit} bytes",
        detail=f"it has {length} bytes, the first {min(len(head), SAMPLE)} are kept here",
        raw=head[:SAMPLE],
        length=length,
    )


def damage(number: int, unit: Unit, error: ExportError | str, rest: bytes = b"") -> Reject:
    """All that is left of a file which cannot be read on; ``rest`` is what was read and belongs to no whole record."""
    return Reject(
        number=number,
        unit=unit,
        reason="the file is damaged",
        detail=error if isinstance(error, str) else error.message,
        raw=rest[:SAMPLE],
        length=len(rest) if len(rest) > SAMPLE else None,
        rest=True,
    )
