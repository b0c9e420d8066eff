"""``penstock inspect``."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from penstock.cli.choices import config_of, filter_of, filter_options, store_options
from penstock.cli.talk import Talk, clean, human
from penstock.model import times

_BLOCKS = " ▁▂▃▄▅▆▇█"


@click.command("inspect", epilog="Example:\n\n  penstock inspect events.db")
@click.argument("store")
@click.option("--json", "machine", is_flag=True, help="One JSON object instead of text.")
@filter_options
@store_options
def command(store: str, machine: bool, **given: Any) -> None:
    """Show what STORE holds: counts by category and type, time span, sizes, events over time. Filters apply."""
    from penstock.pipeline.summary import survey
    from penstock.wiring import open_source

    talk = Talk(machine=machine, data_on_stdout=False)
    filter = filter_of(given)
    with closing(open_source(store, config_of(given))) as source:
        stats, histogram = survey(source, filter, buckets=48)
    if machine:
        talk.emit(
            "summary",
            ok=True,
            total_events=stats.total_events,
            database_size_bytes=stats.database_size_bytes,
            wal_size_bytes=stats.wal_size_bytes,
            oldest_event=None if stats.oldest_event is None else times.render(times.to_micros(stats.oldest_event)),
            newest_event=None if stats.newest_event is None else times.render(times.to_micros(stats.newest_event)),
            last_seq=stats.last_seq,
            events_by_category=dict(stats.events_by_category),
            events_by_type=dict(stats.events_by_type),
        )
        return
    click.echo(f"{store}: {stats.total_events:,} events, {human(stats.database_size_bytes)}")
    if stats.oldest_event is None or stats.newest_event is None:
        return
    click.echo(f"from {stats.oldest_event:%Y-%m-%d %H:%M:%S} to {stats.newest_event:%Y-%m-%d %H:%M:%S} UTC")
    click.echo()
    click.echo(plot([count for _, _, count in histogram]))
    click.echo()
    for title, counts in (("category", stats.events_by_category), ("event type", stats.events_by_type)):
        click.echo(f"by {title}:")
        for name, count in list(counts.items())[:12]:
            click.echo(f"  {count:>12,}  {clean(name)}")
        if len(counts) > 12:
            click.echo(f"  {sum(list(counts.values())[12:]):>12,}  in {len(counts) - 12} more")


def plot(counts: list[int]) -> str:
    """Events over time as one line of blocks, the fullest bucket full; a bucket that is not empty never looks it."""
    top = max(counts, default=0)
    if not top:
        return ""
    marks = [_BLOCKS[0 if not count else max(1, -(-count * 8 // top))] for count in counts]
    return f"|{''.join(marks)}| up to {top:,} events a bucket"
