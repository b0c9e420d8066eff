"""Gaps against a model: whatever is taken from a lineage is named, and a window is quiet only if it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

import sample_events
from forged import manifest, run_path
from penstock import AnalyticsEvent, Exporter, ExportOptions, GapKind, SqliteAnalyticsStorage, gaps

FULL = os.environ.get("PENSTOCK_PROOF") == "full"
RUNS = 9
#: Runs of no event in between; the last run has some.
ROWS = [3, 0, 2, 4, 0, 0, 1, 5, 2]
HOUR = timedelta(hours=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("gaps")
    events = iter(sample_events.varied(sum(ROWS)))
    with SqliteAnalyticsStorage(place / "events.db") as store:
        for rows in ROWS:
            store.append([next(events) for _ in range(rows)])
            Exporter(store).export(
                place / "runs", incremental=True, options=ExportOptions(format="ndjson", part_rows=2)
            )
    return place / "runs"


NUMBERS = st.sets(st.integers(1, RUNS))


@limits(max_examples=400 if FULL else 40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifests=NUMBERS, parts=NUMBERS, sums=st.booleans())
def test_all_and_only_what_was_taken_is_named(lineage: Path, manifests: set[int], parts: set[int], sums: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        runs = Path(name, "runs")
        shutil.copytree(lineage, runs)
        named = {number: [entry["name"] for entry in manifest(runs, number)["parts"]] for number in range(1, RUNS + 1)}
        ends = {number: manifest(runs, number)["lineage"]["upto"]["seq"] for number in range(1, RUNS + 1)}
        for number in parts:
            for part in named[number]:
                (runs / part).unlink()
        for number in manifests:
            run_path(runs, number).unlink()
        if sums:
            for path in runs.glob("_penstock/runs/*.sha256"):
                path.unlink()
        left = set(named) - manifests
        told = {number for number in named if named[number] and (not sums or number not in parts)}
        if not left | told:
            return
        result = gaps(runs)

    last = max(left | told)
    missing = {
        number
        for gap in result.gaps
        if gap.kind is GapKind.MISSING_RUN and gap.runs is not None
        for number in range(gap.runs[0], gap.runs[1] + 1)
    }
    assert missing == {number for number in manifests if number <= last}
    gone = {gap.part for gap in result.gaps if gap.kind is GapKind.MISSING_PART}
    assert gone == {part for number in parts & left for part in named[number]}
    stretches = {gap.seq for gap in result.gaps if gap.kind is GapKind.MISSING_RUN and gap.seq is not None}
    for after, upto in stretches:
        assert upto in ends.values()
        assert after is None or after in ends.values()
    assert result.ok == (not missing and not gone)
    assert {gap.kind for gap in result.gaps} <= {GapKind.MISSING_RUN, GapKind.MISSING_PART, GapKind.QUIET}


@limits(max_examples=100 if FULL else 15)
@given(st.lists(st.integers(0, 60 * 24 * 5), min_size=1, max_size=20), st.integers(1, 5), st.booleans())
def test_a_quiet_window_has_no_event_and_lies_between_events(minutes: list[int], part_rows: int, hourly: bool) -> None:
    moments = [START + timedelta(minutes=minute) for minute in minutes]
    with tempfile.TemporaryDirectory() as name, SqliteAnalyticsStorage(f"{name}/events.db") as store:
        store.append([AnalyticsEvent("feature_used", timestamp=moment) for moment in moments])
        Exporter(store).export(f"{name}/out/", options=ExportOptions(format="csv", part_rows=part_rows))
        result = gaps(f"{name}/out", window="hour" if hourly else "day")

    width = HOUR if hourly else 24 * HOUR
    quiet = set()
    for gap in result.gaps:
        assert gap.suspicious
        assert gap.span is not None
        start, end = gap.span
        quiet |= {start + number * width for number in range((end - start) // width)}
    busy = {START + (moment - START) // width * width for moment in moments}
    between = {min(busy) + number * width for number in range((max(busy) - min(busy)) // width)} - busy
    assert quiet <= between
    if part_rows == 1:
        assert quiet == between
    assert result.ok
