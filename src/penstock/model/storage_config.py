"""Settings of an event store, and the mapping that adopts a table which is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from penstock.errors import InvalidMapping, UsageError
from penstock.model.columns import COLUMNS


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageConfig:
    """How to open a store.

    ``synchronous`` is SQLite's: ``normal`` survives ``kill -9``, ``full`` also power loss, ``off`` neither.
    ``busy_timeout`` is how long to wait for another process's lock, in seconds. ``max_size_bytes`` refuses appends that
    would grow the file beyond it (nothing is ever deleted to make room). ``batch_rows`` is how many rows are read at a
    time. ``table`` adopts an existing table, read-only; ``mapping`` then says which column holds which field
    (``{"timestamp": "created_at"}``), and columns without a place go into ``data``. A field that it does not name takes
    the column of its own name; ``":none"`` takes none. A time may say its unit, as ``"created_at:ms"``: one of ``s``,
    ``ms``, ``us``, ``ns``, ``iso``. Raises
    :class:`~penstock.errors.UsageError`, :class:`~penstock.errors.InvalidMapping`.
    """

    wal: bool = True
    synchronous: Literal["off", "normal", "full"] = "normal"
    busy_timeout: float = 10.0
    max_size_bytes: int | None = None
    batch_rows: int = 4096
    table: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.synchronous not in ("off", "normal", "full"):
            raise UsageError(f"synchronous must be off, normal or full, not {self.synchronous!r}")
        if not 0 <= self.busy_timeout <= 86_400:
            raise UsageError(f"busy_timeout must be 0 to 86400 seconds, not {self.busy_timeout}")
        if not 1 <= self.batch_rows <= 1 << 20:
            raise UsageError(f"batch_rows must be 1 to 1048576, not {self.batch_rows}")
        if self.max_size_bytes is not None and self.max_size_bytes < 1:
            raise UsageError(f"max_size_bytes must be 1 or more, not {self.max_size_bytes}")
        if self.mapping and self.table is None:
            raise InvalidMapping("a mapping needs a table", hint="name the table that it is about")
        for name in self.mapping:
            if name not in COLUMNS:
                raise InvalidMapping(f"unknown field {name!r} in the mapping", hint="fields are " + ", ".join(COLUMNS))
