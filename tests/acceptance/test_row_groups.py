"""Row groups that are encoded side by side make one file: other libraries read it whole, and in pieces by its
statistics, and its bytes do not depend on who encoded them, or when."""

from __future__ import annotations

import io
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import naive_format
import sample_events
from penstock import Exporter, ExportFormat, ExportOptions, SqliteAnalyticsStorage, verify
from penstock.errors import SerializationError, UsageError
from penstock.formats import FORMATS, parquet, parquet_joined
from penstock.formats.compact import Compact
from penstock.formats.parquet_joined import MAGIC, Entry, JoinedFile, taken_apart
from penstock.model.dataset import json_field
from penstock.model.options import Layout
from penstock.ports.format import Encoding
from penstock.testing.arrow_source import ArrowSource

#: Each reads a file, or of it the rows whose ``seq`` is greater than a number.
READERS: dict[str, Callable[[Path, int], pa.Table]] = {
    "pyarrow": lambda path, after: pq.read_table(path, filters=[("seq", ">", after)]),
    "pandas": lambda path, after: pa.Table.from_pandas(
        pandas.read_parquet(path, filters=[("seq", ">", after)]), preserve_index=False
    ),
    "polars": lambda path, after: polars.scan_parquet(path).filter(polars.col("seq") > after).collect().to_arrow(),
    "duckdb": lambda path, after: (
        duckdb.sql("FROM read_parquet($path) WHERE seq > $after", params={"path": str(path), "after": after})
        .arrow()
        .read_all()
    ),
}


@pytest.fixture
def exported(filled: SqliteAnalyticsStorage, tmp_path: Path) -> Path:
    """A file of five hundred events in five row groups."""
    path = tmp_path / "a.parquet"
    Exporter(filled).export(path, options=ExportOptions(row_group_rows=100, workers=2))
    return path


