"""Partitions: folders by event time, named as Hive names them, so that a query engine skips what it does not need.

A partition is known by its number: how many days or hours, in UTC, it lies after year 0001. Rows without a time have a
partition of their own.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import UsageError
from penstock.model import times
from penstock.model.dataset import Dataset, instants

#: Microseconds in a partition of each kind.
WIDTHS = {"day": 86_400_000_000, "hour": 3_600_000_000}
#: The columns that a query engine makes of the folders.
_FOLDER_NAMES = {"day": ("date",), "hour": ("date", "hour")}
#: The number of the partition without a time, and what Hive has in the place of a value there.
TIMELESS = -1
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
#: Where the parts of a directory lie, in the folders of their partitions if they have any.
DATA = "data/"
_DAY = rf"date=(?:\d{{4}}-\d\d-\d\d|{_NO_VALUE})/"
_FOLDERS = re.compile(rf"(?:{DATA})?((?:{_DAY}(?:hour=(?:\d\d|{_NO_VALUE})/)?)?)", re.ASCII)


def check_partitions(dataset: Dataset, written: Dataset, by: str | None) -> None:
    """See that rows can be partitioned. Raises :class:`UsageError` for a dataset without a time, and for a folder that
    is called like a column that is written: some engines fail then, others give the folder's value in silence."""
    if by is None:
        return
    if dataset.time is None:
        raise UsageError(f"{dataset.name} has no time to partition by", hint="leave --partition-by out")
    for name in written.columns:
        if name.lower() in _FOLDER_NAMES[by]:
            raise UsageError(
                f"the column {name!r} is called like a folder of the partitions",
                hint=f"give a table's column another name, as --rename {name}=NAME, or leave it out with --columns",
            )


def partition_numbers(moments: pa.Array, by: str) -> pa.Int64Array:
    """The partition of each time, which lies in the years 0001 to 9999."""
    since = pc.subtract(instants(moments), pa.scalar(times.MIN_MICROS, pa.int64()))
    return pc.fill_null(pc.divide(since, pa.scalar(WIDTHS[by], pa.int64())), TIMELESS)


def partition_folders(number: int, by: str) -> str:
    """The folders of a partition, with the slash at their end: ``date=2026-11-22/hour=13/``."""
    return folders_at(None if number == TIMELESS else times.MIN_MICROS + number * WIDTHS[by], by)


def folders_at(micros: int | None, by: str) -> str:
    """The folders of the partition that a time lies in, or rows without one."""
    if micros is None:
        return "".join(f"{name}={_NO_VALUE}/" for name in _FOLDER_NAMES[by])
    moment = times.from_micros(micros)
    day = f"date={moment.year:04d}-{moment:%m-%d}/"
    return day if by == "day" else f"{day}hour={moment:%H}/"


def split_name(name: str) -> tuple[str, str]:
    """A part's name as its partition's folders, empty if it has none, and the file's name."""
    match = _FOLDERS.match(name)
    assert match is not None  # it matches nothing at all, too
    return match[1], name[match.end() :]
