"""Batches of typed or text columns, to rows: fields from columns by the mapping, all other columns to ``data``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from penstock.loading.jsontexts import is_uuid_bytes, json_text, json_texts, objects, plain, uuid_texts
from penstock.loading.mapping import FieldMap, is_own, locate
from penstock.loading.rows import WANTED, Rows, Unit
from penstock.model.columns import EVENT_FIELDS

_PAYLOADS = ("data", "metadata")
_STORES_OWN = ("seq", "received_at")
_EMPTY, _OBJECT, _NONE = (pa.scalar(text, pa.string()) for text in ("", "{}", None))
_NO_NUMBER = "a number JSON cannot hold: NaN or infinite"


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a field comes from: a column, and names inside of it when it is a structure."""

    field: str
    column: str
    inside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableReader:
    """Turns batches of one file into rows. ``found`` collects the mapped fields that some file had.

    ``text`` says that every column is text of a format that cannot tell empty text from nothing: empty fields of the
    event are missing. ``optional`` columns are left out of ``data`` where they are null.
    """

    fields: FieldMap
    unit: Unit
    text: bool = False
    optional: Collection[str] = ()
    found: set[str] = field(default_factory=set)

    def read(self, batch: pa.RecordBatch, locate: Callable[[int], tuple[int, bytes]]) -> Rows:
        """The batch, whose column names are unique and whose text is valid UTF-8, as rows."""
        sources = self._sources(batch.schema)
        faults: dict[int, str] = {}
        columns = {name: pa.nulls(batch.num_rows, pa.string()) for name in EVENT_FIELDS}
        left = {name: batch.column(name) for name in batch.schema.names}
        for source in sources:
            column = left[source.column]
            for name in source.inside:
                column = pc.struct_field(column, name)
            columns[source.field] = self._field(source.field, plain(column), faults)
            if source.inside:
                left[source.column] = _without(left[source.column], source.inside)
            else:
                del left[source.column]
        if is_own(batch.schema.names):
            left = {name: column for name, column in left.items() if name not in _STORES_OWN}
        extra = None
        if left:
            extra = objects(list(left.items()), optional=self.optional)
            if extra.null_count:
                for row in pc.indices_nonzero(pc.is_null(extra)).to_pylist():
                    faults.setdefault(row, _NO_NUMBER)
                extra = pc.coalesce(extra, _OBJECT)
        return Rows(
            columns=columns,
            unit=self.unit,
            locate=locate,
            contents=lambda rows: _contents(batch, rows),
            extra=extra,
            faults=faults,
        )

    def _sources(self, schema: pa.Schema) -> list[_Source]:
        """Where each field is in this schema; deeper ones first."""
        sources: list[_Source] = []
        free = set(schema.names)
        for take in self.fields.takes:
            place = locate(take.path, free)
            if place is None:
                continue
            column, rest = place
            inside = _inside(schema.field(column).type, rest)
            if inside is None:
                continue
            if not inside:
                free.discard(column)
            if take.mapped:
                self.found.add(take.field)
            sources.append(_Source(take.field, column, inside))
        return sources

    def _field(self, name: str, column: pa.Array, faults: dict[int, str]) -> pa.Array:
        kind = column.type
        if pa.types.is_string(kind):
            return pc.if_else(pc.equal(column, _EMPTY), _NONE, column) if self.text else column
        if name == "timestamp":
            return column
        if name in _PAYLOADS and pa.types.is_nested(kind):
            texts, unfit = json_texts(column)
            if unfit is not None:
                for row in pc.indices_nonzero(unfit).to_pylist():
                    faults.setdefault(row, _NO_NUMBER)
            return texts
        if name == "priority" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return column.cast(pa.string())
        if name in ("id", "session_id") and pa.types.is_integer(kind):
            return column.cast(pa.string())
        if name in ("id", "session_id") and is_uuid_bytes(kind):
            return uuid_texts(column)
        for row in pc.indices_nonzero(pc.is_valid(column)).to_pylist():
            faults.setdefault(row, f"{name} is not {WANTED[name]}: a column of type {kind}")
        return pa.nulls(len(column), pa.string())


def repeated(names: Sequence[str]) -> str | None:
    """A name that is there more than once, if there is one."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _inside(kind: pa.DataType, path: str) -> tuple[str, ...] | None:
    """The names that a path means inside a structure; ``None`` if there is no such thing."""
    names: list[str] = []
    while path:
        if not pa.types.is_struct(kind):
            return None
        place = locate(path, [kind.field(number).name for number in range(kind.num_fields)])
        if place is None:
            return None
        name, path = place
        names.append(name)
        kind = kind.field(name).type
    return tuple(names)


def _without(column: pa.StructArray, inside: Sequence[str]) -> pa.StructArray:
    """A structure without the field at a path, null where it was null."""
    kept: dict[str, pa.Array] = {}
    for number in range(column.type.num_fields):
        name = column.type.field(number).name
        if name != inside[0]:
            kept[name] = pc.struct_field(column, name)
        elif len(inside) > 1:
            kept[name] = _without(pc.struct_field(column, name), inside[1:])
    if not kept:
        return pa.nulls(len(column))
    return pa.StructArray.from_arrays(list(kept.values()), names=list(kept), mask=pc.is_null(column))


def _contents(batch: pa.RecordBatch, rows: Sequence[int]) -> list[bytes]:
    texts = objects([(name, batch.column(name)) for name in batch.schema.names])
    asked = texts if len(rows) == len(texts) else texts.take(pa.array(rows, pa.int64()))
    return [text.encode() for text in pc.coalesce(asked, _OBJECT).to_pylist()]


def row_text(batch: pa.RecordBatch, row: int) -> bytes:
    """A row as JSON text to be looked at by people; what is not text is spelled in some way that shows it."""
    members = {}
    for name in batch.schema.names:
        value = batch.column(name)[row]
        try:
            members[name] = value.as_py()
        except UnicodeDecodeError:
            members[name] = value.cast(pa.binary()).as_py() if pa.types.is_string(value.type) else repr(value.type)
        except (ValueError, OverflowError, LookupError):
            members[name] = str(value.cast(pa.int64() if pa.types.is_temporal(value.type) else pa.string()))
    return json_text(members, strict=False).encode("utf-8", "backslashreplace")
