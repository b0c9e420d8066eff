"""The rolls of a lineage, read back: which rows its runs found, and which they missed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from penstock.errors import IntegrityError
from penstock.model.roll import RECORD_BYTES, Roll
from penstock.pipeline.rolls import Record, unpacked
from penstock.publishing.lineage import LineageDestination

_READ = 65_536 * RECORD_BYTES


def records_of(destination: LineageDestination, rolls: Iterable[Roll]) -> Iterator[tuple[Record, int]]:
    """Each record, with 1 for a row that was found and -1 for one that was missed.

    Raises :class:`~penstock.errors.IntegrityError` for a roll that is missing or is not what its manifest names, at its
    end at the latest.
    """
    for roll in rolls:
        stored = destination.roll(roll)
        if stored.size != roll.bytes:
            raise _damaged(roll)
        digest, at = hashlib.sha256(), 0
        with stored.open() as file:
            while data := file.read(_READ):
                digest.update(data)
                for record in unpacked(data[: len(data) // RECORD_BYTES * RECORD_BYTES]):
                    yield record, 1 if at < roll.rows else -1
                    at += 1
        if digest.hexdigest() != roll.sha256:
            raise _damaged(roll)


def _damaged(roll: Roll) -> IntegrityError:
    return IntegrityError(
        f"{roll.name} is missing, or is not what the manifest names: which rows came late cannot be told",
        hint="bring the file back, or begin a new lineage in another directory",
    )
