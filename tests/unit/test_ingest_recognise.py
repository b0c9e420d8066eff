"""What a file is, told from its name and its first bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import Any

import pytest
from backports import zstd

from penstock.errors import InvalidFormat
from penstock.loading.recognise import Layout, codec_of, layout_of
from penstock.model.options import ExportFormat

HEADS: Iterable[tuple[str, bytes, ExportFormat | None, Layout]] = [
    ("a.ndjson", b"[", None, Layout.LINES),
    ("a.jsonl", b"", None, Layout.LINES),
    ("a.json", b" \n[{}", None, Layout.ARRAY),
    ("a.json", b'{"a":1}\n{"a"', None, Layout.LINES),
    ("a.json", b'{\n  "a"', None, Layout.VALUES),
    ("a.json", b"", None, Layout.ARRAY),
    ("a.csv", b"{", None, Layout.CSV),
    ("a.CSV.1", b"a,b", None, Layout.CSV),
    ("a.parquet", b"", None, Layout.PARQUET),
    ("a.arrow", b"ARROW1\0\0", None, Layout.ARROW_FILE),
    ("a.arrow", b"\xff\xff\xff\xff", None, Layout.ARROW_STREAM),
    ("a", b"PAR1", None, Layout.PARQUET),
    ("a.feather", b"ARROW1\0\0", None, Layout.ARROW_FILE),
    ("a.log", b"\xff\xff\xff\xff\x10", None, Layout.ARROW_STREAM),
    ("a.log", b'\xef\xbb\xbf{"a":1}\n', None, Layout.LINES),
    ("a.log", b" [1]", None, Layout.ARRAY),
    ("a.log", b"a;b\n1;2", None, Layout.CSV),
    ("a.log", b"", None, Layout.LINES),
    ("a.log", b"{", ExportFormat.CSV, Layout.CSV),
    ("a.csv", b'{"a":1}', ExportFormat.NDJSON, Layout.LINES),
    ("a.csv", b"[1]", ExportFormat.JSON, Layout.ARRAY),
    ("a.csv", b"ARROW1", ExportFormat.ARROW, Layout.ARROW_FILE),
]


@pytest.mark.parametrize(("name", "head", "wanted", "layout"), HEADS)
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress])
def test_a_file_is_recognised_by_its_name_or_else_by_its_content(
    name: str, head: bytes, wanted: ExportFormat | None, layout: Layout, compress: Any
) -> None:
    stored_head = compress(head) if head else b""
    codec = codec_of(name, stored_head)

    assert layout_of(name, codec, stored_head, wanted) is layout


@pytest.mark.parametrize(
    "head", [b"\x00\x01", b"hello\n", "a,b".encode("utf-16"), b"\xff,\xfe\n", b"%PDF-1.7, x\xe9\n"]
)
def test_what_is_like_nothing_known_is_refused(head: bytes) -> None:
    with pytest.raises(InvalidFormat):
        layout_of("a.bin", "none", head, None)
