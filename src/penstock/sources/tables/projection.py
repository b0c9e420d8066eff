"""What the rows of a table become: the values that are selected of them, and what is made of these.

Events (``adopted``, ``events``), or what they are (``plain``, ``values``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

from penstock.model.filter import ExportFilter
from penstock.pipeline.gathering import Gather, Gathered
from penstock.sources.connection import Connection
from penstock.sources.cursor import Cursor
from penstock.sources.tables.asking import Asked
from penstock.sources.tables.keys import KeyOrder
from penstock.sources.tables.numbering import Numbering
from penstock.sources.tables.table import Shape


class Converter(Protocol):
    """Makes rows of a dataset, under one filter, of what was gathered. ``counts`` says what was changed and left out,
    ``rows`` how many were taken; ``full`` that the filter's limit is reached."""

    rows: int
    counts: Counter[str]

    @property
    def full(self) -> bool: ...

    def convert(self, gathered: Gathered) -> pa.RecordBatch: ...


class Projection(Protocol):
    """``values`` is the SQL of what is selected, ``columns`` where that goes. ``schema`` is that of the rows.
    ``numbering`` is by what they are ordered, if by anything, and ``order`` the column that then has it, or, where
    ``numbers_rows``, is to have the number of each row as it comes."""

    @property
    def numbers_rows(self) -> bool: ...

    @property
    def shape(self) -> Shape: ...

    @property
    def numbering(self) -> Numbering | None: ...

    @property
    def keys(self) -> KeyOrder | None:
        """By which key they are ordered that no number orders; ``order`` then has the number of each."""
        ...

    @property
    def order(self) -> str: ...

    @property
    def values(self) -> Sequence[str]: ...

    @property
    def columns(self) -> Sequence[Gather]: ...

    @property
    def schema(self) -> pa.Schema: ...

    def describe(self) -> dict[str, Any]:
        """What the manifest's ``source`` tells of the table and how it is read."""
        ...

    def converter(self, filter: ExportFilter) -> Converter: ...

    def asked(self, filter: ExportFilter) -> Asked:
        """What SQLite can be asked for under a filter."""
        ...


def selected(
    connection: Connection, projection: Projection, behind: str, values: Sequence[Any] = ()
) -> AbstractContextManager[Cursor]:
    """A cursor over the rows that ``behind``, which stands behind FROM and the table, leaves; ``values`` are those of
    its ``?`` places."""
    sql = f"SELECT {', '.join(projection.values)} FROM {projection.shape.source} {behind}"
    return connection.cursor(sql, values, columns=projection.columns, guarded=projection.shape.guarded)


def gathered(
    connection: Connection, projection: Projection, behind: str, values: Sequence[Any] = (), *, rows: int, size: int
) -> Iterator[Gathered]:
    """The same rows, at most so many rows and bytes at a time."""
    with selected(connection, projection, behind, values) as cursor:
        while (found := cursor.take(rows, size)) is not None:
            yield found
