"""Every verb tells one kind of observer how far it is, and ends when that one has had enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import penstock
import sample_events
from penstock import AnalyticsEvent, ExportOptions, Observer, SqliteAnalyticsStorage
from penstock.errors import Cancelled
from watching import Watching

Call = Callable[[Observer], object]
COUNT = 3000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store, an export of several parts and a lineage of it."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(sample_events.varied(COUNT))
    penstock.export(tmp_path / "events.db", tmp_path / "out", options=ExportOptions(part_rows=500, format="ndjson"))
    penstock.export(tmp_path / "events.db", tmp_path / "runs", incremental=True)
    penstock.export(tmp_path / "events.db", tmp_path / "a.ndjson")
    return tmp_path


def _verbs(place: Path) -> dict[str, Call]:
    store = place / "events.db"
    small = ExportOptions(part_rows=500, workers=1)
    return {
        "export": lambda watching: penstock.export(store, place / "new", options=small, observer=watching),
        "incremental": lambda watching: penstock.export(
            store, place / "more", options=small, incremental=True, observer=watching
        ),
        "verify": lambda watching: penstock.verify(place / "out", observer=watching),
        "verify a lineage": lambda watching: penstock.verify(place / "runs", observer=watching),
        "restore": lambda watching: penstock.restore(place / "out", place / "back.db", observer=watching),
        "diff": lambda watching: penstock.diff(place / "out", store, observer=watching),
        "ingest": lambda watching: penstock.ingest(place / "other.db", place / "a.ndjson", observer=watching),
        "resume": lambda watching: penstock.resume(store, place / "runs", observer=watching),
    }


VERBS = ("export", "incremental", "verify", "verify a lineage", "restore", "diff", "ingest")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_how_far_it_is_and_ends_at_the_whole(place: Path, verb: str) -> None:
    watching = Watching()
    _verbs(place)[verb](watching)
    last = watching.seen[-1]
    assert 0 < last.total == last.done
    assert [at.done for at in watching.seen] == sorted(at.done for at in watching.seen)
    assert last.rows in (None, COUNT, 2 * COUNT)
    assert last.bytes is None or last.bytes > 0
    with pytest.raises(FrozenInstanceError):
        last.done = 0  # type: ignore[misc]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_ends_when_it_is_cancelled_and_publishes_nothing(place: Path, verb: str) -> None:
    watching = Watching(enough=1)
    before = {path.name for path in place.iterdir()}
    with pytest.raises(Cancelled) as caught:
        _verbs(place)[verb](watching)
    assert len(watching.seen) == 1
    assert caught.value.exit_code == 130
    made = {path.name for path in place.iterdir()} - before
    assert not made & {"new", "more"} or not any(path.is_file() for name in made for path in (place / name).rglob("*"))
    _verbs(place)[verb](Watching())


def test_resume_tells_of_the_run_that_it_adds(place: Path) -> None:
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append([AnalyticsEvent("feature_used") for _ in range(7)])
    watching = Watching()
    _verbs(place)["resume"](watching)
    assert watching.seen[-1].rows == 7
