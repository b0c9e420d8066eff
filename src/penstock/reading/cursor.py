"""Where the next run of a lineage begins: a cursor is only what the store can prove that it still holds.

The rows by which the last run would be known again are looked up. Each holds, is another row now, or is gone. What the
store's own facts explain says nothing; all else breaks the cursor, and the run begins at the newest row below that
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from penstock.errors import Rewound, UsageError
from penstock.model.arrival import Arrival, above, below, said
from penstock.model.lineage import Anchor, Break, Lineage
from penstock.model.maintenance import Waived
from penstock.reading.chain import Link

_WAY_OUT = "begin a new lineage in another directory, or export from the store that this one was begun with"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What a store shows when a run begins. ``given`` is the highest arrival number that it will not give out again,
    ``lowest`` that of its first row, ``next`` that of the first row above the last run's newest anchor, both where they
    matter. ``there`` are its rows at the numbers of the last run's anchors, ``anchors`` those of the next run. Several
    rows may have a number if it is ``shared``, and those that come late are counted. ``compared`` is as in
    :class:`~penstock.model.lineage.Lineage`. Rows of ``moved`` stand above the cursor now."""

    store: str
    horizon: Arrival
    given: Arrival
    lowest: Arrival | None
    next: Arrival | None
    deletions: int | None
    there: Mapping[Arrival, Sequence[Anchor]]
    anchors: tuple[Anchor, ...]
    shared: bool = False
    compared: int = 0
    moved: Collection[Arrival] = ()


def next_lineage(chain: Sequence[Link], now: Standing, *, accept: bool = False) -> Lineage:
    """The place of the next run. Raises :class:`UsageError` for another store, unless it is to be accepted, and
    :class:`Rewound` for one in which nothing proves any more what the last run claims."""
    beginning = now.horizon if now.lowest is None else below(now.lowest)
    if not chain:
        return _place(now, run=1, previous=None, after=min(0, beginning), reached=now.horizon)
    last = chain[-1].lineage
    accepted = last.store if now.store != last.store else None
    if accepted is not None and not accept:
        raise UsageError(
            f"this is not the store of the lineage: it was known as {last.store} when {chain[-1].name} was made, and"
            f" is {now.store} now",
            hint="if it holds the same rows, add --accept-store: they are looked up",
        )
    if accepted is not None:
        last = replace(last, deletions=None)  # each store counts its own
    doubts = [doubt for rule in _RULES for doubt in rule(last, now)]
    after, upto, broken = last.upto, max(now.horizon, last.upto), None
    if doubts:
        holding = [anchor.seq for anchor in last.anchors if _holds(anchor, now)]
        lowest, why = min(doubts, key=lambda doubt: doubt[0])
        if last.anchors and not holding:
            raise Rewound(
                f"the store is not as run {last.run} left it: {why}; none of the {len(last.anchors)} rows by which the"
                " run would be known again is there",
                hint=_WAY_OUT,
            )
        everything = min(chain[0].lineage.after, last.upto, beginning)
        after = max((seq for seq in holding if seq < lowest), default=everything)
        upto, broken = now.horizon, Break(cursor=last.upto, why=why)
    return _place(
        now,
        run=last.run + 1,
        previous=chain[-1].digest,
        after=after,
        upto=upto,
        reached=max(last.reached, upto),
        broken=broken,
        waived=last.waived,
        accepted=accepted,
    )


def _place(
    now: Standing,
    *,
    run: int,
    previous: str | None,
    after: Arrival,
    reached: Arrival,
    upto: Arrival | None = None,
    broken: Break | None = None,
    waived: tuple[Waived, ...] = (),
    accepted: str | None = None,
) -> Lineage:
    return Lineage(
        run=run,
        previous=previous,
        after=after,
        upto=now.horizon if upto is None else upto,
        store=now.store,
        anchors=now.anchors,
        compared=now.compared,
        deletions=now.deletions,
        reached=reached,
        broken=broken,
        waived=waived,
        accepted=accepted,
    )


#: The lowest arrival number of which nothing is proven any more, and why.
Doubt: TypeAlias = tuple[Arrival, str]
_ALL = -(1 << 64)


def _holds(anchor: Anchor, now: Standing) -> bool:
    there = now.there.get(anchor.seq, ())
    return anchor in there if now.shared else list(there) == [anchor]


def _another_row(last: Lineage, now: Standing) -> list[Doubt]:
    return [
        (anchor.seq, f"{said(anchor.seq)} is another row now")
        for anchor in last.anchors
        if now.there.get(anchor.seq) and not _holds(anchor, now)
    ]


def _gone_unexplained(last: Lineage, now: Standing) -> list[Doubt]:
    """Rows that are gone say nothing when the store counted as many deletions, or when nothing at or below them is
    left that could have been missed."""
    gone = [anchor.seq for anchor in last.anchors if not now.there.get(anchor.seq) and anchor.seq not in now.moved]
    counted = None if None in (now.deletions, last.deletions) else now.deletions - last.deletions  # type: ignore[operator]
    if counted is not None and counted >= len(gone):
        return []
    told = "" if counted is None else f", and the store counted {max(counted, 0)} deletions since"
    return [
        (seq, f"the row of {said(seq)} is gone{told}") for seq in gone if now.lowest is not None and now.lowest <= seq
    ]


def _none_was_there(last: Lineage, now: Standing) -> list[Doubt]:
    if now.next is None or now.next > last.upto:
        return []
    return [(now.next, f"there was no row of {said(now.next)} when the last run went up to {last.upto}")]


def _numbers_come_again(last: Lineage, now: Standing) -> list[Doubt]:
    if now.given >= last.upto:
        return []
    told = f"the last run went up to {said(last.upto)}, the store goes on after {now.given}"
    return [(above(now.given), told)]


def _fewer_deletions(last: Lineage, now: Standing) -> list[Doubt]:
    if last.deletions is None or now.deletions is None or now.deletions >= last.deletions:
        return []
    return [(_ALL, f"the store has counted {now.deletions} deletions, and {last.deletions} when the last run was made")]


_RULES: tuple[Callable[[Lineage, Standing], list[Doubt]], ...] = (
    _another_row,
    _gone_unexplained,
    _none_was_there,
    _numbers_come_again,
    _fewer_deletions,
)
