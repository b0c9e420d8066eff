"""Options that several verbs share: the filter, the adopted table, the talk. Each maps to one Python argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from penstock.errors import InvalidMapping, UsageError
from penstock.model.columns import COLUMNS
from penstock.model.filter import ExportFilter
from penstock.model.storage_config import StorageConfig

Command = TypeVar("Command", bound=Callable[..., Any])

_FILTER = (
    click.option("--start", metavar="TIME", help="Earliest time, inclusive: 2026-11-01, an RFC 3339 time, '24h ago'."),
    click.option("--end", metavar="TIME", help="Latest time, exclusive. A time without an offset is UTC."),
    click.option("--category", metavar="NAME", multiple=True, help="Keep this category; repeat for more."),
    click.option("--event-type", metavar="NAME", multiple=True, help="Keep this event type; repeat for more."),
    click.option("--session", metavar="ID", help="Keep one session."),
    click.option("--priority", metavar="NAME", help="Keep this priority and higher: low, normal, high, critical."),
    click.option(
        "--where",
        metavar="CONDITION",
        help="Keep what this is true for, as \"data.status >= 400 and data.path like '/docs/%'\" (docs/where.md).",
    ),
    click.option("--limit", metavar="N", type=int, help="Keep the first N matching events in arrival order."),
)
_STORE = (
    click.option("--table", metavar="NAME", help="Read this table of a SQLite file that is not an event store."),
    click.option(
        "--map",
        "mapping",
        metavar="FIELD=COLUMN",
        multiple=True,
        help="With --table: which column holds which field, as timestamp=created_at; commas or repeat. COLUMN:ms gives "
        "the unit of a time (:s :ms :us :ns :iso), FIELD=:none leaves the field out.",
    ),
)
_TALK = (
    click.option("--json", "machine", is_flag=True, help="Talk in JSON lines; the last one is a summary."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but notes and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
)


def _adding(options: tuple[Callable[[Command], Command], ...]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


filter_options = _adding(_FILTER)
store_options = _adding(_STORE)
talk_options = _adding(_TALK)


def filter_of(given: dict[str, Any]) -> ExportFilter:
    """The filter that the options say; takes its options out of ``given``."""
    categories, event_types = given.pop("category"), given.pop("event_type")
    return ExportFilter(
        start=given.pop("start"),
        end=given.pop("end"),
        categories=categories or None,
        event_types=event_types or None,
        session_id=given.pop("session"),
        priority=given.pop("priority"),
        where=given.pop("where"),
        limit=given.pop("limit"),
    )


def config_of(given: dict[str, Any]) -> StorageConfig:
    """The store settings that the options say; takes its options out of ``given``."""
    table = given.pop("table")
    mapping = pairs(given.pop("mapping"))
    if mapping and table is None:
        raise InvalidMapping("--map needs --table", hint="name the table that the mapping is about")
    return StorageConfig(table=table, mapping=mapping)


def pairs(given: tuple[str, ...]) -> dict[str, str]:
    """``FIELD=VALUE`` texts, also several in one with commas, as a mapping."""
    found: dict[str, str] = {}
    for text in ",".join(given).split(",") if given else ():
        name, mark, value = text.strip().partition("=")
        if not (mark and name and value):
            raise InvalidMapping(f"cannot read the mapping {text!r}", hint="write FIELD=NAME, as timestamp=created_at")
        if name not in COLUMNS:
            raise InvalidMapping(f"unknown field {name!r} in the mapping", hint="fields are " + ", ".join(COLUMNS))
        if name in found:
            raise InvalidMapping(f"the field {name!r} is mapped twice")
        found[name] = value
    return found


_MOST_DIGITS = 18
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def size_of(text: str, *, what: str) -> int:
    """Bytes from ``64MiB``, ``10MB``, ``1G`` or a plain number. Raises :class:`~penstock.errors.UsageError`."""
    digits = text.strip().rstrip("abgikmABGIKM")
    unit = text.strip()[len(digits) :].lower()
    unit = unit if unit.endswith("ib") else unit.removesuffix("b")
    if unit not in _UNITS or not digits.strip().isdecimal() or len(digits) > _MOST_DIGITS:
        raise UsageError(f"{what}: cannot read the size {text!r}", hint="write 64MiB, 10MB or a number of bytes")
    return int(digits) * _UNITS[unit]
