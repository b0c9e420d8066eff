"""What is done to rows between the view that they are read from and whatever they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa

from penstock.model.dataset import Dataset


class Step(Protocol):
    """One change of rows, each by itself: none is added, left out or moved. Plain data, so that another process can be
    sent it; safe from several threads."""

    def bind(self, dataset: Dataset) -> Dataset:
        """What rows of this dataset become. Raises :class:`~penstock.errors.UsageError` if they cannot."""
        ...

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Mapping[str, int]]:
        """The rows changed, and what of them was, by reason."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """What a manifest says of it: enough to do it again."""
        ...
