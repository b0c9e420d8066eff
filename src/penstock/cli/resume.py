"""``penstock resume``."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.choices import lineage_options, size_of, talk_options
from penstock.cli.export import part_size_of, report
from penstock.cli.talk import Bar, Talk, noun
from penstock.model.options import ExportOptions


@click.command("resume", epilog="Example:\n\n  penstock resume events.db lineage/")
@click.argument("store")
@click.argument("dir")
@click.option(
    "--verify-full", is_flag=True, help="First read all that is there down to the last event, not only sizes."
)
@click.option("--part-size", metavar="SIZE", help="Cut the run into parts: 64MiB (uncompressed), 100000rows.")
@click.option("--verify-written", is_flag=True, help="Decode what was written before it is published.")
@lineage_options
@click.option("--memory-limit", metavar="SIZE", help="Size buffers for this ceiling; 512MiB by default.")
@click.option("--workers", type=int, metavar="N", help="Threads that read and render; one per core by default.")
@talk_options
def command(store: str, dir: str, verify_full: bool, **given: Any) -> None:
    """Continue the lineage in DIR from STORE: clear what a crash left, check what is there, add the next run.

    Filter, format, columns and table are those that its manifests record. Exit 6 if DIR holds no lineage: begin one
    with penstock export STORE DIR --incremental, which also continues one, if the same options are given again.
    """
    from penstock.api import resume

    talk = Talk(
        machine=given.pop("machine"), quiet=given.pop("quiet"), verbose=given.pop("verbose"), data_on_stdout=False
    )
    part_size, memory_limit = given.pop("part_size"), given.pop("memory_limit")
    if part_size is not None:
        given |= part_size_of(part_size)
    if memory_limit is not None:
        given["memory_limit"] = size_of(memory_limit, what="--memory-limit")
    with Bar(talk, "exporting") as bar:
        result = resume(
            store,
            dir,
            options=ExportOptions(**given),
            full=verify_full,
            observer=bar,
        )
    for note in result.recovered:
        talk.emit("recovered", message=note)
        talk.say(f"recovered: {note}")
    there = result.verified
    how = "verified" if verify_full else "of the size it should have"
    rows = noun(result.export.manifest.dataset)
    talk.say(f"there already: {there.event_count:,} {rows} up to run {there.runs}, every part {how}")
    report(
        talk,
        dir,
        result.export,
        recovered=list(result.recovered),
        runs_before=there.runs,
        events_before=there.event_count,
    )
