"""The shipped checks of sources, on our own store, an adopted table, and a list in memory; and that a survey reads
once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from memory_store import MemoryStorage

import foreign_sqlite
from penstock import AdoptedTable, AnalyticsEvent, ExportFilter, SqliteAnalyticsStorage, StorageConfig
from penstock.model import times
from penstock.pipeline.summary import survey
from penstock.ports.source import Reading, Slice, Source
from penstock.testing.source_contract import CHECKS, Place, events

TABLE = """CREATE TABLE happened (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, category, event_type,
    timestamp INTEGER, session_id, priority, data, metadata, received_at INTEGER)"""


class OwnStore:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "own.db"
        SqliteAnalyticsStorage(self._path).close()

    def connect(self) -> Source:
        return SqliteAnalyticsStorage(self._path, read_only=True)

    def add(self, events: Sequence[AnalyticsEvent]) -> None:
        with SqliteAnalyticsStorage(self._path) as store:
            store.append(events)


class ForeignTable:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "app.db"
        foreign_sqlite.execute(self._path, "PRAGMA journal_mode=WAL", TABLE)

    def connect(self) -> Source:
        mapping = {"timestamp": "timestamp:us", "received_at": "received_at:us"}
        return AdoptedTable(self._path, StorageConfig(table="happened", mapping=mapping))

    def add(self, events: Sequence[AnalyticsEvent]) -> None:
        foreign_sqlite.execute(
            self._path,
            f"""INSERT INTO happened SELECT NULL, value->>0, value->>1, value->>2, value->>3, value->>4, value->>5,
            value->>6, value->>7, 0 FROM json_each({_quoted(json.dumps([_fields(event) for event in events]))})""",
        )


class InMemory:
    def __init__(self, _: Path) -> None:
        self._storage = MemoryStorage()

    def connect(self) -> Source:
        return self._storage

    def add(self, events: Sequence[AnalyticsEvent]) -> None:
        self._storage.append(events)


def _fields(event: AnalyticsEvent) -> list[Any]:
    return [
        event.id,
        str(event.category),
        event.event_type,
        times.to_micros(event.timestamp),
        event.session_id,
        str(event.priority),
        event.data_text.decode(),
        event.metadata_text.decode(),
    ]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


KINDS: list[Callable[[Path], Place]] = [OwnStore, ForeignTable, InMemory]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_source_keeps_its_promises(kind: Callable[[Path], Place], check: Any, tmp_path: Path) -> None:
    check(kind(tmp_path))


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


def test_a_survey_reads_every_slice_of_one_view_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add(events(100))
    source = place.connect()
    with source.pin() as view:
        kind = type(view)
    read, pinned = kind.read, []  # type: ignore[attr-defined]
    spans: list[Slice] = []

    def counted(self: Any, span: Slice, filter: ExportFilter) -> Reading:
        spans.append(span)
        pinned.append(self)
        return read(self, span, filter)  # type: ignore[no-any-return]

    monkeypatch.setattr(kind, "read", counted)
    stats, histogram = survey(source, ExportFilter(), buckets=48)
    assert stats.total_events == sum(number for _, _, number in histogram) == 100
    assert spans
    assert len(spans) == len({(span.after, span.upto) for span in spans})
    assert len({id(view) for view in pinned}) == 1
