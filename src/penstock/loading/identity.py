"""Ids for records that have none: the same record of the same source gets the same id in every run.

An id is made from the time of the event, the name of the source, the content of the record, and its rank: how many
equal records of that source came before it in this run. So loading a file again adds nothing, loading a grown file adds
what is new, and two equal records stay two. Ranks are counted in a temporary file, so that memory does not grow with
the data.

The limit of this: when two files of one source (a log and its rotation) are loaded in separate runs, an equal record in
each is taken for the same one. In one run it is not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from penstock.model.ids import stable_id
from penstock.pipeline.closing import Closing
from penstock.pipeline.scratch import Scratch

_ASKED = 500
_DIGEST = 16
_WRAPPERS = re.compile(r"\.(gz|zst)\Z", re.IGNORECASE)
#: What rotation appends: ``.1``, ``-20260101``, ``.2026-01-01``, also with a time behind the date.
_ROTATION = re.compile(
    r"(?:\.\d{1,3}|[-.]\d{8}(?:[-_T]?\d{2,6})?|[-.]\d{4}-\d\d-\d\d(?:[-_T]\d\d(?:[-_:]?\d\d){0,2})?)\Z"
)


def source_name(file_name: str) -> str:
    """The name of a file without compression and rotation endings: ``access.log`` for ``access.log-20260101.gz``."""
    name = file_name
    while True:
        shorter = _ROTATION.sub("", _WRAPPERS.sub("", name))
        if shorter in ("", name):
            return name
        name = shorter


class Identities(Closing):
    """Makes ids during one run. Memory: some tens of MiB, whatever the number of records."""

    def __init__(self) -> None:
        self._ranks = Scratch(
            "CREATE TABLE ranks (key INTEGER PRIMARY KEY, seen INTEGER NOT NULL)", purpose="count records"
        )

    def assign(self, source: str, moments: Sequence[int], contents: Sequence[bytes]) -> list[str]:
        """An id for each record, which are given in their order, with their times in microseconds; equal contents get
        different ids."""
        name = source.encode("utf-8", "surrogateescape")
        seed = hashlib.blake2b(len(name).to_bytes(8, "big") + name, digest_size=_DIGEST)
        digests = []
        for content in contents:
            made = seed.copy()
            made.update(content)
            digests.append(made.digest())
        ranked = zip(moments, digests, self._rank(digests), strict=True)
        return [stable_id(moment, _ranked(digest, rank)) for moment, digest, rank in ranked]

    def _rank(self, digests: Sequence[bytes]) -> list[int]:
        """How many equal records came before each one.

        Counted by 64 bits of the digest. Two different records that share them, one pair in some thousand million
        records, only get ranks as if they were equal; their ids still differ, for these hold more of the digest.
        """
        keys = [int.from_bytes(digest[:8], "big", signed=True) for digest in digests]
        before = self._counted(set(keys))
        ranks = []
        for key in keys:
            rank = before.get(key, 0)
            ranks.append(rank)
            before[key] = rank + 1
        self._ranks.put("REPLACE INTO ranks VALUES (?, ?)", sorted(before.items()))
        return ranks

    def _counted(self, keys: set[int]) -> dict[int, int]:
        wanted = sorted(keys)
        found: dict[int, int] = {}
        for start in range(0, len(wanted), _ASKED):
            asked = wanted[start : start + _ASKED]
            places = ",".join("?" * len(asked))
            found.update(self._ranks.rows(f"SELECT key, seen FROM ranks WHERE key IN ({places})", asked))  # noqa: S608  # only question marks are put in
        return found

    def close(self) -> None:
        """Drop the counts. Safe to call twice."""
        self._ranks.close()


def _ranked(digest: bytes, rank: int) -> bytes:
    return hashlib.blake2b(digest + rank.to_bytes(8, "big"), digest_size=_DIGEST).digest() if rank else digest
