"""A filter over columns: the same rules as :meth:`ExportFilter.matches`, for all rows at once."""

from __future__ import annotations

from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from penstock.errors import InvalidFilter
from penstock.model.dataset import Dataset, instants
from penstock.model.filter import ExportFilter, Term

_COMPARE = {">=": pc.greater_equal, "<": pc.less}
#: What a filter calls the time, whatever the dataset calls it.
_TIME = "timestamp"


def meets(column: pa.Array, term: Term) -> pa.BooleanArray:
    """Where the column of the term's field, times in microseconds of any type, meets the term; a null does not."""
    if term.operator == "in":
        return pc.is_in(column, pa.array([str(name) for name in term.value]))
    return pc.fill_null(_COMPARE[term.operator](column, pa.scalar(term.value, column.type)), False)


def needed(filter: ExportFilter, dataset: Dataset) -> list[str]:
    """The columns that a filter looks at. Raises :class:`~penstock.errors.InvalidFilter` for a condition on time where
    the dataset has none."""
    names = []
    for term in filter.terms:
        name = dataset.time if term.field == _TIME else term.field
        if name is None:
            raise InvalidFilter(f"{dataset.name} has no time", hint="leave start and end out")
        names.append(name)
    return names


def check_filter(filter: ExportFilter, dataset: Dataset) -> None:
    """Raise :class:`~penstock.errors.InvalidFilter` for a condition on a column that the dataset does not have."""
    for name in needed(filter, dataset):
        if name not in dataset.columns:
            raise InvalidFilter(f"{dataset.name} has no column {name!r}", hint="leave the condition out")


def matching(batch: pa.RecordBatch, filter: ExportFilter, dataset: Dataset) -> pa.RecordBatch:
    """The rows that meet every condition but ``limit``, in their order."""
    met = [
        meets(instants(batch[name]) if name == dataset.time else batch[name], term)
        for name, term in zip(needed(filter, dataset), filter.terms, strict=True)
    ]
    return batch.filter(reduce(pc.and_, met)) if met else batch
