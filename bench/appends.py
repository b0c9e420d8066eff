"""How fast events go into a store: ``appends.py KIND STORE --events N`` appends to a new store and prints a JSON line.

``arrow-checked`` appends Arrow batches that were checked before, ``arrow`` batches that the append itself checks; both
are made before the clock runs. ``module`` inserts rows that were made before, as many in a transaction, with Python's
``sqlite3`` and ``executemany`` into a table with the same columns and unique ids: what SQLite takes for it by itself.
``normal`` and ``full`` append one event at a time, each its own transaction, making the event object included; ``sync``
is the disk's own pace for comparison: 4 KiB written to a file and synced, again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = {
    "arrow-checked": "Arrow batches, checked before",
    "arrow": "Arrow batches, checked by the append",
    "module": "the sqlite3 module: executemany of ready rows",
    "normal": "single events, synchronous NORMAL",
    "full": "single events, synchronous FULL",
    "sync": "the disk alone: 4 KiB written and synced",
}
_BATCH = 65_536
_PAGE = bytes(4096)


def bulk(path: Path, events: int, *, checked: bool) -> float:
    """Seconds for that many events from Arrow batches, a transaction a batch."""
    from generate import batches
    from penstock import SqliteAnalyticsStorage
    from penstock.model.columns import checked_batch

    given = [batch for start in range(0, events, _BATCH) for batch in batches(start, min(start + _BATCH, events))]
    if checked:
        given = [checked_batch(batch) for batch in given]
    with SqliteAnalyticsStorage(path) as storage:
        began = time.perf_counter()
        stored = sum(storage.append(batch, checked=checked).inserted for batch in given)
        taken = time.perf_counter() - began
    assert stored == events
    return taken


def module(path: Path, events: int) -> float:
    """Seconds for that many rows by the standard library."""
    import sqlite3

    from generate import batches

    columns = "id, category, event_type, timestamp, session_id, priority, data, metadata"
    given = [
        batch.set_column(3, "timestamp", batch["timestamp"].cast("int64"))
        for start in range(0, events, _BATCH)
        for batch in batches(start, min(start + _BATCH, events))
    ]
    rows = [list(zip(*(column.to_pylist() for column in batch.columns), strict=True)) for batch in given]
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;"
        f"CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, {columns}, UNIQUE (id))"
    )
    began = time.perf_counter()
    for some in rows:
        database.execute("BEGIN")
        database.executemany(f"INSERT INTO events ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", some)
        database.execute("COMMIT")
    taken = time.perf_counter() - began
    database.close()
    return taken


def singles(path: Path, events: int, synchronous: Any) -> float:
    """Seconds for that many events, one transaction each."""
    from penstock import AnalyticsEvent, SqliteAnalyticsStorage, StorageConfig

    with SqliteAnalyticsStorage(path, StorageConfig(synchronous=synchronous)) as storage:
        began = time.perf_counter()
        for number in range(events):
            storage.append([AnalyticsEvent("feature_used", data={"feature": "search", "ms": number / 8})])
        taken = time.perf_counter() - began
        assert storage.count() == events
    return taken


def synced_pages(path: Path, events: int) -> float:
    """Seconds for that many pages, each synced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        began = time.perf_counter()
        for _ in range(events):
            os.write(fd, _PAGE)
            os.fdatasync(fd)
        return time.perf_counter() - began
    finally:
        os.close(fd)


_RUN: dict[str, Callable[[Path, int], float]] = {
    "arrow-checked": lambda path, events: bulk(path, events, checked=True),
    "arrow": lambda path, events: bulk(path, events, checked=False),
    "module": module,
    "normal": lambda path, events: singles(path, events, "normal"),
    "full": lambda path, events: singles(path, events, "full"),
    "sync": synced_pages,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("store", type=Path)
    parser.add_argument("--events", type=int, required=True)
    given = parser.parse_args()
    seconds = _RUN[given.kind](given.store, given.events)
    print(json.dumps({"events": given.events, "seconds": seconds}))


if __name__ == "__main__":
    main()
