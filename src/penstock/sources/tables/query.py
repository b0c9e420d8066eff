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

from penstock.sources.connection import quote_name
from penstock.sources.tables.mapping import Adoption

#: Fields that are selected as text.
TEXT_FIELDS = ("id", "category", "event_type", "session_id", "priority", "data", "metadata")
#: How a time may be stored, each with a value of its type.
STORAGES = {"integer": "0", "real": "0.0", "text": "''"}
#: Bits of ``kinds``: the value of the field is a blob; of an event type, a number.
BLOBS = {"id": 1, "event_type": 2, "session_id": 4, "data": 8, "metadata": 16, "received_at": 32}
NUMBER_TYPE = 64


def rows(adoption: Adoption, where: str) -> str:
    """Rows that meet a condition, in ``seq`` order, behind the row that settles the types."""
    seq = adoption.numbering.seq
    chosen = [("seq", "0", seq), ("kinds", "0", _kinds(adoption))]
    for field in TEXT_FIELDS:
        if field in adoption.fields:
            chosen.append((field, "''", _plain(quote_name(adoption.fields[field]))))
    for field in adoption.units:
        column = quote_name(adoption.fields[field])
        for storage, typed in STORAGES.items():
            chosen.append((f"{field}_{storage}", typed, f"CASE typeof({column}) WHEN '{storage}' THEN {column} END"))
    chosen += [(f"member_{number}", "''", _member(quote_name(name))) for number, name in enumerate(adoption.rest)]
    return (
        f"SELECT {', '.join(f'{typed} AS {quote_name(name)}' for name, typed, _ in chosen)} UNION ALL SELECT * FROM"
        f" (SELECT {', '.join(sql for _, _, sql in chosen)} FROM {adoption.shape.source}"
        f" WHERE {where} ORDER BY {seq})"
    )


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
