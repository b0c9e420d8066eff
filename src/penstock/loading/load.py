"""A load: files to portions, portions to settled batches, batches to the store, all else to the quarantine."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pyarrow as pa

from penstock.errors import LimitReached, SerializationError, from_os_error
from penstock.loading.columnar import read_arrow, read_parquet
from penstock.loading.elements import read_elements
from penstock.loading.identity import Identities
from penstock.loading.inputs import Input, Opened
from penstock.loading.lines import read_lines
from penstock.loading.mapping import FieldMap, locate
from penstock.loading.quarantine import Quarantine
from penstock.loading.recognise import Layout
from penstock.loading.records import RecordReader
from penstock.loading.rows import WANTED, Portion, Rows, Unit, damage
from penstock.loading.settle import Rules, settle
from penstock.loading.spreadsheet import read_csv
from penstock.loading.streams import Pieces
from penstock.loading.tables import TableReader
from penstock.model.columns import APPEND_SCHEMA, NOWHERE
from penstock.model.result import AppendResult, IngestResult
from penstock.pipeline.ordered import ordered_map
from penstock.ports.observer import Observer, Progress, tell
from penstock.ports.source import AnalyticsStorage

#: What is appended at a time, in one transaction: ids arrive in no order, and large appends touch their index less.
_ROWS = 32_768
_BYTES = 8 << 20
#: Appends under way or waiting, while the next one is read.
_IN_FLIGHT = 2
_LISTED = 12
_REQUIRED = ("event_type", "timestamp")


def load(
    storage: AnalyticsStorage | None,
    inputs: Sequence[Input],
    *,
    fields: FieldMap,
    rules: Rules,
    quarantine: Quarantine,
    observer: Observer | None = None,
) -> IngestResult:
    """Load the inputs, in their order, and say what became of every record.

    Each append is one transaction; a load that is broken off leaves whole batches, and can be run again. Without a
    storage nothing is stored: every good record counts as inserted. Raises what the storage and the quarantine raise,
    :class:`~penstock.errors.LimitReached` when the quarantine is full, whereupon nothing more is read, and
    :class:`~penstock.errors.IoError` for an input.
    """
    run = _Load(inputs, fields, rules, quarantine)
    total = AppendResult()

    def append(batch: pa.RecordBatch) -> AppendResult:
        if storage is None:
            return AppendResult(inserted=batch.num_rows)
        return storage.append(batch, checked=True)

    with quarantine, run.identities, ThreadPoolExecutor(max_workers=1) as appender, closing(run.batches()) as batches:
        try:
            for result in ordered_map(appender, append, batches, in_flight=_IN_FLIGHT):
                total += result
                tell(observer, run.progress(total))
        except LimitReached as reached:
            told = "; ".join([*run.notes(), reached.message])
            raise LimitReached(told, hint=reached.hint) from None
    return IngestResult(
        records=run.records,
        inserted=total.inserted,
        duplicates=total.duplicates,
        conflicts=total.conflicts,
        quarantined=quarantine.count,
        quarantine=quarantine.path if quarantine.count else None,
        reasons=dict(quarantine.reasons.most_common()),
        notes=tuple(run.notes()),
    )


class _Load:
    """One run over the inputs."""

    def __init__(self, inputs: Sequence[Input], fields: FieldMap, rules: Rules, quarantine: Quarantine) -> None:
        self.identities = Identities()
        self.records = 0
        self._inputs = inputs
        self._fields = fields
        self._rules = rules
        self._limit = rules.max_record_bytes
        self._quarantine = quarantine
        self._found: set[str] = set()
        self._names: Sequence[str] = ()
        self._done = 0
        self._opened: Opened | None = None

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Good events in batches that are worth a transaction; the others are in the quarantine by then."""
        held: list[pa.RecordBatch] = []
        rows = size = 0
        for input in self._inputs:
            for batch in self._settled(input):
                held.append(batch)
                rows += batch.num_rows
                size += batch.nbytes
                if rows >= _ROWS or size >= _BYTES:
                    yield pa.concat_batches(held)
                    held, rows, size = [], 0, 0
        if held:
            yield pa.concat_batches(held)

    def _settled(self, input: Input) -> Iterator[pa.RecordBatch]:
        for portion in self._portions(input):
            self._names = self._names or portion.names
            rejects = list(portion.rejects)
            settled, rows = None, 0
            if portion.rows is not None and len(portion.rows):
                settled = settle(portion.rows, self._rules, self._fields.unit)
                rejects += settled.rejects
                rows = len(portion.rows)
            self.records += rows + len(portion.rejects)
            rejects.sort(key=lambda reject: reject.number)
            self._quarantine.add(input.name, rejects)
            if portion.rows is not None and settled is not None and settled.batch.num_rows:
                yield self._identified(settled.batch, settled.rows, portion.rows, input.source)

    def _identified(self, batch: pa.RecordBatch, places: Sequence[int], rows: Rows, source: str) -> pa.RecordBatch:
        """The batch as the store takes it, with an id for every event that came without one."""
        ids = batch.column(0)
        if ids.null_count:
            given = ids.to_pylist()
            lacking = [place for place, id in enumerate(given) if id is None]
            moments = batch.column("timestamp").cast(pa.int64()).take(pa.array(lacking, pa.int64())).to_pylist()
            made = self.identities.assign(source, moments, rows.contents([places[place] for place in lacking]))
            for place, id in zip(lacking, made, strict=True):
                given[place] = id
            ids = pa.array(given, pa.string())
        return pa.RecordBatch.from_arrays([ids, *batch.columns[1:]], schema=APPEND_SCHEMA)

    def _portions(self, input: Input) -> Iterator[Portion]:
        """What the reader of the input gives, up to the end or to where it is damaged."""
        unit: Unit = "line" if input.layout in (Layout.LINES, Layout.CSV) else "record"
        try:
            with input.open() as opened:
                self._opened = opened
                for portion in self._read(input, opened, unit):
                    yield self._told(portion, input, opened)
                    if portion.rows is not None:
                        opened.passed(portion.rows.nbytes)
        except SerializationError as error:
            yield Portion(rejects=[damage(1, unit, error)])
        except OSError as error:
            raise from_os_error(error, f"cannot read {input.name}") from None
        self._opened = None
        self._done += input.size

    def _read(self, input: Input, opened: Opened, unit: Unit) -> Iterator[Portion]:
        records = RecordReader(fields=self._fields, unit=unit, max_depth=self._rules.max_depth, found=self._found)
        tables = TableReader(fields=self._fields, unit=unit, found=self._found)
        match input.layout:
            case Layout.LINES:
                return read_lines(Pieces(opened.content), records, limit=self._limit)
            case Layout.ARRAY | Layout.VALUES:
                array = input.layout is Layout.ARRAY
                return read_elements(Pieces(opened.content), records, limit=self._limit, array=array)
            case Layout.CSV:
                return read_csv(Pieces(opened.content), tables, limit=self._limit)
            case Layout.PARQUET:
                return read_parquet(opened.content, tables)
            case Layout.ARROW_FILE | Layout.ARROW_STREAM:
                return read_arrow(opened.content, tables)

    @staticmethod
    def _told(portion: Portion, input: Input, opened: Opened) -> Portion:
        """The portion, with how far the file was read where that is where it ends."""
        if not any(reject.rest for reject in portion.rejects):
            return portion
        size = f" of {input.size:,}" if input.size else ""
        far = f"read up to byte {min(opened.counted.position, input.size or opened.counted.position):,}{size}"
        rejects = [
            replace(reject, detail=f"{reject.detail}; {far}, {reject.number - 1:,} {reject.unit}s before it")
            if reject.rest
            else reject
            for reject in portion.rejects
        ]
        return replace(portion, rejects=rejects)

    def progress(self, total: AppendResult) -> Progress:
        """How far it is, with what was appended so far. Pipes add to neither size."""
        opened = self._opened
        here = min(opened.counted.position, opened.size or opened.counted.position) if opened is not None else 0
        return Progress(
            rows=total.inserted + total.duplicates + total.conflicts,
            bytes=self._done + here,
            done=self._done + here,
            total=sum(input.size for input in self._inputs),
        )

    def notes(self) -> Iterator[str]:
        """What a person should know beside the counts: mappings that found nothing, and what every record lacks."""
        if not self.records:
            return
        for name, path in self._fields.paths.items():
            if name not in self._found:
                yield f"no record has the field {path!r}, which is mapped to {name}"
        reasons = self._quarantine.reasons
        if sum(reasons[_missing(name)] for name in _REQUIRED) == self.records:
            paths = {name: self._fields.paths.get(name, name) for name in _REQUIRED}
            lacking = [name for name, path in paths.items() if reasons[_missing(name)] or not locate(path, self._names)]
            listed = ", ".join(name[:60] for name in self._names[:_LISTED]) + (
                ", ..." if len(self._names) > _LISTED else ""
            )
            option = " ".join(f"--map {name}=FIELD" for name in lacking)
            fields = f"; the fields of the first are {listed}: say {option}" if listed else ""
            yield f"every record lacks {' and '.join(lacking)}{fields}"
        for name in ("id", "session_id"):
            if reasons[f"{name} is not {WANTED[name]}"] == self.records:
                yield f"no {name} of these records is {WANTED[name]}; with --map {name}={NOWHERE} it is kept in data"


def _missing(name: str) -> str:
    """The reason for which a record without a required field is set aside."""
    return f"{name} is missing"
