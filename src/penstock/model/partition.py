"""Partitions: folders by event time, named as Hive names them, so that a query engine skips what it does not need.

A partition is known by its number: how many days or hours, in UTC, it lies after year 0001.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model import times

#: Microseconds in a partition of each kind.
WIDTHS = {"day": 86_400_000_000, "hour": 3_600_000_000}
_FOLDERS = re.compile(r"date=\d{4}-\d\d-\d\d/(?:hour=\d\d/)?", re.ASCII)


def partition_numbers(timestamps: pa.TimestampArray, by: str) -> pa.Int64Array:
    """The partition of each time, which lies in the years 0001 to 9999."""
    since = pc.subtract(timestamps.cast(pa.int64()), pa.scalar(times.MIN_MICROS, pa.int64()))
    return pc.divide(since, pa.scalar(WIDTHS[by], pa.int64()))


def partition_folders(number: int, by: str) -> str:
    """The folders of a partition, with the slash at their end: ``date=2026-11-22/hour=13/``."""
    return folders_at(times.MIN_MICROS + number * WIDTHS[by], by)


def folders_at(micros: int, by: str) -> str:
    """The folders of the partition that a time lies in."""
    moment = times.from_micros(micros)
    day = f"date={moment.year:04d}-{moment:%m-%d}/"
    return day if by == "day" else f"{day}hour={moment:%H}/"


def split_name(name: str) -> tuple[str, str]:
    """A part's name as its partition's folders, empty if it has none, and the file's name."""
    match = _FOLDERS.match(name)
    end = 0 if match is None else match.end()
    return name[:end], name[end:]
