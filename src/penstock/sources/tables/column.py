"""One column of a table as it is: its name, its type, and how its values are selected and gathered."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from penstock.model.column_type import TIMES
from penstock.model.dataset import field_of
from penstock.pipeline.gathering import Gather, GatherKind
from penstock.sources.connection import quote_name
from penstock.sources.tables.types import Settled

#: How the values of a type are taken: dates as times, of which they are whole days.
_KINDS = {
    "bool": GatherKind.BOOL,
    "int64": GatherKind.INT64,
    "float64": GatherKind.FLOAT64,
    "decimal": GatherKind.DECIMAL,
    "text": GatherKind.TEXT,
    "json": GatherKind.JSON,
    "binary": GatherKind.BINARY,
    **dict.fromkeys(TIMES, GatherKind.TIME),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column as it is exported: ``name``, and ``source``, as the table spells it, or its row number."""

    name: str
    source: str
    settled: Settled

    @property
    def field(self) -> pa.Field:
        found = field_of(self.name, self.settled.type.name)
        assert found is not None
        return found

    @property
    def sql(self) -> str:
        """What is selected. Words for truth are numbers, which is how old Rails stores them."""
        name = quote_name(self.source)
        if self.settled.type.name == "binary" and self.settled.whole:
            return f"CAST({name} AS BLOB)"
        if self.settled.type.name == "bool":
            words = " ".join(f"WHEN '{word}' THEN {value}" for word, value in _TRUTH.items())
            return f"CASE typeof({name}) WHEN 'text' THEN CASE lower({name}) {words} ELSE {name} END ELSE {name} END"
        return name

    @property
    def gather(self) -> Gather:
        type = self.settled.type
        if type.name == "text" and self.settled.whole:
            return Gather(self.name, GatherKind.NAMED)
        kind = _KINDS[type.name.partition("(")[0]]
        if kind is GatherKind.DECIMAL:
            precision, scale = self.field.type.precision, self.field.type.scale
            return Gather(self.name, kind, precision=precision, scale=scale)
        return Gather(self.name, kind, unit=type.unit)


_TRUTH = {"t": 1, "true": 1, "f": 0, "false": 0}
