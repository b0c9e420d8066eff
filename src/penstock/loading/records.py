"""Records that are JSON objects, to rows: fields taken out by the mapping, all else kept verbatim as ``data``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec
import pyarrow as pa

from penstock.errors import InvalidEvent
from penstock.loading.mapping import FieldMap, is_own, locate
from penstock.loading.members import Members, SpelledMembers, members_of, merged_object, text_of
from penstock.loading.rows import WANTED, Portion, Reject, Rows, Unit
from penstock.model import jsontext
from penstock.model.columns import EVENT_FIELDS

_PAYLOADS = ("data", "metadata")
_NUMERIC = ("timestamp", "priority")
_IDS = ("id", "session_id")
_DATA = EVENT_FIELDS.index("data")
_QUOTE = 0x22
_ANY_DEPTH = sys.maxsize

#: The fields of one record in the order of ``EVENT_FIELDS``: payloads as bytes, the others as text.
Fields: TypeAlias = list[str | bytes | None]


class RecordReader:
    """Turns the texts of JSON records into rows. ``found`` collects the mapped fields that some record had."""

    def __init__(
        self, *, fields: FieldMap, unit: Unit, max_depth: int = jsontext.MAX_DEPTH, found: set[str] | None = None
    ) -> None:
        self.fields = fields
        self.unit = unit
        self.found = found if found is not None else set()
        self.max_depth = max_depth
        self._takes = [(EVENT_FIELDS.index(take.field), take.path, "." in take.path) for take in fields.takes]

    def read(self, texts: Iterable[tuple[int, bytes]]) -> Portion:
        """Records, given as number and text, as rows; those that are not strict JSON objects are set aside."""
        records: list[Fields] = []
        numbers: list[int] = []
        raws: list[bytes] = []
        compacts: list[bytes] = []
        rejects: list[Reject] = []
        names: Sequence[str] = ()
        for number, raw in texts:
            try:
                compact = _compact(raw)
                members = members_of(compact)
                names = names or tuple(members)
                records.append(self._fields(members))
            except InvalidEvent as error:
                rejects.append(_reject(number, self.unit, error.message, raw))
                continue
            numbers.append(number)
            raws.append(raw)
            compacts.append(compact)
        values = list(zip(*records, strict=True)) or [()] * len(EVENT_FIELDS)
        columns = {name: _column(name, given) for name, given in zip(EVENT_FIELDS, values, strict=True)}
        self.found.update(name for name in self.fields.paths if columns[name].null_count < len(records))
        rows = Rows(
            columns=columns,
            unit=self.unit,
            locate=lambda row: (numbers[row], raws[row]),
            contents=lambda places: [compacts[row] for row in places],
            payloads_checked=True,
        )
        return Portion(rows=rows, rejects=rejects, names=names)

    def _fields(self, members: Members) -> Fields:
        if isinstance(members, SpelledMembers) and (twice := members.repeated()) is not None:
            raise InvalidEvent(f"a field is repeated: {twice[:60]!r}")
        own = ("seq" in members or "received_at" in members) and is_own(tuple(members))
        record: Fields = [None] * len(EVENT_FIELDS)
        for place, path, dotted in self._takes:
            raw = members.pop(path, None)
            if raw is None and (not dotted or (raw := _taken(members, path)) is None):
                continue
            value = bytes(raw)
            if value[0] == _QUOTE and b"\\" not in value and place < _DATA:
                record[place] = value[1:-1].decode()
            elif value != b"null":
                record[place] = self._value(EVENT_FIELDS[place], value)
        if own:
            members.pop("seq", None)
            members.pop("received_at", None)
        given, rest = record[_DATA], text_of(members)
        record[_DATA] = data = merged_object(given, rest) if isinstance(given, bytes) else rest
        self._check_depth(data)
        return record

    def _value(self, name: str, value: bytes) -> str | bytes:
        if name in _PAYLOADS:
            if value[:1] != b"{":
                raise InvalidEvent(f"{name} is not a JSON object: {_shown(value)}")
            self._check_depth(value)
            return value
        if value[0] == _QUOTE:
            return str(msgspec.json.decode(value))
        if name in _NUMERIC and value[:1] in b"-0123456789":
            return value.decode()
        if name in _IDS and value.removeprefix(b"-").isdigit():
            return value.decode()
        raise InvalidEvent(f"{name} is not {WANTED[name]}: {_shown(value)}")

    def _check_depth(self, text: bytes) -> None:
        """Each level takes two bytes, so that most texts are too short to be looked at."""
        if len(text) < 2 * self.max_depth or text.count(b"[") + text.count(b"{") <= self.max_depth:
            return
        if jsontext.depth(text) > self.max_depth:
            raise InvalidEvent(f"nested deeper than {self.max_depth} levels")


def _compact(raw: bytes) -> bytes:
    """The compact text of a record that is a strict JSON object. Raises :class:`InvalidEvent`."""
    try:
        if not raw.isascii():
            raw.decode()
        compact = msgspec.json.format(raw, indent=-1)
    except UnicodeDecodeError as error:
        raise InvalidEvent(f"invalid UTF-8: at byte {error.start}") from None
    except (msgspec.DecodeError, RecursionError):
        # Once more, in the way that says what is wrong; its depth is that of fields, which are looked at alone here.
        compact = jsontext.compact(raw, max_depth=_ANY_DEPTH)
    if compact[:1] != b"{":
        raise InvalidEvent(f"not a JSON object: {_shown(compact)}")
    return compact


def _shown(text: bytes) -> str:
    return text[:40].decode("utf-8", "replace")


def _taken(members: Members, path: str) -> msgspec.Raw | None:
    """Take the value at a path into nested objects out of them; ``None`` if there is none."""
    begin = locate(path, members)
    if begin is None:
        return None
    name, inside = begin
    if not inside:
        return members.pop(name, None)
    text = bytes(members[name])
    if text[:1] != b"{":
        return None
    nested = members_of(text)
    found = _taken(nested, inside)
    if found is not None:
        members[name] = msgspec.Raw(text_of(nested))
    return found


def _column(name: str, values: Sequence[str | bytes | None]) -> pa.Array:
    if name in _PAYLOADS:
        return pa.array([b"{}" if value is None else value for value in values], pa.binary()).cast(pa.string())
    return pa.array(values, pa.string())


def _reject(number: int, unit: Unit, fault: str, raw: bytes) -> Reject:
    reason, _, detail = fault.partition(": ")
    return Reject(number=number, unit=unit, reason=reason, detail=detail, raw=raw)
