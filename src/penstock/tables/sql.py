"""A table destination in any database that speaks SQL: what is told of runs, and how rows are known, for all alike.

A database is an adapter beside this file: how it is connected to, what types it has, how batches go in and come out.
"""

from __future__ import annotations

import shlex
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import DestinationExists, ExportError, NotFound, UnfitValue, UsageError
from penstock.model.dataset import Dataset
from penstock.model.location import Location
from penstock.ports.table import ROW, RUN, PartRows

#: Rows that are read at once, so that nothing is open while others are written: so many, and about so many bytes.
_PAGE_ROWS, _PAGE_BYTES = 65_536, 8 << 20
_RUNS, _PARTS, _ROLLS = "_penstock_runs", "_penstock_parts", "_penstock_rolls"


class Database(Protocol):
    """A connection to a database.

    ``indexed`` says whether rows are found by an index, which is made with the table; ``kept`` whether one connection
    reads again and again, since it keeps nobody out and takes long to open; ``folds`` whether names that differ by case
    alone are one; ``longest`` is the most bytes of a name; ``text``, ``number`` and ``binary`` are types.
    """

    indexed: bool
    kept: bool
    folds: bool
    longest: int
    text: str
    number: str
    binary: str

    def type(self, field: pa.Field) -> str:
        """The type of a column of a dataset, as :meth:`columns` names it."""
        ...

    def kind(self, name: str) -> str | None:
        """What has this name: ``table`` or something else; ``None`` if nothing does."""
        ...

    def columns(self, table: str) -> Sequence[tuple[str, str]]:
        """Names and types of the columns of a table."""
        ...

    def triggers(self, table: str) -> Sequence[str]:
        """The names of what would run, or change rows, when some are added to a table."""
        ...

    def begin(self, table: str) -> None:
        """Begin a transaction that keeps others from adding to a table. Raises :class:`~penstock.errors.Locked`."""
        ...

    def commit(self) -> None: ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement in which ``?`` stands for each value."""
        ...

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def insert(self, table: str, dataset: Dataset, batch: pa.RecordBatch) -> None:
        """Add rows of a dataset, with the columns behind them by which they are known."""
        ...

    def select(self, dataset: Dataset, sql: str, values: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """The rows that ``SELECT`` the columns of a dataset, and then what ``sql`` says, gives."""
        ...

    def close(self) -> None:
        """Close the connection, and drop a transaction that is open. Safe to call twice."""
        ...


class SqlTable:
    """See :class:`penstock.ports.table.TableDestination`. ``connect`` opens the database, and makes it if it is told
    to; it raises :class:`~penstock.errors.NotFound` if there is none."""

    def __init__(
        self,
        location: Location,
        name: str | None,
        connect: Callable[[bool], Database],
        files: Sequence[Path] = (),
    ) -> None:
        self.location = location
        self.files = files
        self._name = name
        self._connect = connect
        #: The connection of a load that is open, and one that is kept for reading.
        self._loading: Database | None = None
        self._kept: Database | None = None

    @property
    def name(self) -> str:
        if self._name is None:
            with self._reading() as database:
                found = [] if database is None else database.query(f"SELECT DISTINCT name FROM {_RUNS} ORDER BY name")
            if not found:
                raise NotFound(f"there is no export at {self.location}", hint="check the URL")
            if len(found) != 1:
                names = ", ".join(name for (name,) in found)
                one = shlex.quote(f"{self.location}?table={quote(str(found[0][0]))}")
                raise UsageError(
                    f"{self.location} does not hold one export: there are {names}", hint=f"name one, as {one}"
                )
            self._name = str(found[0][0])
        return self._name

    def begin(self) -> SqlLoad:
        database = self._connect(True)
        try:
            load = SqlLoad(self, database)
        except BaseException:
            database.close()
            raise
        self._loading = database
        return load

    def ended(self) -> None:
        """Forget the load that was open."""
        self._loading = None

    @contextmanager
    def _reading(self) -> Iterator[Database | None]:
        """The database, if there is one in which an export ever was."""
        if self._loading is not None:
            yield self._loading
            return
        database, self._kept = self._kept, None  # until it proves to be of use again
        if database is None:
            try:
                database = self._connect(False)
            except NotFound:
                yield None
                return
            weakref.finalize(self, database.close)
        try:
            yield database if database.kind(_RUNS) is not None else None
        except BaseException:
            database.close()
            raise
        if database.kept and self._kept is None:
            self._kept = database
        else:
            database.close()

    def _query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reading() as database:
            return [] if database is None else database.query(sql, (self.name, *values))

    def runs(self) -> Mapping[int, int]:
        return dict(self._query(f"SELECT run, bytes FROM {_RUNS} WHERE name = ? ORDER BY run"))

    def manifest(self, run: int) -> bytes | None:
        found = self._query(f"SELECT manifest FROM {_RUNS} WHERE name = ? AND run = ?", run)
        return str(found[0][0]).encode() if found else None

    def parts(self) -> Sequence[PartRows]:
        with self._reading() as database:
            if database is None or database.kind(self.name) is None:
                return []
            told = ("part", "run", "first_row", "row_count", "bytes")
            sql = f"SELECT {', '.join(told)} FROM {_PARTS} WHERE name = ? ORDER BY run, first_row, part"
            found = database.query(sql, (self.name,))
        return [
            PartRows(name=name, run=run, first=first, rows=rows, bytes=size) for name, run, first, rows, size in found
        ]

    def count(self, part: PartRows | None = None) -> int:
        with self._reading() as database:
            if database is None or database.kind(self.name) is None:
                return 0
            table = quote_name(self.name)
            if part is None:
                return int(database.query(f"SELECT count(*) FROM {table}")[0][0])
            return int(database.query(f"SELECT count(*) FROM {table} {_WITHIN}", _span(part))[0][0])

    def read(self, part: PartRows, dataset: Dataset) -> Iterator[pa.RecordBatch]:
        with self._reading() as database:
            if database is None or database.kind(self.name) is None:
                return
            sql = f"FROM {quote_name(self.name)} {_WITHIN} ORDER BY {ROW}"
            many = min(max(_PAGE_BYTES * part.rows // max(part.bytes, 1), 1), _PAGE_ROWS)
            for first in range(part.first, part.first + part.rows, many):
                page = replace(part, first=first, rows=min(many, part.first + part.rows - first))
                yield from database.select(dataset, sql, _span(page))

    def rolls(self) -> Mapping[int, int]:
        return dict(self._query(f"SELECT run, CAST(sum(bytes) AS bigint) FROM {_ROLLS} WHERE name = ? GROUP BY run"))

    def roll(self, run: int) -> Iterator[bytes]:
        pieces = self._query(f"SELECT piece FROM {_ROLLS} WHERE name = ? AND run = ? ORDER BY piece", run)
        for (piece,) in pieces:
            found = self._query(f"SELECT data FROM {_ROLLS} WHERE name = ? AND run = ? AND piece = ?", run, piece)
            yield bytes(found[0][0])


_WITHIN = f"WHERE {RUN} = ? AND {ROW} >= ? AND {ROW} < ?"


def _span(part: PartRows) -> tuple[int, int, int]:
    return part.run, part.first, part.first + part.rows


class SqlLoad:
    """See :class:`penstock.ports.table.Load`."""

    def __init__(self, table: SqlTable, database: Database) -> None:
        self._table = table
        self._database: Database | None = database
        self._dataset: Dataset | None = None
        database.begin(table.name)
        self._make_records(database)

    def _make_records(self, database: Database) -> None:
        if database.kind(_RUNS) is not None:
            return
        number = database.number
        records = {
            _RUNS: (f"bytes {number}", f"manifest {database.text}"),
            _PARTS: (
                f"part {database.text}",
                *(f"{column} {number}" for column in ("first_row", "row_count", "bytes")),
            ),
            _ROLLS: (f"piece {number}", f"bytes {number}", f"data {database.binary}"),
        }
        for table, key in ((_RUNS, ""), (_PARTS, ", part"), (_ROLLS, ", piece")):
            columns = [f"{column} NOT NULL" for column in (f"name {database.text}", f"run {number}", *records[table])]
            database.execute(f"CREATE TABLE {table} ({', '.join(columns)}, PRIMARY KEY (name, run{key}))")

    @property
    def _open(self) -> Database:
        assert self._database is not None
        return self._database

    def prepare(self, dataset: Dataset) -> None:
        if self._dataset == dataset:
            return
        _check_names(self._table.name, dataset, self._open)
        wanted = [(field.name, self._open.type(field)) for field in dataset.schema]
        kind = self._open.kind(self._table.name)
        if kind is None:
            self._create(wanted)
        elif kind == "table":
            self._fit(wanted)
        else:
            raise UsageError(f"{self._where} is a {kind}, not a table", hint=_ANOTHER)
        self._dataset = dataset

    @property
    def _where(self) -> str:
        return f"{self._table.name} of {self._table.location}"

    def _create(self, wanted: Sequence[tuple[str, str]]) -> None:
        table, number = quote_name(self._table.name), self._open.number
        columns = [f"{quote_name(name)} {type}" for name, type in wanted]
        columns += [f"{name} {number} NOT NULL" for name in (RUN, ROW)]
        self._open.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        if self._open.indexed:
            index = quote_name(f"_penstock_rows_of_{self._table.name}"[: self._open.longest])
            self._open.execute(f"CREATE UNIQUE INDEX {index} ON {table} ({RUN}, {ROW})")

    def _fit(self, wanted: Sequence[tuple[str, str]]) -> None:
        """See that the table that is there takes the rows, or add to one of ours what it lacks."""
        there = dict(self._open.columns(self._table.name))
        number = self._open.number
        if there.get(RUN) != number or there.get(ROW) != number:
            raise DestinationExists(f"{self._where} exists and is not of an export", hint=_ANOTHER)
        ours = bool(self._open.query(f"SELECT 1 FROM {_RUNS} WHERE name = ? LIMIT 1", (self._table.name,)))
        if not ours and self._table.count():
            raise DestinationExists(f"{self._where} holds rows that no export told of", hint=_ANOTHER)
        for trigger in self._open.triggers(self._table.name):
            raise UsageError(
                f"{self._where} has the trigger {trigger}: what it does to rows, nothing could prove",
                hint=f"drop it, or {_ANOTHER}",
            )
        for name in there:
            if name not in (RUN, ROW, *dict(wanted)):
                raise UsageError(f"{self._where} has the column {name}, which the export has not", hint=_ANOTHER)
        for name, type in wanted:
            if name not in there:
                self._open.execute(f"ALTER TABLE {quote_name(self._table.name)} ADD COLUMN {quote_name(name)} {type}")
            elif there[name] != type:
                raise UsageError(
                    f"column {name} of {self._where} has the type {there[name]}, the export has {type}", hint=_ANOTHER
                )

    def write(self, run: int, first: int, batch: pa.RecordBatch) -> None:
        assert self._dataset is not None
        rows = batch.num_rows
        numbers = [pa.repeat(pa.scalar(run, pa.int64()), rows), pa.array(range(first, first + rows), pa.int64())]
        names = [*batch.schema.names, RUN, ROW]
        known = pa.record_batch([*batch.columns, *numbers], names=names)
        self._open.insert(self._table.name, self._dataset, known)

    def keep(self, run: int, piece: int, data: bytes) -> None:
        self._open.execute(
            f"INSERT INTO {_ROLLS} (name, run, piece, bytes, data) VALUES (?, ?, ?, ?, ?)",
            (self._table.name, run, piece, len(data), data),
        )

    def remove(self, run: int) -> None:
        if self._open.kind(self._table.name) == "table":
            self._open.execute(f"DELETE FROM {quote_name(self._table.name)} WHERE {RUN} = ?", (run,))
        for told in (_RUNS, _PARTS, _ROLLS):
            self._open.execute(f"DELETE FROM {told} WHERE name = ? AND run = ?", (self._table.name, run))

    def commit(self, run: int, manifest: bytes, parts: Sequence[PartRows]) -> None:
        name = self._table.name
        try:
            self._open.execute(
                f"INSERT INTO {_RUNS} (name, run, bytes, manifest) VALUES (?, ?, ?, ?)",
                (name, run, len(manifest), manifest.decode()),
            )
            for part in parts:
                self._open.execute(
                    f"INSERT INTO {_PARTS} (name, run, part, first_row, row_count, bytes) VALUES (?, ?, ?, ?, ?, ?)",
                    (name, part.run, part.name, part.first, part.rows, part.bytes),
                )
            self._open.commit()
        finally:
            self.abort()

    def abort(self) -> None:
        database, self._database = self._database, None
        self._table.ended()
        if database is not None:
            with suppress(ExportError):
                database.close()


_ANOTHER = "name another table with ?table=NAME"


def _check_names(table: str, dataset: Dataset, database: Database) -> None:
    """Raise :class:`UsageError` for names that the database does not tell apart, or cuts."""
    folded = Counter(name.casefold() if database.folds else name for name in (*dataset.columns, RUN, ROW))
    for name in (table, *dataset.columns):
        if len(name.encode()) > database.longest:
            raise UsageError(f"the name {name!r} is longer than {database.longest} bytes", hint="give it another one")
        if folded[name.casefold() if database.folds else name] > 1:
            raise UsageError(
                f"the database takes two columns called {name!r} for one",
                hint="export one of them with --columns, or give it another name with --rename",
            )


def check_no_nul(column: pa.Array, field: pa.Field, why: str) -> None:
    """Raise :class:`UnfitValue` for a text that a database would end at its NUL, or does not take."""
    if field.type == pa.string() and pc.any(pc.match_substring(column, "\0")).as_py():
        raise UnfitValue(
            f"{field.name} holds a text with U+0000, and {why}",
            hint="leave the column out with --columns, or clean it with --query",
        )


def quote_name(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