def _values(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = (table[name].to_pylist() for name in ("seq", "id", "event_type", "session_id", "data"))
    return [tuple(None if value != value else value for value in row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("reader", READERS)
def test_other_libraries_read_all_rows_in_order(reader: str, exported: Path, filled: SqliteAnalyticsStorage) -> None:
    assert pq.read_metadata(exported).num_row_groups == 5
    assert _values(READERS[reader](exported, 0)) == _values(pa.Table.from_batches(filled.scan()))


@pytest.mark.parametrize("reader", READERS)
def test_other_libraries_leave_out_row_groups_by_their_statistics(
    reader: str, exported: Path, filled: SqliteAnalyticsStorage
) -> None:
    """The first three are damaged: nobody may look at them."""
    facts, content = pq.read_metadata(exported), bytearray(exported.read_bytes())
    column = facts.row_group(3).column(0)
    content[4 : column.dictionary_page_offset or column.data_page_offset] = bytes(column.data_page_offset - 4)
    exported.write_bytes(content)
    wanted = _values(pa.Table.from_batches(filled.scan()))
    assert _values(READERS[reader](exported, 300)) == wanted[300:]
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library says of damage
        READERS[reader](exported, 299)


class Backwards(Executor):
    """Of any three pieces of work the last one is done first."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(3)
        self._done = [threading.Event() for _ in range(30)]
        self._begun = 0
        self.order: list[int] = []

    def submit(self, fn: Callable[..., Any], /, *given: Any, **more: Any) -> Future[Any]:
        number, self._begun = self._begun, self._begun + 1

        def work() -> Any:
            if number % 3 < 2:
                assert self._done[number + 1].wait(10)
            try:
                return fn(*given, **more)
            finally:
                self.order.append(number)
                self._done[number].set()

        return self._pool.submit(work)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _file(executor: Executor, threads: int) -> bytes:
    make = FORMATS[ExportFormat.PARQUET].columnar
    assert make is not None
    batch = naive_format.arrived(sample_events.varied(90))
    pieces: list[bytes] = []
    layout = Layout(format=ExportFormat.PARQUET, codec="zstd", row_group_rows=10)
    with executor:
        encoder = make(
            layout, lambda piece: pieces.append(bytes(piece)), {}, False, Encoding(executor, threads, 1 << 20)
        )
        for start in range(0, 90, 9):
            encoder.write(batch.slice(start, 9))
        encoder.finish()
    return b"".join(pieces)


def test_the_bytes_do_not_depend_on_who_is_done_first() -> None:
    backwards = Backwards()
    found = _file(backwards, 3)
    assert backwards.order == [2, 1, 0, 5, 4, 3, 8, 7, 6]
    assert (
        found == _file(ThreadPoolExecutor(1), 1) == _file(ThreadPoolExecutor(2), 2) == _file(ThreadPoolExecutor(9), 9)
    )


class Counting(ThreadPoolExecutor):
    """Knows how many pieces of work were in hand at once, at most."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._counting = threading.Lock()
        self._now = self.most = 0

    def submit(self, fn: Callable[..., Any], /, *given: Any, **more: Any) -> Future[Any]:
        def work() -> Any:
            with self._counting:
                self._now += 1
                self.most = max(self.most, self._now)
            time.sleep(0.02)  # long enough for all others that may begin
            try:
                return fn(*given, **more)
            finally:
                with self._counting:
                    self._now -= 1

        return super().submit(work)


def test_no_more_than_three_are_encoded_at_once() -> None:
    counting = Counting(9)
    assert _file(counting, 9) == _file(ThreadPoolExecutor(1), 1)
    assert 2 <= counting.most <= 3


def test_rows_that_are_large_make_small_groups_and_json_has_no_statistics(tmp_path: Path) -> None:
    rows = pa.table({"n": range(40), "text": ["x" * (1 << 20)] * 40, "bytes": [b"x"] * 40})
    rows = rows.append_column(json_field("doc"), pa.array(["{}"] * 40))
    Exporter(ArrowSource("large", rows)).export(tmp_path / "a.parquet")
    facts = pq.read_metadata(tmp_path / "a.parquet")
    groups = [facts.row_group(place) for place in range(facts.num_row_groups)]
    assert max(group.num_rows for group in groups) <= 13
    compared = {
        group.column(place).path_in_schema
        for group in groups
        for place in range(group.num_columns)
        if group.column(place).is_stats_set
    }
    assert compared == {"n", "text"}


def test_threads_and_processes_make_the_same_parts(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    found = []
    for number, more in enumerate(({"workers": 1}, {"workers": 3}, {"workers": 2, "runner": "processes"})):
        place = tmp_path / str(number)
        Exporter(filled).export(place, options=ExportOptions(part_rows=200, row_group_rows=30, **more))  # type: ignore[arg-type]
        found.append({path.name: path.read_bytes() for path in (place / "data").iterdir()})
    assert len(found[0]) > 1
    assert found[0] == found[1] == found[2]


def test_small_row_groups_grow_so_that_a_file_holds_any_number_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    Exporter(_numbers(6000)).export(path, options=ExportOptions(row_group_rows=1, verify_written=True))
    facts = pq.read_metadata(path)
    rows = [facts.row_group(number).num_rows for number in range(facts.num_row_groups)]
    assert rows[:1024] == [1] * 1024
    assert rows[1024:2048] == [2] * 1024
    assert set(rows[2048:]) == {4}
    assert pq.read_table(path)["n"].to_pylist() == list(range(6000))


def _numbers(count: int) -> ArrowSource:
    return ArrowSource("numbers", pa.table({"n": pa.array(range(count), pa.int64())}))


@pytest.mark.parametrize(("limit", "most"), [("MOST_GROUPS", 516), ("MOST_FOOTER_BYTES", 2_000)])
def test_a_file_that_has_no_room_for_more_ends_and_another_begins(
    limit: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, limit, most)
    found = []
    for workers in (1, 3):
        place = tmp_path / str(workers)
        Exporter(_numbers(200_000)).export(place, options=ExportOptions(row_group_rows=10_000, workers=workers))
        assert verify(place).problems == ()
        parts = sorted((place / "data").iterdir())
        assert len(parts) > 1
        assert sum(pq.read_metadata(path).num_rows for path in parts) == 200_000
        found.append([path.read_bytes() for path in parts])
    assert found[0] == found[1]


@pytest.mark.parametrize("groups", [1, 14, 15, 16, 127, 128])
def test_a_file_has_any_number_of_row_groups(groups: int, tmp_path: Path) -> None:
    """Their number is spelled in three ways."""
    Exporter(_numbers(groups)).export(tmp_path / "a.parquet", options=ExportOptions(row_group_rows=1))
    assert pq.read_metadata(tmp_path / "a.parquet").num_row_groups == groups
    assert pq.read_table(tmp_path / "a.parquet")["n"].to_pylist() == list(range(groups))


@pytest.mark.parametrize("limit", ["MOST_GROUPS", "MOST_FOOTER_BYTES"])
def test_one_file_is_refused_more_row_groups_than_it_has_room_for(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three, four = tmp_path / "3.parquet", tmp_path / "4.parquet"
    Exporter(_numbers(30)).export(three, options=ExportOptions(row_group_rows=10))
    most = {"MOST_GROUPS": 3, "MOST_FOOTER_BYTES": pq.read_metadata(three).serialized_size + 20}
    monkeypatch.setattr(parquet_joined, limit, most[limit])
    with pytest.raises(UsageError, match="row groups, or more than") as caught:
        Exporter(_numbers(40)).export(four, options=ExportOptions(row_group_rows=10))
    assert caught.value.hint is not None
    assert not four.exists()
    Exporter(_numbers(30)).export(four, options=ExportOptions(row_group_rows=10))


TABLE = pa.table({"n": pa.array([3, 1, 2, None]), "t": pa.array(["x", "y", "x", None])})


def _encoded(table: pa.Table, **more: Any) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **more)
    return sink.getvalue()


def _joined(files: list[pa.Buffer], empty: pa.Buffer) -> bytes:
    whole = JoinedFile(taken_apart(empty))
    return b"".join([MAGIC, *(bytes(whole.add(taken_apart(file))) for file in files), whole.end()])


def test_a_file_of_another_schema_is_not_joined() -> None:
    with pytest.raises(SerializationError, match="row group 1 has another schema"):
        _joined([_encoded(TABLE), _encoded(TABLE.rename_columns(["n", "u"]))], _encoded(TABLE[:0]))


def test_all_row_groups_have_a_page_index_or_none() -> None:
    indexed = _encoded(TABLE, write_page_index=True)
    whole = pq.ParquetFile(pa.BufferReader(_joined([indexed, indexed], _encoded(TABLE[:0]))))
    assert whole.metadata.row_group(1).column(1).has_column_index
    assert whole.read() == pa.concat_tables([TABLE, TABLE])
    with pytest.raises(SerializationError, match="row group 1 has another kind of page index"):
        _joined([indexed, _encoded(TABLE)], _encoded(TABLE[:0]))


def test_what_is_not_known_of_a_footer_is_copied() -> None:
    """A field of a number that Parquet has not given out yet, in the footer and in a row group."""
    unknown = b"\x08\xc6\x01\x03abc"

    def with_unknown(file: pa.Buffer) -> pa.Buffer:
        content = bytes(file)
        (length,) = struct.unpack("<I", content[-8:-4])
        footer = content[-8 - length : -8]
        for entry in taken_apart(file).entries:
            footer = footer.replace(entry.text, entry.text[:-1] + unknown + b"\x00")
        footer = footer[:-1] + unknown + b"\x00"
        return pa.py_buffer(content[: -8 - length] + footer + struct.pack("<I4s", len(footer), b"PAR1"))

    whole = _joined([with_unknown(_encoded(TABLE))] * 2, with_unknown(_encoded(TABLE[:0])))
    assert whole.count(unknown) == 3
    assert pq.read_table(io.BytesIO(whole)) == pa.concat_tables([TABLE, TABLE])


def test_a_row_group_that_is_numbered_gets_its_number_in_the_file() -> None:
    numbered = b"\x56\x08" + b"\x24\x00" + b"\x00"  # field 5: the place 4; field 7: the number 0; the end
    numbers = tuple(Compact(numbered).numbers())
    assert Compact(Entry(numbered, numbers).moved(1000, 300)).structure() == {5: 1004, 7: 300}


def _spelled(value: Any) -> tuple[int, bytes]:
    """A value in Thrift's compact protocol, of numbers below 64, structures and lists of these; and its kind."""
    match value:
        case dict():
            last, text = 0, b""
            for number, inner in value.items():
                kind, content = _spelled(inner)
                text += bytes([number - last << 4 | kind]) + content
                last = number
            return 12, text + b"\0"
        case list():
            return 9, bytes([len(value) << 4 | 12]) + b"".join(_spelled(each)[1] for each in value)
        case _:
            return 6, bytes([value << 1])


def test_every_place_in_a_row_group_is_moved_and_nothing_else() -> None:
    """By the numbers that Parquet gives to its fields; a place of 0 is none."""

    def group(by: int) -> dict[int, Any]:
        facts = {1: 6, 5: 7, 6: 8, 7: 9, 9: 10 + by, 10: 11 + by, 11: 12 + by, 14: 13 + by, 15: 14}
        chunk = {2: 15 + by, 3: facts, 4: 16 + by, 5: 17, 6: 18 + by, 7: 19}
        nowhere = {2: 0, 3: {9: 4 + by, 11: 0}}
        return {1: [chunk, nowhere, chunk], 2: 20, 3: 21, 5: 22 + by, 6: 23}

    groups = _spelled({3: 5, 4: [group(0)]})[1]
    footer = pa.py_buffer(b"PAR1" + groups + struct.pack("<I4s", len(groups), b"PAR1"))
    (entry,) = taken_apart(footer).entries
    assert Compact(entry.moved(0, 0)).structure() == group(0)
    assert Compact(entry.moved(1000, 0)).structure() == group(1000)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("penstock")]


def test_values_stand_in_a_dictionary_where_they_repeat_whatever_their_type(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "id": range(5000),
            "few_numbers": [row % 7 for row in range(5000)],
            "few_texts": [f"kind {row % 7}" for row in range(5000)],
            "all_texts": [f"order {row}" for row in range(5000)],
            "few_at_first": ["same" if row < 200 else f"order {row}" for row in range(5000)],
            "few_later": ["same" if row > 200 else f"order {row}" for row in range(5000)],
        }
    )
    path = tmp_path / "a.parquet"
    Exporter(ArrowSource("orders", rows)).export(path)
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    repeating = {column.path_in_schema for column in columns if column.has_dictionary_page}
    assert repeating == {"few_numbers", "few_texts", "few_later"}
    assert pq.read_table(path).to_pylist() == rows.to_pylist()
