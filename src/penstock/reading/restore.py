"""Restore: the way back, from any export to a store, by the read path that verify uses."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.errors import InvalidEvent, UsageError
from penstock.model.columns import EVENT_FIELDS, EVENTS, check_ids
from penstock.model.filter import ExportFilter
from penstock.model.result import AppendResult, RestoreResult
from penstock.pipeline.canonical import rows_digest
from penstock.pipeline.digests import digest_hex
from penstock.pipeline.matching import Matcher
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.source import AnalyticsStorage, OnConflict
from penstock.publishing.destination import ExportDestination
from penstock.publishing.lineage import LineageDestination
from penstock.reading.published import PublishedPart, manifests_of, parts_of


def restore(
    source: ExportDestination | LineageDestination,
    parts: Sequence[PublishedPart],
    storage: AnalyticsStorage | None,
    *,
    filter: ExportFilter,
    on_conflict: OnConflict = "fail",
    observer: Observer | None = None,
) -> RestoreResult:
    """Put the events of parts that are :func:`restorable` into a store, in order; ``None`` only reads.

    The stored bytes of a part are checked before it is decoded, and its events digest before its last events are
    stored. Events that are there already stay (restoring twice changes nothing); one with the same id and other content
    is decided by ``on_conflict``. Raises :class:`~penstock.errors.IntegrityError` at the first part that is not whole,
    :class:`~penstock.errors.UsageError` for a conflict, and :class:`~penstock.errors.InvalidEvent` for an id or a
    session that no store takes.
    """
    done, total = 0, sum(part.entry.bytes for part in parts)
    rows = digest = 0
    outcome = AppendResult()
    left = filter.limit
    for part in parts:
        matcher = Matcher(filter, part.dataset)
        for batch in part.rows(source):
            wanted = matcher.rows(batch)
            wanted = wanted if left is None else wanted.slice(0, left)
            if not wanted.num_rows:
                continue
            left = None if left is None else left - wanted.num_rows
            rows += wanted.num_rows
            digest += rows_digest(wanted.select(list(EVENT_FIELDS)))
            try:
                check_ids(wanted)
            except InvalidEvent as error:
                raise InvalidEvent(f"{part.entry.name}: {error.message}") from None
            if storage is not None:
                outcome += storage.append(wanted.select(list(EVENT_FIELDS)), checked=True, on_conflict=on_conflict)
            tell(observer, Progress(rows=rows, bytes=done, done=done, total=total))
        done += part.entry.bytes
        tell(observer, Progress(rows=rows, bytes=done, done=done, total=total))
        if left == 0:
            break
    return RestoreResult(
        events=rows,
        inserted=outcome.inserted,
        duplicates=outcome.duplicates,
        conflicts=outcome.conflicts,
        events_digest=digest_hex(digest),
    )


def restorable(source: ExportDestination | LineageDestination) -> Sequence[PublishedPart]:
    """The parts of an export, a directory or a whole lineage, by their manifests alone. Raises
    :class:`~penstock.errors.ManifestError`, and :class:`~penstock.errors.UsageError` if a column lacks."""
    manifests = manifests_of(source)
    for manifest in manifests:
        if manifest.dataset.name != EVENTS.name:
            raise UsageError(
                f"the export holds the dataset {manifest.dataset.name}, a store of events takes none but events",
                hint="read it with any program that reads its format",
            )
        if manifest.steps:
            raise UsageError(
                "the export is flattened: a store of events takes payloads, not columns of their members",
                hint="restore from an export without --flatten",
            )
        missing = [name for name in EVENT_FIELDS if name not in manifest.dataset.columns]
        if missing:
            raise UsageError(
                f"the export was made without the column {missing[0]}: events cannot be restored from it",
                hint="restore from an export of all columns",
            )
    return parts_of(manifests)
