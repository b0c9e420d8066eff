"""What each tool runs to export the same rows: the shortest thing that its users would write.

A peer gives the columns as they are stored: timestamps as integers, payloads as JSON inside a string. That is less work
than the export under test does, which spells timestamps out and embeds the payloads; ``duckdb-alike`` shows what the
same content costs. Nothing here is imported by the peers: they get the text of their program, in their own interpreter.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Output and file ending are the same word.
OUTPUTS = ("ndjson", "ndjson.gz", "ndjson.zst", "csv", "csv.gz", "json", "parquet", "arrow")
TITLES = {
    "ndjson": "NDJSON",
    "ndjson.gz": "NDJSON.gz",
    "ndjson.zst": "NDJSON.zst",
    "csv": "CSV",
    "csv.gz": "CSV.gz",
    "json": "JSON array",
    "parquet": "Parquet zstd",
    "arrow": "Arrow",
}
_CODECS = {"gz": "gzip", "zst": "zstd"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Which events: a condition for the peers (no condition means all of them) and the options that say the same."""

    name: str
    title: str
    where: str = ""
    options: tuple[str, ...] = ()

    @property
    def query(self) -> str:
        return "SELECT * FROM events" + (f" WHERE {self.where}" if self.where else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One export: which store, which rows, which output, and the file (or directory) to write."""

    store: str
    out: str
    output: str
    rows: Rows

    @property
    def codec(self) -> str | None:
        """``gzip``, ``zstd``, or ``None`` for an output that is not compressed as a whole."""
        return _CODECS.get(self.output.partition(".")[2])

    @property
    def base(self) -> str:
        """The output without its compression."""
        return self.output.partition(".")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A tool: the distributions and programs it needs, the outputs it has, and the program of a job.

    ``program`` gives Python source, or a shell line where ``shell`` is true. ``data`` finds what it wrote below the
    directory of a run; ``optional`` peers run only if they are named.
    """

    name: str
    title: str
    program: Callable[[Job], str]
    outputs: tuple[str, ...] = OUTPUTS
    distributions: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    shell: bool = False
    data: str = "x.*"
    optional: bool = False

    def command(self, job: Job, python: str) -> list[str]:
        if self.shell:
            return [shutil.which("sh") or "/bin/sh", "-c", self.program(job)]
        return [python, "-c", self.program(job)]


def copy_options(job: Job) -> str:
    """What DuckDB calls an output."""
    if job.base == "parquet":
        return "FORMAT parquet, COMPRESSION zstd"
    kind = {"ndjson": "FORMAT json", "json": "FORMAT json, ARRAY true", "csv": "FORMAT csv, HEADER"}[job.base]
    return kind + (f", COMPRESSION {job.codec}" if job.codec else "")


def _duckdb_copy(job: Job, query: str) -> str:
    if job.output == "arrow":
        return _arrow_file(f'duckdb.sql("{query}").to_arrow_reader()', job)
    return f"""duckdb.sql("COPY ({query}) TO '{job.out}' ({copy_options(job)})")"""


def _arrow_file(reader: str, job: Job) -> str:
    return f"""import pyarrow as pa
reader = {reader}
with pa.ipc.new_file("{job.out}", reader.schema) as writer:
    for batch in reader:
        writer.write_batch(batch)"""


DUCKDB = """import duckdb, duckdb_extension_sqlite_scanner as extension
found = f"{{extension.__path__[0]}}/extensions/v{{duckdb.__version__}}/sqlite_scanner.duckdb_extension"
duckdb.sql(f"LOAD '{{found}}'")
duckdb.sql("ATTACH '{store}' AS store (TYPE sqlite, READ_ONLY)")
duckdb.sql("USE store")
"""


def duckdb(job: Job) -> str:
    return DUCKDB.format(store=job.store) + _duckdb_copy(job, job.rows.query)


_TIME = "strftime(make_timestamp({0}), '%Y-%m-%dT%H:%M:%S.%fZ') AS {0}"
_ALIKE = (
    "SELECT id, category, event_type, "
    + _TIME.format("timestamp")
    + ", session_id, (['low', 'normal', 'high', 'critical'])[priority + 1] AS priority, "
    "{data} AS data, {metadata} AS metadata, seq, " + _TIME.format("received_at") + " FROM events"
)


def duckdb_alike(job: Job) -> str:
    cast = "::JSON" if job.base in ("ndjson", "json") else ""
    query = _ALIKE.format(data="data" + cast, metadata="metadata" + cast)
    return DUCKDB.format(store=job.store) + _duckdb_copy(
        job, query + job.rows.query.removeprefix("SELECT * FROM events")
    )


def duckdb_adbc(job: Job) -> str:
    read = f"""import adbc_driver_sqlite.dbapi, duckdb
connection = adbc_driver_sqlite.dbapi.connect("file:{job.store}?mode=ro")
cursor = connection.cursor()
cursor.execute("{job.rows.query}")
events = cursor.fetch_record_batch()
"""
    return read + _duckdb_copy(job, "FROM events")


def polars(job: Job) -> str:
    compressed = f', compression="{job.codec}"' if job.codec else ""
    sink = {
        "ndjson": f'lazy().sink_ndjson("{job.out}"{compressed})',
        "csv": f'lazy().sink_csv("{job.out}"{compressed})',
        "json": f'write_json("{job.out}")',
        "parquet": f'lazy().sink_parquet("{job.out}", compression="zstd")',
        "arrow": f'lazy().sink_ipc("{job.out}")',
    }[job.base]
    return f"""import polars
events = polars.read_database_uri("{job.rows.query}", "sqlite:///{job.store}", engine="adbc")
events.{sink}"""


def sqlite3(job: Job) -> str:
    query, mode = job.rows.query, {"csv": "-csv -header ", "json": "-json ", "ndjson": ""}[job.base]
    if job.base == "ndjson":
        query = query.replace("*", f"json_object({', '.join(_PAIRS)})")
    pipe = f" | {job.codec}" if job.codec else ""
    return f'sqlite3 -readonly {mode}{shlex.quote(job.store)} "{query}"{pipe} > {shlex.quote(job.out)}'


_COLUMNS = ["seq", "id", "category", "event_type", "timestamp"]
_COLUMNS += ["session_id", "priority", "data", "metadata", "received_at"]
_PAIRS = [f"'{name}', {name}" for name in _COLUMNS]


def dlt(job: Job) -> str:
    kind = {"ndjson": "jsonl", "csv": "csv", "parquet": "parquet"}[job.base]
    where = f', query_adapter_callback=lambda query, table: query.where(text("{job.rows.where}"))'
    where = where if job.rows.where else ""
    return f"""import os
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "{"false" if job.codec else "true"}"
os.environ["DATA_WRITER__COMPRESSION"] = "zstd"
import dlt
from dlt.sources.sql_database import sql_table
from sqlalchemy import text
store = "sqlite:///{job.store}"
table = sql_table(credentials=store, table="events", backend="connectorx"{where})
files = dlt.destinations.filesystem("file://{job.out}/files")
pipeline = dlt.pipeline("bench", destination=files, dataset_name="dataset", pipelines_dir="{job.out}/state")
pipeline.run(table, loader_file_format="{kind}", write_disposition="replace")"""


def pandas(job: Job) -> str:
    write = {
        "ndjson": f'to_json("{job.out}", orient="records", lines=True)',
        "json": f'to_json("{job.out}", orient="records")',
        "csv": f'to_csv("{job.out}", index=False)',
        "parquet": f'to_parquet("{job.out}", compression="zstd", index=False)',
        "arrow": f'to_feather("{job.out}", compression="uncompressed")',
    }[job.base]
    return f"""import sqlite3, pandas
with sqlite3.connect("file:{job.store}?mode=ro", uri=True) as connection:
    pandas.read_sql_query("{job.rows.query}", connection).{write}"""


def chdb(job: Job) -> str:
    kind, settings = {
        "ndjson": ("JSONEachRow", ""),
        "json": ("JSONEachRow", " SETTINGS output_format_json_array_of_rows = 1"),
        "csv": ("CSVWithNames", ""),
        "parquet": ("Parquet", " SETTINGS output_format_parquet_compression_method = 'zstd'"),
        "arrow": ("Arrow", " SETTINGS output_format_arrow_compression_method = 'none'"),
    }[job.base]
    query = job.rows.query.replace("FROM events", f"FROM sqlite('{job.store}', 'events')")
    return f"""import chdb
chdb.query("{query} INTO OUTFILE '{job.out}' FORMAT {kind}{settings}")"""


_SQLITE_OUTPUTS = ("ndjson", "ndjson.gz", "ndjson.zst", "csv", "csv.gz", "json")
_SCANNER = ("duckdb", "duckdb-extension-sqlite-scanner", "pyarrow")

PEERS = {
    peer.name: peer
    for peer in (
        Peer(name="duckdb", title="DuckDB COPY", program=duckdb, distributions=_SCANNER),
        Peer(
            name="duckdb-adbc",
            title="DuckDB from ADBC",
            program=duckdb_adbc,
            distributions=("duckdb", "adbc-driver-sqlite", "pyarrow"),
        ),
        Peer(
            name="sqlite3",
            title="sqlite3",
            program=sqlite3,
            outputs=_SQLITE_OUTPUTS,
            programs=("sqlite3", "gzip", "zstd"),
            shell=True,
        ),
        Peer(
            name="polars",
            title="Polars",
            program=polars,
            distributions=("polars", "adbc-driver-sqlite", "pyarrow"),
        ),
        Peer(
            name="dlt",
            title="dlt",
            program=dlt,
            outputs=("ndjson", "ndjson.gz", "csv", "csv.gz", "parquet"),
            distributions=("dlt", "connectorx", "sqlalchemy", "pyarrow"),
            data="x.*/files/dataset/events/*",
        ),
        Peer(
            name="pandas",
            title="pandas",
            program=pandas,
            outputs=("ndjson", "ndjson.gz", "csv", "csv.gz", "json", "parquet", "arrow"),
            distributions=("pandas", "pyarrow"),
            optional=True,
        ),
        Peer(name="chdb", title="chDB", program=chdb, distributions=("chdb",), optional=True),
        Peer(
            name="duckdb-alike",
            title="DuckDB COPY, same content",
            program=duckdb_alike,
            distributions=_SCANNER,
            optional=True,
        ),
    )
}

_VERSIONS = """import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))"""


def versions_of(python: str, names: list[str]) -> dict[str, str]:
    """The versions of those distributions that an interpreter has."""
    done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def available(names: list[str], python: str | None) -> tuple[list[Peer], dict[str, str], dict[str, str]]:
    """Of the named peers those that are installed, the versions they have, and why the others are missing."""
    wanted = [PEERS[name] for name in names]
    versions: dict[str, str] = {}
    if python is not None and Path(python).exists():
        versions = versions_of(python, sorted({name for peer in wanted for name in peer.distributions}))
    found, missing = [], {}
    for peer in wanted:
        absent = [name for name in peer.distributions if name not in versions]
        absent += [name for name in peer.programs[:1] if shutil.which(name) is None]
        if absent:
            missing[peer.name] = f"not installed: {', '.join(absent)}"
        else:
            found.append(peer)
            versions |= {name: program_version(name) for name in peer.programs if shutil.which(name)}
    return found, versions, missing


def program_version(name: str) -> str:
    """The first line of a program's ``--version``, shortened to its number where it is easily seen."""
    done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    words = (done.stdout or done.stderr).splitlines()[0].replace("v", "").replace(",", "").split() if done else []
    return next((word for word in words if word[:1].isdigit()), "unknown")


def shown(peer: Peer, output: str) -> str:
    """A peer's program for a full export, as the report shows it."""
    return peer.program(Job(store="STORE", out=f"OUT.{output}", output=output, rows=Rows(name="full", title="")))
