"""What the columnar formats share: both are files of the same Arrow schema, written by writers of Arrow's."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from penstock.errors import SerializationError
from penstock.formats.bounds import check_payloads
from penstock.model.dataset import Dataset
from penstock.pipeline.rowtext import check_values


class ByteSink(io.RawIOBase):
    """What a columnar writer writes to. After ``drop`` bytes are swallowed: such writers write when they are closed."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write: Callable[[bytes], object] | None = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._write is not None:
            self._write(data)
        return memoryview(data).nbytes

    def drop(self) -> None:
        """Let no further byte through, and let go of where they went."""
        self._write = None


def plain_schema(dataset: Dataset) -> pa.Schema:
    """The dataset's columns as they stand in a file: without the marks that are for us."""
    return pa.schema([field.remove_metadata() for field in dataset.schema])


def check_schema(found: pa.Schema, dataset: Dataset) -> None:
    """Raise :class:`SerializationError` unless a file's columns are those of the dataset."""
    if not found.remove_metadata().equals(dataset.schema):
        raise SerializationError(f"the file's columns are not {', '.join(dataset.columns)} with their types")


def check_batch(batch: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    """The batch with the dataset's schema, validated in full. Raises ``pyarrow.ArrowInvalid``."""
    batch.validate(full=True)
    checked = pa.record_batch(batch.columns, schema=dataset.schema)
    for field in dataset.schema:
        if not field.nullable and checked.column(field.name).null_count:
            raise pa.ArrowInvalid(f"a null in {field.name}")
    check_values(checked)
    check_payloads(checked)
    return checked
