"""Two multisets of events against each other: what is on both sides cancels out, on the disk where it has to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from penstock.model.result import Difference, DifferenceKind
from penstock.pipeline.closing import Closing
from penstock.pipeline.scratch import Scratch

#: Bytes of unsettled events that are held in memory, about, before they go to the disk.
_HELD_BYTES = 64 << 20
#: What an unsettled event costs beside the text of its id.
_ENTRY_BYTES = 320


class Balance(Closing):
    """Counts each pair of id and content, up on side A and down on side B.

    Pairs that are met on both sides within a stretch cancel out in memory; the others wait in a scratch database, which
    sorts them there. Memory does not grow with the events, nor with the differences.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, bytes], int] = {}
        self._bytes = 0
        self._spilled = False
        self._scratch = Scratch(
            "CREATE TABLE unsettled (id BLOB NOT NULL, content BLOB NOT NULL, surplus INTEGER NOT NULL)",
            purpose="compare events",
        )

    def add(self, ids: Sequence[str], contents: Sequence[bytes], *, sign: int) -> None:
        """Put events on a side: ``sign`` is 1 for A and -1 for B, a content is the hash of it."""
        held = self._held
        for key in zip(ids, contents, strict=True):
            surplus = held.get(key, 0)
            if not surplus:
                held[key] = sign
                self._bytes += _ENTRY_BYTES + len(key[0])
            elif surplus + sign:
                held[key] = surplus + sign
            else:
                del held[key]
                self._bytes -= _ENTRY_BYTES + len(key[0])
        if self._bytes > _HELD_BYTES:
            self._spill()

    def _spill(self) -> None:
        self._scratch.put(
            "INSERT INTO unsettled VALUES (?, ?, ?)",
            ((id.encode(), content, surplus) for (id, content), surplus in self._held.items()),
        )
        self._held.clear()
        self._bytes = 0
        self._spilled = True

    def differences(self) -> Iterator[Difference]:
        """What did not cancel out, by id: contents that are left on both sides pair up as changed, the rest of a side
        is removed (A) or added (B). An id is named as often as it differs."""
        for id, group in groupby(self._surpluses(), key=itemgetter(0)):
            removed = added = 0
            for _, surplus in group:
                removed += max(surplus, 0)
                added += max(-surplus, 0)
            changed = min(removed, added)
            for kind, count in (("changed", changed), ("removed", removed - changed), ("added", added - changed)):
                for _ in range(count):
                    yield Difference(kind=DifferenceKind(kind), id=id)

    def _surpluses(self) -> Iterator[tuple[str, int]]:
        """Ids in order, each as often as it has contents that did not cancel out."""
        if not self._spilled:
            yield from ((id, surplus) for (id, _), surplus in sorted(self._held.items()))
            return
        self._spill()
        rows = self._scratch.rows(
            "SELECT id, sum(surplus) FROM unsettled GROUP BY id, content HAVING sum(surplus) <> 0 ORDER BY id, content"
        )
        yield from ((id.decode(), surplus) for id, surplus in rows)

    def close(self) -> None:
        """Drop the counts. Safe to call twice."""
        self._scratch.close()
