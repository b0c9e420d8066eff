"""The URL of a table in a database, as a value: which kind, where the database is, and what the table is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from penstock.errors import UsageError
from penstock.model.dataset import is_name
from penstock.model.location import Location

#: The options that a URL takes beside ``table``, by scheme. None: the database is a file.
DATABASES: Mapping[str, tuple[str, ...]] = {
    "sqlite": (),
    "duckdb": (),
    "postgresql": ("password", "host", "sslmode", "sslrootcert"),
}
_REFERENCE = "env:"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableUrl:
    """A table ``table`` of the database at a location, or the one that its dataset is called like. It holds no secret:
    ``password`` is the variable of the environment that has it."""

    location: Location
    table: str | None
    password: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def parse_table_url(text: str) -> TableUrl | None:
    """Read ``sqlite:///FILE?table=NAME`` and its like; ``None`` for what is no URL of a database.

    The path of a file behind the third slash is relative, one that begins with a slash of its own is not. Raises
    :class:`~penstock.errors.UsageError`; no error shows a password.
    """
    scheme, mark, _ = text.partition("://")
    if not mark or scheme not in DATABASES:
        return None
    try:
        parts = urlsplit(text)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
        location = _of_file(parts) if not DATABASES[scheme] else _of_server(parts)
    except ValueError:
        raise UsageError(f"{scheme}:// is followed by what is no URL", hint=_form(scheme)) from None
    options = dict(given)
    unknown = next(iter(options.keys() - {"table", *DATABASES[scheme]}), None)
    if len(options) != len(given) or unknown is not None:
        raise UsageError(f"{scheme}:// takes no option {unknown!r}, and each once", hint=_form(scheme))
    table, password = options.pop("table", None), options.pop("password", None)
    if password is not None and not password.removeprefix(_REFERENCE).isidentifier():
        password = ""
    if password is not None and not password.startswith(_REFERENCE):
        raise _secret()
    return TableUrl(
        location=location,
        table=None if table is None else check_table(table),
        password=None if password is None else password.removeprefix(_REFERENCE),
        options=options,
    )


def _of_file(parts: SplitResult) -> Location:
    path = unquote(parts.path, errors="strict")[1:]
    if parts.netloc or not path or parts.fragment or "\0" in path:
        raise UsageError(f"{parts.scheme}:// names a file behind a third slash", hint=_form(parts.scheme))
    return Location(parts.scheme, f"/{path}")


def _of_server(parts: SplitResult) -> Location:
    if ":" in parts.netloc.rpartition("@")[0]:
        raise _secret()
    if parts.fragment or parts.path.count("/") > 1:
        raise UsageError(f"{parts.scheme}:// names one database behind a server", hint=_form(parts.scheme))
    assert parts.port is None or parts.port >= 0  # raises for what is no port
    return Location(parts.scheme, f"{parts.netloc}{parts.path}")


def check_table(name: str) -> str:
    """Return what may be the name of a table. Raises :class:`~penstock.errors.UsageError`."""
    if not is_name(name) or name.lower().startswith(("_penstock", "sqlite_")):
        raise UsageError(f"{name[:60]!r} cannot be the name of a table", hint="name another with ?table=NAME")
    return name


def _secret() -> UsageError:
    return UsageError(
        "a URL holds no password: others see it where the command runs",
        hint="set PGPASSWORD, write ~/.pgpass, or add ?password=env:NAME, which names a variable",
    )


def _form(scheme: str) -> str:
    if DATABASES[scheme]:
        return f"{scheme}://USER@HOST:PORT/DATABASE?table=NAME"
    return f"{scheme}:///FILE?table=NAME, or {scheme}:////srv/FILE from the root; % stands as %25, ? as %3F"
