"""What a table, a view or a query looks like: its columns, its key and its indexes, as SQLite describes them.

Only the description belongs here. What its columns mean for an event is ``mapping``, of which types they are ``types``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from penstock.errors import ExportError, InvalidMapping, StorageError
from penstock.model.nearest import folded, listed, nearest
from penstock.sources.connection import Connection, quote_name
from penstock.sources.file import is_ours

_TABLES = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
_COLUMNS = "SELECT name, type, pk FROM pragma_table_xinfo(?, 'main') WHERE hidden <> 1 ORDER BY cid"
_INDEXES = """SELECT l.name AS entry, l.origin, l."unique" AS alone, i.seqno, i.name
    FROM pragma_index_list(?, 'main') AS l JOIN pragma_index_info(l.name, 'main') AS i WHERE l.partial = 0"""
_DEFINITION = "SELECT sql FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name = ?"
_KINDS = {"table": "table", "view": "view", "virtual": "virtual table"}
#: So many columns a result may have, and a table too.
_MOST_COLUMNS = 2_000
#: What the row number of a table is called; a column of the table may take the name away.
_ROWIDS = ("rowid", "_rowid_", "oid")
#: Everything in a CREATE TABLE in which the word AUTOINCREMENT would not be the keyword.
_NOT_CODE = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]""", re.DOTALL
)
_AUTOINCREMENT = re.compile(r"\bAUTOINCREMENT\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A table, or a view, a virtual table or a query, as ``kind`` says. ``rowid`` is how SQL says its row number,
    ``None`` if it has none. ``key`` is its INTEGER PRIMARY KEY (``autoincrement``: never reused), ``primary`` are the
    columns of its PRIMARY KEY. ``indexed`` columns lead an index, and no two rows have the same values in all columns
    of one of ``uniques``. ``types`` are declared types by column, as far as there are any. ``sha256`` is of the text of
    its CREATE, or of the ``query``. ``utf8`` says that texts are compared by their code points."""

    name: str
    columns: tuple[str, ...]
    rowid: str | None
    key: str | None
    autoincrement: bool
    indexed: frozenset[str]
    uniques: frozenset[frozenset[str]]
    sha256: str
    kind: str = "table"
    primary: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    utf8: bool = False

    @property
    def unique(self) -> frozenset[str]:
        """The columns in which no two rows have the same value."""
        return frozenset(next(iter(columns)) for columns in self.uniques if len(columns) == 1)

    @property
    def source(self) -> str:
        """What stands behind FROM."""
        if self.query is None:
            return f"main.{quote_name(self.name)}"
        names = ", ".join(map(quote_name, self.columns))
        return f"(WITH penstock_query({names}) AS (\n{self.query}\n) SELECT * FROM penstock_query)"

    @property
    def guarded(self) -> bool:
        """Whether reading it runs SQL or code of somebody else's, which may never end."""
        return self.kind != "table"

    def column(self, name: str) -> str | None:
        """The column of this name as the table spells it; case does not matter, as in SQL."""
        return next((column for column in self.columns if folded(column) == folded(name)), None)


def chosen_columns(shape: Shape, members: Sequence[str] | None) -> tuple[str, ...]:
    """The columns of a table, or those of them that a lineage knows. Raises
    :class:`~penstock.errors.InvalidMapping` if it lost one of these."""
    gone = [name for name in members or () if name not in shape.columns]
    if gone:
        raise InvalidMapping(
            f"{shape.name!r} has no column {gone[0]!r} any more, which the lineage has",
            hint="begin a new lineage in another directory",
        )
    return tuple(name for name in shape.columns if members is None or name in members)


def describe(connection: Connection, table: str) -> Shape:
    """The table, view or virtual table of this name, case aside. Raises :class:`~penstock.errors.InvalidMapping` if
    there is none, if it cannot be read, or if it belongs to an event store of ours."""
    name, kind, without_rowid = _find(connection, table)
    own = ("events", "penstock_blocks", "penstock_counters")
    if name in own and is_ours(connection):
        raise InvalidMapping(
            f"{connection.path} is an event store, and {name} is a table of it", hint="leave --table and --map out"
        )
    try:
        columns = _rows(connection, _COLUMNS, name)
    except ExportError as error:
        if kind == "table":
            raise
        raise InvalidMapping(
            f"the {kind} {name!r} cannot be read: {error.message}", hint="mend it, or name a table"
        ) from None
    indexes = _rows(connection, _INDEXES, name)
    definition = _rows(connection, _DEFINITION, name)
    if not columns or not definition:
        raise StorageError(f"{connection.path}: the table {name!r} cannot be described")
    names = tuple(row["name"] for row in columns)
    keys = [row for row in columns if row["pk"]]
    number = keys[0]["name"] if len(keys) == 1 and folded(keys[0]["type"] or "") == "integer" else None
    # INTEGER PRIMARY KEY DESC is no row number: then, and only then, the key has an index of its own
    if not without_rowid and any(row["origin"] == "pk" for row in indexes):
        number = None
    taken = {folded(column) for column in names}
    plain = kind == "table" and not without_rowid
    # the row number of the widest table would be one column too many
    plain = plain and (number is not None or len(names) < _MOST_COLUMNS)
    rowid = next((word for word in _ROWIDS if word not in taken), None) if plain else None
    alone: dict[str, list[str | None]] = {}
    for row in indexes:
        if row["alone"]:
            alone.setdefault(row["entry"], []).append(row["name"])
    named = [row for row in indexes if row["name"] is not None and not row["seqno"]]
    sql = definition[0]["sql"]
    return Shape(
        name=name,
        columns=names,
        rowid=rowid,
        key=number,
        autoincrement=number is not None and _AUTOINCREMENT.search(_NOT_CODE.sub(" ", sql)) is not None,
        indexed=frozenset(row["name"] for row in named),
        uniques=frozenset(frozenset(filter(None, columns)) for columns in alone.values() if None not in columns),
        sha256=hashlib.sha256(sql.encode("utf-8")).hexdigest(),
        kind=kind,
        primary=tuple(row["name"] for row in sorted(keys, key=lambda row: int(row["pk"]))),
        types=_declared(connection, name)
        if kind == "view"
        else {row["name"]: row["type"] for row in columns if row["type"]},
        utf8=connection.query("PRAGMA encoding")[0]["encoding"] == "UTF-8",
    )


def _declared(connection: Connection, view: str) -> dict[str, str]:
    """The declared types of a view's columns, as a query has them: its description calls a column without one BLOB."""
    with connection.cursor(f"SELECT * FROM main.{quote_name(view)}", guarded=True) as cursor:
        return {name: declared for name, declared in cursor.described if declared}


def table_names(connection: Connection) -> list[str]:
    """The tables and views of the file, by name, without the parts of virtual tables."""
    return sorted(str(row["name"]) for row in _rows(connection, _TABLES) if row["type"] in _KINDS)


def _find(connection: Connection, table: str) -> tuple[str, str, bool]:
    """The table's name as it is spelled, which kind of table it is, and whether it is WITHOUT ROWID."""
    found = {folded(row["name"]): row for row in _rows(connection, _TABLES)}
    row = found.get(folded(table))
    if row is None:
        names = table_names(connection)
        there = f"its tables are {listed(names)}" if names else "it has no table at all"
        raise InvalidMapping(f"{connection.path} has no table {table!r}", hint=nearest(table, names) + there)
    kind = _KINDS.get(str(row["type"]))
    if kind is None:
        raise InvalidMapping(
            f"{table!r} is a {row['type']} table: it holds parts of another one",
            hint="name the one that it is part of",
        )
    return str(row["name"]), kind, bool(row["wr"])


def _rows(connection: Connection, sql: str, *given: str) -> list[dict[str, Any]]:
    """A small result in which a name may be anything, also what is not UTF-8."""
    with connection.stream(sql, given, batch_rows=65_536) as reader:
        table = reader.read_all()
    columns = {
        name: [_text(value) for value in column.cast(pa.binary()).to_pylist()]
        if pa.types.is_string(column.type)
        else column.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
