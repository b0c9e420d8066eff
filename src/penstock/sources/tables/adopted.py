"""A table whose rows are events, through a mapping: which of its values are selected, and into which columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from penstock.model.columns import EVENT_SCHEMA
from penstock.model.filter import ExportFilter
from penstock.model.storage_config import StorageConfig
from penstock.model.times import TimeUnit
from penstock.pipeline.cursor import Gather, GatherKind
from penstock.sources.connection import quote_name
from penstock.sources.tables.events import Converter
from penstock.sources.tables.mapping import Adoption, adopt
from penstock.sources.tables.numbering import Numbering
from penstock.sources.tables.table import Shape

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
    schema = EVENT_SCHEMA

    def __init__(self, shape: Shape, config: StorageConfig) -> None:
        self._adoption = adopt(shape, config.mapping)
        self.shape = shape
        self.numbering: Numbering | None = self._adoption.numbering
        self.values: Sequence[str] = [
            self._adoption.numbering.seq,
            *(quote_name(self._adoption.fields[field]) for field in _KINDS if field in self._adoption.fields),
            *map(quote_name, self._adoption.rest),
        ]
        self.columns: Sequence[Gather] = list(_columns(self._adoption))

    def describe(self) -> dict[str, Any]:
        return self._adoption.describe()

    def converter(self, filter: ExportFilter) -> Converter:
        return Converter(self._adoption, filter)


def _columns(adoption: Adoption) -> Iterator[Gather]:
    yield Gather("seq", GatherKind.INT64)
    for field, kind in _KINDS.items():
        members = adoption.rest if field == "data" else ()
        if field in adoption.fields:
            yield Gather(field, kind, adoption.units.get(field, TimeUnit.AUTO), members=members)
        elif field == "data":
            yield Gather(field, GatherKind.OBJECT, members=members)
