"""``penstock repair``."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.choices import size_of, talk_options
from penstock.cli.export import part_size_of
from penstock.cli.talk import Bar, Talk, aside, clean
from penstock.errors import IntegrityError
from penstock.model.options import ExportOptions


@click.command("repair", epilog="Example:\n\n  penstock repair lineage/ --from events.db")
@click.argument("lineage")
@click.option("--from", "store", metavar="STORE", required=True, help="The store that the lineage was exported from.")
@click.option("--part-size", metavar="SIZE", help="The size of parts that the runs were made with, if one was given.")
@click.option("--memory-limit", metavar="SIZE", help="The ceiling that the runs were made with; 512MiB by default.")
@click.option("--workers", type=int, metavar="N", help="Threads that read and render; one per core by default.")
@talk_options
def command(lineage: str, store: str, **given: Any) -> None:
    """Make the missing and damaged parts, rolls and runs of LINEAGE again, from the store that still holds their rows.

    Every part is read. What STORE gives counts only if it has the digest of the part: the same bytes go back under its
    name; where they come out otherwise, a run of maintenance names the part that goes and the one that comes. Manifests
    are never changed: one that is lost is waived by such a run. Exit 4 if something could not be proven: it is named.
    """
    from penstock.api import repair

    talk = Talk(
        machine=given.pop("machine"), quiet=given.pop("quiet"), verbose=given.pop("verbose"), data_on_stdout=False
    )
    part_size, memory_limit = given.pop("part_size"), given.pop("memory_limit")
    if part_size is not None:
        given |= part_size_of(part_size)
    if memory_limit is not None:
        given["memory_limit"] = size_of(memory_limit, what="--memory-limit")
    with Bar(talk, "reading parts") as bar:
        result = repair(lineage, store, options=ExportOptions(**given), observer=bar)
    for note in result.notes:
        talk.warn(note)
    for name in result.restored:
        talk.say(f"{name}: its bytes are back")
    for name in result.replaced:
        talk.say(f"{name}: removed, its rows lie in another part now")
    for problem in result.left:
        talk.emit("problem", part=problem.part, message=problem.message)
        if not talk.machine:
            aside(f"{clean(problem.part)}: {clean(problem.message)}")
    code = 0 if result.ok else IntegrityError.exit_code
    run = None if result.manifest is None or result.manifest.lineage is None else result.manifest.lineage.run
    talk.emit(
        "summary",
        ok=result.ok,
        exit_code=code,
        run=run,
        restored=list(result.restored),
        replaced=list(result.replaced),
        waived=list(result.waived),
        left=len(result.left),
    )
    if code:
        aside(f"penstock: {clean(lineage)} is NOT whole: {len(result.left):,} left")
        click.get_current_context().exit(code)
    done = len(result.restored) + len(result.replaced) + len(result.waived)
    by = "" if run is None else f", with run {run} of maintenance"
    talk.say(f"{lineage} is whole{f': {done:,} made again{by}' if done else ', nothing had to be done'}")
