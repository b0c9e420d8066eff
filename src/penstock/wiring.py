"""The composition root: what a path, an ending or a dash means, and which adapter that is. Adapters load on demand."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from penstock.addresses import (
    DirectoryDestination,
    existing_destination,
    format_of,
    local,
    named,
    refuse,
    remote_directory,
    split,
    table_at,
)
from penstock.errors import InvalidFormat, NotFound, UsageError, from_os_error
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset
from penstock.model.manifest import parse_manifest
from penstock.model.options import NEW_COLUMNS, TRAITS, WRAPPERS, ExportFormat, ExportOptions, Layout, parse_ending
from penstock.model.result import TableFacts
from penstock.model.storage_config import StorageConfig
from penstock.model.table_url import parse_table_url
from penstock.ports.source import AnalyticsStorage, Source
from penstock.publishing.destination import Destination, ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.publishing.stream import StreamDestination

STREAM = "-"


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A destination and the layout that its name and the options settle on."""

    destination: Destination
    layout: Layout


def open_source(store: str | os.PathLike[str], config: StorageConfig | None = None) -> Source:
    """An existing store, or the table or query that ``config`` names, for reading. Raises what
    :class:`~penstock.SqliteAnalyticsStorage` and :class:`~penstock.AdoptedTable` raise."""
    if config is not None and config.foreign:
        from penstock.sources.tables.source import AdoptedTable

        return AdoptedTable(local(store, "a store"), config)
    from penstock.sources.sqlite.store import SqliteAnalyticsStorage

    return SqliteAnalyticsStorage(local(store, "a store"), config, create=False, read_only=True)


def list_tables(store: str | os.PathLike[str], config: StorageConfig | None = None) -> list[TableFacts] | None:
    """The tables and views of a SQLite file; ``None`` if it is an event store. Raises what :func:`open_source` raises
    for what is no SQLite file."""
    from penstock.sources.tables.catalogue import catalogue

    return catalogue(local(store, "a store"), config if config is not None else StorageConfig())


def destination_in(directory: str | os.PathLike[str], table: str) -> ExportDestination:
    """The table of the same name in a database, or a directory that is called like it in one that is made if it is
    missing; what may not stand in the name of a folder, or would have a reader pass it over, is escaped."""
    url = parse_table_url(os.fspath(directory))
    if url is not None:
        refuse(url.table, "every table keeps its own name", "?table=NAME")
        return table_at(url, table)
    name = quote(table, safe=" ,()+=@", errors="surrogatepass")
    name = f"%{name[:1].encode().hex().upper()}{name[1:]}" if name[:1] in "._" else name
    there = remote_directory(f"{os.fspath(directory).rstrip('/')}/{name}/", "a directory")
    if there is not None:
        return there
    place = local(directory, "a directory")
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise from_os_error(error, f"cannot create {place}") from None
    return DirectoryDestination(place / name)


def create_store(store: str | os.PathLike[str], config: StorageConfig | None = None) -> AnalyticsStorage:
    """A store for writing, created if it is missing. Raises :class:`~penstock.errors.UsageError` for a table."""
    from penstock.sources.sqlite.store import SqliteAnalyticsStorage

    refuse(config is not None and config.foreign, "a table or a query is only read", "it")
    return SqliteAnalyticsStorage(local(store, "a store"), config)


def check_store(store: str | os.PathLike[str], config: StorageConfig | None = None) -> None:
    """See that a store could be written or created, without doing it. Raises what :func:`create_store` raises."""
    refuse(config is not None and config.foreign, "a table or a query is only read", "it")
    path = store_files(store)[0]
    if path.exists() and path.stat().st_size:
        open_source(store, config).close()


def store_files(store: str | os.PathLike[str]) -> list[Path]:
    """The files that a store is made of, whether they are there or not; the store itself is the first."""
    path = local(store, "a store")
    return [path, *(Path(f"{path}-{what}") for what in ("wal", "shm", "journal"))]


