"""Options that several verbs share: the filter, the table, the lineage, the talk. Each maps to one Python argument."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from penstock.errors import InvalidMapping, UsageError, from_os_error
from penstock.model.columns import COLUMNS
from penstock.model.filter import ExportFilter
from penstock.model.options import NEW_COLUMNS
from penstock.model.storage_config import MISFITS, StorageConfig

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
    click.option("--limit", metavar="N", type=int, help="Keep the first N that match, in order of arrival."),
)
_STORE = (
    click.option("--table", metavar="NAME", help="Read this table or view of any SQLite file, in its own columns."),
    click.option("--query", metavar="SQL", help="Read what this one SELECT gives."),
    click.option("--query-file", metavar="FILE", help="Read what the one SELECT in this file gives."),
    click.option(
        "--map",
        "mapping",
        metavar="FIELD=COLUMN",
        multiple=True,
        help="Read rows as events: which column holds which field, as timestamp=created_at; commas or repeat. "
        "COLUMN:ms gives the unit of a time (:s :ms :us :ns :iso), FIELD=:none leaves the field out.",
    ),
    click.option("--time", metavar="COLUMN", help="The time that --start, --end and partitions mean; COLUMN:ms."),
    click.option(
        "--key",
        metavar="COLUMNS",
        help="What identifies a row; one column of integers also orders rows, in a lineage any columns.",
    ),
    click.option(
        "--types",
        metavar="COLUMN:TYPE",
        multiple=True,
        help="Types that the declaration does not say, commas or repeat: price:decimal(10,2),at:timestamp_utc:ms.",
    ),
    click.option(
        "--misfits",
        type=click.Choice(MISFITS),
        default=MISFITS[0],
        help="A value that does not fit its type ends it (fail), is left out (null), or makes its column text.",
    ),
    click.option("--rename", metavar="OLD=NEW", multiple=True, help="Other names for columns; commas or repeat."),
    click.option(
        "--one-moment",
        is_flag=True,
        help="Keep writers out while it is read, where there is no write-ahead log; else they are let in between.",
    ),
)
_LINEAGE = (
    click.option(
        "--overlap",
        metavar="N|TIME",
        help="For a run of a table's lineage: compare the last N rows below the cursor, or those of the last 90s, 15m, "
        "1h, 7d, with what was exported.",
    ),
    click.option("--updates", is_flag=True, help="Export rows again that changed within the overlap."),
    click.option(
        "--new-columns",
        type=click.Choice(NEW_COLUMNS),
        default="ignore",
        help="Of columns that a table got since its lineage was begun: keep them out, add them from now on, or refuse.",
    ),
    click.option(
        "--accept-store", is_flag=True, help="Go on from another store, if it holds rows that the last run knew it by."
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
lineage_options = _adding(_LINEAGE)
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
    mapping = pairs(given.pop("mapping"))
    key = given.pop("key")
    table, query, file = given.pop("table"), given.pop("query"), given.pop("query_file")
    if query is not None and file is not None:
        raise UsageError("--query and --query-file are two queries", hint="leave one of them out")
    said = {"--map": mapping, "--key": key} | {f"--{name}": given[name] for name in ("time", "types", "rename")}
    needing = [option for option, value in said.items() if value]
    if needing and (table, query, file) == (None, None, None):
        raise InvalidMapping(f"{needing[0]} needs --table or --query", hint="name what it is about: --table NAME")
    return StorageConfig(
        one_moment=given.pop("one_moment"),
        table=table,
        query=query if file is None else _text_of(file),
        mapping=mapping,
        key=() if key is None else [name.strip() for name in key.split(",")],
        time=given.pop("time"),
        types=_named(given.pop("types"), "--types", ":", "price:decimal(10,2)"),
        misfits=given.pop("misfits"),
        rename=_named(given.pop("rename"), "--rename", "=", "old=new"),
    )


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise from_os_error(error, f"cannot read {file}") from None
    except ValueError:
        raise UsageError(f"{file} is not UTF-8, or has no name of a file", hint="give a file of SQL") from None


def pairs(given: tuple[str, ...]) -> dict[str, str]:
    """``FIELD=VALUE`` texts, also several in one with commas, as a mapping."""
    found: dict[str, str] = {}
    for text in _pieces(given):
        name, mark, value = text.strip().partition("=")
        if not (mark and name and value):
            raise InvalidMapping(f"cannot read the mapping {text!r}", hint="write FIELD=NAME, as timestamp=created_at")
        if name not in COLUMNS:
            raise InvalidMapping(f"unknown field {name!r} in the mapping", hint="fields are " + ", ".join(COLUMNS))
        if name in found:
            raise InvalidMapping(f"the field {name!r} is mapped twice")
        found[name] = value
    return found


def _named(given: tuple[str, ...], option: str, mark: str, example: str) -> dict[str, str]:
    """What is said of columns, each ``COLUMN``, a mark, and what."""
    found: dict[str, str] = {}
    for text in _pieces(given):
        name, there, value = text.strip().partition(mark)
        if not (there and value):
            raise UsageError(f"{option}: cannot read {text!r}", hint=f"write {option} {example}")
        if name in found:
            raise UsageError(f"{option} names {name!r} twice", hint="name it once")
        found[name] = value
    return found


def _pieces(given: tuple[str, ...]) -> list[str]:
    """Texts cut at commas that stand neither in quotes nor in parentheses."""
    return [piece for text in given for piece in _PIECE.findall(text) if piece]


_PIECE = re.compile(r"""((?:[^,'"(]|'[^']*'|"[^"]*"|\([^)]*\)|['"(])+)""")


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
