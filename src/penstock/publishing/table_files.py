"""A table of a database as a directory of lines, for reading: parts are lines that are made of its rows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO, NoReturn, cast

from penstock.errors import NotFound, UsageError
from penstock.model.dataset import Dataset
from penstock.model.lineage import roll_name, run_name, run_number
from penstock.model.location import Location
from penstock.model.manifest import parse_manifest
from penstock.model.partition import DATA
from penstock.pipeline.rowtext import RowText
from penstock.ports.backend import Expectation, Lock, Move, Staged, Stat, Traits, Upload
from penstock.ports.format import Buffer
from penstock.ports.table import PartRows, TableDestination
from penstock.publishing.around import Stored
from penstock.publishing.shapes import ABOUT, DIRECTORY_MANIFEST

#: The number of a run that is no part of a lineage.
ALONE = 0
_READ = 1 << 20


class TableFiles:
    """A table as a directory of lines, for reading alone: a :class:`~penstock.ports.backend.Backend` that takes
    nothing, since rows are loaded."""

    traits = Traits(
        put_absent=False,
        put_version=False,
        place_absent=False,
        place_free=False,
        readable=True,
        listable=True,
        durable=True,
        lock=False,
    )

    def __init__(self, table: TableDestination) -> None:
        self.table = table

    @property
    def location(self) -> Location:
        return self.table.location

    def stat(self, key: str) -> Stat | None:
        return next((stat for stat in self.list(key) if stat.key == key), None)

    def list(self, prefix: str) -> Iterator[Stat]:
        sizes: dict[str, int] = {}
        if ABOUT.startswith(prefix) or prefix.startswith(ABOUT):
            runs = self.table.runs().items()
            sizes |= {DIRECTORY_MANIFEST if run == ALONE else run_name(run): size for run, size in runs}
            sizes |= {roll_name(run): size for run, size in self.table.rolls().items()}
        if DATA.startswith(prefix) or prefix.startswith(DATA):
            sizes |= {part.name: part.bytes for part in self.table.parts()}
        for key in sorted(key for key in sizes if key.startswith(prefix)):
            yield Stat(key=key, size=sizes[key], version=key)

    def open(self, key: str, *, version: str | None = None, start: int = 0, stop: int | None = None) -> BinaryIO:
        if key.startswith(DATA):
            part = self.part(key)
            if part is None:
                raise NotFound(f"{key} is not there")
            manifest = self.table.manifest(part.run)
            if manifest is None:
                raise NotFound(f"the manifest of {key} is not there")
            return lines_of(self.table, part, parse_manifest(manifest, where=key).dataset)
        for number in self.table.rolls():
            if roll_name(number) == key:
                return _Pieces.reader(self.table.roll(number))
        text = self.table.manifest(ALONE if key == DIRECTORY_MANIFEST else run_number(key) or -1)
        if text is None:
            raise NotFound(f"{key} is not there")
        return io.BytesIO(text)

    def part(self, name: str) -> PartRows | None:
        """Which rows a part is."""
        return next((part for part in self.table.parts() if part.name == name), None)

    def stored(self, name: str) -> Stored:
        """What lies there of a part."""
        part = self.part(name)
        rows = None if part is None else self.table.count(part)
        return Stored(None if part is None else part.bytes, False, partial(self.open, name), rows)

    def strangers(self) -> Sequence[tuple[str, str]]:
        """A problem, if rows lie in the table that are of no part."""
        extra = self.table.count() - sum(self.table.count(part) for part in self.table.parts())
        return [(self.table.name, f"{extra:,} rows lie there that no run tells of")] if extra > 0 else []

    def staged(self, attempt: str) -> Iterator[Staged]:
        return iter(())

    def attempts(self) -> Iterator[str]:
        return iter(())

    def settle(self, keys: Sequence[str]) -> None:
        return

    def _refused(self) -> NoReturn:
        raise UsageError(f"{self.location} takes rows, no files", hint="export to it again")

    def put(self, key: str, data: bytes, *, expect: Expectation, attempt: str) -> Stat:
        self._refused()

    def stage(self, attempt: str, name: str, *, size_hint: int | None = None) -> Upload:
        self._refused()

    def open_staged(self, staged: Staged) -> BinaryIO:
        self._refused()

    def drop(self, staged: Staged) -> None:
        self._refused()

    def place(self, moves: Sequence[Move]) -> Sequence[Stat]:
        self._refused()

    def delete(self, key: str, *, version: str | None = None) -> bool:
        self._refused()

    def lock(self, attempt: str) -> Lock:
        self._refused()


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces, as a file that is read once through."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    @classmethod
    def reader(cls, pieces: Iterator[bytes]) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(cls(pieces), _READ))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(self._left), memoryview(buffer).nbytes)
        memoryview(buffer)[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        closer = getattr(self._pieces, "close", None)
        if closer is not None:
            closer()
        super().close()


def lines_of(table: TableDestination, part: PartRows, dataset: Dataset) -> BinaryIO:
    """The rows of a part, as the lines that its manifest knows them by."""
    text = RowText(dataset)

    def pieces() -> Iterator[bytes]:
        for batch in table.read(part, dataset):
            yield bytes(text.lines(batch).text)

    return _Pieces.reader(pieces())
