"""What each stage of an export costs, in nanoseconds of CPU a row, on one thread: ``stages.py STORE [--rows N]``.

Beside the scan stands the driver's own way from SQLite to Arrow, which the scan replaced. Best of five rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from penstock import SqliteAnalyticsStorage
from penstock.formats import FORMATS
from penstock.model.filter import ExportFilter
from penstock.model.options import ExportFormat, Layout
from penstock.pipeline.canonical import render_csv, render_lines, rows_digest
from penstock.pipeline.compression import compress
from penstock.ports.format import Encoding
from penstock.ports.source import Slice
from penstock.sources.connection import Connection

_ROUNDS = 5


def _driver_scan(connection: Connection, spans: list[Slice]) -> Iterator[pa.RecordBatch]:
    for span in spans:
        sql = f"SELECT * FROM events WHERE seq > {span.after} AND seq <= {span.upto}"
        with connection.stream(sql, batch_rows=65_536) as reader:
            yield from reader


def _encoded(format: ExportFormat, batches: list[pa.RecordBatch]) -> None:
    make = FORMATS[format].columnar
    assert make is not None
    layout = Layout(format=format, codec="zstd" if format is ExportFormat.PARQUET else "none")
    with ThreadPoolExecutor(1) as executor:
        encoder = make(layout, id, {}, False, Encoding(executor, 1, 32 << 20))
        for batch in batches:
            encoder.write(batch)
        encoder.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rows", type=int, default=250_000)
    given = parser.parse_args()
    with SqliteAnalyticsStorage(given.store, read_only=True) as store, store.pin() as view:
        spans = [
            span
            for span in view.plan(ExportFilter(), max_rows=32_768, max_bytes=5 << 20)
            if span.upto <= given.rows or not span.after
        ]
        batches = [batch for span in spans for batch in view.read(span, ExportFilter())]
        rows = sum(batch.num_rows for batch in batches)
        lines = [render_lines(batch).text for batch in batches]
        connection = Connection(given.store, mode="ro", busy_timeout=5)

        def show(name: str, work: Callable[[], object]) -> None:
            best = float("inf")
            for _ in range(_ROUNDS):
                began = time.process_time()
                work()
                best = min(best, time.process_time() - began)
            print(f"{name:<44}{best / rows * 1e9:6.0f} ns a row")

        print(f"{rows:,} rows, {sum(memoryview(text).nbytes for text in lines) / rows:.0f} bytes a line")
        show("scan: the driver's Arrow stream", lambda: list(_driver_scan(connection, spans)))
        show("scan: penstock_scan", lambda: [batch for span in spans for batch in view.read(span, ExportFilter())])
        show("NDJSON lines with the events digest", lambda: [render_lines(batch) for batch in batches])
        show("CSV with the events digest", lambda: [render_csv(batch, null="") for batch in batches])
        show("events digest alone", lambda: [rows_digest(batch) for batch in batches])
        show("SHA-256 of the lines", lambda: [hashlib.sha256(text) for text in lines])
        show("gzip of the lines, default level", lambda: [compress("gzip", None, [text]) for text in lines])
        show("zstd of the lines, default level", lambda: [compress("zstd", None, [text]) for text in lines])
        show("Parquet, zstd at the default level", lambda: _encoded(ExportFormat.PARQUET, batches))
        show("Arrow", lambda: _encoded(ExportFormat.ARROW, batches))
        connection.close()


if __name__ == "__main__":
    main()
