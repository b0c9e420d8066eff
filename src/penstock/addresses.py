"""What a name means: a path, or a URL and which service that is; one file or a directory; which format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import InvalidFormat, UsageError, from_os_error
from penstock.model.location import Location, check_key
from penstock.model.options import ExportFormat, ExportOptions, parse_ending
from penstock.model.table_url import DATABASES, TableUrl, check_table, parse_table_url
from penstock.ports.backend import Backend
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.shapes import Directory, OneFile

if TYPE_CHECKING:
    from penstock.backends.local.fileops import FileOps


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """What stands behind URLs of a scheme: how its backend is made, and how one says who asks without a password in the
    URL. ``user``: whether a URL may name a user."""

    backend: Callable[[Location], Backend]
    credentials: str
    user: bool = False


def _objects(location: Location) -> Backend:
    from penstock.backends.objects.backend import ObjectBackend
    from penstock.backends.retrying import RetryingBackend

    return RetryingBackend(ObjectBackend(location))


def _sftp(location: Location) -> Backend:
    from penstock.backends.retrying import RetryingBackend
    from penstock.backends.sftp.backend import SftpBackend

    return RetryingBackend(SftpBackend(location))


SCHEMES: Mapping[str, Scheme] = {
    "s3": Scheme(
        backend=_objects, credentials="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment instead"
    ),
    "gs": Scheme(backend=_objects, credentials="set GOOGLE_APPLICATION_CREDENTIALS in the environment instead"),
    "az": Scheme(backend=_objects, credentials="set AZURE_STORAGE_ACCOUNT_KEY in the environment instead"),
    "sftp": Scheme(
        backend=_sftp,
        credentials="use a key or an agent, or name where the password is kept: PENSTOCK_SFTP_PASSWORD_FILE=PATH or "
        "PENSTOCK_SFTP_PASSWORD_COMMAND=COMMAND",
        user=True,
    ),
}


def split(text: str | os.PathLike[str]) -> Location | None:
    """The scheme of a URL and what stands behind it, or ``None`` for a path. Raises
    :class:`~penstock.errors.UsageError` for a scheme that is not known, and for a URL with a secret in it."""
    table = parse_table_url(os.fspath(text))
    if table is not None:
        return table.location
    scheme, mark, rest = os.fspath(text).partition("://")
    if not mark or not scheme.isalnum() or scheme == "file":
        return None
    known = SCHEMES.get(scheme.lower())
    if known is None:
        raise UsageError(
            f"{scheme}:// is not known",
            hint="known are paths and " + ", ".join(f"{s}://" for s in (*SCHEMES, *DATABASES)),
        )
    host = rest.partition("/")[0]
    user, at, _ = host.rpartition("@")
    if ":" in user or (at and not known.user):
        raise UsageError("a URL holds no secret: others see it where the command runs", hint=known.credentials)
    if not host:
        raise UsageError(f"{scheme}:// lacks a name behind it", hint=f"write {scheme}://NAME/PATH")
    return Location(scheme.lower(), rest)


def remote(text: str | os.PathLike[str], dataset: str | None = None) -> ExportDestination | None:
    """What a URL means as a destination: a table, called like the dataset if it has no other name; one file if the last
    name has a dot and no ``/`` behind it, or else a directory; ``None`` for a path. Raises as :func:`split` does."""
    table = parse_table_url(os.fspath(text))
    if table is not None:
        return table_at(table, dataset)
    place = split(text)
    if place is None:
        return None
    host, _, path = place.path.partition("/")
    inner = path.strip("/")
    if inner:
        check_key(inner)
    above, _, name = inner.rpartition("/")
    single = "." in name and not path.endswith("/")
    where = "/".join(part for part in (host, above if single else inner) if part)
    return ExportDestination(backend_at(Location(place.scheme, where)), OneFile(name) if single else Directory())


def remote_directory(text: str | os.PathLike[str], what: str) -> ExportDestination | None:
    """As :func:`remote`, of what is a directory, or else no ``what``."""
    place = remote(text)
    if place is not None and place.single:
        raise UsageError(f"{text} is a file, {what} is meant", hint="end the name of a directory with /")
    return place


def table_at(url: TableUrl, dataset: str | None = None) -> ExportDestination:
    """The table that a URL means. Raises :class:`~penstock.errors.UsageError` for one that cannot be named so."""
    from penstock.publishing.table_files import TableFiles
    from penstock.publishing.tables import TableExport

    name = url.table if url.table is not None or dataset is None else check_table(dataset)
    if url.location.scheme == "postgresql":
        from penstock.tables.postgres import postgres_table

        return TableExport(TableFiles(postgres_table(url, name)))
    path = Path(url.location.path[1:])
    if url.location.scheme == "duckdb":
        from penstock.tables.duckdb import duckdb_table

        return TableExport(TableFiles(duckdb_table(path, name)))
    from penstock.tables.sqlite import sqlite_table

    return TableExport(TableFiles(sqlite_table(path, name)))


def backend_at(location: Location) -> Backend:
    """The backend at a location. Raises :class:`~penstock.errors.UsageError` for one that only its own process has."""
    if location.scheme == "file":
        from penstock.backends.local.backend import LocalBackend

        return LocalBackend(Path(location.path))
    known = SCHEMES.get(location.scheme)
    if known is None:
        hint = "leave --runner out"
        raise UsageError(f"{location} can be written by the process that holds it alone", hint=hint)
    return known.backend(location)


def local(location: str | os.PathLike[str], what: str) -> Path:
    """The path that is meant; ``what`` it is. Raises :class:`~penstock.errors.UsageError` for a URL."""
    text = os.fspath(location)
    if not text:
        raise UsageError(f"{what} has an empty name")
    if "\x00" in text:
        raise UsageError(f"{what} has a NUL in its name")
    scheme, mark, _ = text.partition("://")
    if mark and scheme.isalnum():
        if scheme == "file":
            return Path(text.removeprefix("file://"))
        raise UsageError(f"{what} of scheme {scheme}:// is not known", hint="give a local path")
    return Path(text)


def existing_destination(destination: str | os.PathLike[str], dataset: str | None = None) -> ExportDestination:
    """The file, directory or table that a path or a URL means, whether it is there or not; a table is called like the
    dataset if it has no other name."""
    there = remote(destination, dataset)
    if there is not None:
        return there
    text = os.fspath(destination)
    path = local(destination, "a destination")
    try:
        stands = path.is_dir()
    except OSError as error:
        raise from_os_error(error, f"cannot look at {path}") from None
    if stands or text.endswith("/") or path.name in ("", ".", "..") or "." not in path.name:
        return DirectoryDestination(path)
    return FileDestination(path)


def FileDestination(path: str | os.PathLike[str], *, ops: FileOps | None = None) -> ExportDestination:  # noqa: N802  # a public name
    """One file of the local file system, with its manifest beside it as ``NAME.manifest.json``."""
    from penstock.backends.local.backend import LocalBackend

    place = local(path, "a destination")
    if place.name in ("", ".."):
        raise UsageError(f"{path} does not name a file", hint="name one, or end the name with / for a directory")
    return ExportDestination(LocalBackend(place.parent, make=False, ops=ops), OneFile(place.name))


def DirectoryDestination(path: str | os.PathLike[str], *, ops: FileOps | None = None) -> ExportDestination:  # noqa: N802  # as above
    """A directory of the local file system: parts in ``data/``, and all about them in ``_penstock/``."""
    from penstock.backends.local.backend import LocalBackend

    return ExportDestination(LocalBackend(local(path, "a destination"), ops=ops), Directory())


def named(name: str, wanted: ExportFormat | None) -> tuple[ExportFormat, str | None]:
    """Format and codec of a file name, which ``--format`` may repeat but not contradict."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name!r} is not UTF-8, no manifest could name it", hint="choose another name") from None
    format, codec = parse_ending(name)
    if wanted is not None and wanted is not format:
        raise InvalidFormat(
            f"the name {name} says {format}, the option says {wanted}", hint="change the ending or leave --format out"
        )
    return format, codec


def format_of(place: ExportDestination | LineageDestination, options: ExportOptions) -> ExportFormat:
    """The format of a directory's parts. Raises :class:`~penstock.errors.UsageError` for what a place without files
    has not."""
    wanted = options.format if isinstance(options.format, ExportFormat) else None
    if place.only is None:
        return wanted or ExportFormat.PARQUET
    refuse(wanted not in (None, place.only), "a table holds rows, in no format of files", "--format")
    refuse(options.compression not in (None, "none"), "a table holds rows, not compressed", "--compression")
    refuse(options.compression_level is not None, "a table holds rows, not compressed", "--level")
    refuse(options.part_rows or options.part_bytes, "a table is not cut into parts", "--part-size")
    refuse(options.partition_by, "a table has no folders", "--partition-by")
    refuse(options.runner != "threads", "a table is loaded in one transaction, by one process", "--runner")
    return place.only


def refuse(given: object, why: str, option: str) -> None:
    """Raise :class:`~penstock.errors.UsageError` if an option that is refused was given."""
    if given:
        raise UsageError(why, hint=f"leave {option} out")