def resolve_target(
    destination: str | os.PathLike[str] | ExportDestination | LineageDestination | StreamDestination,
    options: ExportOptions,
    *,
    dataset: Dataset = EVENTS,
    manifest: str | os.PathLike[str] | None = None,
) -> Target:
    """Where an export goes and in which layout: a known ending is one file, ``/`` or a plain name a directory, ``-``
    standard output. Raises :class:`~penstock.errors.InvalidFormat` for other endings and for contradictions."""
    wanted = options.format if isinstance(options.format, ExportFormat) else None
    about_runs = {
        "--overlap": options.overlap is not None,
        "--accept-store": options.accept_store,
        "--new-columns": options.new_columns != NEW_COLUMNS[0],
    }
    for name, given in about_runs.items():
        if given:
            raise UsageError(f"{name} is about the runs before: there are none", hint="add --incremental")
    if isinstance(destination, LineageDestination):
        raise UsageError(f"{destination.place} is a lineage: it takes runs only", hint="make it an incremental export")
    if destination == STREAM or isinstance(destination, StreamDestination):
        stream = destination if isinstance(destination, StreamDestination) else _stream(manifest)
        layout = options.resolve(format=wanted or ExportFormat.NDJSON, codec=None, dataset=dataset)
        refuse(options.part_rows or options.part_bytes, "a stream is not cut into parts", "--part-size")
        refuse(options.partition_by, "a stream has no folders", "--partition-by")
        refuse(options.runner != "threads", "a stream has one writer", "--runner")
        refuse(options.verify_written, "a stream cannot be read back", "--verify-written")
        return Target(destination=stream, layout=layout)
    refuse(manifest, "the manifest of a file or a directory has its own place", "--manifest")
    place = _place(destination, dataset.name)
    if place.shape.data is None:
        layout = options.resolve(format=format_of(place, options), codec=None, dataset=dataset)
        return Target(destination=place, layout=layout)
    format, codec = named(place.shape.data, wanted)
    cut = place is not destination and (options.part_rows or options.part_bytes)
    refuse(cut, "one file is not cut into parts", "--part-size")
    refuse(options.partition_by, "one file has no folders", "--partition-by")
    refuse(options.runner != "threads", "one file has one writer", "--runner")
    return Target(destination=place, layout=options.resolve(format=format, codec=codec, dataset=dataset))


def _place(destination: str | os.PathLike[str] | ExportDestination, dataset: str | None) -> ExportDestination:
    return destination if isinstance(destination, ExportDestination) else existing_destination(destination, dataset)


