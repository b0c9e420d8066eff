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
#: The number of the partition without a time, and what Hive has in the place of a value there.
TIMELESS = -1
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
#: Where the parts of a directory lie, in the folders of their partitions if they have any.
DATA = "data/"
_NAME = r"[A-Za-z]\w*"
#: More characters no folder is called by; the longest name of a file has 255.
_LONGEST_NAME = 64
_FOLDERS = re.compile(
    rf"(?:{DATA})?((?:{_NAME}=(?:\d{{4}}-\d\d-\d\d|{_NO_VALUE})/(?:{_NAME}=(?:\d\d|{_NO_VALUE})/)?)?)", re.ASCII
)


def check_name(name: object) -> None:
    """See that folders can be called so. Raises :class:`UsageError` for what is no plain word, or too long for one."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not re.fullmatch(_NAME, name, re.ASCII):
        raise UsageError(
            f"partition_name must be a plain word of at most {_LONGEST_NAME} characters, not {name!r}",
            hint="begin with a letter; letters, digits and _ may follow",
        )


def _folder_names(by: str, name: str | None) -> tuple[str, ...]:
    """The columns that a query engine makes of the folders."""
    day, hour = ("date", "hour") if name is None else (name, f"{name}_hour")
    return (day,) if by == "day" else (day, hour)


def check_partitions(dataset: Dataset, written: Dataset, by: str | None, name: str | None) -> None:
    """See that rows can be partitioned. Raises :class:`UsageError` for a dataset without a time, and for a folder that
    is called like a column that is written: some engines fail then, others give the folder's value in silence."""
    if by is None:
        return
    if dataset.time is None:
        raise UsageError(
            f"{dataset.name} has no time to partition by", hint="name it with --time, or leave --partition-by out"
        )
    columns = {column.lower(): column for column in written.columns}

    def same(name: str | None) -> list[str]:
        return [columns[folder.lower()] for folder in _folder_names(by, name) if folder.lower() in columns]

    for column in same(name):
        free = next(word for word in ("day", *(f"day{n}" for n in range(2, len(columns) + 4))) if not same(word))
        raise UsageError(
            f"the column {column!r} is called like a folder of the partitions",
            hint=f"call the folders otherwise: --partition-name {free}",
        )


def partition_numbers(moments: pa.Array, by: str) -> pa.Int64Array:
    """The partition of each time, which lies in the years 0001 to 9999."""
    since = pc.subtract(instants(moments), pa.scalar(times.MIN_MICROS, pa.int64()))
    return pc.fill_null(pc.divide(since, pa.scalar(WIDTHS[by], pa.int64())), TIMELESS)


def partition_folders(number: int, by: str, name: str | None) -> str:
    """The folders of a partition, with the slash at their end: ``date=2026-11-22/hour=13/``, or with the name ``on``
    ``on=2026-11-22/on_hour=13/``."""
    return folders_at(None if number == TIMELESS else times.MIN_MICROS + number * WIDTHS[by], by, name)


def folders_at(micros: int | None, by: str, name: str | None) -> str:
    """The folders of the partition that a time lies in, or rows without one."""
    values = (_NO_VALUE, _NO_VALUE)
    if micros is not None:
        moment = times.from_micros(micros)
        values = (f"{moment.year:04d}-{moment:%m-%d}", f"{moment:%H}")
    return "".join(f"{folder}={value}/" for folder, value in zip(_folder_names(by, name), values, strict=False))


def split_name(name: str) -> tuple[str, str]:
    """A part's name as its partition's folders, empty if it has none, and the file's name."""
    match = _FOLDERS.match(name)
    assert match is not None  # it matches nothing at all, too
    return match[1], name[match.end() :]
