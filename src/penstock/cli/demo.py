"""``penstock demo``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from penstock.cli.inspect import plot
from penstock.cli.talk import human
from penstock.errors import IntegrityError, UsageError

_EVENTS = Path(__file__).parent.parent / "examples" / "web_requests.ndjson.gz"
_MAPPING = {"event_type": "event", "timestamp": "at", "session_id": "visitor"}
_ENDINGS = ("json", "ndjson", "csv", "parquet", "arrow", "ndjson.gz", "csv.zst")


@click.command("demo", epilog="Example:\n\n  penstock demo /tmp/try")
@click.argument("directory", metavar="[DIR]", default="penstock-demo")
def command(directory: str) -> None:
    """Make a store of 9,999 real web requests in DIR, export it in every format, verify each, show what to try next.

    Running it again in the same DIR stores nothing twice and replaces its own exports.
    """
    from penstock.api import Exporter, ingest, verify
    from penstock.model.filter import ExportFilter
    from penstock.sources.sqlite.store import SqliteAnalyticsStorage

    place = Path(directory)
    store = place / "events.db"
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is a file", hint="name a directory that does not exist yet")
    if place.is_dir() and not store.exists() and any(place.iterdir()):
        raise UsageError(f"{place} is not empty and not a demo", hint="name a directory that does not exist yet")
    place.mkdir(parents=True, exist_ok=True)

    loaded = ingest(store, [_EVENTS], mapping=_MAPPING)
    click.echo(f"{store}: {loaded.inserted:,} events stored, {loaded.duplicates:,} were there already\n")
    with SqliteAnalyticsStorage(store, read_only=True) as storage:
        stats = storage.stats()
        counts = [count for _, _, count in storage.histogram(buckets=60)]
        for name, count in stats.events_by_type.items():
            click.echo(f"  {count:>6,}  {name}")
        click.echo(f"  {stats.oldest_event:%d %b %Y %H:%M}{'':>27}{stats.newest_event:%d %b %Y %H:%M} UTC")
        click.echo(f"  {plot(counts)}\n")
        exporter = Exporter(storage)
        for ending in _ENDINGS:
            target = place / f"events.{ending}"
            began = time.perf_counter()
            result = exporter.export(target, overwrite=True)
            took = time.perf_counter() - began
            checked = verify(target)
            if not checked.ok:
                raise IntegrityError(f"{target} does not verify: {checked.problems[0].message}")
            click.echo(
                f"  {target!s:<34}{result.metadata.event_count:>7,} events {human(result.file_size):>9}"
                f"  {took * 1000:>5.0f} ms  verified"
            )
        failed = storage.count(ExportFilter(event_types=["request_failed"]))
    click.echo(f"\nEvery export has its manifest beside it. {failed:,} of the requests failed; try:\n")
    click.echo(f"  penstock inspect {store}")
    click.echo(f"  penstock export {store} - --event-type request_failed --limit 3")
    click.echo(f"  penstock export {store} {place}/may-18.parquet --start 2015-05-18 --end 2015-05-19")
