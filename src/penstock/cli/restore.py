"""``penstock restore``."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.choices import filter_of, filter_options, talk_options
from penstock.cli.talk import Bar, Talk


@click.command("restore", epilog="Example:\n\n  penstock restore archive/ --into events.db")
@click.argument("dest")
@click.option("--into", metavar="STORE", required=True, help="The store to put the events into; made if it is missing.")
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "fail", "replace"]),
    default="fail",
    show_default=True,
    help="What to do with an event whose id is stored with other content.",
)
@click.option("--dry-run", is_flag=True, help="Read and check everything, store nothing.")
@filter_options
@talk_options
def command(dest: str, into: str, on_conflict: Any, dry_run: bool, **given: Any) -> None:
    """Put the events of the export at DEST back into a store: a file, a directory, or all runs of a lineage.

    The stored bytes of each part are checked before it is decoded. Events that are in the store already stay, so an
    interrupted restore is simply run again. Filters apply.
    """
    from penstock.api import restore

    talk = Talk(
        machine=given.pop("machine"), quiet=given.pop("quiet"), verbose=given.pop("verbose"), data_on_stdout=False
    )
    filter = filter_of(given)
    with Bar(talk, "restoring") as bar:
        result = restore(
            dest,
            into,
            filter=filter,
            on_conflict=on_conflict,
            dry_run=dry_run,
            observer=bar,
        )
    if dry_run:
        talk.say(f"{result.events:,} events of {dest} would be restored to {into}")
    else:
        talk.say(
            f"{result.events:,} events of {dest}: {result.inserted:,} restored to {into},"
            f" {result.duplicates:,} there already, {result.conflicts:,} in conflict ({on_conflict})"
        )
    talk.emit(
        "summary",
        ok=True,
        exit_code=0,
        dry_run=dry_run,
        events=result.events,
        inserted=result.inserted,
        duplicates=result.duplicates,
        conflicts=result.conflicts,
        events_digest=result.events_digest,
    )
