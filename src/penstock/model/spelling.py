"""How columns are spelled in text, as data: what the renderers, the rows digest and the strict parser go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import pyarrow as pa


class Kind(StrEnum):
    """What a column holds, and so how its values are written."""

    TEXT = "text"  #: Arrow text; a JSON string, escaped where it must be
    VERBATIM = "verbatim"  #: Arrow text that is JSON already and is copied: payloads, numbers in digits
    INT64 = "int64"  #: Arrow int64; digits
    TIME = "time"  #: Arrow timestamps in microseconds UTC; RFC 3339 with six digits and Z
    NULL = "null"  #: any type, every value null
    REAL = "real"  #: Arrow float64, finite; its shortest digits. Written only: who reads asks for ``VERBATIM``


_TYPES: Mapping[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.VERBATIM: pa.string(),
    Kind.INT64: pa.int64(),
    Kind.TIME: pa.timestamp("us", "UTC"),
    Kind.NULL: pa.null(),
    Kind.REAL: pa.float64(),
}


@dataclass(frozen=True, slots=True)
class Spelled:
    """One column. The rows digest covers those that are ``own``, in their order, and no others."""

    name: str
    kind: Kind
    own: bool = True
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Spelling:
    """The columns of a dataset in the order of a line's members. A batch holds all of them, or some in this order."""

    columns: tuple[Spelled, ...]

    def select(self, names: Sequence[str]) -> Spelling:
        """The spelling of some columns. Raises :class:`ValueError` unless they are columns of this, in its order."""
        if tuple(names) == self.names:
            return self
        known = {column.name: place for place, column in enumerate(self.columns)}
        places = [known.get(name, -1) for name in names]
        if not places or places[0] < 0 or any(late <= early for early, late in pairwise(places)):
            raise ValueError(f"the columns {', '.join(names)} are not among {', '.join(known)} in their order")
        return Spelling(tuple(self.columns[place] for place in places))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def schema(self) -> pa.Schema:
        """What the strict parser gives back."""
        return pa.schema([pa.field(each.name, _TYPES[each.kind], each.nullable) for each in self.columns])
