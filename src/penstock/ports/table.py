"""A table of a database as a destination: rows and the manifest of a run become visible in one transaction, or none.

Every row carries the number of its run, and its own number in that run, from 0: a part of a run is a span of these. A
run that is no part of a lineage has the number 0.

Beside the errors that are named, every method may raise :class:`~penstock.errors.AccessDenied`,
:class:`~penstock.errors.NoSpace` and other children of :class:`~penstock.errors.TemporaryError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from penstock.model.dataset import Dataset
from penstock.model.location import Location

#: The columns by which a row is known.
RUN, ROW = "_penstock_run", "_penstock_row"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRows:
    """Which rows a part is: ``rows`` of a run, from the number ``first``. ``bytes`` is what its manifest says they are
    as lines."""

    name: str
    run: int
    first: int
    rows: int
    bytes: int


class Load(Protocol):
    """A transaction that nobody else sees until ``commit``. Exactly one of ``commit`` and ``abort`` ends it."""

    def prepare(self, dataset: Dataset) -> None:
        """Make the table, see that it is one that takes these rows, or add the columns that it lacks. Raises
        :class:`~penstock.errors.UsageError` naming what is in the way, and then nothing was changed."""
        ...

    def write(self, run: int, first: int, batch: pa.RecordBatch) -> None:
        """Add rows of the dataset that was prepared, numbered from ``first``. Raises
        :class:`~penstock.errors.UnfitValue` for a value that the database does not keep as it is."""
        ...

    def keep(self, run: int, piece: int, data: bytes) -> None:
        """Add a piece of the roll of a run."""
        ...

    def remove(self, run: int) -> None:
        """Take a run away: its rows and all that is told of it."""
        ...

    def commit(self, run: int, manifest: bytes, parts: Sequence[PartRows]) -> None:
        """Let all of it be there, durably. Raises :class:`~penstock.errors.Exists` if another process committed the run
        first, :class:`~penstock.errors.Unknown` if it cannot be told whether it happened; then, and after any other
        error, it is over."""
        ...

    def abort(self) -> None:
        """Drop all of it. Never raises, safe to call twice and after a commit."""
        ...


@runtime_checkable
class TableDestination(Protocol):
    """One table of a database, and what is told of its runs. While a load is open, its own process reads what the load
    sees; otherwise each reading sees what is committed. Not for two threads at once."""

    @property
    def location(self) -> Location:
        """The database. It holds no secret."""
        ...

    @property
    def name(self) -> str:
        """The table. If none was named and the database does not hold exactly one export, raises
        :class:`~penstock.errors.NotFound` or :class:`~penstock.errors.UsageError`."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """The local files that the database is."""
        ...

    def begin(self) -> Load:
        """Hold the table. Raises :class:`~penstock.errors.Locked` if another has it, and
        :class:`~penstock.errors.UsageError` for a database that takes no exports."""
        ...

    def runs(self) -> Mapping[int, int]:
        """The committed runs, in order: number and bytes of the manifest of each."""
        ...

    def manifest(self, run: int) -> bytes | None:
        """The manifest of a committed run."""
        ...

    def parts(self) -> Sequence[PartRows]:
        """The parts of all runs, in their order; none if there is no such table."""
        ...

    def count(self, part: PartRows | None = None) -> int:
        """How many rows lie in a part, or in the whole table."""
        ...

    def read(self, part: PartRows, dataset: Dataset) -> Iterator[pa.RecordBatch]:
        """The rows of a part in order, in bounded memory, as the dataset has them. Raises
        :class:`~penstock.errors.IntegrityError` for a value that is none of its column's type."""
        ...

    def rolls(self) -> Mapping[int, int]:
        """The runs that have a roll, and its bytes."""
        ...

    def roll(self, run: int) -> Iterator[bytes]:
        """The pieces of the roll of a run, in order."""
        ...
