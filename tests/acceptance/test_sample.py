"""``verify --sample``: a rotating share of the parts is read, and of the others it is seen that they are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_events
from penstock import Exporter, ExportOptions, SqliteAnalyticsStorage, verify
from penstock.errors import UsageError
from penstock.model.sample import parse_sample
from penstock_command import Run

Command = Callable[..., Run]
EVENTS = sample_events.varied(90)


class Day:
    """A clock that stands on some day."""

    def __init__(self, number: int) -> None:
        self.number = number

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 23, 59, tzinfo=UTC) + timedelta(days=self.number)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An export of each shape: one file, a directory of 18 parts, a lineage of 12 in three runs, and partitions."""
    options = ExportOptions(format="ndjson", part_rows=5)
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        for start in (0, 20, 40):
            store.append(EVENTS[start : start + 20])
            Exporter(store).export(tmp_path / "lineage", incremental=True, options=options)
        store.append(EVENTS)
        Exporter(store).export(tmp_path / "directory", options=options)
        Exporter(store).export(tmp_path / "one.csv.gz")
        Exporter(store).export(tmp_path / "days", options=ExportOptions(format="csv", partition_by="day"))
    return tmp_path


def stored(export: Path) -> list[Path]:
    """The files of an export's parts."""
    if not export.is_dir():
        return [export]
    return sorted(path for path in export.rglob("*") if "part-" in path.name)


def _flip(path: Path) -> None:
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)


@pytest.mark.parametrize("export", ["one.csv.gz", "directory", "lineage", "days"])
def test_seven_days_in_a_row_read_every_part_once(export: str, place: Path) -> None:
    files = stored(place / export)
    days = [verify(place / export, sample="1/7", clock=Day(number)) for number in range(7)]
    assert all(day.ok for day in days)
    assert sum(day.parts_read for day in days) == len(files) == days[0].parts
    assert sum(day.bytes_read for day in days) == sum(path.stat().st_size for path in files) == days[0].bytes
    assert verify(place / export, sample="1/7", clock=Day(7)).sample == days[0].sample
    for path in files:
        whole = path.read_bytes()
        _flip(path)
        name = str(path.relative_to(place / export)) if path != place / export else path.name
        found = [verify(place / export, sample=f"{share}:1/7").problems for share in range(1, 8)]
        assert sorted(len(problems) for problems in found) == [0] * 6 + [1]
        assert [problem.part for problems in found for problem in problems] == [name]
        path.write_bytes(whole)


@pytest.mark.parametrize("export", ["one.csv.gz", "directory", "lineage", "days"])
def test_what_is_missing_or_cut_is_found_by_every_share(export: str, place: Path) -> None:
    path = stored(place / export)[-1]
    for damage in (lambda: os.truncate(path, path.stat().st_size - 1), path.unlink):
        damage()
        assert all(len(verify(place / export, sample=f"{share}:1/3").problems) == 1 for share in (1, 2, 3))


def test_runs_that_are_added_change_no_share(place: Path) -> None:
    before = [verify(place / "lineage", sample=f"{share}:1/5") for share in range(1, 6)]
    with SqliteAnalyticsStorage(place / "events.db") as store:
        Exporter(store).export(place / "lineage", incremental=True, options=ExportOptions(format="ndjson", part_rows=5))
    first = stored(place / "lineage")[3]
    _flip(first)
    after = [verify(place / "lineage", sample=f"{share}:1/5") for share in range(1, 6)]
    assert [bool(result.problems) for result in after] == [False, False, False, True, False]
    assert sum(result.parts_read for result in after) == sum(result.parts_read for result in before) + 6


def test_the_command_says_what_was_read(place: Path, penstock: Command) -> None:
    said = penstock("verify", "directory", "--sample", "2:1/4", "--json").summary
    assert (said["ok"], said["parts"], said["parts_read"], said["sample"]) == (True, 18, 5, "2:1/4")
    assert said["bytes_read"] == sum(path.stat().st_size for path in stored(place / "directory")[1::4])
    told = penstock("verify", "directory", "--sample", "2:1/4").stderr
    assert "as far as it was read: share 2:1/4, 5 of 18 parts" in told
    assert penstock("verify", "lineage", "--sample", "1/7").code == 0
    whole = penstock("verify", "directory", "--json").summary
    assert (whole["parts_read"], whole["bytes_read"], whole["sample"]) == (18, whole["bytes"], None)
    quick = penstock("verify", "directory", "--quick", "--json").summary
    assert (quick["parts_read"], quick["bytes_read"]) == (0, 0)
    _flip(stored(place / "directory")[1])
    assert [penstock("verify", "directory", "--sample", f"{k}:1/2").code for k in (1, 2)] == [0, 4]


@pytest.mark.parametrize(
    "sample", ["", "7", "1/0", "2/7", "0:1/7", "8:1/7", "1/1001", "-1:1/7", "1:2:1/7", "1/7x", "1/٧", "1.5:1/7"]
)
def test_a_sample_that_cannot_be_read(sample: str, place: Path, penstock: Command) -> None:
    said = penstock("verify", "directory", f"--sample={sample}")
    assert said.code == 2
    assert "cannot read the sample" in said.stderr
    with pytest.raises(UsageError):
        verify(place / "directory", sample=sample)


def test_a_sample_and_quick_exclude_each_other(place: Path, penstock: Command) -> None:
    assert penstock("verify", "directory", "--quick", "--sample", "1/7").code == 2
    with pytest.raises(UsageError):
        verify(place / "directory", quick=True, sample="1/7")


@given(shares=st.integers(1, 1000), day=st.integers(-300_000, 300_000), parts=st.integers(0, 3000))
def test_any_days_in_a_row_are_all_shares(shares: int, day: int, parts: int) -> None:
    first = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(days=day)
    row = [parse_sample(f"1/{shares}", now=first + timedelta(days=number)) for number in range(shares)]
    assert {sample.share for sample in row} == set(range(1, shares + 1))
    assert sum(sample.takes(parts) for sample in row) == 1
    assert all(parse_sample(str(sample), now=first) == sample for sample in row)
