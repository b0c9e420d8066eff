"""Where the next run begins, decided from what the store shows, without any store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import Rewound, UsageError
from penstock.model.columns import EVENTS
from penstock.model.lineage import Anchor, Break, Lineage
from penstock.model.manifest import Manifest, Shape
from penstock.model.options import ExportFormat
from penstock.reading.chain import Link
from penstock.reading.cursor import Standing, next_lineage


def row(seq: int, content: str = "as it was") -> Anchor:
    return Anchor(seq=seq, key=f"e{seq}", digest=content.encode().hex())


#: Run 1 of a store with the rows 1 to 40, which had counted two deletions.
NUMBERS = (40, 39, 38, 36, 32, 24, 8)
FIRST = Lineage(
    run=1,
    previous=None,
    after=0,
    upto=40,
    store="penstock:a",
    anchors=tuple(row(seq) for seq in NUMBERS),
    deletions=2,
    reached=40,
)


def link(lineage: Lineage) -> Link:
    manifest = Manifest(
        version="0",
        exported_at=0,
        shape=Shape.LINEAGE,
        dataset=EVENTS,
        format=ExportFormat.NDJSON,
        codec="none",
        level=None,
        options={},
        filter={},
        source={},
        rows=0,
        rows_digest="0" * 32,
        checksum="0" * 64,
        lineage=lineage,
    )
    return Link(name="_penstock/runs/000001.json", digest="d" * 64, manifest=manifest, lineage=lineage)


def standing(*, gone: tuple[int, ...] = (), other: tuple[int, ...] = (), **change: Any) -> Standing:
    there = {seq: [row(seq, "rewritten" if seq in other else "as it was")] for seq in NUMBERS if seq not in gone}
    given: dict[str, Any] = {
        "store": "penstock:a",
        "horizon": 45,
        "given": 45,
        "lowest": 1,
        "next": 41,
        "deletions": 2,
        "there": there,
        "anchors": (row(45),),
    }
    return Standing(**(given | change))


def following(now: Standing, lineage: Lineage = FIRST) -> Lineage:
    return next_lineage([link(lineage)], now)


def test_the_first_run_begins_below_everything() -> None:
    assert next_lineage([], standing()) == Lineage(
        run=1, previous=None, after=0, upto=45, store="penstock:a", anchors=(row(45),), deletions=2, reached=45
    )
    low = next_lineage([], standing(lowest=-8, horizon=-4, given=-4))
    assert (low.after, low.upto) == (-9, -4)
    empty = next_lineage([], standing(lowest=None, horizon=0, given=0, anchors=()))
    assert (empty.after, empty.upto, empty.anchors) == (0, 0, ())


def test_a_store_as_it_was_goes_on_where_the_last_run_ended() -> None:
    found = following(standing())
    assert (found.run, found.previous, found.after, found.upto, found.broken) == (2, "d" * 64, 40, 45, None)


@pytest.mark.parametrize(
    "now",
    [
        standing(gone=(40,), deletions=3),
        standing(gone=(40, 39, 8), deletions=5),
        standing(gone=NUMBERS, deletions=9),
        standing(gone=(40,), deletions=3, horizon=39),
        standing(gone=NUMBERS, deletions=42, lowest=None, horizon=0),
    ],
)
def test_rows_that_the_store_counted_as_deleted_say_nothing(now: Standing) -> None:
    found = following(now)
    assert (found.after, found.upto, found.broken) == (40, max(now.horizon, 40), None)


@pytest.mark.parametrize(("gone", "lowest"), [((8,), 20), ((24, 8), 32), (NUMBERS, 41), (NUMBERS, None)])
def test_a_table_that_loses_its_oldest_rows_goes_on(gone: tuple[int, ...], lowest: int | None) -> None:
    """What is left cannot have been missed: there is nothing at or below a row that is gone."""
    assert following(standing(gone=gone, lowest=lowest, deletions=None)).broken is None


@pytest.mark.parametrize(
    ("now", "after", "why"),
    [
        (standing(gone=(40,)), 39, "the row of arrival number 40 is gone, and the store counted 0 deletions since"),
        (standing(gone=(40, 39), deletions=3), 38, "the row of arrival number 39 is gone, and the store counted 1"),
        (standing(gone=(40, 39), deletions=None), 38, "the row of arrival number 39 is gone"),
        (standing(gone=(24,), deletions=None), 8, "the row of arrival number 24 is gone"),
        (standing(gone=(8,), deletions=None), 0, "the row of arrival number 8 is gone"),
        (standing(other=(40,)), 39, "arrival number 40 is another row now"),
        (standing(other=(38, 36), gone=(40, 39), deletions=9), 32, "arrival number 36 is another row now"),
        (standing(other=(8,)), 0, "arrival number 8 is another row now"),
        (standing(gone=(40, 39, 38), deletions=9, horizon=37, given=37), 36, "the store goes on after 37"),
        (standing(deletions=1), 0, "the store has counted 1 deletions, and 2 when"),
    ],
)
def test_what_nothing_explains_is_read_again_from_the_newest_row_below_that_holds(
    now: Standing, after: int, why: str
) -> None:
    found = following(now)
    assert (found.run, found.after, found.upto) == (2, after, now.horizon)
    assert found.broken is not None
    assert found.broken.cursor == 40
    assert why in found.broken.why


def test_one_row_alone_proves_nothing() -> None:
    """The store was put back to 30 rows, grew, and then lost just the row that was the last one."""
    found = following(standing(gone=(40,), other=(39, 38, 36, 32), deletions=3))
    assert (found.after, found.broken is not None) == (24, True)


def test_two_rows_of_one_number_are_not_the_row_that_was_there() -> None:
    now = standing()
    twice = replace(now, there={**now.there, 40: [row(40), row(40)]})
    assert (following(twice).after, following(twice).broken) == (
        39,
        Break(cursor=40, why="arrival number 40 is another row now"),
    )


@pytest.mark.parametrize(
    "now",
    [
        standing(other=NUMBERS),
        standing(gone=NUMBERS, deletions=None),
        standing(gone=NUMBERS),
        standing(gone=NUMBERS, lowest=None, horizon=0, given=0, deletions=0),
        standing(gone=(40, 39, 38), other=(36, 32, 24, 8), deletions=9),
    ],
)
def test_a_store_in_which_no_row_holds_is_refused(now: Standing) -> None:
    with pytest.raises(Rewound, match="the store is not as run 1 left it") as refused:
        following(now)
    assert (refused.value.exit_code, "new lineage" in (refused.value.hint or "")) == (2, True)


def test_another_store_is_refused() -> None:
    with pytest.raises(UsageError, match="not the store"):
        following(standing(store="penstock:b"))


def test_rows_where_the_last_run_saw_none_are_read() -> None:
    empty = replace(FIRST, anchors=())
    assert following(standing(lowest=41), empty).broken is None
    assert following(standing(lowest=None, next=None, horizon=0), empty).after == 40
    found = following(standing(lowest=7, next=7), empty)
    assert (found.after, found.broken is not None) == (0, True)
    assert following(standing(lowest=-7, next=-7), empty).after == -8
    emptied_above = replace(FIRST, upto=44, reached=44)
    found = following(standing(next=43), emptied_above)
    assert (found.after, found.broken) == (
        40,
        Break(cursor=44, why="there was no row of arrival number 43 when the last run went up to 44"),
    )
    assert following(standing(next=45), emptied_above).broken is None


def test_how_far_the_lineage_reaches_is_remembered() -> None:
    back = following(standing(other=(40, 39), horizon=39, given=39))
    assert (back.after, back.upto, back.reached) == (38, 39, 40)
    on = next_lineage(
        [link(FIRST), link(replace(back, anchors=(row(39, "rewritten"),)))],
        standing(horizon=60, given=60, other=(39,)),
    )
    assert (on.after, on.upto, on.reached, on.broken) == (39, 60, 60, None)
