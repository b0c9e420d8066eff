"""Adopted tables: a table of any shape in a SQLite file, read as events and never written."""

from __future__ import annotations

import os

from penstock.errors import UsageError
from penstock.model.storage_config import StorageConfig
from penstock.ports.source import Peers, View
from penstock.sources.file import SqliteFile
from penstock.sources.tables.view import TableView


class AdoptedTable(SqliteFile):
    """The table that ``config`` names, through ``config.mapping``; safe while other processes write.

    Nothing else in this process may open the same file with another SQLite while a view is open, as of
    :class:`~penstock.SqliteAnalyticsStorage`. Raises :class:`~penstock.errors.NotFound`,
    :class:`~penstock.errors.NotAStore`, :class:`~penstock.errors.InvalidMapping`.
    """

    def __init__(self, path: str | os.PathLike[str], config: StorageConfig) -> None:
        super().__init__(path, config)
        if config.table is None:
            raise UsageError("no table is named", hint="name one: StorageConfig(table=...)")
        self.pin().close()

    def pin(self, *, readers: int = 1, peers: Peers | None = None) -> View:
        return TableView(self.path, self.config, readers=readers, peers=peers)
