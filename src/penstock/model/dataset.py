"""What rows are: a dataset's name, its columns with their types, its time and its key, and the types that there are.

Every type has one name in manifests and one spelling in texts (``docs/format.md``, "Values"); :func:`bound` says what
any other Arrow type becomes, or that it becomes none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import UsageError
from penstock.model import claims
from penstock.model.spelling import Kind, Spelled, Spelling

MICROS_UTC = pa.timestamp("us", "UTC")
MICROS = pa.timestamp("us")
_JSON_MARK = {b"penstock.type": b"json"}
_MOST_DIGITS = {128: 38, 256: 76}
_LONGEST_NAME = 255
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)\Z", re.ASCII)
#: The types by their names in manifests, but for decimals, which carry their digits, and JSON, which Arrow has as text.
_TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "text": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": MICROS,
    "timestamp_utc": MICROS_UTC,
}
_NAMES = {type: name for name, type in _TYPES.items()}
#: How a type is spelled in text: the kinds that the native library writes from Arrow's memory, text for all others.
_KINDS = {
    "int64": Kind.INT64,
    "timestamp_utc": Kind.TIME,
    **dict.fromkeys(("json", "bool", "float64", "decimal"), Kind.VERBATIM),
    **dict.fromkeys(("text", "binary", "date", "timestamp"), Kind.TEXT),
}
_DAY = 86_400_000_000
#: What a dataset's time may be.
_MOMENTS = ("timestamp_utc", "timestamp", "date")


def json_field(name: str, *, nullable: bool = True) -> pa.Field:
    """A column of JSON text."""
    return pa.field(name, pa.string(), nullable=nullable, metadata=_JSON_MARK)


def is_json(field: pa.Field) -> bool:
    """Whether a column of text holds JSON."""
    return field.type == pa.string() and (field.metadata or {}).get(b"penstock.type") == b"json"


def _kind(field: pa.Field) -> Kind:
    return _KINDS[str(type_name(field)).partition("(")[0]]


def type_name(field: pa.Field) -> str | None:
    """The name of a column's type, such as ``int64`` or ``decimal(10,2)``; ``None`` if no dataset has such a type."""
    if is_json(field):
        return "json"
    if pa.types.is_decimal(field.type) and field.type == _decimal(field.type.precision, field.type.scale):
        return f"decimal({field.type.precision},{field.type.scale})"
    return _NAMES.get(field.type)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the rows of an export are.

    ``own`` are the columns that the rows digest covers, in the order of ``schema``: all but what a store assigns.
    ``time`` is the column that windows and partitions mean, ``key`` are those that identify a row, ``order`` is a
    64-bit integer in which rows arrived; where they are ordered otherwise, ``hashed`` is a hidden one that tells rows
    from others, of their key. ``hidden`` are columns that rows are known by, and that are written only when
    they are asked for, such as the row number of a table. A choice of columns may leave out what these name. Raises
    :class:`UsageError` for a schema that no export can hold.
    """

    name: str
    schema: pa.Schema
    own: tuple[str, ...]
    time: str | None = None
    key: tuple[str, ...] = ()
    order: str | None = None
    hidden: tuple[str, ...] = ()
    hashed: str | None = None

    def __post_init__(self) -> None:
        names = self.columns
        _check_name(self.name, "dataset")
        for field in self.schema:
            _check_name(field.name, "column")
            if type_name(field) is None:
                raise UsageError(f"column {field.name!r} of {self.name} has the type {field.type}, which no export has")
        if not names or len(set(names)) != len(names):
            raise UsageError(f"{self.name} needs at least one column, and none of them twice")
        if self.own != tuple(name for name in names if name in self.own):
            raise UsageError(f"the own columns of {self.name} are not columns of it in their order: {self.own}")
        if self.time in names and type_name(self.schema.field(self.time)) not in _MOMENTS:
            raise UsageError(f"column {self.time!r} of {self.name} is no time", hint="name a timestamp or a date")
        if self.order in names and self.schema.field(self.order).type != pa.int64():
            raise UsageError(f"column {self.order!r} of {self.name} is no 64-bit integer, rows cannot be ordered by it")

    def __str__(self) -> str:
        columns = (f"{field.name} {type_name(field)}{'' if field.nullable else ' not null'}" for field in self.schema)
        facts = {"own": ", ".join(self.own), "time": self.time, "key": ", ".join(self.key), "order": self.order}
        told = (f"; {what} {names}" for what, names in facts.items() if names)
        return f"{self.name} ({', '.join(columns)}{''.join(told)})"

    @property
    def number(self) -> str | None:
        """The column of 64-bit integers by which a row is told from others, if there is one."""
        return self.hashed if self.order is None else self.order

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema.names)

    @property
    def spelling(self) -> Spelling:
        """How the native library spells the columns, once those that it has no kind for are text."""
        return Spelling(
            tuple(
                Spelled(field.name, _kind(field), own=field.name in self.own, nullable=field.nullable)
                for field in self.schema
            )
        )

    def select(self, names: Sequence[str] | None) -> Dataset:
        """What is written of it: the named columns in the order they are asked for, all that are not hidden for
        ``None``. Raises :class:`UsageError` for an unknown or repeated name and for an empty choice."""
        if names is None:
            return self.select([name for name in self.columns if name not in self.hidden]) if self.hidden else self
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            near = get_close_matches(unknown[0], self.columns, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"unknown column {unknown[0]!r}", hint=meant + "columns are " + ", ".join(self.columns))
        check_choice(names)
        return replace(
            self,
            schema=pa.schema([self.schema.field(name) for name in names]),
            own=tuple(name for name in names if name in self.own),
            hidden=(),
        )

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "dataset": self.name,
            "schema": [
                {"name": field.name, "type": type_name(field), "nullable": field.nullable} for field in self.schema
            ],
            "own": list(self.own),
            "time": self.time,
            "key": list(self.key),
            "order": self.order,
        }


def instants(column: pa.Array) -> pa.Int64Array:
    """Times or dates as microseconds since 1970-01-01; without a zone they are taken as UTC."""
    if pa.types.is_date(column.type):
        return pc.multiply(column.cast(pa.int32()).cast(pa.int64()), _DAY)
    return column.cast(pa.int64())


def check_choice(names: Sequence[str]) -> None:
    """Raise :class:`UsageError` for a choice of columns that is none."""
    if isinstance(names, str):
        raise UsageError(f"columns must be a list of names, not the text {names!r}")
    if not names or len(set(names)) != len(names):
        raise UsageError("name at least one column, and none of them twice")


def parse_dataset(raw: Mapping[str, Any]) -> Dataset:
    """Read what :meth:`Dataset.to_json` wrote, among other members.

    Raises :class:`UsageError`, ``ValueError``, ``KeyError`` or ``TypeError``.
    """
    return Dataset(
        name=claims.text(raw["dataset"]),
        schema=pa.schema([_field(one) for one in claims.items(raw["schema"])]),
        own=tuple(claims.text(name) for name in claims.items(raw["own"])),
        time=None if raw["time"] is None else claims.text(raw["time"]),
        key=tuple(claims.text(name) for name in claims.items(raw["key"])),
        order=None if raw["order"] is None else claims.text(raw["order"]),
    )


def _field(raw: Any) -> pa.Field:
    name, kind, nullable = claims.text(raw["name"]), claims.text(raw["type"]), raw["nullable"]
    if not isinstance(nullable, bool):
        raise ValueError(f"not true or false: {nullable!r}")
    field = field_of(name, kind, nullable=nullable)
    if field is None:
        raise ValueError(f"column {name!r} has the unknown type {kind!r}; a newer penstock may know it")
    return field


def field_of(name: str, type: str, *, nullable: bool = True) -> pa.Field | None:
    """A column of the type of that name; ``None`` for a name that no type has."""
    if type == "json":
        return json_field(name, nullable=nullable)
    digits = _DECIMAL.match(type)
    known = _TYPES.get(type) if digits is None else _decimal(int(digits[1]), int(digits[2]))
    return None if known is None else pa.field(name, known, nullable=nullable)


def bound(schema: pa.Schema, *, json: Iterable[str] = ()) -> pa.Schema:
    """The schema in which a source with columns of any Arrow types gives its rows; ``json`` names text that is JSON.

    Columns in which a value may have to become null (a float that is not finite, a time or date outside the years 0001
    to 9999, a JSON ``null``) are nullable then. Raises :class:`UsageError` that names the first column whose type no
    export has.
    """
    marked = set(json)
    fields = []
    for field in schema:
        type = field.type
        is_text = field.name in marked or is_json(field) or (isinstance(type, pa.BaseExtensionType) and _is_json(type))
        if isinstance(type, pa.BaseExtensionType) and is_text:
            type = type.storage_type
        target = _target(type)
        if target is None or (is_text and target != pa.string()):
            raise UsageError(
                f"column {field.name!r} has the type {field.type}, which no export has",
                hint="cast it to a number, bool, text, binary, date or timestamp, or leave it out",
            )
        if is_text:
            fields.append(json_field(field.name))
            continue
        loses = pa.types.is_floating(target) or pa.types.is_temporal(target)
        fields.append(pa.field(field.name, target, nullable=field.nullable or loses))
    return pa.schema(fields)


def _is_json(type: pa.BaseExtensionType) -> bool:
    return bool(type.extension_name == "arrow.json")


_TARGETS: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], pa.DataType | None]]] = (
    (pa.types.is_dictionary, lambda given: _target(given.value_type)),
    (pa.types.is_uint64, lambda _: pa.decimal128(20, 0)),
    (pa.types.is_integer, lambda _: pa.int64()),
    (pa.types.is_floating, lambda _: pa.float64()),
    (pa.types.is_boolean, lambda _: pa.bool_()),
    (pa.types.is_decimal, lambda given: _decimal(given.precision - min(given.scale, 0), max(given.scale, 0))),
    (pa.types.is_string, lambda _: pa.string()),
    (pa.types.is_large_string, lambda _: pa.string()),
    (pa.types.is_string_view, lambda _: pa.string()),
    (pa.types.is_null, lambda _: pa.string()),
    (pa.types.is_binary, lambda _: pa.binary()),
    (pa.types.is_large_binary, lambda _: pa.binary()),
    (pa.types.is_binary_view, lambda _: pa.binary()),
    (pa.types.is_fixed_size_binary, lambda _: pa.binary()),
    (pa.types.is_date, lambda _: pa.date32()),
    (pa.types.is_timestamp, lambda given: MICROS if given.tz is None else MICROS_UTC),
)


def _target(type: pa.DataType) -> pa.DataType | None:
    return next((target(type) for fits, target in _TARGETS if fits(type)), None)


def _decimal(precision: int, scale: int) -> pa.DataType | None:
    """The one type of so many digits, of which ``scale`` stand behind the point."""
    if not 0 <= scale <= precision or not 1 <= precision <= _MOST_DIGITS[256]:
        return None
    return pa.decimal128(precision, scale) if precision <= _MOST_DIGITS[128] else pa.decimal256(precision, scale)


def is_name(name: str) -> bool:
    """Whether a dataset or a column can be called so."""
    return 1 <= len(name) <= _LONGEST_NAME and not _CONTROL.search(name) and name.isprintable()


def _check_name(name: str, what: str) -> None:
    if not is_name(name):
        raise UsageError(f"{name[:60]!r} cannot be the name of a {what}", hint="rename it")
