"""``penstock verify``."""

from __future__ import annotations

import click

from penstock.cli.choices import talk_options
from penstock.cli.talk import Bar, Talk, aside, clean, human, noun
from penstock.errors import IntegrityError


@click.command(
    "verify",
    epilog="Examples:\n\n  penstock verify out.ndjson.gz && echo whole\n\n  penstock verify archive/ --sample 1/7",
)
@click.argument("dest")
@click.option("--quick", is_flag=True, help="Only look whether every part is there with its size.")
@click.option(
    "--sample",
    metavar="1/N",
    help="Read a share of the parts, of the others look at presence and size: 1/7 is the share of this day, in UTC, so "
    "that seven days in a row read every part once; 3:1/7 is the third share of seven.",
)
@talk_options
def command(dest: str, quick: bool, sample: str | None, machine: bool, quiet: bool, verbose: bool) -> None:
    """Check the export at DEST, a file or a directory, against its manifest.

    Stored bytes are compared with their SHA-256 first, then every event is decoded, counted and digested. No store is
    needed. Exit 0 only if every byte and every count holds; 4 names each part that does not.
    """
    from penstock.api import verify

    talk = Talk(machine=machine, quiet=quiet, verbose=verbose, data_on_stdout=False)
    with Bar(talk, "verifying") as bar:
        result = verify(
            dest,
            quick=quick,
            sample=sample,
            observer=bar,
        )
    for note in result.notes:
        talk.warn(note)
    for problem in result.problems:
        talk.emit("problem", part=problem.part, message=problem.message)
        if not machine:
            aside(f"{clean(problem.part)}: {clean(problem.message)}")
    code = 0 if result.ok else IntegrityError.exit_code
    talk.emit(
        "summary",
        ok=result.ok,
        exit_code=code,
        parts=result.parts,
        event_count=result.event_count,
        bytes=result.bytes,
        parts_read=result.parts_read,
        bytes_read=result.bytes_read,
        sample=None if result.sample is None else str(result.sample),
        problems=len(result.problems),
    )
    if not result.ok:
        found = "1 problem" if len(result.problems) == 1 else f"{len(result.problems):,} problems"
        aside(f"penstock: {clean(dest)} is NOT whole: {found}")
        click.get_current_context().exit(code)
    rows = "rows" if result.manifest is None else noun(result.manifest.dataset)
    parts = "1 part" if result.parts == 1 else f"{result.parts:,} parts"
    runs = "" if result.runs is None else f" of {result.runs:,} runs"
    if result.sample is not None:
        read = f"share {result.sample}, {result.parts_read:,} of {parts}{runs}"
        size = f"{human(result.bytes_read)} of {human(result.bytes)}"
        talk.say(f"{dest} is whole as far as it was read: {read}, {size}; the others are there with their sizes")
        return
    talk.say(f"{dest} is whole: {result.event_count:,} {rows} in {parts}{runs}, {human(result.bytes)}")
