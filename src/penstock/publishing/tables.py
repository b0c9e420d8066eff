"""Exports to a table of a database: its rows are the parts, as the lines that a directory of NDJSON has, and what a
directory keeps in ``_penstock/`` is told beside it. Rows and manifest come in one transaction.

So whatever reads an export back reads a table: parts are fetched as lines, which are made of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.errors import UsageError
from penstock.model.manifest import Manifest
from penstock.model.options import ExportFormat
from penstock.publishing.around import Stored
from penstock.publishing.attempt import Attempt
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.place import Place
from penstock.publishing.shapes import Directory, Run, Shape
from penstock.publishing.table_attempt import TableAttempt
from penstock.publishing.table_files import ALONE, TableFiles


@dataclass(frozen=True, slots=True)
class TableExport(ExportDestination):
    """A table that one export fills."""

    backend: TableFiles
    shape: Shape = field(default_factory=Directory)

    @property
    def only(self) -> ExportFormat:
        return ExportFormat.NDJSON

    @property
    def files(self) -> Sequence[Path]:
        return self.backend.table.files

    def lineage(self) -> LineageDestination:
        return TableLineage(self.backend)

    def begin(self, *, overwrite: bool = False, estimated_bytes: int | None = None) -> TableAttempt:
        """Begin a transaction. Raises as :meth:`ExportDestination.begin` does."""
        attempt = TableAttempt(self.backend.table)
        try:
            attempt.aim(self.shape, ALONE, overwrite=overwrite)
        except BaseException:
            attempt.close()
            raise
        return attempt

    def part(self, name: str) -> Stored:
        return self.backend.stored(name)

    def inspect(self, manifest: Manifest) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        return self.backend.strangers(), []


@dataclass(frozen=True, slots=True)
class TableLineage(LineageDestination):
    """A table to which every run adds rows."""

    backend: TableFiles

    @property
    def only(self) -> ExportFormat:
        return ExportFormat.NDJSON

    @property
    def files(self) -> Sequence[Path]:
        return self.backend.table.files

    def begin(self) -> TableAttempt:
        """Begin a transaction for the next run. Raises as :meth:`LineageDestination.begin` does."""
        attempt = TableAttempt(self.backend.table)
        try:
            number = max(self.numbers(), default=0) + 1
            attempt.aim(Run(number), number)
        except BaseException:
            attempt.close()
            raise
        return attempt

    def begin_repair(self) -> Attempt:
        raise UsageError(
            f"{self.place} is a database: single rows of a run are not put back there",
            hint="begin a new lineage in another table: ?table=NAME",
        )

    def part(self, name: str) -> Stored:
        return self.backend.stored(name)

    def inspect(self, manifests: Sequence[Manifest]) -> tuple[Sequence[tuple[str, str]], Sequence[str]]:
        rolls = [manifest.lineage.roll for manifest in manifests if manifest.lineage is not None]
        wrong = [
            (roll.name, "the roll is missing, or is not what the manifest names")
            for roll in rolls
            if roll is not None and Place(self.backend).holds(roll) is None
        ]
        return [*wrong, *self.backend.strangers()], []
