"""Tables, views and queries of SQLite files that are no event stores: read as they are or as events, never written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from penstock.errors import StoreBusy, UsageError
from penstock.model.columns import COLUMNS, EVENTS, NOWHERE
from penstock.model.dataset import Dataset
from penstock.model.storage_config import StorageConfig
from penstock.ports.source import Peers, Source, SourceRef, View
from penstock.sources.connection import Connection
from penstock.sources.file import SqliteFile
from penstock.sources.tables.adopted import Adopted, check_events
from penstock.sources.tables.keyed import KeyedStream, KeyedView
from penstock.sources.tables.pinned import Pinned
from penstock.sources.tables.plain import Plain, settle
from penstock.sources.tables.projection import Projection
from penstock.sources.tables.select import describe_query
from penstock.sources.tables.stream import StreamView
from penstock.sources.tables.table import Shape, describe
from penstock.sources.tables.view import TableView


class AdoptedTable(SqliteFile):
    """What ``config`` names of a file: its rows as they are, or, with ``config.mapping``, as events. Safe while other
    processes write.

    Nothing else in this process may open the same file with another SQLite while a view is open, as of
    :class:`~penstock.SqliteAnalyticsStorage`. Raises :class:`~penstock.errors.NotFound`,
    :class:`~penstock.errors.NotAStore`, :class:`~penstock.errors.InvalidMapping`,
    :class:`~penstock.errors.InvalidQuery`, :class:`~penstock.errors.UsageError`.
    """

    def __init__(self, path: str | os.PathLike[str], config: StorageConfig) -> None:
        super().__init__(path, config)
        if not config.foreign:
            raise UsageError("no table is named", hint="name one: StorageConfig(table=...)")
        with self._pinned(readers=1) as pinned, pinned.pool.lend() as connection:
            shape = self._shape(connection)
            self._plain: Plain | None = None if config.mapping else settle(connection, shape, config)
            self._streams = _streams(self._projection(shape))
            if self._plain is None:
                check_events(connection, Adopted(shape, config))

    @property
    def dataset(self) -> Dataset:
        return EVENTS if self._plain is None else self._plain.dataset

    @property
    def ref(self) -> SourceRef:
        return SourceRef(
            where=str(self.path.absolute()), config=self.config if self._plain is None else self._plain.config
        )

    def continuing(self, said: Mapping[str, Any]) -> tuple[Source, Sequence[str]]:
        """With the columns and the mapping that the lineage was begun with, in the order of the key."""
        if self._plain is not None and not self.config.by_key:
            return AdoptedTable(self.path, replace(self._plain.config, by_key=True)).continuing(said)
        if "members" not in said:
            return self, ()
        known = {*said["members"], *said.get("mapping", {}).values()}
        with self._pinned(readers=1) as pinned, pinned.pool.lend() as connection:
            new = [name for name in self._shape(connection).columns if name not in known]
        config = replace(self.config, members=tuple(said["members"]))
        if self._plain is None:
            mapping = {field: said["mapping"].get(field, NOWHERE) for field in COLUMNS} | dict(config.mapping)
            return AdoptedTable(self.path, replace(config, mapping=mapping)), new
        types = {name: type for name, type in config.types.items() if name not in new}
        return AdoptedTable(self.path, replace(config, types=types)), [config.rename.get(name, name) for name in new]

    def narrowed(self, columns: Sequence[str], *, until: float | None = None) -> Source:
        if self.config.until is None and until is not None:
            ending = copy(self)
            ending.config = replace(self.config, until=until)
            return ending.narrowed(columns)
        if self._plain is None or set(self._plain.dataset.columns) <= {*columns, *(self.config.only or ())}:
            return self
        known = {*columns, *self._plain.dataset.key, self._plain.dataset.time}
        sources = {field.source for field in self._plain.fields if field.name in known} | {*self.config.types}
        types = {name: type for name, type in self._plain.config.types.items() if name in sources}
        return AdoptedTable(self.path, replace(self.config, types=types, only=tuple(columns)))

    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> View:
        # What comes by once comes through one connection, and no other process can have it.
        pinned = self._pinned(readers=1) if self._streams else self._pinned(readers=readers, peers=peers)
        try:
            with pinned.pool.lend() as connection:
                projection = self._projection(self._shape(connection))
            return _KINDS[projection.keys is not None, _streams(projection)](
                pinned, projection, batch_rows=self.config.batch_rows
            )
        except BaseException:
            pinned.close()
            raise

    def _pinned(self, *, readers: int, peers: Peers | None = None) -> Pinned:
        return Pinned(self.path, self.config, readers=readers, peers=peers)

    def _shape(self, connection: Connection) -> Shape:
        if self.config.query is not None:
            return describe_query(connection, self.config.query)
        return describe(connection, str(self.config.table))

    def _projection(self, shape: Shape) -> Projection:
        if self._plain is None:
            return Adopted(shape, self.config)
        if shape != self._plain.shape:
            raise StoreBusy(
                f"{self.path}: {shape.name} was altered after it was opened",
                hint="run it again, it is read as it is then",
            )
        return self._plain


#: The views of rows that a key orders, or not, and that come by once, or not.
_KINDS: Mapping[tuple[bool, bool], Callable[..., View]] = {
    (False, False): TableView,
    (False, True): StreamView,
    (True, False): KeyedView,
    (True, True): KeyedStream,
}


def _streams(projection: Projection) -> bool:
    """Whether rows come by once: there is no number to find them by, or no quick way to find them by it."""
    shape, numbers = projection.shape, projection.numbering
    if projection.keys is not None:
        return not projection.keys.served
    return numbers is None or shape.guarded or (shape.rowid is None and numbers.column not in shape.indexed)
