"""Rows of others, handed on: the base for what changes, chooses or notes them on their way into an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from penstock.model.arrival import Arrival
from penstock.model.filter import ExportFilter
from penstock.ports.source import Reading, Rows, Slice


class Onward:
    """The ``rows``, read in their slices and with their counts; ``_passed`` says what becomes of those of one slice.
    Slices may be read from several threads at once."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @property
    def source(self) -> Mapping[str, Any]:
        return self._rows.source

    @property
    def unread(self) -> Mapping[str, int]:
        return self._rows.unread

    @property
    def streams(self) -> bool:
        return self._rows.streams

    def plan(
        self,
        filter: ExportFilter,
        *,
        max_rows: int,
        max_bytes: int,
        after: Arrival | None = None,
        sampled: bool = False,
    ) -> Iterator[Slice]:
        return self._rows.plan(filter, max_rows=max_rows, max_bytes=max_bytes, after=after, sampled=sampled)

    def read(self, span: Slice, filter: ExportFilter) -> Reading:
        reading = self._rows.read(span, filter)
        return replace(reading, batches=self._passed(span, reading))

    def _passed(self, span: Slice, reading: Reading) -> Iterator[pa.RecordBatch]:
        """The batches that are handed on of a slice's: all, as they are."""
        return iter(reading)
