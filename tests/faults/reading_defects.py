"""Defects to plant in what is exported, read and checked, and in the codecs; see ``crash_defects``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc

from penstock.exporting import extract, incremental, parts
from penstock.exporting import run as running
from penstock.model.lineage import Lineage
from penstock.model.manifest import Manifest
from penstock.model.result import ExportResult
from penstock.model.roll import Growth
from penstock.reading import chain, cursor, part, verify_chain
from penstock.sources.connection import Connection
from penstock.sources.sqlite import schema
from penstock.sources.sqlite import view as reading
from penstock.sources.sqlite.store import SqliteAnalyticsStorage
from penstock.sources.sqlite.view import EventsView

Patches = list[tuple[Any, str, Any]]


def _shifted(by: int) -> Patches:
    class Shifted(running.Run):
        def __init__(self, *given: Any, after: int | None = None, **more: Any) -> None:
            super().__init__(*given, after=max((after or 0) + by, 0) if after else after, **more)

    return [(incremental, "Run", Shifted)]


def _boundary_read_twice() -> Patches:
    """``>=`` for ``>`` where a run begins."""
    return _shifted(-1)


def _boundary_skipped() -> Patches:
    """One too many is left out where a run begins."""
    return _shifted(1)


def _horizon_left_out() -> Patches:
    """``<`` for ``<=`` where a run ends."""
    real: Callable[..., Iterator[Any]] = EventsView._rows

    def read(self: Any, span: Any, *given: Any) -> Iterator[Any]:
        yield from real(self, replace(span, upto=min(span.upto, self.upto - 1)), *given)

    return [(EventsView, "_rows", read)]


def _end_not_pinned() -> Patches:
    """The stretch ends where the store ends when the rows were read, not when they began to be."""
    real = incremental.export_incremental

    def export(storage: Any, *given: Any, **more: Any) -> Any:
        drawn = running.Run.manifest

        def manifest(self: Any, *given: Any, lineage: Any = None, **more: Any) -> Manifest:
            with storage.pin(readers=1) as now:
                if lineage is not None:
                    written = self.layout.dataset.select(self.layout.columns)
                    anchors = incremental._standing([], now, storage.dataset, written, [], Growth.PROVEN).anchors
                    lineage = replace(lineage, upto=now.upto, reached=max(lineage.reached, now.upto), anchors=anchors)
                return drawn(self, *given, lineage=lineage, **more)

        with patch.object(running.Run, "manifest", manifest):
            return real(storage, *given, **more)

    return [(incremental, "export_incremental", export)]


def _cursor_on_event_time() -> Patches:
    """A run begins after the latest event of the run before: what arrives late is passed by."""
    standing, real = incremental._standing, EventsView._rows

    def stood(links: Any, snapshot: Any, *given: Any) -> Any:
        spans = [link.manifest.time_range for link in links if link.manifest.time_range is not None]
        snapshot.since = max((span.last for span in spans), default=None)
        return standing(links, snapshot, *given)

    def read(self: Any, *given: Any) -> Iterator[Any]:
        since = getattr(self, "since", None)
        for batch in real(self, *given):
            later = batch if since is None else batch.filter(pc.greater(batch["timestamp"].cast(pa.int64()), since))
            if later.num_rows:
                yield later

    return [(incremental, "_standing", stood), (EventsView, "_rows", read)]


def _cursor_before_commit() -> Patches:
    """Where the next run begins is remembered apart from the runs, and before they are committed."""
    real = incremental.next_lineage
    remembered: dict[str, int] = {}

    def placed(links: Any, now: Any, **more: Any) -> Lineage:
        lineage = real(links, now, **more)
        begin = remembered.get(now.store, lineage.after)
        remembered[now.store] = lineage.upto
        return replace(lineage, after=begin)

    return [(incremental, "next_lineage", placed)]


def _follows_without(*left_out: str) -> Patches:
    real = chain.faults
    return [(chain, "faults", lambda *links: (fault for fault in real(*links) if fault.what not in left_out))]


def _predecessor_not_checked() -> Patches:
    return _follows_without("predecessor")


def _gap_not_checked() -> Patches:
    return _follows_without("gap", "overlap")


def _pins_not_checked() -> Patches:
    """A run may have another filter or format than the lineage."""
    return [(incremental, "_check_pinned", lambda *_: None)]


def _rules_without(*left_out: str) -> Patches:
    """Something that breaks a cursor is let pass."""
    return [(cursor, "_RULES", tuple(rule for rule in cursor._RULES if rule.__name__ not in left_out))]


def _rewound_store_not_seen() -> Patches:
    return _rules_without(*(rule.__name__ for rule in cursor._RULES))


def _rewritten_rows_let_pass() -> Patches:
    return _rules_without("_another_row")


def _missing_rows_let_pass() -> Patches:
    return _rules_without("_gone_unexplained", "_numbers_come_again")


def _forgotten_deletions_let_pass() -> Patches:
    return _rules_without("_fewer_deletions", "_numbers_come_again", "_none_was_there")


def _burned_numbers_promised() -> Patches:
    """A run claims the numbers that the store gave out, whether there is a row or not."""
    real = incremental.next_lineage

    def placed(links: Any, now: Any) -> Lineage:
        return real(links, replace(now, horizon=now.given))

    return [(incremental, "next_lineage", placed)]


def _horizon_of_the_sequence() -> Patches:
    """A view ends at the last number that was given out, as another program may have left it."""
    asked = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"
    view = reading._VIEW.replace("coalesce((SELECT max(seq) FROM events), 0)", asked)
    assert view != reading._VIEW
    return [(reading, "_VIEW", view)]


def _one_anchor_alone() -> Patches:
    """Only the last row of a run is looked up by the next."""
    return [(incremental, "ROWS_BACK", (0,))]


def _anchors_by_key() -> Patches:
    """A row counts as the same when its id is, whatever it holds."""

    def holds(anchor: Any, now: Any) -> bool:
        return anchor.key in [row.key for row in now.there.get(anchor.seq, ())]

    return [(cursor, "_holds", holds)]


def _held_rows_exported_again() -> Patches:
    """What is read again is exported, whether a run holds it or not."""
    return [(incremental, "without_held", lambda rows, *_, **__: rows)]


def _broken_cursor_not_told() -> Patches:
    return [(ExportResult, "partial", False), (incremental, "_told", lambda *_: ())]


def _log_not_synced() -> Patches:
    return [(reading, "sync_log", lambda path: True)]


def _log_error_swallowed() -> Patches:
    """A log that could not be synced counts as durable."""
    real = reading.sync_log
    return [(reading, "sync_log", lambda path: real(path) or True)]


def _commit_on_error() -> Patches:
    """A run that cannot be read to its end publishes what it has."""
    real = running.Run._chunks

    def chunks(self: Any, *given: Any) -> Iterator[Any]:
        with suppress(Exception):
            yield from real(self, *given)

    return [(running.Run, "_chunks", chunks)]


def _limit_before_filter() -> Patches:
    """The limit cuts the rows of the store, and the filter then finds what it can among them."""
    real = EventsView.plan

    def plan(self: Any, filter: Any, **more: Any) -> Iterator[Any]:
        for span in real(self, filter, **more):
            if filter.limit is None or span.after < filter.limit:
                yield span if filter.limit is None else replace(span, upto=min(span.upto, filter.limit))

    return [(EventsView, "plan", plan)]


def _missing_rows_not_seen() -> Patches:
    """What a range gives is what there was, whatever the blocks count."""
    return [(EventsView, "_check_rows", lambda *given: None)]


def _replaced_store_not_seen() -> Patches:
    """A connection goes on with the file that it opened, whatever the path names by now."""
    return [(Connection, "check_unchanged", lambda self: None)]


def _readers_not_compared() -> Patches:
    """What the path names before and after is what every reader opened in between."""
    return [(reading, "check_alike", lambda *given: None)]


def _only_payloads_measured() -> Patches:
    """A range is planned by its payloads, whatever the other columns hold."""
    payloads = "octet_length(data) + octet_length(metadata) + 160"
    said = {name: getattr(schema, name).replace(schema.ROW_BYTES, payloads) for name in ("UNCOVERED", "COVER")}
    return [(schema, name, sql) for name, sql in {**said, "ROW_BYTES": payloads}.items()]


def _any_table_is_ours() -> Patches:
    """The number in the header makes a database a store, whatever lies under the names of its tables."""
    return [(schema, "_TABLES", {})]


def _claims_believed() -> Patches:
    """What a store says of itself is taken for numbers."""
    return [(reading, "_numbers", lambda path, row: row)]


def _stream_without_a_path() -> Patches:
    """What has no path is taken for a stream."""
    real = running.Run.__init__

    def init(self: Any, *given: Any, **more: Any) -> None:
        real(self, *given, **{**more, "streamed": True})

    return [(running.Run, "__init__", init)]


def _parts_not_counted() -> Patches:
    """That there are too many parts is seen when they are there."""
    return [(running, "check_number", lambda parts: None)]


def _silent_row_limit() -> Patches:
    real = running.Run.__init__

    def init(self: Any, snapshot: Any, layout: Any, filter: Any, *given: Any, **more: Any) -> None:
        real(self, snapshot, layout, replace(filter, limit=filter.limit or 100_000), *given, **more)

    return [(running.Run, "__init__", init)]


def _window_end_included() -> Patches:
    """``<=`` for ``<`` at the end of a window of time."""
    real = reading.predicate

    def predicate(filter: Any) -> Any:
        found = real(filter)
        return replace(found, sql=found.sql.replace("timestamp < ?", "timestamp <= ?"))

    return [(reading, "predicate", predicate)]


def _codec_not_closed() -> Patches:
    """The end of a compressed member is not written."""
    real = extract.compress

    def compress(codec: str, *given: Any) -> list[Any]:
        pieces = list(real(codec, *given))
        return pieces if codec == "none" else [b"".join(pieces)[:-4]]

    return [(extract, "compress", compress)]


def _digest_before_close() -> Patches:
    """The stored bytes are digested before the encoder wrote its end."""
    store = parts.ColumnarPart._store

    def stored(self: Any, data: Any) -> None:
        if getattr(self, "ending", False):
            self._staged.write(data)
        else:
            store(self, data)

    def finish(self: Any) -> Any:
        self.ending = True
        self._encoder.finish()
        return self._entry(self._stored)

    return [(parts.ColumnarPart, "_store", stored), (parts.ColumnarPart, "finish", finish)]


def _verify_counts_only() -> Patches:
    """Verify compares numbers of rows, and no digest."""

    def differences(found: Any, spans: Any, entry: Any) -> list[str]:
        return [] if found["rows"] == entry.rows else [f"rows is {found['rows']}"]

    return [(part, "_other_bytes", lambda fetched, entry: []), (part, "_differences", differences)]


def _repeated_part_not_seen() -> Patches:
    """Verify takes each part once, however many runs name it."""
    return [(verify_chain, "_repeats", lambda manifests: [])]


def _restore_before_verification() -> Patches:
    """Rows are used as they are decoded, while their part is hashed."""
    real = part._rows
    return [(part, "_rows", lambda *given, kept: real(*given, kept=False))]


def _restore_not_idempotent() -> Patches:
    """What is restored arrives under a new id."""
    real = SqliteAnalyticsStorage.append

    def append(self: Any, events: Any, *given: Any, **more: Any) -> Any:
        if isinstance(events, pa.RecordBatch):
            fresh = pa.array([str(uuid.uuid4()) for _ in range(events.num_rows)], pa.string())
            events = events.set_column(events.schema.get_field_index("id"), "id", fresh)
        return real(self, events, *given, **more)

    return [(SqliteAnalyticsStorage, "append", append)]


READING_DEFECTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _boundary_read_twice,
        _boundary_skipped,
        _horizon_left_out,
        _end_not_pinned,
        _cursor_on_event_time,
        _cursor_before_commit,
        _predecessor_not_checked,
        _gap_not_checked,
        _pins_not_checked,
        _rewound_store_not_seen,
        _rewritten_rows_let_pass,
        _missing_rows_let_pass,
        _forgotten_deletions_let_pass,
        _burned_numbers_promised,
        _horizon_of_the_sequence,
        _one_anchor_alone,
        _anchors_by_key,
        _held_rows_exported_again,
        _broken_cursor_not_told,
        _log_not_synced,
        _log_error_swallowed,
        _commit_on_error,
        _limit_before_filter,
        _missing_rows_not_seen,
        _replaced_store_not_seen,
        _readers_not_compared,
        _only_payloads_measured,
        _any_table_is_ours,
        _claims_believed,
        _stream_without_a_path,
        _parts_not_counted,
        _silent_row_limit,
        _window_end_included,
        _codec_not_closed,
        _digest_before_close,
        _verify_counts_only,
        _repeated_part_not_seen,
        _restore_before_verification,
        _restore_not_idempotent,
    )
}
