"""The URL of a table in a database, as a value: which kind, where the database is, and what the table is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from penstock.errors import UsageError
from penstock.model.dataset import is_name
from penstock.model.location import Location

#: The kinds of databases by scheme, and whether one is a file.
DATABASES: Mapping[str, bool] = {"sqlite": True, "duckdb": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class TableUrl:
    """A table ``table`` of the database at a location, or the one that its dataset is called like. It holds no
    secret."""

    location: Location
    table: str | None


def parse_table_url(text: str) -> TableUrl | None:
    """Read ``sqlite:///FILE?table=NAME`` and its like; ``None`` for what is no URL of a database.

    The path behind the third slash is relative, one that begins with a slash of its own is not. Raises
    :class:`~penstock.errors.UsageError`.
    """
    scheme, mark, _ = text.partition("://")
    if not mark or scheme not in DATABASES:
        return None
    try:
        parts = urlsplit(text)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
        path = unquote(parts.path, errors="strict")[1:]
    except ValueError:
        raise UsageError(f"{scheme}:// is followed by what is no URL", hint=_form(scheme)) from None
    options = dict(given)
    table = options.get("table")
    if parts.netloc or not path or parts.fragment or "\0" in path:
        raise UsageError(f"{scheme}:// names a file behind a third slash", hint=_form(scheme))
    if len(options) != len(given) or options.keys() - {"table"}:
        unknown = next(iter(options.keys() - {"table"}), "table, twice")
        raise UsageError(f"{scheme}:// takes no option {unknown!r}", hint=_form(scheme))
    return TableUrl(location=Location(scheme, f"/{path}"), table=None if table is None else check_table(table))


def check_table(name: str) -> str:
    """Return what may be the name of a table. Raises :class:`~penstock.errors.UsageError`."""
    if not is_name(name) or name.lower().startswith(("_penstock", "sqlite_")):
        raise UsageError(f"{name[:60]!r} cannot be the name of a table", hint="name another with ?table=NAME")
    return name


def _form(scheme: str) -> str:
    return f"{scheme}:///FILE?table=NAME, or {scheme}:////srv/FILE from the root; % stands as %25, ? as %3F"
