"""How an export is written: format, compression, columns, part size. What contradicts itself is an error here.

:data:`TRAITS` is the table of what each format can do; everything that depends on a format asks the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from penstock.errors import InvalidFormat, UsageError
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset, check_choice
from penstock.model.filter import ExportFilter
from penstock.model.flatten import FLATTEN_COLUMNS, Flatten
from penstock.model.overlap import parse_overlap
from penstock.model.partition import WIDTHS, check_name, check_partitions
from penstock.model.storage_config import StorageConfig

MIB = 1 << 20
#: The smallest memory limit.
LEAST_MEMORY = 64 * MIB
#: Each worker is a thread with a connection of its own; far more would use up the process's open files.
MAX_WORKERS = 256
#: Who can do the work.
RUNNERS = ("threads", "processes")
#: What of the memory limit a process takes up, its interpreter and libraries included.
_PROCESS_BYTES = 192 * MIB


class ExportFormat(StrEnum):
    """The output formats."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def extension(self) -> str:
        """File name ending without the dot and without a compression ending."""
        return TRAITS[self].extensions[0]

    @property
    def media_type(self) -> str:
        """Internet media type."""
        return TRAITS[self].media_type


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a format is called outside, and which codecs it knows with which levels (``None``: takes no level)."""

    extensions: tuple[str, ...]
    media_type: str
    text: bool
    codecs: Mapping[str, tuple[int, int] | None]
    default_codec: str
    pretty: bool = False


_TEXT_CODECS: Mapping[str, tuple[int, int] | None] = {"none": None, "gzip": (1, 9), "zstd": (1, 19)}

TRAITS: Mapping[ExportFormat, Traits] = {
    ExportFormat.JSON: Traits(
        extensions=("json",),
        media_type="application/json",
        text=True,
        codecs=_TEXT_CODECS,
        default_codec="none",
        pretty=True,
    ),
    ExportFormat.NDJSON: Traits(
        extensions=("ndjson", "jsonl"),
        media_type="application/x-ndjson",
        text=True,
        codecs=_TEXT_CODECS,
        default_codec="none",
    ),
    ExportFormat.CSV: Traits(
        extensions=("csv",), media_type="text/csv", text=True, codecs=_TEXT_CODECS, default_codec="none"
    ),
    ExportFormat.PARQUET: Traits(
        extensions=("parquet",),
        media_type="application/vnd.apache.parquet",
        text=False,
        codecs={"none": None, "gzip": (1, 9), "zstd": (1, 22), "snappy": None, "lz4": None},
        default_codec="zstd",
    ),
    ExportFormat.ARROW: Traits(
        extensions=("arrow",),
        media_type="application/vnd.apache.arrow.file",
        text=False,
        codecs={"none": None, "zstd": (1, 22), "lz4": None},
        default_codec="none",
    ),
}

#: Endings that wrap a text format, with the codec each one means.
WRAPPERS: Mapping[str, str] = {"gz": "gzip", "zst": "zstd"}
ENDING_OF_CODEC: Mapping[str, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


#: What becomes of columns that a table got since its lineage was begun.
NEW_COLUMNS = ("ignore", "add", "fail")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How to write. ``None`` means the default that the destination's name or the format implies.

    ``compression`` is none, gzip, zstd, and snappy or lz4 where the format has them; ``compression_level`` is the
    codec's own scale and ``None`` its best trade. ``columns`` keeps only the named columns. ``flatten`` lays JSON
    columns open: their members become columns, those that ``flatten_schema`` names with their types (``{"data.status":
    "int64"}``), or at most ``flatten_columns`` that a first pass over all rows finds; what is in none of them stays in
    a column ``data_rest``. ``pretty`` indents JSON. ``csv_null`` is the text of a null in CSV, unquoted. ``part_rows``
    and ``part_bytes`` (uncompressed) cut a directory into parts; ``partition_by``, day or hour, puts them into folders
    by event time, called date and hour, or by ``partition_name``, as ``on`` and ``on_hour``. ``row_group_rows`` sizes
    Parquet row groups. ``workers`` is the number of threads, or, with the ``runner`` processes, the most processes that
    make the parts of a directory. ``memory_limit`` is the ceiling in bytes that buffers are sized for.
    ``include_metadata`` puts a description of the export inside Parquet and Arrow files. ``verify_written`` decodes
    what was written before it is published. ``fail_on_empty`` publishes nothing when nothing matches. ``max_duration``
    (seconds) and ``max_bytes`` (stored) end the export early: what was written by then is published and says so.
    ``overlap`` (a number of rows, or a time as ``1h``) is how far below its cursor a run of a lineage compares the rows
    of a table with what its runs found; with ``updates`` those that changed there are exported again. ``new_columns``
    says what becomes of columns that a table got since its lineage was begun: ``ignore`` keeps them out, ``add`` puts
    them behind those of this run and the later ones, ``fail`` refuses. ``accept_store`` goes on from another store than
    the last run's, as far as it holds the rows that this names. Raises :class:`InvalidFormat` or :class:`UsageError`.
    """

    format: ExportFormat | str | None = None
    compression: str | None = None
    compression_level: int | None = None
    columns: Sequence[str] | None = None
    flatten: Sequence[str] | None = None
    flatten_schema: Mapping[str, str] | None = None
    flatten_columns: int = FLATTEN_COLUMNS
    pretty: bool = False
    csv_null: str = ""
    part_rows: int | None = None
    part_bytes: int | None = None
    partition_by: str | None = None
    partition_name: str | None = None
    row_group_rows: int = 131_072
    include_metadata: bool = True
    verify_written: bool = False
    fail_on_empty: bool = False
    max_duration: float | None = None
    max_bytes: int | None = None
    workers: int | None = None
    runner: str = "threads"
    memory_limit: int = 512 * MIB
    overlap: str | int | None = None
    updates: bool = False
    new_columns: str = "ignore"
    accept_store: bool = False

    def __post_init__(self) -> None:
        if self.format is not None:
            object.__setattr__(self, "format", parse_format(self.format))
        if self.columns is not None:
            check_choice(self.columns)
            object.__setattr__(self, "columns", tuple(self.columns))
        self._check_flatten()
        for name in ("part_rows", "part_bytes", "row_group_rows", "workers", "max_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be 1 or more, not {value}")
        if self.partition_by is not None and self.partition_by not in WIDTHS:
            raise UsageError(f"partition_by must be {' or '.join(WIDTHS)}, not {self.partition_by!r}")
        if self.partition_name is not None:
            check_name(self.partition_name)
            if self.partition_by is None:
                raise UsageError("folders have a name, and there are none", hint="add --partition-by day")
        if self.partition_by is not None and self.max_bytes is not None:
            raise UsageError(
                "max_bytes does not go with partition_by: most rows are written at the end",
                hint="leave one of them out",
            )
        if self.workers is not None and self.workers > MAX_WORKERS:
            raise UsageError(f"workers must be 1 to {MAX_WORKERS}, not {self.workers}")
        if self.overlap is not None:
            parse_overlap(self.overlap)
        if self.new_columns not in NEW_COLUMNS:
            raise UsageError(f"new_columns must be {' or '.join(NEW_COLUMNS)}, not {self.new_columns!r}")
        if self.updates and self.overlap is None:
            raise UsageError("updates are looked for in the overlap, and none is given", hint="add --overlap 1h")
        if self.runner not in RUNNERS:
            raise UsageError(f"runner must be {' or '.join(RUNNERS)}, not {self.runner!r}")
        for name in ("max_bytes", "max_duration", "partition_by"):
            if self.runner != "threads" and getattr(self, name) is not None:
                raise UsageError(f"{name} does not go with {self.runner}: one process has to see all rows in order")
        if self.max_duration is not None and not self.max_duration > 0:
            raise UsageError(f"max_duration must be more than 0 seconds, not {self.max_duration}")
        if self.memory_limit < LEAST_MEMORY:
            raise UsageError(f"memory_limit must be at least 64 MiB, not {self.memory_limit} bytes")
        if any(mark in self.csv_null for mark in '",\r\n') or not self.csv_null.isprintable():
            raise UsageError("csv_null must be printable text without quotes, commas or line ends")

    def _check_flatten(self) -> None:
        if self.flatten is None:
            if self.flatten_schema is not None or self.flatten_columns != FLATTEN_COLUMNS:
                raise UsageError("members are named or numbered, and no column is flattened", hint="add --flatten data")
            return
        if self.flatten_schema is not None and self.flatten_columns != FLATTEN_COLUMNS:
            raise UsageError("flatten_columns is about members that a first pass finds, and a schema is given")
        if self.max_duration is not None and self.flatten_schema is None:
            raise UsageError(
                "max_duration does not go with a first pass over all rows", hint="name the members: --flatten-schema"
            )
        asked = Flatten(columns=self.flatten, schema=self.flatten_schema, most=self.flatten_columns)
        object.__setattr__(self, "flatten", asked.columns)

    @property
    def flattening(self) -> Flatten | None:
        """Which columns are laid open, and how."""
        if self.flatten is None:
            return None
        return Flatten(columns=self.flatten, schema=self.flatten_schema, most=self.flatten_columns)

    def written(self, dataset: Dataset) -> Dataset:
        """The columns of a dataset that are written. Raises :class:`UsageError` for one that it does not have."""
        written = dataset.select(self.columns)
        check_partitions(dataset, written, self.partition_by, self.partition_name)
        return written

    def read(self, dataset: Dataset, filter: ExportFilter) -> tuple[str, ...]:
        """The columns of a dataset that are written, laid open, or asked about by the filter."""
        if self.columns is None:
            return dataset.columns
        laid = self.flatten or ()
        asked = {*self.columns, *laid, *filter.named}
        # what is laid open is called otherwise where a name is taken
        near = tuple(f"{name}{mark}" for name in laid for mark in (".", "_rest"))
        return tuple(name for name in dataset.columns if name in asked or name.startswith(near))

    def opening(self, config: StorageConfig, filter: ExportFilter) -> StorageConfig:
        """How a table is opened of which only these columns are read, as far as that can be told before."""
        known = config.foreign and not config.mapping and self.flatten is None and self.columns is not None
        only = (*(self.columns or ()), *filter.named) if known else config.only
        return replace(config, only=only, until=self.ending)

    @property
    def ending(self) -> float | None:
        """When what is begun now has to end, of ``time.monotonic``."""
        return None if self.max_duration is None else time.monotonic() + self.max_duration

    @property
    def threads(self) -> int:
        """How many threads read and render: ``workers``, or one per core."""
        return self.workers or os.cpu_count() or 1

    @property
    def processes(self) -> int:
        """How many processes there is work and memory for."""
        return max(min(self.threads, self.memory_limit // _PROCESS_BYTES), 1)

    def resolve(self, *, format: ExportFormat, codec: str | None, dataset: Dataset = EVENTS) -> Layout:
        """Settle format and compression against what the destination's name implies (``codec`` is the name's), and the
        columns against the dataset's; those of a flattened one are settled when its members are known.

        Raises :class:`InvalidFormat` for a codec or level the format does not have, and for a contradiction;
        :class:`UsageError` for a column that the dataset does not have.
        """
        traits = TRAITS[format]
        chosen = self.compression if self.compression is not None else codec
        if codec is not None and self.compression is not None and codec != self.compression:
            raise InvalidFormat(
                f"the name says compression {codec}, the option says {self.compression}",
                hint="change the ending or leave --compression out",
            )
        final = chosen if chosen is not None else traits.default_codec
        if final not in traits.codecs:
            raise InvalidFormat(
                f"{format} has no compression {final!r}", hint="it has " + ", ".join(sorted(traits.codecs))
            )
        levels = traits.codecs[final]
        if self.compression_level is not None:
            if levels is None:
                raise InvalidFormat(f"compression {final} of {format} takes no level")
            if not levels[0] <= self.compression_level <= levels[1]:
                raise InvalidFormat(f"{final} levels of {format} are {levels[0]} to {levels[1]}")
        if self.pretty and not traits.pretty:
            raise InvalidFormat(f"{format} cannot be pretty", hint="pretty belongs to the json format")
        if self.csv_null and format is not ExportFormat.CSV:
            raise InvalidFormat(f"{format} has no csv_null", hint="csv_null belongs to the csv format")
        asked = self.flattening
        if asked is not None:
            asked.check(dataset)
            asked.check_chosen(dataset, self.columns or ())
            others = [name for name in dataset.columns if name not in asked.columns]
            kept = dataset.select(others) if others else dataset
            check_partitions(dataset, kept, self.partition_by, self.partition_name)
        return Layout(
            format=format,
            codec=final,
            level=self.compression_level,
            dataset=dataset if asked is not None else self.written(dataset),
            pretty=self.pretty,
            csv_null=self.csv_null,
            row_group_rows=self.row_group_rows,
            include_metadata=self.include_metadata,
            partition_by=self.partition_by,
            partition_name=self.partition_name,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Settled format, codec and spelling of one export: what an encoder needs to write and a decoder to read.

    ``dataset`` has the columns that are written, and no others.
    """

    format: ExportFormat
    dataset: Dataset = EVENTS
    codec: str = "none"
    level: int | None = None
    pretty: bool = False
    csv_null: str = ""
    row_group_rows: int = 131_072
    include_metadata: bool = True
    partition_by: str | None = None
    partition_name: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return self.dataset.columns

    @property
    def file_ending(self) -> str:
        """Ending of a part's name, with the dot: ``.ndjson.gz``, ``.parquet``."""
        wrapper = ENDING_OF_CODEC[self.codec] if TRAITS[self.format].text else ""
        return f".{self.format.extension}{wrapper}"

    def to_json(self) -> dict[str, Any]:
        """What the manifest records; with its dataset enough to decode the parts again."""
        said: dict[str, Any] = {}
        if self.format is ExportFormat.JSON:
            said["pretty"] = self.pretty
        if self.format is ExportFormat.CSV:
            said["csv"] = {"null": self.csv_null, "formulas": "raw"}
        if self.format is ExportFormat.PARQUET:
            said["row_group_rows"] = self.row_group_rows
        if self.partition_by is not None:
            said["partition_by"] = self.partition_by
        if self.partition_name is not None:
            said["partition_name"] = self.partition_name
        return said


def parse_format(name: ExportFormat | str) -> ExportFormat:
    """Read a format by its name or one of its endings. Raises :class:`InvalidFormat`."""
    text = str(name).lower()
    for format, traits in TRAITS.items():
        if text == format.value or text in traits.extensions:
            return format
    raise InvalidFormat(f"unknown format {str(name)!r}", hint="one of " + ", ".join(ExportFormat))


def parse_ending(name: str) -> tuple[ExportFormat, str | None]:
    """Format and codec that a file name's ending means; the codec is ``None`` where the name does not say.

    Raises :class:`InvalidFormat` for an ending that is not known, or a wrapper on a format that compresses inside.
    """
    pieces = name.lower().split(".")
    wrapper = WRAPPERS.get(pieces[-1]) if len(pieces) > 1 else None
    ending = pieces[-2] if wrapper is not None and len(pieces) > 2 else pieces[-1]
    for format, traits in TRAITS.items():
        if ending in traits.extensions and len(pieces) > 1:
            if not traits.text:
                if wrapper is not None:
                    raise InvalidFormat(
                        f"{format} compresses inside the file, it is never wrapped: {name!r}",
                        hint=f"name it .{format.extension} and choose --compression",
                    )
                return format, None
            return format, wrapper or "none"
    known = ", ".join(f".{ending}" for traits in TRAITS.values() for ending in traits.extensions)
    database = {"db": "sqlite", "sqlite": "sqlite", "sqlite3": "sqlite", "duckdb": "duckdb"}.get(ending)
    table = "" if database is None else f"a table of a database is {database}:///FILE; "
    raise InvalidFormat(
        f"unknown ending: {name!r}",
        hint=f"{table}known endings are {known}, text ones also with .gz or .zst; a directory ends with /",
    )
