"""Other programs that write to the store with a SQLite of their own, and files that are damaged."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import foreign_sqlite
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportFilter, SqliteAnalyticsStorage, verify
from penstock.errors import ExportError, NotAStore, StorageError
from penstock.model import times
from penstock.model.columns import batch_of
from penstock.sources.sqlite.schema import BLOCK_ROWS

SPAN = 10_000_000_000


def _stored(path: Path) -> dict[int, int]:
    """``seq`` and timestamp of every row, as another program sees them."""
    return dict(foreign_sqlite.execute(path, "SELECT seq, timestamp FROM events ORDER BY seq")[0])


def _scanned(store: SqliteAnalyticsStorage, filter: ExportFilter) -> list[int]:
    return [seq for batch in store.scan(filter) for seq in batch["seq"].to_pylist()]


def test_rows_of_another_program_are_read_at_once(store: SqliteAnalyticsStorage) -> None:
    foreign_sqlite.execute(
        store.path,
        (foreign_sqlite.INSERT, ["any-id", "a\ttab", -1, '{"n":1.50}']),
        (foreign_sqlite.INSERT, ["", "", times.MAX_MICROS, "{}"]),
    )
    rows = [row for batch in store.scan() for row in batch.to_pylist()]
    assert [row["id"] for row in rows] == ["any-id", ""]
    assert [row["event_type"] for row in rows] == ["a\ttab", ""]
    assert store.stats().total_events == 2
    store.append([AnalyticsEvent("ours")])
    assert _scanned(store, ExportFilter()) == [1, 2, 3]


def test_an_export_of_odd_foreign_rows_verifies(store: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    texts = ["", " ", '"', "a\nb", "\r", "\x00", "\x7f", "été", "NULL", "\\", ",", "=1", "\u2028", "x" * 500]
    foreign_sqlite.execute(
        store.path, *((foreign_sqlite.INSERT, [text, text, 5, "{}"]) for text in texts if "\x00" not in text)
    )
    for name in ("a.ndjson", "a.json", "a.csv", "a.parquet", "a.arrow"):
        Exporter(store).export(tmp_path / name)
        assert verify(tmp_path / name).problems == (), name


def _foreign_changes(chance: random.Random, last: int) -> list[Any]:
    """A dozen statements that insert, move in time, enlarge and delete rows anywhere."""
    changes: list[Any] = []
    for number in range(12):
        place, moment = chance.randrange(1, last + 50), chance.randrange(-SPAN, 2 * SPAN)
        changes.append(
            chance.choice(
                [
                    (foreign_sqlite.INSERT, [f"{last}-{number}", "foreign", moment, "{}"]),
                    ("UPDATE events SET timestamp = ? WHERE seq BETWEEN ? AND ? + 3", [moment, place, place]),
                    ("UPDATE events SET data = ? WHERE seq = ?", ['{"t":"' + "é" * 3000 + '"}', place]),
                    ("DELETE FROM events WHERE seq BETWEEN ? AND ? + 40", [place, place]),
                ]
            )
        )
    return changes


def test_time_filters_and_ranges_hold_whoever_appends_deletes_and_updates(store: SqliteAnalyticsStorage) -> None:
    """Block statistics are only ever too wide: what a filter finds is what it would find without them."""
    chance = random.Random(5)
    for round in range(6):
        events = [
            AnalyticsEvent("x", timestamp=times.from_micros(round * SPAN // 6 + number))
            for number in range(chance.randrange(1, 3 * BLOCK_ROWS))
        ]
        store.append(batch_of(events), checked=True)
        first = chance.randrange(SPAN)
        store.delete(ExportFilter(start=first, end=first + SPAN // 50))
        foreign_sqlite.execute(store.path, *_foreign_changes(chance, store.stats().last_seq))
        truth = _stored(store.path)
        assert _scanned(store, ExportFilter()) == list(truth)
        for _ in range(12):
            start = chance.randrange(-SPAN, SPAN)
            end = start + chance.choice([1, 1000, SPAN // 3, 3 * SPAN])
            wanted = [seq for seq, moment in truth.items() if start <= moment < end]
            assert _scanned(store, ExportFilter(start=start, end=end)) == wanted
            assert store.count(ExportFilter(start=start, end=end)) == len(wanted)
        with store.pin() as view:
            for span in view.plan(ExportFilter(), max_rows=2000, max_bytes=200_000):
                rows = [batch.num_rows for batch in view.read(span, ExportFilter())]
                assert sum(rows) <= 2000


def test_an_older_sqlite_sets_off_the_triggers(filled: SqliteAnalyticsStorage) -> None:
    counter = "SELECT sum(value) FROM penstock_counters"
    found = foreign_sqlite.execute(
        filled.path,
        counter,
        "UPDATE events SET data = '{}', timestamp = 7 WHERE seq = 3",
        counter,
        "DELETE FROM events WHERE seq IN (1, 2)",
        counter,
        "SELECT min(first_time) FROM penstock_blocks",
    )
    assert [found[0], found[2], found[4], found[5]] == [[[0]], [[1]], [[3]], [[7]]]


def test_numbers_are_the_stores_own(filled: SqliteAnalyticsStorage) -> None:
    with pytest.raises(RuntimeError, match="seq is given by the store"):
        foreign_sqlite.execute(filled.path, "UPDATE events SET seq = 1000 WHERE seq = 5")
    for number in (0, -5):
        with pytest.raises(RuntimeError, match="CHECK"):
            foreign_sqlite.execute(
                filled.path,
                "INSERT INTO events (seq, id, category, event_type, timestamp, priority, data, metadata, received_at)"
                f" VALUES ({number}, 'x', 'custom', 't', 1, 1, '{{}}', '{{}}', 0)",
            )
    assert _scanned(filled, ExportFilter()) == list(range(1, 501))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("data", "'{\n}'"),
        ("metadata", "'{}\n'"),
        ("data", "CAST(x'7bff7d' AS TEXT)"),
        ("id", "CAST(x'ff' AS TEXT)"),
        ("event_type", "CAST(x'eda080' AS TEXT)"),
        ("session_id", "CAST(x'c3' AS TEXT)"),
        ("timestamp", str(times.MAX_MICROS + 1)),
        ("timestamp", str(times.MIN_MICROS - 1)),
        ("timestamp", "9223372036854775807"),
        ("received_at", "-9223372036854775808"),
    ],
)
def test_a_row_that_would_break_an_export_is_refused_and_named(
    filled: SqliteAnalyticsStorage, tmp_path: Path, column: str, value: str
) -> None:
    foreign_sqlite.execute(filled.path, f"UPDATE events SET {column} = {value} WHERE seq = 77")
    for name in ("a.ndjson", "a.csv", "a.parquet"):
        with pytest.raises(StorageError, match="no event"):
            Exporter(filled).export(tmp_path / name)
    with pytest.raises(StorageError, match="no event"):
        filled.stats()
    assert sorted(path.name for path in tmp_path.iterdir() if "events.db" not in path.name) == []


@pytest.mark.parametrize(
    ("column", "value"), [("priority", "4"), ("category", "'nope'"), ("id", "NULL"), ("data", "x'00'")]
)
def test_the_schema_itself_refuses_the_rest(filled: SqliteAnalyticsStorage, column: str, value: str) -> None:
    with pytest.raises(RuntimeError, match=r"constraint|datatype|cannot store"):
        foreign_sqlite.execute(filled.path, f"UPDATE events SET {column} = {value} WHERE seq = 77")


def _damaged(raw: bytes, chance: random.Random, kind: int) -> bytes:
    data = bytearray(raw)
    page = chance.randrange(len(data) // 4096) * 4096
    if kind == 0:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[page : page + 16] = chance.randbytes(16)
    elif kind == 2:
        data[page : page + 4096] = bytes(4096)
    elif kind == 3:
        data[page : page + 4096] = chance.randbytes(4096)
    else:
        del data[page:]
    return bytes(data)


def test_damage_ends_in_an_error_of_ours_and_never_in_a_half_export(tmp_path: Path) -> None:
    """SQLite has no checksums: changed text may pass. But what passes is an export that holds what it says;
    where a payload is no JSON any more, verify says so."""
    source = tmp_path / "events.db"
    with SqliteAnalyticsStorage(source) as store:
        store.append(sample_events.varied(800))
    raw = source.read_bytes()
    chance = random.Random(11)
    refused = 0
    for number in range(150):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(_damaged(raw, chance, number % 5))
        out = tmp_path / f"{number}.csv"
        try:
            with SqliteAnalyticsStorage(copy, read_only=True) as damaged:
                Exporter(damaged).export(out)
                damaged.stats()
                damaged.histogram()
        except (StorageError, NotAStore):
            refused += 1
        except ExportError as error:
            raise AssertionError(f"{type(error).__name__}: {error}") from error
        if out.exists():
            assert all("a payload is not" in problem.message for problem in verify(out).problems)
        assert not out.with_name(f".{out.name}.penstock").exists()
        copy.unlink()
    assert refused > 60
