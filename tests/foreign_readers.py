"""Exports read by libraries that did not write them, as rows of plain Python values in one common form.

A row has the columns of the export; times are microseconds; payloads are JSON text, for JSON and NDJSON their
:func:`sample_events.shape`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars

from penstock import AnalyticsEvent
from sample_events import shape

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("timestamp", "received_at")
_PAYLOADS = ("data", "metadata")
_MICROS_UTC = polars.Datetime("us", "UTC")
_TYPES: dict[str, Any] = {"timestamp": _MICROS_UTC, "received_at": _MICROS_UTC, "seq": polars.Int64()}


def micros(text: str) -> int:
    """Microseconds of the one spelling of times that exports use; any other is an error."""
    assert len(text) == 27, text
    assert text.endswith("Z"), text
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def content(path: Path) -> bytes:
    """The bytes of a text export, by the gzip module or the zstd command."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout
    return path.read_bytes()


def read_ndjson(path: Path) -> list[Row]:
    text = content(path)
    assert not text or text.endswith(b"\n")
    return [_from_json(shape(line)) for line in text.split(b"\n")[:-1]]


def read_json(path: Path) -> list[Row]:
    rows = shape(content(path))
    assert isinstance(rows, list)
    return [_from_json(row) for row in rows]


def _from_json(value: Any) -> Row:
    kind, pairs = value
    assert kind == "object"
    row = dict(pairs)
    assert len(row) == len(pairs), "a member is repeated"
    if "seq" in row:
        row["seq"] = int(row["seq"][1])
    return _timed(row)


def read_csv(path: Path, *, null: str = "") -> list[Row]:
    """By DuckDB, which tells null from empty text; the csv module has to find the same fields."""
    text = content(path)
    csv.field_size_limit(1 << 30)
    plain = list(csv.DictReader(io.StringIO(text.decode(), newline=""), strict=True))
    copy = path.with_name(path.name + ".plain")
    copy.write_bytes(text)
    header = text.split(b"\n", 1)[0].decode()
    columns = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in header.split(",")) + "}"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT * FROM read_csv(?, auto_detect=false, header=true, columns={columns}, delim=',', quote='\"',"
            " escape='\"', nullstr=?, allow_quoted_nulls=false, new_line='\\n', parallel=false, strict_mode=true,"
            " hive_partitioning=false)",
            [str(copy), null],
        ).fetchall()
    copy.unlink()
    rows = [dict(zip(header.split(","), values, strict=True)) for values in found]
    assert [{name: null if value is None else value for name, value in row.items()} for row in rows] == plain
    for row in rows:
        if "seq" in row:
            row["seq"] = int(row["seq"])
    return [_timed(row) for row in rows]


def _timed(row: Row) -> Row:
    return {name: micros(value) if name in _TIMES else value for name, value in row.items()}


def read_parquet(path: Path) -> list[Row]:
    """By Polars; DuckDB has to count the same rows, and none of the columns may be of another type."""
    frame = polars.read_parquet(path, use_pyarrow=False)
    with duckdb.connect() as connection:
        counted = connection.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall()
    assert counted == [(frame.height,)]
    return _from_frame(frame)


def read_arrow(path: Path) -> list[Row]:
    return _from_frame(polars.read_ipc(path, use_pyarrow=False))


def _from_frame(frame: polars.DataFrame) -> list[Row]:
    for name, kind in frame.schema.items():
        wanted: Any = (
            polars.Datetime("us", "UTC") if name in _TIMES else polars.Int64() if name == "seq" else polars.String()
        )
        assert kind == wanted, (name, kind)
    whole = frame.with_columns(polars.col(name).to_physical() for name in _TIMES if name in frame.columns)
    return whole.to_dicts()


READERS: dict[str, Callable[[Path], list[Row]]] = {
    "ndjson": read_ndjson,
    "jsonl": read_ndjson,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "arrow": read_arrow,
}


def read(path: Path) -> list[Row]:
    """Rows of an export of any ending; payloads of every format as :func:`sample_events.shape`."""
    ending = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    rows = READERS[ending](path)
    if ending in ("json", "ndjson", "jsonl"):
        return rows
    return [{name: shape(value) if name in _PAYLOADS else value for name, value in row.items()} for row in rows]


def rows_of(events: Iterable[AnalyticsEvent]) -> list[Row]:
    """What a reader has to find of these events, without what the store adds."""
    return [
        {
            "id": event.id,
            "category": event.category.value,
            "event_type": event.event_type,
            "timestamp": (event.timestamp - _EPOCH) // timedelta(microseconds=1),
            "session_id": event.session_id,
            "priority": event.priority.name.lower(),
            "data": shape(event.data_text),
            "metadata": shape(event.metadata_text),
        }
        for event in events
    ]


def without_arrival(rows: Iterable[Row]) -> list[Row]:
    """Rows without ``seq`` and ``received_at``."""
    return [{name: value for name, value in row.items() if name not in ("seq", "received_at")} for row in rows]


def manifest_of(path: Path) -> dict[str, Any]:
    """The manifest of a file or a directory as plain JSON."""
    place = path / "_penstock/manifest.json" if path.is_dir() else path.with_name(path.name + ".manifest.json")
    found: dict[str, Any] = json.loads(place.read_bytes())
    return found