def _stream(manifest: str | os.PathLike[str] | None) -> StreamDestination:
    """Standard output, and the file that the manifest goes to."""
    from penstock.backends.descriptor import DescriptorSink
    from penstock.backends.local.backend import LocalBackend

    sink = DescriptorSink(_standard_output())
    if manifest is None:
        return StreamDestination(sink)
    path = local(manifest, "a manifest")
    if path.is_dir():
        raise UsageError(f"{path} is a directory, a file is meant", hint="choose another name")
    return StreamDestination(sink, (LocalBackend(path.parent, make=False), path.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageTarget:
    """A lineage's destination and the layout of its parts."""

    destination: LineageDestination
    layout: Layout


def resolve_lineage(
    destination: str | os.PathLike[str] | ExportDestination | LineageDestination | StreamDestination,
    options: ExportOptions,
    *,
    dataset: Dataset = EVENTS,
    overwrite: bool = False,
    manifest: str | os.PathLike[str] | None = None,
) -> LineageTarget:
    """The directory that an incremental export adds runs to. Raises :class:`~penstock.errors.UsageError` for anything
    that is not a directory, and for options that have no meaning there."""
    refuse(overwrite, "an incremental export replaces nothing", "--overwrite")
    refuse(manifest, "the manifest of a run has its own place", "--manifest")
    place = _lineage(destination, dataset.name)
    format = format_of(place, options)
    return LineageTarget(destination=place, layout=options.resolve(format=format, codec=None, dataset=dataset))


def _lineage(
    destination: str | os.PathLike[str] | ExportDestination | LineageDestination | StreamDestination,
    dataset: str | None,
) -> LineageDestination:
    if isinstance(destination, LineageDestination):
        return destination
    if destination == STREAM or isinstance(destination, StreamDestination):
        raise UsageError("a stream takes no runs, an incremental export needs a directory", hint="name a directory")
    return _place(destination, dataset).lineage()


def bound(
    config: StorageConfig | None,
    destination: str | os.PathLike[str] | ExportDestination | LineageDestination | StreamDestination,
) -> StorageConfig | None:
    """The settings with the types that the runs of the lineage at a destination have for columns that declare none."""
    if config is None or not config.foreign or config.mapping:
        return config
    from penstock.sources.tables.select import NAME

    place = _lineage(destination, config.table or NAME)
    last = place.read(max(place.numbers(), default=0))
    found = {} if last is None else parse_manifest(last[1], where=last[0]).source.get("types", {})
    return replace(config, types={**found, **config.types})


def existing_lineage(directory: str | os.PathLike[str] | ExportDestination | LineageDestination) -> LineageDestination:
    """The lineage in a directory. Raises :class:`~penstock.errors.NotFound` if there is none."""
    if isinstance(directory, LineageDestination):
        return directory
    if isinstance(directory, ExportDestination):
        place = directory
    else:
        place = remote_directory(directory, "a lineage") or _directory_at(directory)
    found = resolve_published(place)
    if isinstance(found, LineageDestination):
        return found
    plain = place.backend.stat(place.manifest_name) is not None
    raise NotFound(
        f"there is no lineage in {place.place}" + (", but an export that is not incremental" if plain else ""),
        hint="begin one: penstock export STORE DIR --incremental",
    )


def _directory_at(directory: str | os.PathLike[str]) -> ExportDestination:
    path = local(directory, "a directory")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file, the directory of a lineage is meant", hint="check the path")
    return DirectoryDestination(path)


def resolve_published(
    source: str | os.PathLike[str] | ExportDestination | LineageDestination,
) -> ExportDestination | LineageDestination:
    """What was published at a place: a file, by its own or its manifest's name, a directory, or a lineage."""
    if isinstance(source, LineageDestination):
        return source
    if not isinstance(source, ExportDestination):
        text = os.fspath(source)
        if text == STREAM:
            raise UsageError("standard output cannot be read back", hint="name a file or a directory")
        if text.endswith(".manifest.json"):
            return existing_destination(text.removesuffix(".manifest.json"))
        source = existing_destination(source)
        if source.path is not None and not source.single and source.path.is_file():
            raise UsageError(f"cannot read {source.path}: Not a directory", hint="check the path")
    if source.single or source.backend.stat(source.manifest_name) is not None:
        return source
    lineage = source.lineage()
    return lineage if lineage.numbers() else source


def published_in(
    directory: str | os.PathLike[str] | ExportDestination | LineageDestination,
) -> Sequence[ExportDestination | LineageDestination]:
    """The lineage or export in a directory, or else those in its directories; also what is left of one without its
    manifests. Raises :class:`~penstock.errors.NotFound` if there is none."""
    if isinstance(directory, LineageDestination):
        return [directory]
    if isinstance(directory, ExportDestination):
        found = [directory] if directory.single else _published_at(directory)
        if not found:
            raise NotFound(f"there is no export in {directory.place}", hint="check what it was given")
        return found
    there = remote_directory(directory, "a directory")
    if there is not None:
        return _published_below(there, os.fspath(directory).rstrip("/"))
    path = local(directory, "a directory")
    try:
        if not path.exists():
            raise NotFound(f"there is no directory {path}", hint="check the path")
        if not path.is_dir():
            raise UsageError(f"{path} is a file, a directory is meant", hint="penstock verify checks one file")
        found = _published_at(DirectoryDestination(path))
        if not found:
            below = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[0] not in "._")
            found = [one for name in below for one in _published_at(DirectoryDestination(path / name))]
    except OSError as error:
        raise from_os_error(error, f"cannot look into {path}") from None
    if not found:
        raise NotFound(f"there is no export in {path}, nor in a directory in it", hint="check the path")
    return found


def _published_below(place: ExportDestination, url: str) -> Sequence[ExportDestination | LineageDestination]:
    """As :func:`published_in`, of a URL."""
    found = _published_at(place)
    if not found:
        keys = [stat.key.split("/") for stat in place.backend.list("")]
        names = sorted({folders[0] for folders in keys if len(folders) > 2 and folders[0][0] not in "._"})
        below = [remote_directory(f"{url}/{name}/", "a directory") for name in names]
        found = [one for there in below if there is not None for one in _published_at(there)]
    if not found:
        raise NotFound(f"there is no export in {url}, nor in a directory in it", hint="check the URL")
    return found


def _published_at(place: ExportDestination) -> list[ExportDestination | LineageDestination]:
    """An export or a lineage, or both where one lost its manifests."""
    found: list[ExportDestination | LineageDestination] = []
    if place.lies_there():
        found.append(place)
    lineage = place.lineage()
    if lineage.numbers() or lineage.traces():
        found.append(lineage)
    return found


@contextmanager
def opened_events(
    source: str | os.PathLike[str] | ExportDestination | LineageDestination | Source,
    config: StorageConfig | None = None,
) -> Iterator[ExportDestination | LineageDestination | Source]:
    """What holds rows at a path: an export, a lineage, or a store, which is open within the block."""
    if isinstance(source, Source):
        yield source
    elif isinstance(source, (ExportDestination, LineageDestination)) or not _means_store(source):
        yield resolve_published(source)
    else:
        storage = open_source(source, config)
        try:
            yield storage
        finally:
            storage.close()


def _means_store(source: str | os.PathLike[str]) -> bool:
    """Whether a path is a file that is not called like an export.

    It is not looked into: another handle of this process may hold locks on it.
    """
    if split(source) is not None:
        return False
    path = local(source, "a store or an export")
    if not path.is_file():
        return False
    try:
        parse_ending(path.name)
    except InvalidFormat:
        return True
    return False


def keep_apart(storage: Source, destination: Destination | LineageDestination) -> None:
    """Refuse to export a store, or its manifest, onto a file of the store, by whatever name.

    Nothing is opened for that: to close another handle on an open store would drop its locks. Raises
    :class:`~penstock.errors.UsageError`.
    """
    store = getattr(storage, "path", None)
    files = [] if store is None else store_files(store)
    for place in destination.files:
        if any(_same(file, place) for file in files):
            raise UsageError(f"{place} is the store itself", hint="choose another name")


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False  # one is not there, or nothing can have its name


def _standard_output() -> int:
    try:
        return sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed before the start, or replaced, as in a notebook
        raise UsageError("standard output is closed, or is no file", hint="give a file or a directory") from None


def endings() -> list[str]:
    """Every file ending that is one file, for help texts and messages."""
    plain = [ending for traits in TRAITS.values() for ending in traits.extensions]
    text = [ending for traits in TRAITS.values() if traits.text for ending in traits.extensions]
    return [*plain, *(f"{ending}.{wrapper}" for ending in text for wrapper in WRAPPERS)]
