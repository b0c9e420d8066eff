"""A table as it is: which columns it has, of which types, and which of them are its time, its key and its order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from penstock.errors import InvalidMapping, UsageError
from penstock.model.column_type import TIMES, ColumnType, parse_column_type, parse_unit
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset
from penstock.model.filter import ExportFilter
from penstock.model.nearest import folded, listed, nearest
from penstock.model.storage_config import StorageConfig
from penstock.model.times import TimeUnit
from penstock.pipeline.gathering import Gather, GatherKind
from penstock.ports.source import RANGE_BYTES, RANGE_ROWS
from penstock.sources.connection import Connection
from penstock.sources.tables.asking import Asked, asked
from penstock.sources.tables.column import Column
from penstock.sources.tables.keys import KeyOrder, is_served, unique_order
from penstock.sources.tables.numbering import Numbering, numbering
from penstock.sources.tables.projection import gathered
from penstock.sources.tables.table import Shape, chosen_columns
from penstock.sources.tables.types import Settled, asked_type, declared_type, stored_types
from penstock.sources.tables.values import Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """A table as it is, a :class:`~penstock.sources.tables.projection.Projection`.

    ``fields`` are the columns of ``dataset``, the row number behind them if it is hidden. ``numbering`` is by what rows
    are ordered, ``None`` where nothing orders them. ``config`` is how it was asked to be read, with the types that were
    found: who opens it again by that finds the same. Where ``keys`` order them, the last column of the dataset is by
    which number each row is told from others.
    """

    shape: Shape
    fields: tuple[Column, ...]
    dataset: Dataset
    numbering: Numbering | None
    keys: KeyOrder | None = None
    config: StorageConfig

    @property
    def numbers_rows(self) -> bool:
        return False

    @property
    def schema(self) -> pa.Schema:
        return self.dataset.schema

    @property
    def order(self) -> str:
        return str(self.dataset.number)

    @property
    def values(self) -> Sequence[str]:
        return [*(field.sql for field in self.fields), *(["0", *self.keys.values] if self.keys is not None else [])]

    @property
    def columns(self) -> Sequence[Gather]:
        found = [field.gather for field in self.fields]
        return found if self.keys is None else [*found, Gather(self.order, GatherKind.INT64), *self.keys.gathers]

    def converter(self, filter: ExportFilter) -> Values:
        return Values(self.shape.name, self.fields, self.dataset, filter, misfits=self.config.misfits)

    def asked(self, filter: ExportFilter) -> Asked:
        return asked(filter.condition(self.dataset), self.dataset, self.fields, self.shape)

    def describe(self) -> dict[str, Any]:
        """What the manifest's ``source`` tells of the table and how it is read."""
        return {
            **self.config.reading(),
            "members": [
                name for name in self.shape.columns if self.config.members is None or name in self.config.members
            ],
            "schema_sha256": self.shape.sha256,
            "order": self._told,
        }

    @property
    def _told(self) -> str:
        if self.keys is not None:
            return f"key {self.keys.told}, {'by an index' if self.keys.served else 'sorted'}"
        return self.numbering.order if self.numbering is not None else "none"


def settle(connection: Connection, shape: Shape, config: StorageConfig) -> Plain:
    """Settle what is exported of a table. What neither was asked nor is declared is found by a pass over its rows.

    Raises :class:`~penstock.errors.InvalidMapping` for a column that is not there, and
    :class:`~penstock.errors.UsageError` for names and types that no export has.
    """
    known = replace(shape, columns=chosen_columns(shape, config.members))
    names = _names(known, config.rename)
    time, unit = _time(known, config.time)
    types = _asked(known, config.types)
    key = tuple(_found(known, column, "key") for column in config.key)
    read = _read(known, names, {time, *key, *shape.primary}, config.only)
    if time is not None and time not in types:
        declared = declared_type(shape.types.get(time))
        types[time] = Settled(ColumnType(declared if declared in TIMES else "timestamp_utc", unit))
    for column in read:
        declared = declared_type(shape.types.get(column))
        if column not in types and declared is not None:
            types[column] = Settled(ColumnType(declared))
    unsettled = [column for column in read if column not in types]
    if unsettled:
        stored = stored_types(connection, shape, unsettled)
        types |= stored
        config = replace(config, types={**config.types, **{name: str(each.type) for name, each in stored.items()}})
    named = {column: names[column] for column in read}
    table = _ordered(connection, shape, types, named, key, time, config)
    return _loosened(connection, table, types, named, key, time) if config.misfits == "text" else table


def _read(
    shape: Shape, names: Mapping[str, str], always: Collection[str | None], only: Sequence[str] | None
) -> Sequence[str]:
    """The columns that are read. All, if one is asked for that is not there: whoever names it finds it among them."""
    if only is None or not set(only) <= {*names.values(), shape.rowid}:
        return shape.columns
    return [column for column in shape.columns if column in always or names[column] in only]


