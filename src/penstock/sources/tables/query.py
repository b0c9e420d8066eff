"""What reads the rows of an adopted table as events: the SQL of a query, and the columns that its values go into."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.model.times import TimeUnit
from penstock.pipeline.cursor import Gather, GatherKind
from penstock.sources.connection import quote_name
from penstock.sources.tables.mapping import Adoption

#: What each field of an event is gathered as; the order is that of the columns.
_KINDS = {
    "timestamp": GatherKind.TIME,
    "event_type": GatherKind.NAMED,
    "id": GatherKind.ID,
    "session_id": GatherKind.ID,
    "category": GatherKind.PLAIN,
    "priority": GatherKind.PLAIN,
    "received_at": GatherKind.TIME,
    "metadata": GatherKind.PAYLOAD,
    "data": GatherKind.PAYLOAD,
}


def rows(adoption: Adoption, where: str) -> str:
    """Rows that meet a condition, in ``seq`` order: ``seq``, the fields that have a column, the members of ``data``."""
    seq = adoption.numbering.seq
    taken = [adoption.fields[field] for field in _KINDS if field in adoption.fields]
    chosen = [seq, *map(quote_name, (*taken, *adoption.rest))]
    return (
        f"SELECT {', '.join(chosen)} FROM {adoption.shape.source} WHERE {where} ORDER BY {adoption.numbering.sorting}"
    )


def columns(adoption: Adoption) -> Sequence[Gather]:
    """The columns of these rows: ``seq``, and by name each field that has a column; ``data`` always, as the last."""
    found = [Gather("seq", GatherKind.INT64)]
    for field, kind in _KINDS.items():
        members = adoption.rest if field == "data" else ()
        if field in adoption.fields:
            found.append(Gather(field, kind, adoption.units.get(field, TimeUnit.AUTO), members=members))
        elif field == "data":
            found.append(Gather(field, GatherKind.OBJECT, members=members))
    return found
