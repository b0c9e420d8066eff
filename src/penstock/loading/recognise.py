"""What a file is, told from its name and its first bytes: compression by content, layout by ending or content."""

from __future__ import annotations

import io
from enum import Enum

from penstock.errors import InvalidFormat, SerializationError
from penstock.loading.identity import source_name
from penstock.loading.streams import BOM
from penstock.model.options import TRAITS, WRAPPERS, ExportFormat
from penstock.pipeline.compression import open_reader

#: How many bytes of a file decide. A zstd block may take that many before the first of its content comes out.
HEAD = 1 << 18
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET = b"PAR1"
_ARROW_FILE = b"ARROW1"
_ARROW_STREAM = b"\xff\xff\xff\xff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Layout(Enum):
    """How the records lie in the content of a file."""

    LINES = "JSON, a record a line"
    ARRAY = "a JSON array"
    VALUES = "JSON values one after another"
    CSV = "CSV"
    PARQUET = "a Parquet file"
    ARROW_FILE = "an Arrow file"
    ARROW_STREAM = "an Arrow stream"

    @property
    def seeks(self) -> bool:
        """Whether the content must be seekable to be read."""
        return self in (Layout.PARQUET, Layout.ARROW_FILE)


def codec_of(name: str, head: bytes) -> str:
    """The compression of a file. A name that says one is believed only of an empty file, which is then cut short."""
    for magic, codec in _MAGIC.items():
        if head.startswith(magic):
            return codec
    return "none" if head else WRAPPERS.get(name.lower().rpartition(".")[2], "none")


def layout_of(name: str, codec: str, head: bytes, wanted: ExportFormat | None) -> Layout:
    """The layout of a file whose first bytes, as stored, are ``head``. Raises :class:`InvalidFormat`."""
    content = _content(codec, head)
    format = wanted if wanted is not None else _named(name)
    if format is ExportFormat.NDJSON:
        return Layout.LINES
    if format is ExportFormat.CSV:
        return Layout.CSV
    if format is ExportFormat.PARQUET or (format is None and content.startswith(_PARQUET)):
        return Layout.PARQUET
    if content.startswith(_ARROW_FILE) and format in (None, ExportFormat.ARROW):
        return Layout.ARROW_FILE
    if format is ExportFormat.ARROW or (format is None and content.startswith(_ARROW_STREAM)):
        return Layout.ARROW_STREAM
    text = content.removeprefix(BOM).lstrip()
    if format is ExportFormat.JSON or text[:1] in (b"[", b"{"):
        return _json_layout(text)
    if not head:
        return Layout.LINES
    return _csv_or_nothing(name, text)


def _json_layout(text: bytes) -> Layout:
    """JSON that is no array is a record a line, unless the first record is laid out over several lines."""
    if text[:1] == b"{":
        return Layout.VALUES if text.partition(b"\n")[0].strip() == b"{" else Layout.LINES
    return Layout.ARRAY


def _csv_or_nothing(name: str, text: bytes) -> Layout:
    hint = "name it with --format: one of " + ", ".join(ExportFormat)
    line = text.partition(b"\n")[0]
    if text.startswith(_UTF16):
        raise InvalidFormat(f"{name} looks like UTF-16", hint="save it as UTF-8")
    try:
        line[: HEAD // 2].decode("utf-8", "strict" if len(line) < HEAD // 2 else "ignore")
    except UnicodeDecodeError:
        raise InvalidFormat(f"cannot tell the format of {name}", hint=hint) from None
    if b"\x00" in line or not any(mark in line for mark in b",;\t"):
        raise InvalidFormat(f"cannot tell the format of {name}", hint=hint)
    return Layout.CSV


def _named(name: str) -> ExportFormat | None:
    stem, dot, ending = source_name(name).lower().rpartition(".")
    for format, traits in TRAITS.items():
        if dot and stem and ending in traits.extensions:
            return format
    return None


def _content(codec: str, head: bytes) -> bytes:
    """The beginning of the content, as far as it can be had from the beginning of the file."""
    reader = open_reader(codec, io.BytesIO(head))
    try:
        return reader.read1(HEAD) if codec != "none" else head  # type: ignore[attr-defined]  # it is a BufferedReader
    except SerializationError:
        return b""
