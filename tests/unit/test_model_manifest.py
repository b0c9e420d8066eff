"""The manifest: it comes back as it was written, and any change to it is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from penstock import ExportFormat
from penstock.errors import ManifestError, NewerVersion
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset, json_field
from penstock.model.manifest import Manifest, PartEntry, RunKind, Shape, check_part_name, parse_manifest
from penstock.model.span import Span


def _entry(name: str, rows: int = 1) -> PartEntry:
    return PartEntry(
        name=name,
        rows=rows,
        bytes=12,
        sha256="ab" * 32,
        content_bytes=34,
        content_sha256="cd" * 32,
        rows_digest="ef" * 16,
        time_range=Span(first=-62_135_596_800_000_000, last=253_402_300_799_999_999) if rows else None,
        seq_range=Span(first=1, last=rows) if rows else None,
    )


def _manifest(**changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "version": "0.1.0",
        "exported_at": 1_790_000_000_000_000,
        "format": ExportFormat.CSV,
        "codec": "gzip",
        "level": 6,
        "shape": Shape.DIRECTORY,
        "dataset": EVENTS.select(["id", "seq"]),
        "options": {"csv": {"null": "-", "formulas": "raw"}},
        "filter": {"event_types": ['a"b\\é\u2028']},
        "source": {"kind": "penstock", "name": "events.db", "horizon": 9},
        "rows": 3,
        "rows_digest": "01" * 16,
        "checksum": "23" * 32,
        "time_range": Span(first=0, last=1),
        "seq_range": Span(first=1, last=3),
        "counts": {"coerced_data": 1},
        "parts": (_entry("data/part-1"), _entry("data/part-2", 2)),
    }
    return Manifest(**{**given, **changes})


MANIFEST = _manifest()
TEXT = MANIFEST.to_bytes()


def _signed(raw: Any) -> bytes:
    """JSON as a manifest's text with the digest it should have, whatever else is wrong with it."""
    head = json.dumps(raw, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")[: -len(b"\n}")]
    return head + b',\n  "manifest_sha256": "' + hashlib.sha256(head).hexdigest().encode() + b'"\n}\n'


def _raw() -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(TEXT)
    del raw["manifest_sha256"]
    return raw


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert parse_manifest(TEXT, where="x") == MANIFEST
    assert _signed(_raw()) == TEXT
    empty = _manifest(rows=0, time_range=None, seq_range=None, parts=(_entry("data/part-0", 0),))
    assert parse_manifest(empty.to_bytes(), where="x") == empty


def test_all_that_a_manifest_can_say_comes_back() -> None:
    full = _manifest(
        kind=RunKind.MAINTENANCE,
        steps=({"redact": ["user"]},),
        attempt="k7",
        guarantees={"durable": True, "order": "assumed"},
        dataset=Dataset("sizes", pa.schema([json_field("j"), pa.field("d", pa.decimal128(9, 2))]), own=("d",)),
    )
    found = parse_manifest(full.to_bytes(), where="x")
    assert found == full
    assert str(found.dataset) == str(full.dataset) == "sizes (j json, d decimal(9,2); own d)"


def test_it_ends_with_the_sha256_of_all_before_the_last_92_bytes() -> None:
    assert json.loads(TEXT)["manifest_sha256"] == hashlib.sha256(TEXT[:-92]).hexdigest()
    assert TEXT.endswith(b'"\n}\n')


def test_it_says_how_its_parts_are_read() -> None:
    layout = parse_manifest(TEXT, where="x").layout
    assert (layout.format, layout.codec, layout.columns, layout.csv_null) == ("csv", "gzip", ("id", "seq"), "-")


def test_sums_are_what_sha256sum_reads() -> None:
    assert MANIFEST.sums() == (("ab" * 32) + "  data/part-1\n" + ("ab" * 32) + "  data/part-2\n").encode()


def _refused(text: bytes) -> None:
    with pytest.raises((ManifestError, NewerVersion)):
        parse_manifest(text, where="x")


def test_every_flipped_bit_is_refused() -> None:
    for place in range(len(TEXT)):
        for bit in range(8):
            changed = bytearray(TEXT)
            changed[place] ^= 1 << bit
            _refused(bytes(changed))


def test_every_missing_byte_and_every_shorter_text_is_refused() -> None:
    for place in range(len(TEXT)):
        _refused(TEXT[:place] + TEXT[place + 1 :])
        _refused(TEXT[:place])
        _refused(TEXT[place + 1 :])


def _insertions() -> Iterator[bytes]:
    for place in range(len(TEXT) + 1):
        for byte in (b" ", b"\n", b"0", b"1", b'"', b",", b"}", b"\x00", b"\xff", b"a"):
            yield TEXT[:place] + byte + TEXT[place:]


def test_every_added_byte_is_refused() -> None:
    for changed in _insertions():
        _refused(changed)


def test_a_newer_version_is_told_apart_from_damage() -> None:
    raw = {**_raw(), "penstock_manifest": 2}
    with pytest.raises(NewerVersion, match="version 2 is newer than 1"):
        parse_manifest(_signed(raw), where="x")


def test_members_that_are_not_known_are_ignored() -> None:
    assert parse_manifest(_signed({**_raw(), "later": {"x": [1]}}), where="x") == MANIFEST


