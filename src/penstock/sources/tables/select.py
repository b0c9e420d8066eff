"""A user's own SELECT, described as a table is."""

from __future__ import annotations

import hashlib
import re

from penstock.errors import InvalidQuery
from penstock.model.nearest import folded
from penstock.sources.connection import Connection
from penstock.sources.tables.table import Shape

#: What a query is called in a manifest, beside its text.
NAME = "query"
#: What may follow a statement: its end, white space, comments. Everything else is passed over piece by piece.
_PIECES = re.compile(
    r"""(?P<end>;|\s+|--[^\n]*|/\*.*?(?:\*/|\Z))"""
    r"""|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^;\s'"`\[/-]+|.""",
    re.DOTALL,
)


def describe_query(connection: Connection, sql: str) -> Shape:
    """What a query gives: one statement that only reads, whose columns have names that differ.

    Raises :class:`~penstock.errors.InvalidQuery`.
    """
    with connection.cursor(sql, guarded=True) as cursor:
        described = cursor.described
    names = [name for name, _ in described]
    for number, name in enumerate(names, 1):
        if not name:
            raise InvalidQuery(f"column {number} of the query has no name", hint="give it one: SELECT … AS name")
        if not name.isprintable():
            raise InvalidQuery(
                f"{name!r} cannot be the name of a column",
                hint="give it another: WITH q (name, …) AS (…) SELECT * FROM q",
            )
    _check_different(names)
    return Shape(
        name=NAME,
        columns=tuple(names),
        rowid=None,
        key=None,
        autoincrement=False,
        indexed=frozenset(),
        uniques=frozenset(),
        sha256=hashlib.sha256(sql.encode("utf-8", "surrogateescape")).hexdigest(),
        kind="query",
        types={name: declared for name, declared in described if declared},
        query=_statement(sql),
    )


def _check_different(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(folded(name))
        seen[folded(name)] = name
        if other is not None:
            alike = "comes twice" if other == name else f"differs from {other!r} in nothing but case"
            raise InvalidQuery(
                f"the column {name!r} of the query {alike}", hint="give one of them another name: SELECT … AS name"
            )


def _statement(sql: str) -> str:
    """The statement without what may stand behind it, so that it can stand in parentheses."""
    end = 0
    for piece in _PIECES.finditer(sql):
        if piece["end"] is None:
            end = piece.end()
    return sql[:end]
