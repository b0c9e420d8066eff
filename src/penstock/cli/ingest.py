"""``penstock ingest``."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.choices import pairs, size_of, talk_options
from penstock.cli.talk import Bar, Talk
from penstock.errors import PartialResult
from penstock.model.result import IngestResult


@click.command(
    "ingest",
    epilog="Examples:\n\n  penstock ingest events.db app.ndjson.gz app.csv\n\n"
    "  penstock ingest events.db log.ndjson --map event_type=event --map timestamp=at,session_id=user.session\n\n"
    "  zcat *.log.gz | penstock ingest events.db - --format ndjson --source app.log",
)
@click.argument("store")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--map",
    "mapping",
    metavar="FIELD=PATH",
    multiple=True,
    help="Which field of a record is which field of an event, commas or repeat; dots lead into objects. "
    "timestamp=PATH:ms gives the unit of epoch numbers (:s :ms :us :ns :iso), FIELD=:none leaves the field out.",
)
@click.option("--format", metavar="NAME", help="json, ndjson, csv, parquet, arrow; where a file does not say.")
@click.option("--source", metavar="NAME", help="Make ids of records without one from this name, not the file's.")
@click.option("--quarantine", metavar="FILE", help="Where records go that are no events; STORE.quarantine.ndjson.")
@click.option("--max-depth", type=int, metavar="N", help="Deepest nesting of a payload; 500, the most, by default.")
@click.option("--max-record", metavar="SIZE", help="Longest record of a text format; 16MiB by default.")
@click.option("--max-quarantine", metavar="SIZE", help="Most that is set aside; 256MiB by default.")
@click.option("--dry-run", is_flag=True, help="Check every record; store nothing, write nothing.")
@talk_options
def command(store: str, files: tuple[str, ...], **given: Any) -> None:
    """Load the events of FILES into STORE, which is created if it is missing.

    FILES are NDJSON, JSON, CSV, Parquet or Arrow, also in gzip or zstd; - is standard input. Loading a file again
    stores nothing again. Fields of a record that are not those of an event go into its data. A record that is no event
    is set aside in a quarantine file with the reason; the rest is loaded, and the exit code is 3.
    """
    talk = Talk(
        machine=given.pop("machine"), quiet=given.pop("quiet"), verbose=given.pop("verbose"), data_on_stdout=False
    )
    mapping = pairs(given.pop("mapping"))
    for option in ("max_record", "max_quarantine"):
        size = given.pop(option)
        if size is not None:
            given[f"{option}_bytes"] = size_of(size, what=f"--{option.replace('_', '-')}")
    if given["max_depth"] is None:
        del given["max_depth"]
    from penstock.api import ingest

    with Bar(talk, "loading") as bar:
        result = ingest(
            store,
            files,
            mapping=mapping,
            observer=bar,
            **given,
        )
    _report(talk, store, result, dry_run=given["dry_run"])


def _report(talk: Talk, store: str, result: IngestResult, *, dry_run: bool) -> None:
    """Tell what became of the records, and leave with the exit code it means."""
    for note in result.notes:
        talk.warn(note)
    for reason, count in result.reasons.items():
        talk.warn(f"{count:,} quarantined: {reason}")
    if result.quarantine is not None:
        talk.warn(f"the quarantined records are in {result.quarantine}")
    if result.conflicts:
        talk.warn(f"{result.conflicts:,} records have the id of a stored event and other content; the stored ones stay")
    code = PartialResult.exit_code if result.quarantined else 0
    if dry_run:
        talk.say(f"{result.records:,} records: {result.inserted:,} fit, {result.quarantined:,} would be quarantined")
    else:
        conflicts = f", {result.conflicts:,} in conflict" if result.conflicts else ""
        talk.say(
            f"{result.records:,} records: {result.inserted:,} stored, {result.duplicates:,} there already{conflicts}, "
            f"{result.quarantined:,} quarantined"
        )
    talk.emit(
        "summary",
        ok=code == 0,
        exit_code=code,
        dry_run=dry_run,
        store=store,
        records=result.records,
        inserted=result.inserted,
        duplicates=result.duplicates,
        conflicts=result.conflicts,
        quarantined=result.quarantined,
        quarantine=None if result.quarantine is None else str(result.quarantine),
        reasons=dict(result.reasons),
    )
    if code:
        click.get_current_context().exit(code)
