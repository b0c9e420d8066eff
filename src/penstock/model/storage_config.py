"""Settings of an event store, and how a table, a view or a query of a file that is none is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.errors import InvalidMapping, UsageError
from penstock.model import claims
from penstock.model.column_type import parse_column_type
from penstock.model.columns import COLUMNS

#: What becomes of a value that does not fit its column's type: an error, null, or text, as the whole column then is.
MISFITS = ("fail", "null", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageConfig:
    """How to open a store, or what to read of any other SQLite file.

    ``synchronous`` is SQLite's: ``normal`` survives ``kill -9``, ``full`` also power loss, ``off`` neither.
    ``busy_timeout`` is how long to wait for another process's lock, in seconds. ``max_size_bytes`` refuses appends that
    would grow the file beyond it (nothing is ever deleted to make room). ``batch_rows`` is how many rows are read at a
    time. ``one_moment`` keeps writers of a database without a write-ahead log out for as long as it is read, instead of
    letting them in between; with one they never wait.

    ``table`` names a table or a view, ``query`` is one SELECT; either is only read. Its rows are exported as they are,
    in its own columns. ``key`` are the columns that identify a row; a single one of integers also orders them. With
    ``by_key`` any do, together with the primary key or the row number where rows may share their values, as in every
    lineage: each has to hold nothing but numbers, or nothing but texts. ``time``
    is the column that windows and partitions mean, with the unit of its numbers if they need one: ``"created:ms"``; one
    of ``s``, ``ms``, ``us``, ``ns``, ``iso``. ``types`` settles types that the declaration does not
    (``{"price": "decimal(10,2)", "at": "timestamp_utc:ms"}``), ``misfits`` what becomes of a value that does not fit:
    ``fail``, ``null``, or ``text``, which then holds for its whole column. ``rename`` gives columns other names.
    ``only`` names those that are read, by these names; what orders, identifies and times rows is read as well. A view
    or a query that gives no row any more is ended at ``until`` (of ``time.monotonic``), with
    :class:`~penstock.errors.LimitReached`.

    With a ``mapping`` the rows are events instead: it says which column holds which field (``{"timestamp":
    "created_at:ms"}``), or a constant in quotes (``{"event_type": "'page_view'"}``), and columns without a place go
    into ``data``. A field that it does not name takes the column of its own name; ``":none"`` takes none. ``members``
    names those columns that go into ``data``, all without a place if it is not given. Raises
    :class:`~penstock.errors.UsageError`, :class:`~penstock.errors.InvalidMapping`.
    """

    wal: bool = True
    synchronous: Literal["off", "normal", "full"] = "normal"
    busy_timeout: float = 10.0
    max_size_bytes: int | None = None
    batch_rows: int = 4096
    one_moment: bool = False
    table: str | None = None
    query: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    key: Sequence[str] = ()
    time: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    misfits: str = "fail"
    rename: Mapping[str, str] = field(default_factory=dict)
    members: Sequence[str] | None = None
    only: Sequence[str] | None = None
    by_key: bool = False
    until: float | None = None

    def __post_init__(self) -> None:
        if self.synchronous not in ("off", "normal", "full"):
            raise UsageError(f"synchronous must be off, normal or full, not {self.synchronous!r}")
        if not 0 <= self.busy_timeout <= 86_400:
            raise UsageError(f"busy_timeout must be 0 to 86400 seconds, not {self.busy_timeout}")
        if not 1 <= self.batch_rows <= 1 << 20:
            raise UsageError(f"batch_rows must be 1 to 1048576, not {self.batch_rows}")
        if self.max_size_bytes is not None and self.max_size_bytes < 1:
            raise UsageError(f"max_size_bytes must be 1 or more, not {self.max_size_bytes}")
        if isinstance(self.key, str):
            raise UsageError(f"key must be a list of columns, not the text {self.key!r}")
        object.__setattr__(self, "key", tuple(self.key))
        self._check_reading()

    def _check_reading(self) -> None:
        if self.table is not None and self.query is not None:
            raise UsageError("a table and a query are two things to read", hint="leave one of them out")
        given = [name for name in _OF_ROWS if getattr(self, name) and (name, getattr(self, name)) != _USUAL]
        named = [name for name in given if name != "misfits"]
        if named and not self.foreign:
            kind = InvalidMapping if named == ["mapping"] else UsageError
            raise kind(f"{named[0]} needs a table or a query", hint="name the one that it is about")
        for name in self.mapping:
            if name not in COLUMNS:
                raise InvalidMapping(f"unknown field {name!r} in the mapping", hint="fields are " + ", ".join(COLUMNS))
        for name in given if self.mapping else ():
            if name != "mapping":
                raise UsageError(
                    f"{name} does not go with a mapping: rows that are events have the columns of events",
                    hint=_INSTEAD.get(name, "leave one of them out"),
                )
        if self.misfits not in MISFITS:
            raise UsageError(f"misfits must be {', '.join(MISFITS)}, not {self.misfits!r}")
        for text in self.types.values():
            parse_column_type(text)

    @property
    def foreign(self) -> bool:
        """Whether it names something else than an event store's events."""
        return self.table is not None or self.query is not None

    def reading(self) -> dict[str, Any]:
        """What settles how rows are read, as a manifest records it; :class:`StorageConfig` takes it back."""
        given = {name: getattr(self, name) for name in READING}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in given.items()}
        plain["key"] = list(self.key)
        return {name: value for name, value in plain.items() if value and (name, value) != _USUAL}


def parse_reading(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a manifest says of its source, once what of it settles how rows are read is what it has to be. Raises
    ``ValueError``."""
    for name, claim in _CLAIMS.items():
        if name in raw:
            claim(raw[name])
    return raw


#: What is said of the rows of a table or a query.
_OF_ROWS = ("mapping", "key", "time", "types", "misfits", "rename")
_USUAL = ("misfits", "fail")
#: What settles how rows are read.
READING = ("table", "query", *_OF_ROWS)
#: What a manifest says of that, and of which columns there were.
_CLAIMS: Mapping[str, Callable[[Any], object]] = {
    **dict.fromkeys(("table", "query", "time", "misfits"), claims.text),
    **dict.fromkeys(("key", "members"), claims.texts),
    **dict.fromkeys(("mapping", "units", "types", "rename"), claims.named_texts),
}
_INSTEAD = {"key": "map seq to the column that orders them", "time": "map timestamp to the column"}
