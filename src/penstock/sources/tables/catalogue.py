"""What lies in a SQLite file that is no event store: its tables and views, and what may be their time and their key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from penstock.errors import ExportError
from penstock.model.column_type import TIMES
from penstock.model.result import TableFacts
from penstock.model.storage_config import StorageConfig
from penstock.pipeline.gathering import Gather, GatherKind
from penstock.sources.connection import Connection, quote_name
from penstock.sources.file import is_ours
from penstock.sources.tables.pinned import Pinned
from penstock.sources.tables.table import Shape, describe, table_names
from penstock.sources.tables.types import declared_type

#: How a column that holds times is called, if nothing declares it to be one.
_CALLED = re.compile(
    r"(?:.*_)?(?:at|on|ts|time|date|datetime|timestamp|when|created|updated|modified)\d*\Z", re.IGNORECASE
)
_FIRST = re.compile(r".*(?:creat|timestamp|occur|happen|time)", re.IGNORECASE)
_LOOKED_AT, _BYTES = 100, 1 << 20


def catalogue(path: str | os.PathLike[str], config: StorageConfig) -> list[TableFacts] | None:
    """The tables and views of a file, by name; ``None`` for an event store of ours. Raises what opening it raises."""
    with Pinned(Path(path), config, readers=1) as pinned, pinned.pool.lend() as connection:
        if is_ours(connection):
            return None
        return [_facts(connection, name) for name in table_names(connection)]


def _facts(connection: Connection, name: str) -> TableFacts:
    try:
        shape = describe(connection, name)
        rows = None if shape.guarded else int(connection.query(f"SELECT count(*) AS n FROM {shape.source}")[0]["n"])
        found = list(_times(connection, shape)) if rows else []
    except ExportError as error:
        return TableFacts(name=name, kind="table", problem=error.message)
    found.sort(key=lambda one: (_FIRST.match(one[0]) is None, one[1]))
    return TableFacts(
        name=shape.name,
        kind=shape.kind,
        rows=rows,
        columns={column: shape.types.get(column, "") for column in shape.columns},
        time=found[0][0] if found else None,
        key=(shape.key,) if shape.key is not None else shape.primary,
    )


def _times(connection: Connection, shape: Shape) -> Iterator[tuple[str, bool]]:
    """Columns that are declared as times, or called so, and hold nothing else in the first rows; and whether nulls."""
    for column in shape.columns:
        declared = declared_type(shape.types.get(column))
        if declared not in TIMES and not _CALLED.match(column):
            continue
        sql = f"SELECT {quote_name(column)} FROM {shape.source} LIMIT {_LOOKED_AT}"
        with connection.cursor(sql, columns=[Gather("at", GatherKind.TIME)]) as cursor:
            taken = cursor.take(_LOOKED_AT, _BYTES)
        nulls = 0 if taken is None else taken.batch.column(0).null_count
        if taken is not None and not taken.misfits and nulls < taken.batch.num_rows:
            yield column, nulls > 0