def _loosened(
    connection: Connection,
    table: Plain,
    types: Mapping[str, Settled],
    names: Mapping[str, str],
    key: tuple[str, ...],
    time: str | None,
) -> Plain:
    """The table with text for each column that holds a value that does not fit, found by a pass over its rows. What
    orders rows, and their time, stay what they are."""
    values = table.converter(ExportFilter())
    rows = gathered(connection, table, "", rows=RANGE_ROWS, size=RANGE_BYTES)
    order = table.keys
    settled = rows if order is None else (order.settled(each, table.order) for each in rows)
    unfit = {table.fields[place].source for each in settled for place in values.unfit(each)}
    loose = sorted(unfit - {time, None if table.numbering is None else table.numbering.column})
    text = ColumnType("text")
    config = replace(table.config, types={**table.config.types, **dict.fromkeys(loose, str(text))})
    types = {**types, **dict.fromkeys(loose, asked_type(text))}
    return _ordered(connection, table.shape, types, names, key, time, config)


def _ordered(
    connection: Connection,
    shape: Shape,
    types: Mapping[str, Settled],
    names: Mapping[str, str],
    key: tuple[str, ...],
    time: str | None,
    config: StorageConfig,
) -> Plain:
    """The table with columns of these types and names, and what they say of its key and its order."""
    columns = [Column(name=name, source=column, settled=types[column]) for column, name in names.items()]
    integers = {column.source for column in columns if column.settled.type.name == "int64"}
    wanted = key or (shape.primary if shape.rowid is None else ())
    ordering = wanted[0] if len(wanted) == 1 and wanted[0] in integers else None
    keys = _keys(connection, shape, wanted, ordering, tuple(names)) if config.by_key and wanted else None
    numbers = None
    if keys is None:
        numbers = numbering(shape, ordering if ordering != shape.key else None, tuple(names))
    order = None if numbers is None else numbers.column
    hidden: tuple[str, ...] = ()
    if keys is not None and shape.rowid is not None and shape.rowid in keys.columns and shape.rowid not in types:
        columns.append(Column(name=shape.rowid, source=shape.rowid, settled=Settled(ColumnType("int64"))))
        hidden = (shape.rowid,)
    if numbers is not None and order is None:
        order = numbers.seq
        columns.append(Column(name=order, source=order, settled=Settled(ColumnType("int64"))))
        hidden = (order,)
    known = keys.columns if keys is not None else key or ((shape.key,) if shape.key is not None else shape.primary)
    written = {**names, **{name: name for name in hidden}}
    fields = [column.field for column in columns]
    hashed = None if keys is None else _free(written)
    if hashed is not None:
        fields.append(pa.field(hashed, pa.int64(), nullable=False))
    dataset = Dataset(
        shape.name if shape.name != EVENTS.name else f"table {shape.name}",
        pa.schema(fields),
        own=tuple(column.name for column in columns if column.name not in hidden),
        time=None if time is None else names[time],
        key=tuple(written[name] for name in known or hidden),
        order=None if order is None else written[order],
        hidden=hidden if hashed is None else (*hidden, hashed),
        hashed=hashed,
    )
    return Plain(shape=shape, fields=tuple(columns), dataset=dataset, numbering=numbers, keys=keys, config=config)


def _keys(
    connection: Connection, shape: Shape, wanted: Sequence[str], ordering: str | None, measured: tuple[str, ...]
) -> KeyOrder | None:
    """The order by a key that is no number of its own: of several columns, of no integers, or of integers that rows may
    share."""
    order = unique_order(shape, wanted)
    if order.columns == (ordering,):
        return None
    return replace(order, measured=measured, served=not shape.guarded and is_served(connection, order))


def _free(taken: Mapping[str, str]) -> str:
    """A name that no column has."""
    name = "key_hash"
    while folded(name) in map(folded, taken.values()):
        name += "_"
    return name


def _names(shape: Shape, rename: Mapping[str, str]) -> dict[str, str]:
    """What each column is called. Raises :class:`~penstock.errors.UsageError` for two that differ in case only."""
    new = {_found(shape, old, "rename"): name for old, name in rename.items()}
    names = {column: new.get(column, column) for column in shape.columns}
    seen: dict[str, str] = {}
    for column, name in names.items():
        if not name:
            raise UsageError(f"a column of {shape.name!r} has an empty name", hint="give it one: --rename =name")
        other = seen.setdefault(folded(name), column)
        if other != column:
            raise UsageError(
                f"two columns would be called {name!r}: {other!r} and {column!r}", hint="rename one of them otherwise"
            )
    return names


def _asked(shape: Shape, types: Mapping[str, str]) -> dict[str, Settled]:
    return {_found(shape, column, "types"): asked_type(parse_column_type(text)) for column, text in types.items()}


def _time(shape: Shape, text: str | None) -> tuple[str | None, TimeUnit]:
    """The column that is the time, and the unit of its numbers. A column whose whole name fits wins over a unit."""
    if text is None:
        return None, TimeUnit.AUTO
    column = shape.column(text)
    if column is not None:
        return column, TimeUnit.AUTO
    name, mark, unit = text.rpartition(":")
    return (_found(shape, name, "time"), parse_unit(unit)) if mark else (_found(shape, text, "time"), TimeUnit.AUTO)


def _found(shape: Shape, name: str, what: str) -> str:
    column = shape.column(name)
    if column is None:
        raise InvalidMapping(
            f"{shape.name!r} has no column {name!r}, which {what} names",
            hint=nearest(name, shape.columns) + f"its columns are {listed(shape.columns)}",
        )
    return column
