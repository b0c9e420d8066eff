"""Exports that were made to harm: small files that unpack to gigabytes, and payloads without a bottom. Whoever forged
the manifest too is told so with exit 4, at once, and in little memory."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

import sample_events
from penstock import AnalyticsEvent, ExportOptions, SqliteAnalyticsStorage, export, restore, verify
from penstock.model.columns import EVENT_SCHEMA
from watched_command import watched

MIB = 1 << 20
GIB = 1 << 30
HEADER = b"id,category,event_type,timestamp,session_id,priority,data,metadata,seq,received_at\n"
OPENINGS = {"ndjson": b"", "json": b'[\n{"id":"', "csv": HEADER + b'"'}
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd.compress}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("feature_used", timestamp="2026-11-01", id=sample_events.uuid_of(1))])
    return tmp_path


def forge(path: Path, *, content: int | None = None, rows: int = 1) -> None:
    """Make the manifest of a file say that it is as it lies there, with ``content`` bytes in it."""
    manifest = path.with_name(path.name + ".manifest.json")
    raw: dict[str, Any] = json.loads(manifest.read_bytes())
    stored = path.read_bytes()
    digest = hashlib.sha256(stored).hexdigest()
    raw["checksum"] = digest
    raw["rows"] = rows
    raw["parts"][0].update(rows=rows, bytes=len(stored), sha256=digest, content_bytes=content or len(stored))
    del raw["manifest_sha256"]
    head = json.dumps(raw, indent=2, ensure_ascii=False).encode()[:-2]
    manifest.write_bytes(head + f',\n  "manifest_sha256": "{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode())


def refused(path: Path, why: str) -> None:
    """Neither verified nor restored, for this reason, in bounded memory, by a process of its own."""
    for verb in (["verify", path.name], ["restore", path.name, "--into", "back.db"]):
        found = watched(*verb, cwd=path.parent, most_mib=400)
        assert found.code == 4, found
        assert why in found.said


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("format", OPENINGS)
def test_a_record_of_a_gibibyte(format: str, packer: str, place: Path) -> None:
    path = place / f"bomb.{format}.{packer}"
    export(place / "events.db", path)
    pack = PACKERS[packer]
    path.write_bytes(pack(OPENINGS[format]) + pack(b"a" * 8 * MIB) * 128)
    assert path.stat().st_size < 2 * MIB
    forge(path, content=GIB + len(OPENINGS[format]))
    refused(path, "a record has more than 64 MiB")


@pytest.mark.parametrize("packer", PACKERS)
def test_more_content_than_the_manifest_says(packer: str, place: Path) -> None:
    path = place / f"bomb.ndjson.{packer}"
    export(place / "events.db", path)
    line = gzip.decompress(path.read_bytes()) if packer == "gz" else zstd.decompress(path.read_bytes())
    path.write_bytes(PACKERS[packer](line * (8 * MIB // len(line))) * 100)
    forge(path, content=len(line) * 3)
    refused(path, "bytes of content")


@pytest.mark.parametrize("format", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_a_payload_without_a_bottom(format: str, place: Path) -> None:
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    path = place / f"deep.{format}"
    export(place / "events.db", path)
    if format in ("parquet", "arrow"):
        _with_payloads(path, pa.array([deep]))
    else:
        text, cell = path.read_bytes(), deep.encode()
        quoted = b'"' + cell.replace(b'"', b'""') + b'"'
        changed = text.replace(b",{},{},", b"," + quoted + b",{},") if format == "csv" else text.replace(b"{}", cell, 1)
        assert len(changed) > len(text)
        path.write_bytes(changed)
    forge(path)
    refused(path, "nested too deeply" if format in ("csv", "parquet", "arrow") else "is not canonical")


def _with_payloads(path: Path, data: pa.Array, **options: Any) -> None:
    """Write a columnar file of the one event again and again, with these payloads."""
    parquet = path.suffix == ".parquet"
    one = pq.read_table(path) if parquet else pa.ipc.open_file(path.read_bytes()).read_all()
    columns = {
        name: data if name == "data" else pa.repeat(one[name][0], len(data)).cast(EVENT_SCHEMA.field(name).type)
        for name in EVENT_SCHEMA.names
    }
    fields = [field.with_type(data.type) if field.name == "data" else field for field in EVENT_SCHEMA]
    table = pa.table(columns, schema=pa.schema(fields))
    if parquet:
        pq.write_table(table, path, store_schema=False, **{"compression": "zstd", **options})
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, **options) as writer:
            writer.write_table(table)


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_huge_cell_in_parquet(dictionary: bool, place: Path) -> None:
    path = place / "cell.parquet"
    export(place / "events.db", path)
    _with_payloads(path, pa.array(['{"a":"' + "a" * 160 * MIB + '"}']), use_dictionary=dictionary)
    assert path.stat().st_size < MIB
    forge(path)
    refused(path, "rows that are read at once have more than 128 MiB")


def test_a_huge_cell_in_arrow(place: Path) -> None:
    path = place / "cell.arrow"
    export(place / "events.db", path, options=ExportOptions(compression="zstd"))
    _with_payloads(
        path, pa.array(['{"a":"' + "a" * 160 * MIB + '"}']), options=pa.ipc.IpcWriteOptions(compression="zstd")
    )
    assert path.stat().st_size < MIB
    forge(path)
    refused(path, "rows that are read at once have more than 128 MiB")


def test_a_value_that_stands_for_half_a_gibibyte_of_rows(place: Path) -> None:
    path = place / "rows.parquet"
    export(place / "events.db", path)
    values = pa.array(['{"a":"' + "a" * MIB + '"}'])
    data = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 512), values)
    _with_payloads(path, data, dictionary_pagesize_limit=16 * MIB)
    assert path.stat().st_size < MIB
    forge(path, rows=512)
    refused(path, "")


def test_a_prefix_that_stands_for_many_rows(place: Path) -> None:
    path = place / "prefix.parquet"
    export(place / "events.db", path)
    _with_payloads(
        path,
        pa.array(['{"a":"' + "a" * MIB + '"}'] * 64),
        use_dictionary=False,
        column_encoding={"data": "DELTA_BYTE_ARRAY"},
    )
    forge(path, rows=64)
    refused(path, "is encoded in a way that is not Penstock's")


@pytest.mark.parametrize("format", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_large_and_repetitive_events_are_no_attack(format: str, tmp_path: Path) -> None:
    events = [
        AnalyticsEvent("feature_used", id=sample_events.uuid_of(n), metadata={"t": "x" * 40_000}) for n in range(400)
    ]
    large = [
        AnalyticsEvent("a", id=sample_events.uuid_of(900 + n), data={"t": "é" * (size << 19)})
        for n, size in enumerate((40, 3))
    ]
    deep = AnalyticsEvent("b", id=sample_events.uuid_of(990), data='{"a":' * 400 + "[[]]" + "}" * 400)
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([*events, *large, deep])
    path = tmp_path / f"a.{format}"
    manifest = export(tmp_path / "events.db", path).manifest
    assert verify(path).problems == ()
    assert restore(path, tmp_path / "back.db").events_digest == manifest.rows_digest


def test_compression_as_old_arrow_named_it(place: Path) -> None:
    """A message of version 4 names its codec in its own metadata, where nothing in the record batch tells of it."""
    path = place / "old.arrow"
    export(place / "events.db", path, options=ExportOptions(compression="zstd"))
    one = pa.ipc.open_file(path.read_bytes()).read_all()
    large = one.set_column(one.schema.get_field_index("data"), EVENT_SCHEMA.field("data"), [['"' + "a" * GIB + '"']])
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, large.schema, options=options) as writer:
        named = pa.KeyValueMetadata({"ARROW:experimental_compression": "ZSTD"})
        writer.write_batch(large.to_batches()[0], custom_metadata=named)
    content = bytearray(path.read_bytes())
    (schema,) = struct.unpack_from("<i", content, 12)
    message = 16 + schema + 8
    root = message + struct.unpack_from("<I", content, message)[0]
    version = _slot(content, root, 0)
    struct.pack_into("<h", content, root + struct.unpack_from("<H", content, version)[0], 3)
    header = root + struct.unpack_from("<H", content, _slot(content, root, 2))[0]
    batch = header + struct.unpack_from("<I", content, header)[0]
    struct.pack_into("<H", content, _slot(content, batch, 3), 0)
    path.write_bytes(content)
    assert path.stat().st_size < MIB
    forge(path)
    refused(path, "rows that are read at once have more than 128 MiB")


def _slot(content: bytes | bytearray, table: int, field: int) -> int:
    """Where a flat buffer says how far behind the start of a table one of its fields lies."""
    return table - int(struct.unpack_from("<i", content, table)[0]) + 4 + 2 * field


def test_an_arrow_file_that_begins_with_a_record_batch(place: Path) -> None:
    path = place / "headless.arrow"
    export(place / "events.db", path)
    content = path.read_bytes()
    (schema,) = struct.unpack_from("<i", content, 12)
    path.write_bytes(content[:8] + content[16 + schema :])
    forge(path)
    refused(path, "it begins with a record batch")


def test_a_damaged_length_in_an_arrow_file(place: Path) -> None:
    """A message says that its body has more than any memory holds; a buffer, that it has less than nothing."""
    path = place / "claims.arrow"
    export(place / "events.db", path, options=ExportOptions(compression="zstd"))
    whole = path.read_bytes()
    (schema,) = struct.unpack_from("<i", whole, 12)
    message = 16 + schema + 8
    root = message + struct.unpack_from("<I", whole, message)[0]
    body = root + struct.unpack_from("<H", whole, _slot(whole, root, 3))[0]
    content = bytearray(whole)
    struct.pack_into("<q", content, body, 1 << 50)
    path.write_bytes(content)
    forge(path)
    refused(path, "rows that are read at once have more than 128 MiB")
    begin = message + struct.unpack_from("<i", whole, message - 4)[0]
    content = bytearray(whole)
    struct.pack_into("<q", content, begin, -(1 << 50))
    path.write_bytes(content)
    forge(path)
    refused(path, "damaged Arrow data")


def test_a_parquet_column_that_lies_outside_of_its_file(place: Path) -> None:
    path = place / "far.parquet"
    export(place / "events.db", path)
    content = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(9)
    begin = _varint(column.data_page_offset)
    at = content.rindex(begin, content.rindex(b"received_at"))
    (footer,) = struct.unpack("<I", content[-8:-4])
    far = content[:at] + _varint(1 << 62) + content[at + len(begin) : -8]
    path.write_bytes(far + struct.pack("<I", footer + len(_varint(1 << 62)) - len(begin)) + b"PAR1")
    forge(path)
    refused(path, "its footer or its pages cannot be read")


def _varint(number: int) -> bytes:
    """A positive number as Thrift's compact protocol writes it."""
    number, out = number << 1, b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])
