"""What tests of ``ingest`` share: records to load, and what is in a store and a quarantine, read by others than us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import foreign_sqlite
import penstock

STAMP = '"timestamp":"2026-11-01T12:00:00Z"'
#: ``STAMP`` in microseconds.
MICROS = 1_793_534_400_000_000
_COLUMNS = ("id", "category", "event_type", "timestamp", "session_id", "priority", "data", "metadata")


def record(members: str = "", *, event_type: str = "seen") -> str:
    """A JSON record with what is required, and further members."""
    return f'{{"event_type":"{event_type}",{STAMP}{"," if members else ""}{members}}}'


def ndjson(*records: str | bytes) -> bytes:
    """Records as lines."""
    return b"".join((each.encode() if isinstance(each, str) else each) + b"\n" for each in records)


def stored(store: Path) -> list[dict[str, Any]]:
    """The events of a store in arrival order, read by another process with another SQLite."""
    rows = foreign_sqlite.execute(store, f"SELECT {', '.join(_COLUMNS)} FROM events ORDER BY seq")[0]
    return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]


def quarantined(result: penstock.IngestResult) -> list[dict[str, Any]]:
    """The entries of a quarantine; each is one line of strict JSON."""
    if result.quarantine is None:
        return []
    text = result.quarantine.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.decode().split("\n")[:-1]]


def load(place: Path, content: bytes, name: str = "in.ndjson", **given: Any) -> penstock.IngestResult:
    """Load bytes as a file of that name into ``place / "events.db"``; the counts have to add up."""
    file = place / name
    file.write_bytes(content)
    return checked(penstock.ingest(place / "events.db", file, **given))


def checked(result: penstock.IngestResult) -> penstock.IngestResult:
    """The result, whose counts add up."""
    assert result.records == result.inserted + result.duplicates + result.conflicts + result.quarantined
    assert sum(result.reasons.values()) == result.quarantined
    return result
