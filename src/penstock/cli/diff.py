"""``penstock diff``."""

from __future__ import annotations

from typing import Any

import click

from penstock.cli.choices import config_of, filter_of, filter_options, store_options, talk_options
from penstock.cli.talk import Bar, Talk, clean
from penstock.errors import IntegrityError
from penstock.model.result import Difference

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


@click.command(
    "diff",
    epilog="Examples:\n\n  penstock diff monday.ndjson.gz tuesday.parquet\n\n"
    "  penstock diff events.db lineage/ --start 2026-11-01",
)
@click.argument("a")
@click.argument("b")
@filter_options
@store_options
@talk_options
def command(a: str, b: str, **given: Any) -> None:
    """Name the events or rows that A and B do not share: each a file, a directory, a lineage or a store.

    One line a row on standard output: '+ ID' only B has it, '- ID' only A has it, '~ ID' both have it with other
    content. Arrival (seq, received_at) does not count. What an export stores is verified while it is read, and nothing
    is printed before all of it was. Exit 0 if there is no difference, 4 if there is one, or if an export is damaged.
    """
    from penstock.api import diff

    talk = Talk(
        machine=given.pop("machine"), quiet=given.pop("quiet"), verbose=given.pop("verbose"), data_on_stdout=False
    )
    filter, config = filter_of(given), config_of(given)

    def tell(difference: Difference) -> None:
        bar.end()
        if talk.machine:
            talk.emit("difference", kind=difference.kind, id=difference.id)
        else:
            print(_MARKS[difference.kind], clean(difference.id))

    with Bar(talk, "comparing") as bar:
        result = diff(
            a,
            b,
            filter=filter,
            config=config,
            found=tell,
            observer=bar,
        )
    for note in result.notes:
        talk.warn(note)
    code = 0 if result.equal else IntegrityError.exit_code
    found = f"{result.added:,} added, {result.removed:,} removed, {result.changed:,} changed"
    talk.say(f"{a} has {result.events_a:,} rows, {b} {result.events_b:,}: {'equal' if result.equal else found}")
    talk.emit(
        "summary",
        ok=result.equal,
        exit_code=code,
        events_a=result.events_a,
        events_b=result.events_b,
        added=result.added,
        removed=result.removed,
        changed=result.changed,
        columns=list(result.columns),
    )
    if code:
        click.get_current_context().exit(code)
