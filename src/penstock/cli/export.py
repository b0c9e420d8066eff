"""``penstock export``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from penstock.cli.choices import (
    config_of,
    filter_of,
    filter_options,
    lineage_options,
    size_of,
    store_options,
    talk_options,
)
from penstock.cli.settings import ConfiguredCommand, Settings, settled
from penstock.cli.stopping import stopping
from penstock.cli.talk import Bar, Talk, human, noun
from penstock.errors import ExportError, LimitReached, PartialResult, UsageError
from penstock.model.filter import ExportFilter
from penstock.model.flatten import FLATTEN_COLUMNS, parse_given
from penstock.model.options import RUNNERS, ExportOptions
from penstock.model.result import ExportResult, ExportsResult
from penstock.model.storage_config import StorageConfig


@click.command(
    "export",
    cls=ConfiguredCommand,
    epilog="Examples:\n\n  penstock export events.db out.ndjson.gz --start 2026-11-01 --end 2026-12-01\n\n"
    "  penstock export events.db archive/ --part-size 1000000rows\n\n"
    "  penstock export events.db - --category error --limit 5 | head\n\n"
    "  penstock export app.db orders.parquet --table orders --time created_at --start 2026-11-01\n\n"
    "  penstock export app.db 'sqlite:///report.db?table=orders' --table orders --incremental\n\n"
    "  penstock export daily",
)
@click.argument("store")
@click.argument("dests", nargs=-1, metavar="DEST...")
@filter_options
@click.option("--format", metavar="NAME", help="json, ndjson, csv, parquet or arrow; where DEST's name does not say.")
@click.option("--compression", metavar="NAME", help="none, gzip, zstd; Parquet also snappy, lz4; Arrow zstd, lz4.")
@click.option("--level", "compression_level", type=int, metavar="N", help="Compression level of the codec.")
@click.option("--columns", metavar="A,B", help="Keep only these columns.")
@click.option("--flatten", metavar="A,B", help="Make columns of the members of these JSON columns: data,metadata.")
@click.option(
    "--flatten-schema",
    metavar="A:TYPE,B:TYPE",
    help="With --flatten: these members and no others, as data.status:int64,data.user.name:text; bool, int64, float64, "
    "text or json. By default a first pass finds members and types.",
)
@click.option(
    "--flatten-columns",
    type=int,
    default=FLATTEN_COLUMNS,
    metavar="N",
    help=f"With --flatten: at most so many columns, {FLATTEN_COLUMNS} by default; the rest is in data_rest.",
)
@click.option("--pretty", is_flag=True, help="Indent JSON.")
@click.option("--csv-null", default="", metavar="TEXT", help="How CSV spells null; by default the empty field.")
@click.option("--part-size", metavar="SIZE", help="Cut a directory into parts: 64MiB (uncompressed), 100000rows.")
@click.option(
    "--partition-by",
    type=click.Choice(["day", "hour"]),
    help="Put a directory's parts into folders by event time, UTC: date=2026-11-22/, hour=13/ in it.",
)
@click.option(
    "--partition-name",
    metavar="NAME",
    help="Call these folders NAME=2026-11-22/, NAME_hour=13/, where a column has their names.",
)
@click.option("--overwrite", is_flag=True, help="Replace an export that is there already.")
@click.option(
    "--all-tables", is_flag=True, help="Export every table of the file as it is, into a directory each in DEST."
)
@click.option("--incremental", is_flag=True, help="Add a run to the directory DEST: what arrived since the run before.")
@lineage_options
@click.option("--manifest", metavar="FILE", help="With DEST '-': write the manifest to this file.")
@click.option("--verify-written", is_flag=True, help="Decode what was written before it is published.")
@click.option("--fail-on-empty", is_flag=True, help="Exit 9 and publish nothing when nothing matches.")
@click.option("--max-duration", type=float, metavar="SECONDS", help="Stop after this time; what is written is kept.")
@click.option("--max-bytes", metavar="SIZE", help="Stop after this many stored bytes; what is written is kept.")
@click.option("--memory-limit", metavar="SIZE", help="Size buffers for this ceiling; 512MiB by default.")
@click.option("--workers", type=int, metavar="N", help="Threads that read and render; one per core by default.")
@click.option(
    "--runner",
    type=click.Choice(RUNNERS),
    default="threads",
    help="What does the work of a directory's parts: threads, or processes, which need --part-size to share it.",
)
@click.option("--dry-run", is_flag=True, help="Say how many rows match and what would be written; write nothing.")
@store_options
@click.option(
    "--config", metavar="FILE", envvar="PENSTOCK_CONFIG", help="Read settings here; by default ./penstock.toml."
)
@talk_options
@click.pass_obj
def command(found: Settings | ExportError, /, store: str, dests: tuple[str, ...], **given: Any) -> None:
    """Write the events of STORE, or a table of any SQLite file, to DEST and commit them with a manifest.

    DEST with a known ending (.json .ndjson .jsonl .csv .parquet .arrow, text ones also with .gz or .zst) is one file
    with its manifest beside it; a name that ends with / or has no dot is a directory of parts; - is standard output.
    sqlite:///FILE?table=NAME, duckdb:///FILE and postgresql://USER@HOST/DATABASE are tables of databases.
    Several DEST are written of one reading, each committed by itself.
    Without DEST, STORE is the name of an export in penstock.toml (docs/configuration.md).
    """
    talk = Talk(
        machine=given.pop("machine"),
        quiet=given.pop("quiet"),
        verbose=given.pop("verbose"),
        data_on_stdout="-" in dests,
    )
    del given["config"]
    settings = settled(found)
    if not dests:
        said = settings.export(store)
        store, dests = said["store"].value, tuple(said["to"].value)
        if "-" in dests:
            talk.leave_stdout()
    given["mapping"] = settings.mapped(given["mapping"])
    dest = dests[0]
    overwrite, dry_run, manifest = given.pop("overwrite"), given.pop("dry_run"), given.pop("manifest")
    incremental, all_tables = given.pop("incremental"), given.pop("all_tables")
    filter, config = filter_of(given), config_of(given)
    options = _options(given)
    if len(dests) > 1:
        for option, there in (("--dry-run", dry_run), ("--all-tables", all_tables), ("--manifest", manifest)):
            if there:
                raise UsageError(f"{option} is about one destination", hint=f"name one DEST, or leave {option} out")
        more = {"filter": filter, "options": options, "config": config, "overwrite": overwrite}
        _export_to_each(talk, store, dests, incremental=incremental, **more)
        return
    if dry_run:
        _check_dry_run(options, all_tables=all_tables, incremental=incremental)
        _plan(talk, store, dest, filter, options, config)
        return
    if all_tables:
        _check_of_all(filter, config, options, manifest)
        _export_all(talk, store, dest, options=options, config=config, overwrite=overwrite, incremental=incremental)
        return
    from penstock.api import export

    with Bar(talk, "exporting") as bar:
        result = export(
            store,
            dest,
            filter=filter,
            options=options,
            config=config,
            overwrite=overwrite,
            incremental=incremental,
            manifest=manifest,
            observer=bar,
        )
    report(talk, dest, result)


def _check_dry_run(options: ExportOptions, *, all_tables: bool, incremental: bool) -> None:
    if all_tables:
        raise UsageError("--dry-run does not go with --all-tables", hint="penstock inspect lists the tables")
    if incremental:
        raise UsageError("--dry-run does not go with --incremental", hint="leave one of them out")
    if options.flatten is not None:
        raise UsageError("--dry-run reads no payloads, it cannot tell their members", hint="leave one of them out")


def _check_of_all(filter: ExportFilter, config: StorageConfig, options: ExportOptions, manifest: str | None) -> None:
    """Refuse what is said of one table."""
    if filter != ExportFilter() or config.foreign or options.columns is not None or options.partition_by or manifest:
        raise UsageError(
            "--all-tables exports every table whole: no filter, no column and no table goes with it",
            hint="export the tables one by one, with --table",
        )


def _export_all(talk: Talk, store: str, dest: str, **given: Any) -> None:
    """One line a table, one summary, and an exit code that says whether all of them stand."""
    from penstock.several import export_tables

    with Bar(talk, "exporting") as bar:
        result = export_tables(store, dest, observer=bar, **given)
    for name, done in result.exported.items():
        talk.say(f"{name}: {done.manifest.rows:,} rows, {human(done.file_size)} to {done.path}")
        _counted(talk, name, done.manifest.counts)
        talk.emit("table", name=name, rows=done.manifest.rows, path=str(done.path), file_size=done.file_size)
    failed = _failed(talk, result)
    partial = result.failed or any(done.partial for done in result.exported.values())
    code = PartialResult.exit_code if partial else 0
    talk.say(f"{len(result.exported)} of {len(result.exported) + len(result.failed)} tables of {store} are in {dest}")
    talk.emit("summary", ok=not code, exit_code=code, tables=len(result.exported), failed=failed)
    if code:
        click.get_current_context().exit(code)


def _failed(talk: Talk, result: ExportsResult) -> dict[str, dict[str, Any]]:
    """Say what was not exported, and why; gives it as the summary has it."""
    for name, error in result.failed.items():
        talk.warn(f"{name} was not exported: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    return {name: {"message": error.message, "exit_code": error.exit_code} for name, error in result.failed.items()}


def _counted(talk: Talk, name: str, counts: Mapping[str, int]) -> None:
    for count, number in counts.items():
        talk.warn(f"{name}: {count.replace('_', ' ')}: {number:,}")


def _export_to_each(talk: Talk, store: str, dests: Sequence[str], **given: Any) -> None:
    """What :func:`report` tells, of each; one summary, and an exit code that says whether all of them stand."""
    from penstock.several import export_to_each

    if given["incremental"]:
        talk.say("each run begins where the last one at its place ended: they are made one after the other")
    with Bar(talk, "exporting") as bar:
        result = export_to_each(store, dests, observer=bar, **given)
    partial = bool(result.failed)
    for name, done in result.exported.items():
        partial |= done.partial
        rows = noun(done.manifest.dataset)
        for note in done.notes:
            talk.warn(f"{name}: {note}")
        _counted(talk, name, done.manifest.counts)
        talk.say(
            f"{done.manifest.rows:,} {rows}, {human(done.file_size)} to {name} ({rows} {done.manifest.rows_digest})"
        )
        facts = {"rows": done.manifest.rows, "file_size": done.file_size, "events_digest": done.manifest.rows_digest}
        talk.emit("export", path=name, **facts)
    failed = _failed(talk, result)
    code = PartialResult.exit_code if partial else 0
    if result.failed and not result.exported:
        code = next(iter(result.failed.values())).exit_code
    talk.emit("summary", ok=not code, exit_code=code, exported=list(result.exported), failed=failed)
    if code:
        click.get_current_context().exit(code)


def _options(given: dict[str, Any]) -> ExportOptions:
    columns, part_size = given.pop("columns"), given.pop("part_size")
    max_bytes, memory_limit = given.pop("max_bytes"), given.pop("memory_limit")
    if columns is not None:
        given["columns"] = _names(columns)
    if given["flatten"] is not None:
        given["flatten"] = _names(given["flatten"])
    if given["flatten_schema"] is not None:
        given["flatten_schema"] = parse_given(given["flatten_schema"])
    if part_size is not None:
        given |= part_size_of(part_size)
    if max_bytes is not None:
        given["max_bytes"] = size_of(max_bytes, what="--max-bytes")
    if memory_limit is not None:
        given["memory_limit"] = size_of(memory_limit, what="--memory-limit")
    return ExportOptions(**given)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def part_size_of(text: str) -> dict[str, int]:
    """The option that ``--part-size`` means."""
    if text.endswith("rows"):
        return {"part_rows": size_of(text.removesuffix("rows").strip(), what="--part-size")}
    return {"part_bytes": size_of(text, what="--part-size")}


def _plan(
    talk: Talk, store: str, dest: str, filter: ExportFilter, options: ExportOptions, config: StorageConfig
) -> None:
    from penstock.pipeline.summary import count
    from penstock.wiring import open_source, resolve_target

    with closing(open_source(store, options.opening(config, filter))) as source:
        layout = resolve_target(dest, options, dataset=source.dataset).layout
        matching = count(source, filter)
    rows = noun(layout.dataset)
    talk.say(f"{matching:,} {rows} of {store} match; {dest} would be {layout.format}, compression {layout.codec}")
    talk.emit("summary", ok=True, dry_run=True, event_count=matching, format=layout.format, compression=layout.codec)


def report(talk: Talk, dest: str, result: ExportResult, **more: Any) -> None:
    """Tell the result, everything that a reader should know of, and leave with the exit code it means. ``more`` goes
    into the summary."""
    manifest = result.manifest
    for note in result.notes:
        talk.warn(note)
    if stopping.late:
        talk.warn(f"the interrupt came after the commit: {dest} stands, whole")
    for name, count in manifest.counts.items():
        talk.warn(f"{name.replace('_', ' ')}: {count:,}")
    stopped = next((name for name in manifest.counts if name.startswith("stopped_")), None)
    code = PartialResult.exit_code if result.partial else LimitReached.exit_code if stopped else 0
    where = "standard output" if dest == "-" else dest
    rows = noun(manifest.dataset)
    talk.say(f"{manifest.rows:,} {rows}, {human(result.file_size)} to {where} ({manifest.format}, {manifest.codec})")
    talk.say(f"sha256 {manifest.checksum}  {rows} {manifest.rows_digest}")
    run = None if manifest.lineage is None else manifest.lineage.run
    if run is not None:
        talk.say(f"run {run}, growing is {result.growth}")
    talk.emit(
        "summary",
        ok=code == 0,
        exit_code=code,
        path=None if result.path is None else str(result.path),
        event_count=manifest.rows,
        file_size=result.file_size,
        checksum=manifest.checksum,
        events_digest=manifest.rows_digest,
        parts=len(manifest.parts),
        counts=dict(manifest.counts),
        **({} if run is None else {"run": run, "growth": result.growth}),
        **more,
    )
    if code:
        click.get_current_context().exit(code)
