"""Ranges of an adopted table: every row once, in order, within the limits; what numbers them; counts that fit them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adopted_tables import NEEDED, PLAIN, TIME, build, opened, seqs, spans
from penstock import AdoptedTable, ExportFilter, StorageConfig
from penstock.errors import InvalidMapping
from penstock.ports.source import Slice
from penstock.sources.tables import slices
from penstock.sources.tables.numbering import ROW_OVERHEAD
from penstock.sources.tables.view import ForeignView


@pytest.fixture
def hits(tmp_path: Path) -> Path:
    """1,000 rows in WAL mode."""
    return build(
        tmp_path / "app.db",
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)",
        rows=[(number, TIME + number, "click", "x" * (number % 50)) for number in range(1, 1001)],
    )


@given(
    st.sets(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-50, 200), max_size=40),
    st.integers(1, 30),
    st.integers(1, 20_000),
    st.sampled_from(["key", "rowid", "mapped", "indexed", "without"]),
    st.sampled_from([1, 2, 7, 16]),
    st.integers(0, 999),
)
@example(set(range(0, 90, 3)), 30, 20_000, "mapped", 1, 1)
@example(set(range(0, 90, 3)), 8, 20_000, "mapped", 3, 2)
def test_ranges_hold_every_row_once_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: set[int],
    most_rows: int,
    most_bytes: int,
    kind: str,
    at_once: int,
    seed: int,
) -> None:
    chance = random.Random(seed)
    column = {"mapped": "n", "rowid": "n", "indexed": "n UNIQUE"}.get(kind, "n INTEGER PRIMARY KEY")
    rows = [(number, TIME, "click", "x" * chance.randrange(600)) for number in numbers]
    chance.shuffle(rows)
    path = build(
        tmp_path_factory.mktemp("ranges") / "app.db",
        f"CREATE TABLE hits ({column}, at, name, x) {'WITHOUT ROWID' * (kind == 'without')}",
        rows=rows,
    )
    wanted = sorted(numbers) if kind != "rowid" else list(range(1, len(numbers) + 1))
    mapping = {"seq": "n"} if kind in ("mapped", "indexed") else {}
    with patch.object(slices, "_AT_ONCE", at_once), opened(path, **mapping) as view:
        found = spans(view, rows=most_rows, size=most_bytes)
        pieces = [seqs(view, [span]) for span in found]
        again = spans(view, rows=most_rows, size=most_bytes)
        horizon = view.upto

    assert [seq for piece in pieces for seq in piece] == wanted
    assert found == again
    assert horizon == (wanted[-1] if wanted else 0)
    for span, piece, after in zip(
        found, pieces, [found[0].after if found else 0, *(s.upto for s in found)], strict=False
    ):
        assert piece
        assert span.after == after
        assert span.upto == piece[-1]
        assert len(piece) <= most_rows
        assert len(piece) == 1 or span.bytes_hint <= most_bytes


def rows_by_rooms(view: ForeignView, found: list[Slice]) -> list[list[tuple[int, int]]]:
    """The number and size of each row, as they are read at once."""
    pieces = []
    for span in found:
        rest: Slice | None = span
        while rest is not None:
            assert rest.after < rest.upto == span.upto
            reading = view.read(rest, PLAIN)
            rows = [row for batch in reading for row in batch.select(["seq", "data"]).to_pylist()]
            pieces.append([(row["seq"], len(row["data"])) for row in rows])
            rest = reading.rest()
    return pieces


@given(
    st.sets(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-50, 900), max_size=300),
    st.integers(1, 300),
    st.integers(1, 40_000),
    st.sampled_from(["WAL", "DELETE"]),
    st.integers(0, 999),
)
@example(set(range(400)), 300, 40_000, "WAL", 3)
@example({1, 2, 1 << 62, (1 << 62) + 1}, 3, 40_000, "WAL", 0)
def test_slices_by_a_sample_hold_every_row_once_and_readings_what_they_have_room_for(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: set[int],
    most_rows: int,
    most_bytes: int,
    journal: str,
    seed: int,
) -> None:
    chance = random.Random(seed)
    rows = [(number, TIME, "click", "x" * chance.choice([1, 1, 1, chance.randrange(5_000)])) for number in numbers]
    path = build(
        tmp_path_factory.mktemp("ranges") / "app.db",
        f"PRAGMA journal_mode = {journal}",
        "CREATE TABLE hits (n INTEGER PRIMARY KEY, at, name, x)",
        rows=rows,
    )
    with opened(path) as view:
        found = list(view.plan(PLAIN, max_rows=most_rows, max_bytes=most_bytes, sampled=True))
        assert found == list(view.plan(PLAIN, max_rows=most_rows, max_bytes=most_bytes, sampled=True))
        pieces = rows_by_rooms(view, found)

    assert [seq for piece in pieces for seq, _ in piece] == sorted(numbers)
    for piece in pieces:
        assert len(piece) <= most_rows
        assert sum(size for _, size in piece[:-1]) <= most_bytes


def test_a_sample_of_rows_that_are_alike_leaves_no_rest(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)",
        rows=[(number, TIME + number, "click", "x" * 50) for number in range(3, 30_000, 3)],
    )
    with opened(path) as view:
        by_rows, by_bytes = (
            list(view.plan(PLAIN, max_rows=rows, max_bytes=size, sampled=True))
            for rows, size in [(1_000, 1 << 30), (1 << 30, 500_000)]
        )
        assert [len(piece) for piece in rows_by_rooms(view, by_rows)] == [1_000] * 9 + [999]
        pieces = rows_by_rooms(view, by_bytes)

    assert len(pieces) == len(by_bytes)
    assert sum(map(len, pieces)) == 9_999
    assert all(400_000 < span.bytes_hint <= 500_000 for span in by_bytes[:-1])


def test_rows_that_no_sample_tells_of_are_read_in_pieces(tmp_path: Path) -> None:
    sizes = [200_000 if 500 <= number < 540 else 10 for number in range(2_000)]
    rows = [(number, TIME, "click", "x" * size) for number, size in enumerate(sizes)]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)", rows=rows)
    with opened(path) as view:
        found = list(view.plan(PLAIN, max_rows=10_000, max_bytes=1 << 20, sampled=True))
        pieces = rows_by_rooms(view, found)

    assert len(found) == 1, "the first rows are small"
    assert [seq for piece in pieces for seq, _ in piece] == list(range(2_000))
    assert len(pieces) >= 7
    assert all(sum(size for _, size in piece) < (1 << 20) + 201_000 for piece in pieces)


def test_the_ends_of_all_integers_are_numbers_as_any_other(tmp_path: Path) -> None:
    numbers = [-(1 << 63), 1 - (1 << 63), 0, (1 << 63) - 2, (1 << 63) - 1]
    rows = [(number, TIME, "click") for number in numbers]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)", rows=rows)
    with opened(path) as view:
        for most in (1, 2, 100):
            assert seqs(view, spans(view, rows=most)) == numbers


def test_ranges_are_as_large_as_the_limits_allow(hits: Path) -> None:
    with opened(hits) as view:
        by_rows = spans(view, rows=300)
        by_bytes = spans(view, rows=10_000, size=50_000)

    assert [(span.after, span.upto) for span in by_rows] == [(0, 300), (300, 600), (600, 900), (900, 1000)]
    assert all(50_000 - 400 < span.bytes_hint <= 50_000 for span in by_bytes[:-1])


def test_a_row_that_is_over_the_limit_is_a_range_of_its_own(tmp_path: Path) -> None:
    rows = [(number, TIME, "click", "x" * (5000 if number == 3 else 1)) for number in range(1, 6)]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)", rows=rows)
    with opened(path) as view:
        found = spans(view, size=1000)

    assert [(span.after, span.upto) for span in found] == [(0, 2), (2, 3), (3, 5)]


def test_bytes_count_every_column_and_blobs(tmp_path: Path) -> None:
    wide = ", ".join(f"c{number}" for number in range(1200))
    path = build(
        tmp_path / "app.db",
        f"CREATE TABLE hits (at, name, {wide})",
        f"INSERT INTO hits (at, name, c3, c1199) VALUES ({TIME}, 'click', zeroblob(3000), '{'é' * 500}')",
    )
    with opened(path) as view:
        found = spans(view)
        (batch,) = view.read(found[0], PLAIN)

    assert found[0].bytes_hint == 3000 + len("é" * 500) * 2 + 8 + len("click") + 1198 * len("null") + ROW_OVERHEAD
    assert batch["data"][0].as_py().count(":") == 1200


def test_without_a_number_a_small_table_is_one_range_in_rowid_order(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (uid TEXT PRIMARY KEY, at, name)",
        rows=[(f"u{9 - number}", TIME, "click") for number in range(5)],
    )
    with opened(path, id="uid") as view:
        found = spans(view)
        (batch,) = view.read(found[0], PLAIN)

    assert len(found) == 1
    assert batch["id"].to_pylist() == ["u9", "u8", "u7", "u6", "u5"]
    assert batch["seq"].to_pylist() == [1, 2, 3, 4, 5]
    assert view.source["order"] == "rowid, assumed"
    assert view.source["ids"] == "column, unique"


def test_a_mapped_seq_without_integers_is_refused_and_odd_ones_are_counted(tmp_path: Path) -> None:
    numbers: list[Any] = [5, None, 3, "x", 4.5, b"1", -7]
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (n, at, name, t TEXT)",
        rows=[(number, TIME, "click", number) for number in numbers],
    )
    with opened(path, seq="n") as view:
        assert view.upto == 5
        assert seqs(view, spans(view)) == [-7, 3, 5]
        assert view.unread == {"skipped_bad_seq": 4}
        assert list(view.plan(PLAIN, max_rows=10, max_bytes=10, after=5)) == []
    with opened(path, seq="t") as view, pytest.raises(InvalidMapping, match="'t' holds no integer"):
        spans(view)


def test_a_key_without_row_numbers_may_be_no_integer_and_is_counted_then(tmp_path: Path) -> None:
    rows = [(2, TIME, "click"), ("x", TIME, "click"), (1.5, TIME, "click"), (1, TIME, "click")]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name) WITHOUT ROWID", rows=rows)
    with opened(path) as view:
        assert seqs(view, spans(view)) == [1, 2]
        assert (view.upto, view.unread) == (2, {"skipped_bad_seq": 2})


def test_a_repeated_seq_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    path = build(
        tmp_path / "app.db",
        "CREATE TABLE hits (n, at, name)",
        rows=[(min(number, 65_535), TIME, "click") for number in range(1, 65_537)],
    )
    with opened(path, seq="n") as view, pytest.raises(InvalidMapping, match="'n' holds 65535 twice"):
        spans(view)


def test_rows_of_one_number_come_in_row_order_whatever_an_index_says(tmp_path: Path) -> None:
    rows = [(f"i{number}", TIME + number // 10, f"n{9 - number % 10}") for number in range(100)]
    path = build(
        tmp_path / "app.db", "CREATE TABLE hits (uid, at, name)", "CREATE INDEX ats ON hits (at, name, uid)", rows=rows
    )
    with opened(path, seq="at", id="uid") as view:
        for most in (100, 10):
            found = spans(view, rows=most)
            assert [name for span in found for each in view.read(span, PLAIN) for name in each["id"].to_pylist()] == [
                uid for uid, _, _ in rows
            ]


def test_each_reading_counts_its_own_rows(tmp_path: Path) -> None:
    rows = [(number, TIME if number % 3 else "never", "click", b"x") for number in range(1, 31)]
    path = build(tmp_path / "app.db", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name, x)", rows=rows)
    with opened(path) as view:
        found = spans(view, rows=7)
        assert [span.rows for span in found] == [7, 7, 7, 7, 2]
        for _ in range(2):
            readings = [view.read(span, PLAIN) for span in found]
            assert [sum(batch.num_rows for batch in reading) for reading in readings] == [5, 5, 4, 5, 1]
            assert [reading.counts for reading in readings] == [
                {"coerced_blob": taken, "skipped_bad_timestamp": left}
                for taken, left in [(5, 2), (5, 2), (4, 3), (5, 2), (1, 1)]
            ]
        limited = view.read(found[1], ExportFilter(limit=1))
        assert [batch.num_rows for batch in limited] == [1]
        assert limited.counts == {"coerced_blob": 1}, "what lies behind the limit is not looked at"
        nothing = view.read(found[1], ExportFilter(limit=0))
        assert (list(nothing), nothing.counts, view.unread) == ([], {}, {})


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_an_empty_table_has_no_ranges(tmp_path: Path, journal: str) -> None:
    path = build(
        tmp_path / "app.db", f"PRAGMA journal_mode = {journal}", "CREATE TABLE hits (id INTEGER PRIMARY KEY, at, name)"
    )
    with opened(path, readers=2) as view:
        assert spans(view) == []
        assert (view.upto, view.unread) == (0, {})
        assert seqs(view, [Slice(after=-1, upto=10, bytes_hint=0)]) == []
    with AdoptedTable(path, StorageConfig(table="hits", mapping=NEEDED)) as storage:
        assert storage.stats().total_events == 0
        assert storage.histogram() == []
