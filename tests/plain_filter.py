"""The conditions of a filter but for ``where``, on one event, in plain Python: what all evaluators have to say."""

from __future__ import annotations

from penstock import AnalyticsEvent, EventPriority, ExportFilter


def matches(filter: ExportFilter, event: AnalyticsEvent) -> bool:
    """Whether the event meets every condition except ``limit``, which is about many."""
    return (
        (filter.start_micros is None or event.timestamp_micros >= filter.start_micros)
        and (filter.end_micros is None or event.timestamp_micros < filter.end_micros)
        and (filter.categories is None or event.category in filter.categories)
        and (filter.event_types is None or event.event_type in filter.event_types)
        and (filter.session_id is None or event.session_id == filter.session_id)
        and (filter.priority is None or event.priority >= EventPriority.parse(filter.priority))
    )
