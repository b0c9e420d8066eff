"""One run over a store: a view is cut into slices, slices become chunks on several threads, chunks become parts in
order, and parts become a manifest. Where they are published is not its business."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from penstock.errors import IntegrityError, UsageError
from penstock.exporting.extract import Chunk, Extractor
from penstock.exporting.partitions import Gathered, PartitionReader
from penstock.exporting.parts import ColumnarPart, Hands, PartWriter, TextPart, named
from penstock.exporting.planned import Planned
from penstock.formats import FORMATS
from penstock.model import times
from penstock.model.arrival import Arrival
from penstock.model.filter import ExportFilter
from penstock.model.lineage import Lineage
from penstock.model.location import Location
from penstock.model.manifest import Manifest, PartEntry, Shape
from penstock.model.options import ExportFormat, ExportOptions, Layout
from penstock.model.partition import partition_folders
from penstock.model.span import Span, joined
from penstock.model.version import VERSION
from penstock.pipeline.digests import digest_hex
from penstock.ports.format import Encoding
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.runner import Threads
from penstock.ports.source import Clock, Rows, Slice
from penstock.ports.step import Step
from penstock.ports.task import PartTask
from penstock.publishing.publication import Staging
from penstock.reading.part import damage

#: A row group is at most this share of it: the encoder needs several times its size.
_GROUP_SHARE = 16
#: Rows that are gathered for partitions are in memory up to this share of the limit.
_GATHERED_SHARE = 8
#: Parts that a manifest can name: one of so many is as large as a manifest may be.
MOST_PARTS = 50_000


class Run:
    """One export from an open view to its manifest, or, where ``slices`` are given, the work of a part of it.

    ``after`` leaves out what arrived up to there. ``source`` is what is said of the source, the view's own words
    if not given. ``steps`` are those that the view's rows have been through.
    """

    def __init__(
        self,
        view: Rows,
        layout: Layout,
        filter: ExportFilter,
        options: ExportOptions,
        *,
        streamed: bool = False,
        after: Arrival | None = None,
        slices: Sequence[Slice] | None = None,
        source: Mapping[str, Any] | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        self._view = view
        self._given = slices
        self._source = dict(view.source if source is None else source)
        self.layout = layout
        self.filter = filter
        self.options = options
        self._streamed = streamed
        self._steps = tuple(steps)
        text = FORMATS[layout.format].text
        self._encoder = text(layout) if text is not None else None
        self._extract = Extractor(view, filter, layout, self._encoder)
        partitioned = layout.partition_by is not None
        self._read = PartitionReader(view, filter, layout) if partitioned else self._extract
        #: What is read.
        self.planned = Planned(view, filter, options, columns=len(layout.columns), after=after, given=slices)
        self._stopped: str | None = None
        #: What was coerced and left out on the way, by reason; of the work of a part also each one's uncompressed size.
        self.counts: Counter[str] = Counter()
        #: Whether other processes saw the source written while they read it.
        self.moved = False
        self.sizes: list[int] = []
        self._timeless = 0
        #: Who encodes and hashes, as long as parts are written.
        self._hands: Hands | None = None
        self._deadline: float | None = None

    def estimate(self) -> int | None:
        """Bytes that will be written at least, where that can be said: all rows and columns, as plain text."""
        plain = self.layout.codec == "none" and self.layout.format in (ExportFormat.NDJSON, ExportFormat.JSON)
        whole = self.filter == ExportFilter() and self.options.columns is None and self.options.flatten is None
        measured = self.planned.measured  # planned here: what cannot be is told before any writing
        return self.planned.size if plain and whole and measured else None

    def task(self, number: int, slices: tuple[Slice, ...], *, view: str, place: Location, attempt: str) -> PartTask:
        """The work of some of these slices, for another process."""
        return PartTask(
            number=number,
            view=view,
            slices=slices,
            filter=self.filter,
            steps=self._steps,
            options=self.options,
            layout=self.layout,
            source=self._source,
            place=place,
            attempt=attempt,
        )

    def write(
        self,
        publication: Staging,
        threads: Threads,
        observer: Observer | None,
        *,
        single: bool,
        keep_empty: bool = True,
    ) -> list[PartEntry]:
        """Stage every part, read and rendered by ``threads``; returns their entries under their final names. Without
        ``keep_empty`` no row is no part, and so it is with partitions, since no row is in none of them."""
        with (
            ThreadPoolExecutor(1, thread_name_prefix="penstock-hash") as hashing,
            threads.lent() as encoding,
            closing(self._chunks(threads, observer)) as chunks,
        ):
            self._hands = Hands(Encoding(encoding, threads.count, self.options.memory_limit // _GROUP_SHARE), hashing)
            if self.layout.partition_by is not None:
                return self._write_partitions(publication, chunks, threads, self.layout.partition_by)
            return self._write_in_order(publication, chunks, single, keep_empty)

    def _write_in_order(
        self, publication: Staging, chunks: Iterator[Chunk], single: bool, keep_empty: bool
    ) -> list[PartEntry]:
        entries: list[PartEntry] = []
        if self.options.part_rows is not None and self.filter == ExportFilter(limit=self.filter.limit):
            rows = self.planned.rows
            check_number(-(-min(rows, self.filter.limit or rows) // self.options.part_rows))
        cuts: set[int] = set()
        if self.filter == ExportFilter():  # then all that is planned is written, and cut alike wherever that is done
            cuts = {1 + end for end in accumulate(len(group) for group in self.planned.groups())}
        part = self._begin(publication)
        try:
            number, ended = 0, True  # of slices: one may come as several chunks
            for chunk in chunks:
                number += ended
                if not single and part.rows and ((ended and number in cuts) or self._full(part, chunk)):
                    entries.append(self._end(publication, part, len(entries)))
                    part = self._begin(publication, len(entries))
                ended = chunk.rest is None
                part.add(chunk)
                limited = self.options.max_bytes is not None
                stored = part.stored_bytes + sum(entry.bytes for entry in entries) if limited else 0
                if self.planned.more and self._past_limit(stored):
                    break
            if part.rows or keep_empty:
                entries.append(self._end(publication, part, len(entries)))
            else:
                part.abort()
        except BaseException:
            part.abort()
            raise
        return entries

    def _write_partitions(
        self, publication: Staging, chunks: Iterator[Chunk], threads: Threads, by: str
    ) -> list[PartEntry]:
        """As rows come, they are gathered by partition; see :mod:`penstock.exporting.partitions`."""
        entries: list[PartEntry] = []
        with Gathered(self.layout, self.options.memory_limit // _GATHERED_SHARE) as gathered:

            def write(everything: bool) -> None:
                most = self.planned
                pieces = gathered.take(max_rows=most.most_rows, max_bytes=most.most_bytes, everything=everything)
                rendered = threads.map(self._partition_chunk, pieces, in_flight=threads.count + 1)
                with closing(rendered):
                    self._write_gathered(publication, rendered, entries, by)

            for chunk in chunks:
                gathered.add(chunk)
                check_number(len(entries) + gathered.partitions)
                if self.planned.more and self._past_limit(0):
                    break
                if gathered.full and gathered.scattered:
                    gathered.spill()
                elif gathered.full:
                    write(everything=False)
            write(everything=True)
            self._timeless = gathered.timeless
            written = sum(entry.rows for entry in entries)
            if written != gathered.rows:
                raise IntegrityError(
                    f"{gathered.rows} rows were read and {written} written; nothing was published",
                    hint="this is a fault of the disk or the memory: keep the store and report it",
                )
        return entries

    def _partition_chunk(self, piece: tuple[int, list[pa.RecordBatch]]) -> tuple[int, Chunk]:
        number, batches = piece
        return number, self._extract.chunk([pa.concat_batches(batches)])

    def _write_gathered(
        self, publication: Staging, rendered: Iterator[tuple[int, Chunk]], entries: list[PartEntry], by: str
    ) -> None:
        """One part after the other, so that one is open at a time: for each partition one, or more that are full."""
        for number, chunks in groupby(rendered, key=itemgetter(0)):
            folders = partition_folders(number, by, self.layout.partition_name)
            part = self._begin(publication, len(entries))
            try:
                for _, chunk in chunks:
                    if part.rows and self._full(part, chunk):
                        entries.append(self._end(publication, part, len(entries), folders))
                        part = self._begin(publication, len(entries))
                    part.add(chunk)
                entries.append(self._end(publication, part, len(entries), folders))
            except BaseException:
                part.abort()
                raise

    def _chunks(self, threads: Threads, observer: Observer | None) -> Generator[Chunk, None, None]:
        """Chunks in order, cut off exactly at the filter's limit."""
        self._deadline = self.options.ending
        left = self.filter.limit
        total = self.planned.size
        rows = stored = done = 0
        handed = self.planned.handed()
        with closing(handed), closing(threads.map(self._read, handed, in_flight=threads.count + 1)) as chunks:
            for span, chunk in self.planned.returned(chunks, self._read):
                if left is not None and chunk.rows > left:
                    chunk = self._first_rows(span, left)
                self.counts.update(chunk.counts)
                yield chunk
                rows += chunk.rows
                stored += sum(memoryview(piece).nbytes for piece in chunk.stored)
                done += span.bytes_hint
                tell(observer, Progress(rows=rows, bytes=stored or None, done=done, total=total))
                if left is not None:
                    left -= chunk.rows
                    if left == 0:
                        return

    def _first_rows(self, span: Slice, count: int) -> Chunk:
        return self._read.extract(span, replace(self.filter, limit=count))

    def _begin(self, publication: Staging, before: int = 0) -> PartWriter:
        assert self._hands is not None
        check_number(before + 1)
        staged = publication.stage(self.layout.dataset)
        try:
            if self._encoder is not None:
                return TextPart(self.layout, self._encoder, staged, self._hands)
            description = self._description() if self.options.include_metadata else {}
            return ColumnarPart(self.layout, staged, self._hands, description, streamed=self._streamed)
        except BaseException:
            staged.abort()
            raise

    def _end(self, publication: Staging, part: PartWriter, index: int, folders: str = "") -> PartEntry:
        entry = part.finish()
        if self._given is not None:
            self.sizes.append(part.size)
        if self.options.verify_written:
            self._check(publication, entry, index)
        return named(entry, publication.part_name(index, entry, self.layout.file_ending, folders))

    def _check(self, publication: Staging, entry: PartEntry, index: int) -> None:
        """Decode what was written, before anything is published."""
        wrong = damage(publication.read_back(index, entry), self.layout, entry)
        if wrong:
            raise IntegrityError(
                f"what was written does not read back: {wrong[0]}; nothing was published",
                hint="this is a fault of the disk, the memory or an encoder: keep the store and report it",
            )

    def _full(self, part: PartWriter, chunk: Chunk) -> bool:
        most_rows, most_bytes = self.options.part_rows, self.options.part_bytes
        return (
            (most_rows is not None and part.rows + chunk.rows > most_rows)
            or (most_bytes is not None and part.size + chunk.size > most_bytes)
            or part.full
        )

    def _past_limit(self, stored: int) -> bool:
        if self.options.max_bytes is not None and stored >= self.options.max_bytes:
            self._stopped = "stopped_at_max_bytes"
        elif self._deadline is not None and time.monotonic() >= self._deadline:
            self._stopped = "stopped_at_max_duration"
        return self._stopped is not None

    def _description(self) -> Mapping[str, str]:
        """What is put inside a Parquet or Arrow file: only what is the same when the export is repeated."""
        return {
            "penstock.version": VERSION,
            "penstock.filter": json.dumps(self.filter.to_json(), sort_keys=True),
            **({"penstock.steps": json.dumps([step.to_json() for step in self._steps])} if self._steps else {}),
            "penstock.source": json.dumps(self._source, sort_keys=True),
        }

    def manifest(
        self, entries: list[PartEntry], clock: Clock, *, single: bool, lineage: Lineage | None = None
    ) -> Manifest:
        """The manifest of the staged parts. Its checksum is the file's own where there is a ``single`` one."""
        times_: Span | None = None
        seqs: Span | None = None
        for entry in entries:
            times_ = joined(times_, entry.time_range)
            seqs = joined(seqs, entry.seq_range)
        counts = dict(sorted((self.counts + Counter(self._view.unread)).items()))
        if self._timeless:
            counts["without_time"] = self._timeless
        if self._stopped is None and self.planned.cut_short:
            self._stopped = "stopped_at_max_duration"
        if self._stopped is not None:
            counts[self._stopped] = 1
        shape = Shape.DIRECTORY if lineage is None else Shape.LINEAGE
        if single:
            shape = Shape.STREAM if self._streamed else Shape.FILE
        draft = Manifest(
            version=VERSION,
            exported_at=times.to_micros(clock.now()),
            shape=shape,
            dataset=self.layout.dataset,
            format=self.layout.format,
            codec=self.layout.codec,
            level=self.layout.level,
            options=self.layout.to_json(),
            filter=self.filter.to_json(),
            steps=tuple(step.to_json() for step in self._steps),
            source=self._source,
            rows=sum(entry.rows for entry in entries),
            rows_digest=digest_hex(sum(int(entry.rows_digest, 16) for entry in entries)),
            checksum=entries[0].sha256 if single else "",
            time_range=times_,
            seq_range=seqs,
            counts=counts,
            lineage=lineage,
            parts=tuple(entries),
        )
        return draft if single else replace(draft, checksum=hashlib.sha256(draft.sums()).hexdigest())


def check_number(parts: int) -> None:
    """Refuse more parts than a manifest can name, as soon as it is known that there will be so many."""
    if parts > MOST_PARTS:
        raise UsageError(
            f"the export would have more than {MOST_PARTS:,} parts, and its manifest could not be read",
            hint="make larger parts, or partition by day",
        )
