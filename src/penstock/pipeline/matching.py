"""A filter over a batch: the same rules as :meth:`ExportFilter.matches`, for all rows at once."""

from __future__ import annotations

from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from penstock.model.dataset import MICROS_UTC
from penstock.model.event import PRIORITY_NAMES
from penstock.model.filter import ExportFilter


def matching(batch: pa.RecordBatch, filter: ExportFilter) -> pa.RecordBatch:
    """The rows that meet every condition but ``limit``, in their order."""
    terms: list[pa.BooleanArray] = []
    if filter.start_micros is not None:
        terms.append(pc.greater_equal(batch["timestamp"], pa.scalar(filter.start_micros, MICROS_UTC)))
    if filter.end_micros is not None:
        terms.append(pc.less(batch["timestamp"], pa.scalar(filter.end_micros, MICROS_UTC)))
    if filter.categories is not None:
        terms.append(pc.is_in(batch["category"], pa.array([str(name) for name in filter.categories])))
    if filter.event_types is not None:
        terms.append(pc.is_in(batch["event_type"], pa.array(list(filter.event_types))))
    if filter.session_id is not None:
        terms.append(pc.fill_null(pc.equal(batch["session_id"], filter.session_id), False))
    if filter.least_priority is not None:
        terms.append(pc.is_in(batch["priority"], pa.array(PRIORITY_NAMES[filter.least_priority :])))
    return batch.filter(reduce(pc.and_, terms)) if terms else batch