def test_a_key_that_is_repeated_is_refused_wherever_it_is() -> None:
    for place in (b'  "version": "0.1.0",\n', b'      "rows": 1,\n', b'    "kind": "penstock",\n'):
        head = TEXT[:-92].replace(place, place + place, 1)
        assert head != TEXT[:-92]
        digest = hashlib.sha256(head).hexdigest().encode()
        text = head + b',\n  "manifest_sha256": "' + digest + b'"\n}\n'
        with pytest.raises(ManifestError, match="repeated"):
            parse_manifest(text, where="x")


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"null", b"1", b"\xff\xfe", b"{", b"[" * 100_000, b'{"penstock_manifest": 1}', b"1" * 5000],
)
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    _refused(text)


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "a\x00b",
    "a\nb",
    "\x7f",
    "x" * 5000 + "/",
]


@pytest.mark.parametrize("name", [*BAD_NAMES, None, 5, ["x"], {}])
def test_a_part_never_leaves_its_directory(name: Any) -> None:
    for any_file in (False, True):
        with pytest.raises(ManifestError):
            check_part_name(name, any_file=any_file)
    for index in (0, 1):
        raw = _raw()
        raw["parts"][index]["name"] = name
        with pytest.raises(ManifestError):
            parse_manifest(_signed(raw), where="x")


def test_several_parts_have_the_plainest_of_names_and_a_single_file_what_its_owner_likes() -> None:
    for name in ("été 1.csv", "-rf", ".hidden", "a b", "$(x)", "x" * 256):
        with pytest.raises(ManifestError):
            check_part_name(name)
        assert check_part_name(name, any_file=True) == name
        with pytest.raises(ManifestError):
            check_part_name(f"data/{name}")
    assert check_part_name("data/part-00000-1-9-abcdef01.csv.gz") == "data/part-00000-1-9-abcdef01.csv.gz"


_OBJECTS = ("filter", "options", "source", "counts", "guarantees")
_NULLABLE = ("time_range", "seq_range")
_LISTS = ("own", "key", "steps")
_TEXTS = ("version", "name", "dataset", "attempt", "time", "order")


def _wrong_kinds() -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every member with every kind of value that it may not have."""
    for where, members in (((), _raw()), (("parts", 0), _raw()["parts"][0])):
        for name in set(members) - set(_TEXTS):
            kinds: list[Any] = ["x", -1, True, 1.5]
            kinds += [] if name in _LISTS else [[]]
            kinds += [] if name in _NULLABLE else [None]
            kinds += [] if name in _OBJECTS else [{"x": 1}]
            yield from (((*where, name), kind) for kind in kinds)


WRONG_VALUES: list[tuple[tuple[Any, ...], Any]] = [
    *sorted(_wrong_kinds(), key=str),
    (("rows",), 4),
    (("rows_digest", "algorithm"), "xor"),
    (("rows_digest", "value"), "01" * 15),
    (("checksum",), "AB" * 32),
    (("parts", 1, "name"), "data/part-1"),
    (("parts", 0, "sha256"), "g" * 64),
    (("parts", 0, "rows"), 1.0),
    (("format",), "xml"),
    (("compression", "codec"), "brotli"),
    (("compression", "codec"), "snappy"),
    (("schema", 0, "type"), "interval"),
    (("schema", 0, "type"), None),
    (("schema", 0, "name"), "seq"),
    (("schema", 0, "nullable"), 0),
    (("dataset",), None),
    (("dataset",), ""),
    (("attempt",), 5),
    (("time",), ["timestamp"]),
    (("time",), "id"),
    (("order",), "id"),
    (("own",), ["seq", "id"]),
    (("own",), ["nope"]),
    (("key",), [1]),
    (("steps",), ["redact"]),
    *((("source", name), value) for name in ("table", "query", "time", "misfits") for value in (None, 7, ["x"])),
    *((("source", name), value) for name in ("key", "members") for value in (7, "x", [["x"]], [{"x": 1}])),
    *((("source", name), value) for name in ("mapping", "units", "types", "rename") for value in (["x"], {"x": 1})),
    (("kind",), "repair"),
    (("shape",), "table"),
    (("shape",), "lineage"),
    (("options", "csv"), []),
    (("exported_at",), "yesterday"),
    (("time_range", "first"), "2026-13-01"),
    (("seq_range", "first"), "x"),
    (("counts", "coerced_data"), -1),
    (("penstock_manifest",), 0),
    (("penstock_manifest",), -1),
    (("penstock_manifest",), "1"),
]


@pytest.mark.parametrize(("place", "value"), WRONG_VALUES, ids=str)
def test_values_that_the_format_does_not_have_are_refused_even_under_a_right_digest(
    place: tuple[Any, ...], value: Any
) -> None:
    raw = _raw()
    inner: Any = raw
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ManifestError):
        parse_manifest(_signed(raw), where="x")


def test_a_missing_member_is_refused() -> None:
    for name in _raw():
        raw = _raw()
        del raw[name]
        _refused(_signed(raw))
    for name in _raw()["parts"][0]:
        raw = _raw()
        del raw["parts"][0][name]
        _refused(_signed(raw))
