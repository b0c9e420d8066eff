"""A table whose rows are events, through a mapping: which of its values are selected, and into which columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from penstock.errors import InvalidMapping
from penstock.model.columns import EVENT_SCHEMA
from penstock.model.filter import ExportFilter
from penstock.model.storage_config import StorageConfig
from penstock.model.times import TimeUnit
from penstock.pipeline.gathering import Gather, GatherKind
from penstock.ports.source import RANGE_BYTES
from penstock.sources.connection import Connection, quote_name
from penstock.sources.tables.asking import Asked
from penstock.sources.tables.events import Converter
from penstock.sources.tables.mapping import Adoption, adopt
from penstock.sources.tables.misfits import WORDS, proposed_unit, shown
from penstock.sources.tables.numbering import Numbering
from penstock.sources.tables.projection import gathered
from penstock.sources.tables.table import Shape

#: Rows that are looked at at once.
_LOOKED_AT = 4096
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


class Adopted:
    """A :class:`~penstock.sources.tables.projection.Projection`: ``seq``, the fields that have a column, the members of
    ``data``, which is always there, as the last. Raises :class:`~penstock.errors.InvalidMapping`."""

    order = "seq"
    numbers_rows = True
    keys = None
    schema = EVENT_SCHEMA

    def __init__(self, shape: Shape, config: StorageConfig) -> None:
        self._adoption = adopt(shape, config.mapping, config.members)
        self.shape = shape
        self.numbering: Numbering | None = self._adoption.numbering
        self.values: Sequence[str] = [
            self.numbering.seq if self.numbering is not None else "0",
            *(self._adoption.sql(field) for field in _KINDS if field in self._adoption.fields),
            *map(quote_name, self._adoption.rest),
        ]
        self.columns: Sequence[Gather] = list(_columns(self._adoption))

    def column(self, field: str) -> str:
        """The column that a field takes."""
        return self._adoption.fields[field]

    def describe(self) -> dict[str, Any]:
        return self._adoption.describe()

    def converter(self, filter: ExportFilter) -> Converter:
        return Converter(self._adoption, filter)

    def asked(self, filter: ExportFilter) -> Asked:
        """Nothing: of a row that is no event has to be told."""
        return Asked()


def _columns(adoption: Adoption) -> Iterator[Gather]:
    yield Gather("seq", GatherKind.INT64)
    for field, kind in _KINDS.items():
        members = adoption.rest if field == "data" else ()
        if field in adoption.fields:
            yield Gather(field, kind, adoption.units.get(field, TimeUnit.AUTO), members=members)
        elif field == "data":
            yield Gather(field, GatherKind.OBJECT, members=members)


def check_events(connection: Connection, adopted: Adopted) -> None:
    """Raise :class:`~penstock.errors.InvalidMapping` for a table of which no row is an event, which shows a value and
    what may be meant. Rows are read until one is."""
    converter, example = adopted.converter(ExportFilter()), None
    for rows in gathered(connection, adopted, "", rows=_LOOKED_AT, size=RANGE_BYTES):
        converter.convert(rows)
        if converter.rows:
            return
        place = rows.batch.schema.get_field_index("timestamp")
        example = example or next((each for each in rows.misfits if each.column == place), None)
    if not converter.counts:
        return
    why = ", ".join(
        f"{name.replace('_', ' ')}: {count:,}" for name, count in converter.counts.items() if "skip" in name
    )
    column = adopted.column("timestamp")
    hint = "map the fields to other columns"
    if example is not None:
        why += f"; the column {column!r} holds the {example.storage} {shown(example)}"
        unit = proposed_unit(shown(example)) if example.storage in ("integer", "real") else None
        hint = "map timestamp to a column of times, as --map timestamp=COLUMN"
        hint = hint if unit is None else f"--map timestamp={column}:{unit} if its numbers are {WORDS[unit]}"
    raise InvalidMapping(f"no row of {adopted.shape.name!r} is an event: {why}", hint=hint)
