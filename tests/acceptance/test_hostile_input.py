"""Files to load that were made to harm: small ones that unpack to gigabytes, and such as point beyond themselves. The
command lives, says what it could not read, and stays small."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from watched_command import watched

MIB = 1 << 20
STAMP = "2026-11-01T12:00:00Z"


def table(rows: int = 1, **more: pa.Array) -> pa.Table:
    """As many events, with these columns beside the required ones."""
    return pa.table({"event_type": ["seen"] * rows, "timestamp": [STAMP] * rows, **more})


def write(path: Path, content: pa.Table, compression: str | None = "zstd", **given: object) -> Path:
    """The table as the Parquet file, Arrow file or Arrow stream that the name asks for."""
    if path.suffix == ".parquet":
        pq.write_table(content, path, compression=compression or "none", **given)
        return path
    make = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, make(sink, content.schema, options=options) as writer:
        writer.write_table(content)
    return path


def tried(path: Path, *more: str) -> str:
    """What a dry run says of the file, which must be small."""
    assert path.stat().st_size < 4 * MIB
    found = watched("ingest", "events.db", path.name, "--dry-run", *more, cwd=path.parent)
    assert found.code in (0, 3), found
    return found.said


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.arrows"])
def test_one_value_of_a_dictionary_that_stands_for_many_rows(name: str, tmp_path: Path) -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 1_600, pa.int32()), pa.array(["a" * 250_000]))
    options = {"store_schema": False} if name == "a.parquet" else {}
    said = tried(write(tmp_path / name, table(1_600, text=values), **options))
    assert said == "1,600 records: 1,600 fit, 0 would be quarantined\n"


def test_one_run_that_stands_for_many_rows(tmp_path: Path) -> None:
    values = pa.RunEndEncodedArray.from_arrays(pa.array([1_600], pa.int32()), pa.array(["a" * 250_000]))
    assert "1,600 fit" in tried(write(tmp_path / "a.arrow", table(1_600, text=values), None))


def test_views_that_all_see_the_same_text(tmp_path: Path) -> None:
    one = pa.array(["a" * 250_000], pa.string_view())
    seen = pa.Array.from_buffers(
        pa.string_view(), 1_600, [None, pa.py_buffer(one.buffers()[1].to_pybytes() * 1_600), one.buffers()[2]]
    )
    assert "1,600 fit" in tried(write(tmp_path / "a.arrow", table(1_600, text=seen)))


@pytest.mark.parametrize("kind", [pa.list_view(pa.string()), pa.large_list_view(pa.string())])
def test_lists_that_all_hold_the_same_texts(kind: pa.DataType, tmp_path: Path) -> None:
    made = pa.LargeListViewArray if kind == pa.large_list_view(pa.string()) else pa.ListViewArray
    lists = made.from_arrays([0] * 1_600, [10] * 1_600, pa.array(["a" * 25_000] * 10))
    assert "1,600 fit" in tried(write(tmp_path / "a.arrow", table(1_600, text=lists)))


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows", "a.parquet"])
def test_a_text_of_three_hundred_mebibytes(name: str, tmp_path: Path) -> None:
    said = tried(write(tmp_path / name, table(text=pa.array(["a" * (300 * MIB)]))))
    assert "1 quarantined: the file is damaged" in said
    assert "1 would be quarantined" in said


def test_a_map_with_a_key_of_three_hundred_mebibytes(tmp_path: Path) -> None:
    pairs = pa.array([[("a" * (300 * MIB), 1)]], pa.map_(pa.string(), pa.int32()))
    said = tried(write(tmp_path / "a.parquet", table(map=pairs), "brotli"))
    assert "1 quarantined: the file is damaged" in said


def test_a_footer_that_says_less_than_the_pages(tmp_path: Path) -> None:
    """The sizes of the column chunk are made those of one byte; the page keeps its own."""
    size = 300 * MIB
    path = write(
        tmp_path / "a.parquet", table(text=pa.array(["a" * size])), use_dictionary=False, write_statistics=False
    )
    content = path.read_bytes()
    facts = pq.ParquetFile(path).metadata.row_group(0).column(2)
    assert facts.total_uncompressed_size > size
    claimed = _varint(facts.total_uncompressed_size)
    assert content.count(claimed) >= 1
    path.write_bytes(content.replace(claimed, _padded(1, len(claimed))))
    assert "1 quarantined: the file is damaged" in tried(path)


def _varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    number, out = number << 1, b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _padded(number: int, length: int) -> bytes:
    return bytes([number << 1 | 0x80]) + b"\x80" * (length - 2) + b"\x00"


def test_a_csv_of_three_hundred_thousand_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    names, row = ",".join(f"c{n}" for n in range(300_000)), ",".join("1" * 300_000)
    path.write_text(f"event_type,timestamp,{names}\nseen,{STAMP},{row}\n")
    assert "1 quarantined: the file is damaged" in tried(path)


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows", "a.parquet"])
def test_a_table_of_too_many_columns(name: str, tmp_path: Path) -> None:
    nothing = pa.nulls(1, pa.bool_())
    said = tried(write(tmp_path / name, table(**{f"c{n}": nothing for n in range(10_000)})))
    assert "1 quarantined: the file is damaged" in said


def test_long_names_over_many_short_rows_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    names = ",".join(f"{n}{'x' * 100_000}" for n in range(5))
    path.write_text(f"event_type,timestamp,{names}\n" + f"seen,{STAMP},1,2,3,4,5\n" * 2_000)
    assert tried(path) == "2,000 records: 2,000 fit, 0 would be quarantined\n"


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows"])
def test_lists_that_point_beyond_themselves(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, table(3, list=pa.array([["a"], ["b", "c"], ["d"]])), None)
    content = path.read_bytes()
    ends = struct.pack("<4i", 0, 1, 3, 4)
    assert content.count(ends) == 1
    path.write_bytes(content.replace(ends, struct.pack("<4i", 0, 1 << 30, -5 + (1 << 30), 1 << 30)))
    assert "1 quarantined: the file is damaged" in tried(path)


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows"])
def test_a_message_that_claims_more_than_the_file_has(name: str, tmp_path: Path) -> None:
    """The length of a message's metadata, and of a compressed buffer, as large as they can be said."""
    path = write(tmp_path / name, table(3, text=pa.array(["a" * 1_000] * 3)))
    content = path.read_bytes()
    begin = 8 if name == "a.arrow" else 0
    (schema,) = struct.unpack_from("<i", content, begin + 4)
    second = begin + 8 + schema
    assert content[second : second + 4] == b"\xff\xff\xff\xff"
    path.write_bytes(content[: second + 4] + struct.pack("<i", 0x7FFFFFF8) + content[second + 8 :])
    assert "the file is damaged" in tried(path)
    claims = struct.pack("<q", 3_000)
    assert claims in content
    path.write_bytes(content.replace(claims, struct.pack("<q", 1 << 40)))
    assert "the file is damaged" in tried(path)


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_a_list_of_a_hundred_million_nothings(name: str, tmp_path: Path) -> None:
    count = 100_000_000
    nothings = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.nulls(count, pa.bool_()))
    assert "0 fit, 1 would be quarantined" in tried(write(tmp_path / name, table(list=nothings)))


def test_a_list_of_texts_that_begin_with_each_other(tmp_path: Path) -> None:
    texts = pa.ListArray.from_arrays(pa.array([0, 1_000], pa.int32()), pa.array(["a" * MIB] * 1_000))
    options = {"use_dictionary": False, "column_encoding": {"text.list.element": "DELTA_BYTE_ARRAY"}}
    assert "0 fit, 1 would be quarantined" in tried(write(tmp_path / "a.parquet", table(text=texts), **options))


def test_a_long_name_inside_of_a_column(tmp_path: Path) -> None:
    inside = pa.array([{"n" * 100_000: 1}] * 2_000)
    assert "2,000 fit" in tried(write(tmp_path / "a.arrow", table(2_000, struct=inside)))
