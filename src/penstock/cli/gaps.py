"""``penstock gaps``."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.choices import filter_of, filter_options, talk_options
from penstock.cli.talk import Talk, clean
from penstock.errors import IntegrityError
from penstock.model import times
from penstock.model.gaps import Gap


@click.command("gaps", epilog="Example:\n\n  penstock gaps lineage/ --window hour")
@click.argument("dir")
@click.option(
    "--window",
    type=click.Choice(["hour", "day"]),
    default="day",
    show_default=True,
    help="How long a time without any event has to be to look suspicious.",
)
@filter_options
@talk_options
def command(dir: str, window: Any, **given: Any) -> None:
    """List what is missing from DIR: a lineage, a directory of parts, or a directory of several of these.

    One line a gap on standard output. 'missing' is proven: runs or manifests that are not there or do not follow each
    other, arrival numbers between runs, parts that are gone or of another size; exit 4. 'quiet' is a time without an
    event between others with events, and may be right: exit 0. No store is needed and no event is read; that the parts
    are whole says penstock verify. With a filter what is whole is read, and a time without an event that matches is
    quiet.
    """
    from penstock.api import gaps

    talk = Talk(
        machine=given.pop("machine"), quiet=given.pop("quiet"), verbose=given.pop("verbose"), data_on_stdout=False
    )
    result = gaps(dir, window=window, filter=filter_of(given))
    for note in result.notes:
        talk.warn(note)
    for gap in result.gaps:
        if talk.machine:
            talk.emit("gap", **_facts(gap))
        else:
            click.echo(clean(f"{'quiet' if gap.suspicious else 'missing'}: {gap.place}: {gap.message}"))
    quiet = sum(gap.suspicious for gap in result.gaps)
    missing = len(result.gaps) - quiet
    code = 0 if result.ok else IntegrityError.exit_code
    if quiet and result.ok:
        talk.warn(f"nothing is missing; {_counted(quiet, 'quiet time')} may be right, or lost before the export")
    looked = f"{_counted(result.runs, 'run')}, {_counted(result.parts, 'part')}, {_counted(result.event_count, 'row')}"
    talk.say(f"{dir}: {_counted(missing, 'gap') if missing else 'no gap'} in {looked}")
    talk.emit(
        "summary",
        ok=result.ok,
        exit_code=code,
        missing=missing,
        quiet=quiet,
        exports=len(result.places),
        runs=result.runs,
        parts=result.parts,
        event_count=result.event_count,
    )
    if code:
        click.get_current_context().exit(code)


def _facts(gap: Gap) -> dict[str, Any]:
    return {
        "kind": gap.kind,
        "suspicious": gap.suspicious,
        "place": str(gap.place),
        "message": gap.message,
        "runs": None if gap.runs is None else {"first": gap.runs[0], "last": gap.runs[1]},
        "seq": None if gap.seq is None else {"after": gap.seq[0], "upto": gap.seq[1]},
        "time": None if gap.time is None else [times.render(micros) for micros in gap.time],
        "part": gap.part,
    }


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
