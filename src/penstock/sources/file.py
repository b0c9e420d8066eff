"""A SQLite file as a source of events: what the event store and adopted tables have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.errors import UsageError
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.result import StorageStats
from penstock.model.storage_config import StorageConfig
from penstock.pipeline import summary
from penstock.pipeline.closing import Closing
from penstock.ports.source import Peers, Source, SourceRef, View
from penstock.sources.connection import Connection

#: "PENS" as a 32-bit number: marks a file as an event store of ours in its header.
APPLICATION_ID = 0x50454E53


class SqliteFile(Closing):
    """A file and how to read it; a :class:`~penstock.ports.source.Source`."""

    def __init__(self, path: str | os.PathLike[str], config: StorageConfig | None) -> None:
        self.path = Path(path)
        self.config = config if config is not None else StorageConfig()

    @property
    def dataset(self) -> Dataset:
        return EVENTS

    @property
    def ref(self) -> SourceRef:
        """How another process opens it."""
        return SourceRef(where=str(self.path.absolute()), config=self.config)

    @abstractmethod
    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> View:
        """One unchanging view for ``readers`` threads, and for the processes of ``peers``. Close it: while it is open
        the write-ahead log grows."""

    def continuing(self, said: Mapping[str, Any]) -> tuple[Source, Sequence[str]]:
        """The same: a store's columns are settled."""
        return self, ()

    def narrowed(self, columns: Sequence[str], *, until: float | None = None) -> Source:
        """The same: a store knows itself which of its columns a reading is about."""
        return self

    @property
    def sizes(self) -> tuple[int, int]:
        """Bytes of the database and of its log."""
        return _size(self.path), _size(Path(f"{self.path}-wal"))

    def scan(self, filter: ExportFilter | None = None) -> Iterator[pa.RecordBatch]:
        """Matching events in ``seq`` order as batches of ``EVENT_SCHEMA``, from one view, in bounded memory."""
        return summary.scan(self, filter if filter is not None else ExportFilter())

    def count(self, filter: ExportFilter | None = None) -> int:
        """How many events match, ``limit`` included."""
        return summary.count(self, filter if filter is not None else ExportFilter())

    def stats(self) -> StorageStats:
        """Counts by category and type, time span and sizes."""
        return summary.survey(self, ExportFilter())[0]

    def histogram(self, filter: ExportFilter | None = None, *, buckets: int = 24) -> summary.Histogram:
        """Matching events over event time: equal half-open buckets from the oldest to past the newest."""
        if buckets < 1:
            raise UsageError(f"buckets must be 1 or more, not {buckets}")
        return summary.survey(self, filter if filter is not None else ExportFilter(), buckets=buckets)[1]

    def close(self) -> None:  # nothing is open between two calls, unless a child says so
        """Close it. Safe to call twice."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def is_ours(connection: Connection) -> bool:
    """Whether the file is an event store of ours, of any version."""
    return bool(connection.query("PRAGMA application_id")[0]["application_id"] == APPLICATION_ID)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
