"""One attempt to load a table of a database: lines become rows as they come; the manifest ends their transaction."""

from __future__ import annotations

from collections.abc import Callable

from penstock.errors import DestinationExists, Exists, ExportError, IntegrityError, Locked, Unconfirmed, UsageError
from penstock.model.dataset import Dataset
from penstock.model.lineage import roll_name
from penstock.model.location import Location
from penstock.model.manifest import Manifest, PartEntry
from penstock.pipeline.canonical import NotCanonical
from penstock.pipeline.rowtext import RowText
from penstock.ports.backend import Staged, Upload
from penstock.ports.format import Buffer
from penstock.ports.table import PartRows, TableDestination
from penstock.publishing.around import Stored
from penstock.publishing.shapes import Directory, Shape
from penstock.publishing.table_files import ALONE, lines_of

#: Bytes of lines that become rows at once, and those of a roll that are kept at once.
_AT_ONCE, _PIECE = 8 << 20, 1 << 20


class TableAttempt:
    """One transaction: rows go into it as their lines come, and the manifest of them ends it."""

    def __init__(self, table: TableDestination) -> None:
        self.notes: list[str] = []
        self._table = table
        self._load = table.begin()
        self._shape: Shape = Directory()
        self._run = ALONE
        #: The datasets and rows of the parts, in order.
        self._parts: list[tuple[Dataset, PartRows]] = []
        self._rows = 0
        #: Whether rows were written that no part is made of.
        self._spoiled = False

    def aim(self, shape: Shape, run: int, *, overwrite: bool = False) -> None:
        """Settle which run it is. Raises :class:`~penstock.errors.DestinationExists`."""
        self._shape, self._run = shape, run
        runs = self._table.runs()
        where = f"{self._table.name} of {self._table.location}"
        if any((there == ALONE) != (run == ALONE) for there in runs):
            held = "an export that is not incremental" if run else "an incremental export"
            raise DestinationExists(f"{where} holds {held}", hint="name another table with ?table=NAME")
        if run in runs:
            if not overwrite:
                raise DestinationExists(f"{where} exists", hint="name another table, or replace it with --overwrite")
            self._load.remove(run)

    def stage(self, dataset: Dataset | None = None) -> Upload:
        assert dataset is not None
        self._load.prepare(dataset)
        return _RowUpload(self, dataset)

    def write(self, dataset: Dataset, rows: RowText, lines: bytes) -> int:
        """Add rows, given as whole lines; how many they were."""
        try:
            batch = rows.parse(lines)
        except NotCanonical as error:
            raise IntegrityError(f"what was to be loaded is not as it is spelled: {error}") from None
        self._load.write(self._run, self._rows, batch)
        self._rows += batch.num_rows
        return int(batch.num_rows)

    def staged(self, dataset: Dataset, rows: int, size: int) -> Staged:
        """Let the last rows be the next part."""
        part = PartRows(name="", run=self._run, first=self._rows - rows, rows=rows, bytes=size)
        self._parts.append((dataset, part))
        return Staged(attempt=self._shape.attempt, name=str(len(self._parts)), size=size)

    def spoil(self) -> None:
        """Let nothing be published: rows were written that are of no part."""
        self._spoiled = True

    def lay_down(self) -> Upload:
        return _RollUpload(lambda piece, data: self._load.keep(self._run, piece, data))

    def roll_name(self) -> str:
        return roll_name(self._run)

    def signed(self, manifest: Manifest) -> Manifest:
        return manifest

    def take(self, staged: Staged) -> None:
        """Nothing more: the roll is what was laid down last, and has its place."""

    def elsewhere(self) -> tuple[Location, str]:
        raise UsageError("a table is loaded in one transaction, by one process", hint="leave --runner out")

    def part_name(self, index: int, entry: PartEntry, ending: str, folders: str = "") -> str:
        return self._shape.part_name(index, entry, ending, folders)

    def read_back(self, index: int, entry: PartEntry) -> Stored:
        dataset, part = self._parts[index]
        return Stored(part.bytes, False, lambda: lines_of(self._table, part, dataset), self._table.count(part))

    def publish(self, manifest: Manifest) -> None:
        """Let rows and manifest be there, in one step.

        Raises :class:`~penstock.errors.Locked` if somebody else committed the run first,
        :class:`~penstock.errors.Unconfirmed` if it cannot be told; after any other error it is not there.
        """
        parts = [
            PartRows(name=entry.name, run=self._run, first=part.first, rows=part.rows, bytes=part.bytes)
            for entry, (_, part) in zip(manifest.parts, self._parts, strict=True)
        ]
        loaded = [(part.rows, part.bytes) for part in parts]
        if self._spoiled or loaded != [(entry.rows, entry.bytes) for entry in manifest.parts]:
            raise IntegrityError("what was loaded is not what the manifest names; nothing was published")
        text = manifest.to_bytes()
        try:
            self._load.commit(self._run, text, parts)
        except Exists:
            raise Locked(
                f"superseded: another process committed to {self._table.name} of {self._table.location} first",
                hint="run it again to add what is left",
            ) from None
        except ExportError as error:
            if not self._stands(text):
                raise
            self.notes.append(f"the answer of the database was lost, and the export stands: {error.message}")

    def _stands(self, text: bytes) -> bool:
        try:
            return self._table.manifest(self._run) == text
        except ExportError as error:
            where = f"{self._table.name} of {self._table.location}"
            raise Unconfirmed(
                f"{where} may be published: {error.message}",
                manifest=text,
                hint="verify it, and repeat the export if it is not there",
            ) from None

    def close(self) -> None:
        self._load.abort()


class _RowUpload:
    """The lines of one part, which become rows as they come."""

    def __init__(self, attempt: TableAttempt, dataset: Dataset) -> None:
        self._attempt = attempt
        self._dataset = dataset
        self._text = RowText(dataset)
        self._lines = bytearray()
        self._rows = self._size = 0

    def write(self, data: Buffer) -> None:
        view = memoryview(data)
        self._lines += view
        self._size += view.nbytes
        if len(self._lines) >= _AT_ONCE:
            self._load(self._lines.rfind(b"\n") + 1)

    def _load(self, size: int) -> None:
        if size:
            self._rows += self._attempt.write(self._dataset, self._text, bytes(memoryview(self._lines)[:size]))
            del self._lines[:size]

    def finish(self) -> Staged:
        self._load(len(self._lines))
        return self._attempt.staged(self._dataset, self._rows, self._size)

    def abort(self) -> None:
        if self._rows:
            self._attempt.spoil()


class _RollUpload:
    """The bytes of a roll, kept in pieces."""

    def __init__(self, keep: Callable[[int, bytes], None]) -> None:
        self._keep = keep
        self._left = bytearray()
        self._pieces = self._size = 0

    def write(self, data: Buffer) -> None:
        self._left += memoryview(data)
        while len(self._left) >= _PIECE:
            self._put(_PIECE)

    def _put(self, size: int) -> None:
        self._keep(self._pieces, bytes(memoryview(self._left)[:size]))
        del self._left[:size]
        self._pieces += 1
        self._size += size

    def finish(self) -> Staged:
        if self._left:
            self._put(len(self._left))
        return Staged(attempt="roll", name="roll", size=self._size)

    def abort(self) -> None:
        """Nothing: what is kept of it goes with the transaction, and an empty one is none."""
