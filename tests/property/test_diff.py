"""Diff against a model: two multisets of id and content, compared in memory, however the events lie on the disk."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

import adopted_tables
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportOptions, SqliteAnalyticsStorage, StorageConfig, diff, export
from penstock.model.result import Difference

FULL = os.environ.get("PENSTOCK_PROOF") == "full"
TABLE = "CREATE TABLE hits (seq INTEGER PRIMARY KEY, id TEXT, at INTEGER, name TEXT)"
CONFIG = StorageConfig(table="hits", mapping={"timestamp": "at", "event_type": "name"})
IDS = st.sampled_from(["a", "b", "ab", "é", "😀", "z", "A", "0"])
ROWS = st.lists(st.tuples(IDS, st.sampled_from(["x", "y", "z"])), max_size=25)


def expected(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What the two differ in, as the documents say it: per id, what is left on both sides pairs up as changed."""
    left, right = Counter(a) - Counter(b), Counter(b) - Counter(a)
    found = []
    for id in sorted({id for id, _ in (*left, *right)}):
        removed = sum(count for key, count in left.items() if key[0] == id)
        added = sum(count for key, count in right.items() if key[0] == id)
        both = min(removed, added)
        found += [("changed", id)] * both + [("removed", id)] * (removed - both) + [("added", id)] * (added - both)
    return found


@limits(max_examples=400 if FULL else 25)
@given(ROWS, ROWS, st.sampled_from([1, 1500, 1 << 26]), st.booleans())
def test_any_two_multisets(a: list[tuple[str, str]], b: list[tuple[str, str]], held_bytes: int, exported: bool) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch("penstock.reading.balance._HELD_BYTES", held_bytes),
    ):
        places = []
        for letter, rows in (("a", a), ("b", b)):
            place = Path(name, f"{letter}.db")
            numbered = [(seq, id, adopted_tables.TIME, kind) for seq, (id, kind) in enumerate(rows, 1)]
            adopted_tables.build(place, TABLE, rows=numbered)
            if exported:
                export(place, f"{name}/{letter}/", config=CONFIG, options=ExportOptions(format="csv", part_rows=4))
            places.append(Path(name, letter) if exported else place)
        found: list[Difference] = []
        result = diff(places[0], places[1], config=None if exported else CONFIG, found=found.append)

    assert [(str(one.kind), one.id) for one in found] == expected(a, b)
    assert (result.events_a, result.events_b) == (len(a), len(b))
    assert result.events_a - result.removed == result.events_b - result.added
    assert result.equal == (Counter(a) == Counter(b))


@limits(max_examples=100 if FULL else 6)
@given(sample_events.distinct(1), st.data())
def test_any_event_is_the_same_in_every_format(events: list[AnalyticsEvent], data: st.DataObject) -> None:
    fewer = data.draw(st.lists(st.sampled_from(events), unique_by=lambda event: event.id))
    with (
        tempfile.TemporaryDirectory() as name,
        SqliteAnalyticsStorage(f"{name}/all.db") as store,
        SqliteAnalyticsStorage(f"{name}/few.db") as few,
    ):
        store.append(events)
        few.append(fewer)
        for file in ("a.ndjson", "a.json.gz", "a.csv.zst", "a.parquet", "a.arrow"):
            Exporter(store).export(f"{name}/{file}")
            assert diff(store, f"{name}/{file}").equal, file
            found: list[Difference] = []
            diff(few, f"{name}/{file}", found=found.append)
            missing = sorted({event.id for event in events} - {event.id for event in fewer})
            assert [(str(one.kind), one.id) for one in found] == [("added", id) for id in missing], file
