"""What an ``sftp://`` URL means: user, host, port and directory. It holds no secret, and one in it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from penstock.errors import UsageError
from penstock.model.location import Location

BY_REFERENCE = (
    "leave it out, and name where it is kept: PENSTOCK_SFTP_PASSWORD_FILE=PATH or "
    "PENSTOCK_SFTP_PASSWORD_COMMAND=COMMAND; or use a key or an agent"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A directory of a server. Without ``user`` and ``port`` the user's SSH configuration says them; a ``path`` that
    does not begin with ``/`` is below the user's home."""

    host: str
    path: str
    user: str | None = None
    port: int | None = None


def parse_address(location: Location) -> Address:
    """What a location of this scheme names; its path is taken as it stands. Raises
    :class:`~penstock.errors.UsageError`, which repeats no password."""
    authority, _, path = location.path.partition("/")
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        raise UsageError("an sftp:// URL has a host or a port that is none", hint=_FORM) from None
    if parts.password is not None:
        raise UsageError(f"the URL of {parts.hostname} has a password in it", hint=BY_REFERENCE)
    if not parts.hostname or parts.query or parts.fragment or "\0" in path:
        raise UsageError(f"{location} names no host, or no directory", hint=_FORM)
    home = path == "~" or path.startswith("~/")
    return Address(
        host=parts.hostname,
        path=(path[2:].rstrip("/") or "." if home else f"/{path}".rstrip("/")) or "/",
        user=parts.username or None,
        port=port,
    )


_FORM = "write sftp://USER@HOST:PORT/DIRECTORY/, or sftp://USER@HOST/~/DIRECTORY/ for one below the user's home"
