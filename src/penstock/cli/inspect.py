"""``penstock inspect``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

from penstock.cli.choices import config_of, filter_of, filter_options, store_options
from penstock.cli.talk import Talk, clean, human
from penstock.model import times
from penstock.model.columns import EVENTS
from penstock.model.dataset import type_name
from penstock.model.result import TableFacts

_BLOCKS = " ▁▂▃▄▅▆▇█"


@click.command(
    "inspect", epilog="Examples:\n\n  penstock inspect events.db\n\n  penstock inspect app.db --table orders"
)
@click.argument("store")
@click.option("--json", "machine", is_flag=True, help="One JSON object instead of text.")
@filter_options
@store_options
def command(store: str, machine: bool, **given: Any) -> None:
    """Show what STORE holds: counts by category and type, time span, sizes, events over time. Filters apply.

    Of any other SQLite file: its tables, and the command that exports each; with --table or --query what these hold.
    """
    from penstock.pipeline.summary import survey
    from penstock.wiring import list_tables, open_source

    talk = Talk(machine=machine, data_on_stdout=False)
    filter, config = filter_of(given), config_of(given)
    tables = None if config.foreign else list_tables(store, config)
    if tables is not None:
        _list(talk, store, tables)
        return
    with closing(open_source(store, config)) as source:
        stats, histogram = survey(source, filter, buckets=48)
        dataset = source.dataset
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
    rows = "events" if dataset.name == EVENTS.name else f"rows of {dataset.name}"
    click.echo(clean(f"{store}: {stats.total_events:,} {rows}, {human(stats.database_size_bytes)}"))
    for field in () if dataset.name == EVENTS.name else dataset.select(None).schema:
        click.echo(clean(f"  {field.name:<24} {type_name(field)}"))
    if stats.oldest_event is None or stats.newest_event is None:
        return
    click.echo(f"from {stats.oldest_event:%Y-%m-%d %H:%M:%S} to {stats.newest_event:%Y-%m-%d %H:%M:%S} UTC")
    click.echo()
    click.echo(plot([count for _, _, count in histogram]))
    if dataset.name != EVENTS.name:
        return
    click.echo()
    for title, counts in (("category", stats.events_by_category), ("event type", stats.events_by_type)):
        click.echo(f"by {title}:")
        for name, count in list(counts.items())[:12]:
            click.echo(f"  {count:>12,}  {clean(name)}")
        if len(counts) > 12:
            click.echo(f"  {sum(list(counts.values())[12:]):>12,}  in {len(counts) - 12} more")


def _list(talk: Talk, store: str, tables: Sequence[TableFacts]) -> None:
    """The tables of a file, each with the command to copy."""
    for table in tables:
        command = _command(store, table)
        talk.emit("table", **{**asdict(table), "columns": dict(table.columns)}, command=command)
        if talk.machine:
            continue
        rows = "rows not counted" if table.rows is None else f"{table.rows:,} rows"
        click.echo(clean(f"{table.name}: {table.problem or rows}{'' if table.kind == 'table' else f' ({table.kind})'}"))
        for column, declared in table.columns.items():
            marks = [name for name, there in (("key", column in table.key), ("time", column == table.time)) if there]
            click.echo(clean(f"  {column:<24} {declared:<16} {', '.join(marks)}".rstrip()))
        if command is not None:
            click.echo(clean(f"  {command}"))
    if not tables:
        talk.say(f"{store} holds no table")
    talk.emit("summary", ok=True, tables=len(tables))


def _command(store: str, table: TableFacts) -> str | None:
    """What exports a table, to be copied."""
    if table.problem is not None:
        return None
    name = re.sub(r"[^\w-]+", "_", table.name).lstrip("-") or "table"
    words = ["penstock", "export", store, f"{name}.parquet", "--table", table.name]
    return shlex.join([*words, *(["--time", table.time] if table.time is not None else [])])


def plot(counts: list[int]) -> str:
    """Events over time as one line of blocks, the fullest bucket full; a bucket that is not empty never looks it."""
    top = max(counts, default=0)
    if not top:
        return ""
    marks = [_BLOCKS[0 if not count else max(1, -(-count * 8 // top))] for count in counts]
    return f"|{''.join(marks)}| up to {top:,} events a bucket"
