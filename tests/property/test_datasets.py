"""A dataset that is no event goes through everything that events go through, whatever its values, by ports alone."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

import foreign_datasets
import naive_format
from foreign_datasets import GIVEN, Row, same
from penstock import (
    Difference,
    Exporter,
    ExportFilter,
    ExportOptions,
    ExportResult,
    SqliteAnalyticsStorage,
    diff,
    restore,
    verify,
)
from penstock.errors import InvalidFilter, UsageError
from penstock.testing.arrow_source import ArrowSource
from sample_events import shape

FILES = ("a.ndjson", "a.json", "a.csv", "a.parquet", "a.arrow")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "null", '"', "a,b", "\r\n", "\n", "\x00", "\x1f\x7f", "=1+1", "'", "\\", "\u2028", "😀", "1", "true", "\\N"]
)
NUMBERS = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e15, 1e16, 1e21, 0.1, math.nan, math.inf, -math.inf])
WIDE = Context(prec=80)
DECIMALS = (st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-11, 11) | st.just(15 * 10**9)).map(
    lambda whole: Decimal(whole).scaleb(-10, WIDE)
)
JSON = st.sampled_from(
    [
        "null",
        " null ",
        '{"a": [1.50, 1e400, -0] , "a":{}}',
        '"a b , \\" c"',
        '"\\u0000\\ud83d\\ude00"',
        "[ ]",
        "{}",
        "1.0",
        " true",
        "123456789012345678901234567890",
        '[[[{"x":null}]]]',
    ]
)
DAYS = st.dates() | st.sampled_from([date.min, date.max, date(1969, 12, 31)])
MOMENTS = st.datetimes() | st.sampled_from([datetime.min, datetime.max, datetime(1969, 12, 31, 23, 59, 59, 999999)])
FEW_DAYS = st.datetimes(datetime(2026, 11, 23, 22), datetime(2026, 11, 24, 2))
ROWS = st.fixed_dictionaries(
    {
        "flag": st.none() | st.booleans(),
        "size": st.none() | NUMBERS,
        "price": st.none() | DECIMALS,
        "name": st.none() | TEXT,
        "facts": st.none() | JSON,
        "raw": st.none() | st.binary(max_size=7) | st.sampled_from([b"\x00", b"\x00\x00", b"\xff\xfe"]),
        "day": st.none() | DAYS,
        "at": st.none() | (MOMENTS | FEW_DAYS).map(lambda moment: moment.replace(tzinfo=UTC)),
        "there": st.none() | MOMENTS,
    }
)


@st.composite
def tables(draw: st.DrawFn, least: int = 0) -> list[Row]:
    """Rows with keys of their own, in no order."""
    rows = draw(st.lists(ROWS, min_size=least, max_size=9))
    keys = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(rows), max_size=len(rows), unique=True))
    return [{"k": key, **row} for key, row in zip(keys, rows, strict=True)]


def _source(rows: Sequence[Row]) -> ArrowSource:
    table = pa.Table.from_pylist(list(rows), GIVEN)
    return ArrowSource("sizes", table, key=("k",), time="at", order="row", json=["facts"])


def _wanted(rows: Sequence[Row]) -> list[Row]:
    """What every reader has to find."""
    return [
        {**{name: _settled(name, value) for name, value in row.items()}, "row": number}
        for number, row in enumerate(rows, 1)
    ]


def _settled(name: str, value: Any) -> Any:
    if name == "facts" and value is not None:
        return shape(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return same(value)


def _coerced(rows: Sequence[Row]) -> dict[str, int]:
    counts = {
        "coerced_not_finite": sum(row["size"] is not None and not math.isfinite(row["size"]) for row in rows),
        "coerced_json_null": sum(row["facts"] is not None and row["facts"].strip() == "null" for row in rows),
    }
    return {name: count for name, count in counts.items() if count}


def _back(result: ExportResult) -> list[Row]:
    """The rows as our own reader gives them to whoever reads Arrow."""
    return foreign_datasets.from_table(pa.table(result))


def _digest(ndjson: Path) -> str:
    """The rows digest by cutting each line in front of what the source assigned."""
    lines = ndjson.read_bytes().split(b"\n")[:-1]
    return naive_format.events_digest(line[: line.rindex(b',"row":')] for line in lines)


@limits(max_examples=20)
@given(tables())
def test_five_formats_hold_the_same_rows_with_one_digest(rows: list[Row]) -> None:
    source, wanted = _source(rows), _wanted(rows)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        digests = set()
        for file in FILES:
            result = Exporter(source).export(place / file, options=ExportOptions(verify_written=True))
            assert foreign_datasets.read(place / file) == wanted, file
            assert _back(result) == wanted, file
            assert verify(place / file).problems == (), file
            assert dict(result.manifest.counts) == _coerced(rows)
            assert result.manifest.rows == result.metadata.event_count == len(rows)
            digests.add(result.manifest.rows_digest)
        assert digests == {_digest(place / "a.ndjson")}


@limits(max_examples=40)
@given(tables(), st.integers(1, 5), st.integers(1, 4), st.sampled_from([None, "none", "snappy"]))
def test_row_groups_of_any_size_are_one_file_of_parquet(
    rows: list[Row], group: int, workers: int, codec: str | None
) -> None:
    options = ExportOptions(row_group_rows=group, workers=workers, compression=codec)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "a.parquet")
        result = Exporter(_source(rows)).export(path, options=options)
        assert pq.read_metadata(path).num_row_groups == -(-len(rows) // group)
        assert foreign_datasets.from_table(pq.read_table(path)) == _wanted(rows)
        assert foreign_datasets.read(path) == _back(result) == _wanted(rows)


@limits(max_examples=8)
@given(tables(1), st.data())
def test_diff_names_rows_by_their_key_across_formats(rows: list[Row], data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(rows))
    other = [{**one, "flag": not one["flag"]} if one is row else one for one in rows]
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name, file) for file in FILES]
        for path in paths:
            Exporter(_source(rows)).export(path)
        Exporter(_source(other)).export(Path(name, "other.parquet"))
        for path in paths:
            assert diff(path, paths[0]).equal
            assert diff(_source(rows[::-1]), path).equal
            found: list[Difference] = []
            assert not diff(path, Path(name, "other.parquet"), found=found.append).equal
            assert [(one.kind, one.id) for one in found] == [("changed", str(row["k"]))]


@limits(max_examples=15)
@given(tables())
def test_partitions_go_by_the_datasets_time_and_have_a_place_for_none(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "out")
        result = Exporter(_source(rows)).export(place, options=ExportOptions(partition_by="day", format="ndjson"))
        assert verify(place).problems == ()
        found = {}
        for part in result.manifest.parts:
            folder = Path(part.name).parent.name
            for row in foreign_datasets.read(place / part.name):
                moment = row["at"]
                day = "__HIVE_DEFAULT_PARTITION__" if moment is None else f"{moment.date().isoformat()}"
                assert folder == f"date={day}"
                found[row["row"]] = row
        assert [found[number] for number in sorted(found)] == _wanted(rows)
        assert result.manifest.counts.get("without_time", 0) == sum(row["at"] is None for row in rows)


@limits(max_examples=15)
@given(tables(), tables(), st.sampled_from(["ndjson", "csv", "parquet", "arrow", "json"]))
def test_a_lineage_holds_every_row_once_and_gives_it_back_as_arrow(
    first: list[Row], second: list[Row], format: str
) -> None:
    source = _source(first)
    options = ExportOptions(format=format)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "runs")
        runs = [Exporter(source).export(place, incremental=True, options=options)]
        source.append(pa.Table.from_pylist(second, GIVEN))
        runs += [Exporter(source).export(place, incremental=True, options=options) for _ in range(2)]
        assert [run.manifest.rows for run in runs] == [len(first), len(second), 0]
        assert [row for run in runs for row in _back(run)] == _wanted([*first, *second])
        assert verify(place).problems == ()
        assert diff(place, source).equal


@limits(max_examples=15)
@given(tables(), st.none() | MOMENTS, st.none() | MOMENTS, st.none() | st.integers(0, 5))
def test_a_window_is_of_the_datasets_time_and_takes_no_row_without_one(
    rows: list[Row], start: datetime | None, end: datetime | None, limit: int | None
) -> None:
    if start is not None and end is not None and start >= end:
        start, end = None, start
    low, high = (None if one is None else one.replace(tzinfo=UTC) for one in (start, end))
    filter = ExportFilter(start=low, end=high, limit=limit)
    wanted = [
        row
        for row in _wanted(rows)
        if (low is None or (row["at"] is not None and row["at"] >= low))
        and (high is None or (row["at"] is not None and row["at"] < high))
    ][:limit]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "a.parquet")
        assert _back(Exporter(_source(rows)).export(path, filter=filter)) == wanted
        if limit is None:
            assert diff(path, _source(rows), filter=filter).equal


ONE: Row = {**dict.fromkeys(GIVEN.names), "k": 1}


def test_columns_come_in_the_given_order_and_a_key_that_was_left_out_is_missed(tmp_path: Path) -> None:
    result = Exporter(_source([ONE])).export(
        tmp_path / "a.csv", options=ExportOptions(columns=["there", "price", "flag"])
    )
    assert (tmp_path / "a.csv").read_text() == "there,price,flag\n,,\n"
    assert result.manifest.dataset.columns == ("there", "price", "flag")
    assert verify(tmp_path / "a.csv").ok
    with pytest.raises(UsageError, match="without the column k"):
        diff(tmp_path / "a.csv", _source([ONE]))


def test_what_is_no_event_is_not_restored_into_a_store_of_events(tmp_path: Path) -> None:
    Exporter(_source([ONE])).export(tmp_path / "a.parquet")
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store, pytest.raises(UsageError, match="dataset sizes"):
        restore(tmp_path / "a.parquet", store)


def test_two_datasets_are_not_compared(tmp_path: Path) -> None:
    table = pa.table({"k": pa.array([1], pa.int64())})
    sizes, others = ArrowSource("sizes", table, key=("k",)), ArrowSource("others", table, key=("k",))
    Exporter(sizes).export(tmp_path / "a.csv", options=ExportOptions(csv_null="-"))
    assert diff(sizes, tmp_path / "a.csv").equal
    with pytest.raises(UsageError, match="two datasets"):
        diff(others, tmp_path / "a.csv")
    with pytest.raises(UsageError, match="no key"):
        diff(ArrowSource("sizes", table), ArrowSource("sizes", table))
    wider = ArrowSource("sizes", pa.table({"k": pa.array(["1"])}), key=("k",))
    with pytest.raises(UsageError, match="column k is"):
        diff(wider, tmp_path / "a.csv")


def test_a_schema_that_differs_between_runs_is_refused(tmp_path: Path) -> None:
    Exporter(_source([ONE])).export(tmp_path / "runs", incremental=True)
    table = pa.Table.from_pylist([ONE], GIVEN).set_column(2, "size", pa.array(["1"]))
    changed = ArrowSource("sizes", table, key=("k",), time="at", order="row", json=["facts"])
    with pytest.raises(UsageError, match="another dataset"):
        Exporter(changed).export(tmp_path / "runs", incremental=True)


@pytest.mark.parametrize(("by", "column"), [("day", "Date"), ("hour", "HOUR"), ("hour", "date")])
def test_a_folder_that_is_called_like_a_column_is_refused_before_the_first_row(
    tmp_path: Path, by: str, column: str
) -> None:
    table = pa.table({"at": pa.array([datetime(2026, 1, 1)], pa.timestamp("us")), column: pa.array([1])})
    source = ArrowSource("odd", table, time="at")
    with pytest.raises(UsageError, match=f"column '{column}'"):
        Exporter(source).export(tmp_path / "out", options=ExportOptions(partition_by=by))
    assert not (tmp_path / "out").exists()
    Exporter(source).export(tmp_path / "out", options=ExportOptions(partition_by=by, columns=["at"]))
    assert verify(tmp_path / "out").ok


def test_a_dataset_without_a_time_has_no_windows_and_no_partitions(tmp_path: Path) -> None:
    source = ArrowSource("plain", pa.table({"x": pa.array([1, 2])}))
    with pytest.raises(InvalidFilter, match="plain has no time"):
        Exporter(source).export(tmp_path / "a.csv", filter=ExportFilter(start="2026-01-01"))
    with pytest.raises(InvalidFilter, match="no column 'category'"):
        Exporter(source).export(tmp_path / "a.csv", filter=ExportFilter(categories=["usage"]))
    with pytest.raises(UsageError, match="no time to partition by"):
        Exporter(source).export(tmp_path / "out", options=ExportOptions(partition_by="day"))
    result = Exporter(source).export(tmp_path / "out/", options=ExportOptions(format="csv", csv_null="-", part_rows=1))
    assert (result.manifest.time_range, result.manifest.seq_range) == (None, None)
    assert [pa.table(result)["x"].to_pylist(), verify(tmp_path / "out").problems] == [[1, 2], ()]
