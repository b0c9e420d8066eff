"""The SQL that reads an adopted table. No column is ever selected bare, because the driver guesses a column's type from
the first rows it sees: every value is taken by how it is stored, and every result column has one type from its first
row on, which this file puts in front and the reader drops.

Result columns, beside ``seq``:

- ``FIELD`` of a mapped text field: text as it is, numbers as text, blobs as hex digits, null.
- ``kinds``: bits that say for some of those fields how a row's value is stored.
- ``FIELD_integer``, ``FIELD_real``, ``FIELD_text`` of a mapped time: the one of them that holds the value.
- ``member_N`` of the Nth column without a place: its value as JSON text, never null; a blob is ``x`` and hex digits,
  and an infinity ``Inf`` or ``-Inf``, which are no JSON and so cannot be taken for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.sources.connection import quote_name
from penstock.sources.tables.mapping import Adoption

#: Fields that are selected as text.
TEXT_FIELDS = ("id", "category", "event_type", "session_id", "priority", "data", "metadata")
#: How a time may be stored, each with a value of its type.
STORAGES = {"integer": "0", "real": "0.0", "text": "''"}
#: Bits of ``kinds``: the value of the field is a blob; of an event type, a number.
BLOBS = {"id": 1, "event_type": 2, "session_id": 4, "data": 8, "metadata": 16, "received_at": 32}
NUMBER_TYPE = 64
#: Bytes of an event beside what its columns hold, roughly; for planning.
ROW_OVERHEAD = 200
#: The last number that an AUTOINCREMENT table gave out.
SEQUENCE = "SELECT seq FROM main.sqlite_sequence WHERE name = ? AND typeof(seq) = 'integer'"
_LEAST = -(1 << 63)
#: More terms in one sum than this would be nested deeper than SQLite allows.
_TERMS = 100


def span(adoption: Adoption, after: int, upto: int, *, places: tuple[int, int] | None) -> str:
    """Rows of ``after < seq <= upto``, as :func:`rows` gives them. ``places`` are the first and last row number among
    them, where they are needed to find the rows quickly."""
    where = [f"<= {upto}"]
    if after >= _LEAST:
        where.append(f"AND {adoption.seq} > {after}")
    if places is not None:
        where.append(f"AND {adoption.place} BETWEEN {places[0]} AND {places[1]}")
    return rows(adoption, " ".join(where))


def rows(adoption: Adoption, wanted: str) -> str:
    """Rows whose ``seq`` is as ``wanted`` says in SQL, in ``seq`` order, behind the row that settles the types."""
    chosen = [("seq", "0", adoption.seq), ("kinds", "0", _kinds(adoption))]
    for field in TEXT_FIELDS:
        if field in adoption.fields:
            chosen.append((field, "''", _plain(quote_name(adoption.fields[field]))))
    for field in adoption.units:
        column = quote_name(adoption.fields[field])
        for storage, typed in STORAGES.items():
            chosen.append((f"{field}_{storage}", typed, f"CASE typeof({column}) WHEN '{storage}' THEN {column} END"))
    chosen += [(f"member_{number}", "''", _member(quote_name(name))) for number, name in enumerate(adoption.rest)]
    where = [f"{adoption.seq} {wanted}", *_numbered(adoption)]
    return (
        f"SELECT {', '.join(f'{typed} AS {quote_name(name)}' for name, typed, _ in chosen)} UNION ALL SELECT * FROM"
        f" (SELECT {', '.join(sql for _, _, sql in chosen)} FROM {_table(adoption)}"
        f" WHERE {' AND '.join(where)} ORDER BY {adoption.seq})"
    )


def sizes(adoption: Adoption, after: int | None) -> str:
    """``seq``, ``bytes`` and, where it is needed, ``place`` of every row above ``after`` in ``seq`` order, behind a row
    of zeros."""
    where = [*([] if after is None else [f"{adoption.seq} > {after}"]), *_numbered(adoption)]
    place = adoption.place if adoption.place is not None else "0"
    measured = _sum([f"ifnull(octet_length({quote_name(name)}), 4)" for name in adoption.shape.columns])
    return (
        f"SELECT 0 AS seq, 0 AS bytes, 0 AS place UNION ALL SELECT * FROM (SELECT {adoption.seq},"
        f" {measured} + {ROW_OVERHEAD}, {place} FROM {_table(adoption)}"
        f" WHERE {' AND '.join(where) or '1'} ORDER BY {adoption.seq})"
    )


def last(adoption: Adoption, count: int = 1) -> str:
    """The highest ``seq``, at most so many; no row if there is none."""
    return f"{_numbers(adoption)} ORDER BY {adoption.seq} DESC LIMIT {count}"


def first(adoption: Adoption, after: int | None) -> str:
    """The lowest ``seq`` of all, or above a number; no row if there is none."""
    above = "" if after is None else f" AND {adoption.seq} > {after}"
    return f"{_numbers(adoption)}{above} ORDER BY {adoption.seq} LIMIT 1"


def unnumbered(adoption: Adoption) -> str:
    """How many rows have no integer for a ``seq``."""
    return f"SELECT count(*) AS n FROM {_table(adoption)} WHERE typeof({adoption.seq}) <> 'integer'"


def _numbers(adoption: Adoption) -> str:
    where = " AND ".join(_numbered(adoption)) or "1"
    return f"SELECT {adoption.seq} AS seq FROM {_table(adoption)} WHERE {where}"


def _table(adoption: Adoption) -> str:
    return f"main.{quote_name(adoption.shape.name)}"


def _numbered(adoption: Adoption) -> Iterator[str]:
    if adoption.checked:
        yield f"typeof({adoption.seq}) = 'integer'"


def _kinds(adoption: Adoption) -> str:
    bits = [
        f"(typeof({quote_name(adoption.fields[field])}) = 'blob') * {bit}"
        for field, bit in BLOBS.items()
        if field in adoption.fields
    ]
    event_type = quote_name(adoption.fields["event_type"])
    return " + ".join([*bits, f"(typeof({event_type}) IN ('integer', 'real')) * {NUMBER_TYPE}"])


def _plain(column: str) -> str:
    return (
        f"CASE typeof({column}) WHEN 'text' THEN {column} WHEN 'integer' THEN CAST({column} AS TEXT)"
        f" WHEN 'real' THEN {_real(column)} WHEN 'blob' THEN hex({column}) END"
    )


def _member(column: str) -> str:
    return (
        f"CASE typeof({column}) WHEN 'text' THEN json_quote({column}) WHEN 'integer' THEN CAST({column} AS TEXT)"
        f" WHEN 'real' THEN {_real(column)} WHEN 'blob' THEN 'x' || hex({column}) ELSE 'null' END"
    )


def _real(column: str) -> str:
    """A real as text that gives the same real back, the sign of zero included, which SQLite's own text leaves out.

    The column is compared through a function: by itself it would ask for its collation, which may not be known here.
    """
    return (
        f"CASE WHEN abs({column}) > 0.0 THEN CAST({column} AS TEXT) WHEN atan2({column}, -1.0) < 0.0 THEN '-0.0'"
        f" ELSE '0.0' END"
    )


def _sum(terms: list[str]) -> str:
    while len(terms) > 1:
        terms = [f"({' + '.join(terms[start : start + _TERMS])})" for start in range(0, len(terms), _TERMS)]
    return terms[0]
