"""``penstock verify``."""

from __future__ import annotations

import click

from penstock.cli.choices import talk_options
from penstock.cli.talk import Bar, Talk, clean, human
from penstock.errors import IntegrityError


@click.command("verify", epilog="Example:\n\n  penstock verify out.ndjson.gz && echo whole")
@click.argument("dest")
@click.option("--quick", is_flag=True, help="Only look whether every part is there with its size.")
@talk_options
def command(dest: str, quick: bool, machine: bool, quiet: bool, verbose: bool) -> None:
    """Check the export at DEST, a file or a directory, against its manifest.

    Stored bytes are compared with their SHA-256 first, then every event is decoded, counted and digested. No store is
    needed. Exit 0 only if every byte and every count holds; 4 names each part that does not.
    """
    from penstock.api import verify

    talk = Talk(machine=machine, quiet=quiet, verbose=verbose, data_on_stdout=False)
    with Bar(talk, "verifying") as bar:
        result = verify(
            dest, quick=quick, progress=lambda done, total: bar.update(rows=None, size=done, done=done, total=total)
        )
    for note in result.notes:
        talk.warn(note)
    for problem in result.problems:
        talk.emit("problem", part=problem.part, message=problem.message)
        if not machine:
            click.echo(f"{clean(problem.part)}: {clean(problem.message)}", err=True)
    code = 0 if result.ok else IntegrityError.exit_code
    talk.emit(
        "summary",
        ok=result.ok,
        exit_code=code,
        parts=result.parts,
        event_count=result.event_count,
        bytes=result.bytes,
        problems=len(result.problems),
    )
    if not result.ok:
        found = "1 problem" if len(result.problems) == 1 else f"{len(result.problems):,} problems"
        click.echo(f"penstock: {clean(dest)} is NOT whole: {found}", err=True)
        click.get_current_context().exit(code)
    parts = "1 part" if result.parts == 1 else f"{result.parts:,} parts"
    runs = "" if result.runs is None else f" of {result.runs:,} runs"
    talk.say(f"{dest} is whole: {result.event_count:,} events in {parts}{runs}, {human(result.bytes)}")
