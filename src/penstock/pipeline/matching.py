"""A filter over columns: the same rules as :meth:`ExportFilter.matches`, for all rows at once."""

from __future__ import annotations

from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.filter import ExportFilter, Term

_COMPARE = {">=": pc.greater_equal, "<": pc.less}


def meets(column: pa.Array, term: Term) -> pa.BooleanArray:
    """Where the column of the term's field, times in microseconds of any type, meets the term; a null does not."""
    if term.operator == "in":
        return pc.is_in(column, pa.array([str(name) for name in term.value]))
    return pc.fill_null(_COMPARE[term.operator](column, pa.scalar(term.value, column.type)), False)


def matching(batch: pa.RecordBatch, filter: ExportFilter) -> pa.RecordBatch:
    """The rows that meet every condition but ``limit``, in their order."""
    met = [meets(batch[term.field], term) for term in filter.terms]
    return batch.filter(reduce(pc.and_, met)) if met else batch
