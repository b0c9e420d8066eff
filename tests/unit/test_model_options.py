"""Options and endings: what a name means, which formats have which codecs and levels, and contradictions."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import ExportFormat, ExportOptions
from penstock.errors import InvalidFormat, UsageError
from penstock.model.columns import COLUMNS
from penstock.model.options import MIB, TRAITS, Layout, parse_ending, parse_format


@pytest.mark.parametrize(
    ("name", "format", "codec"),
    [
        ("a.json", "json", "none"),
        ("a.ndjson", "ndjson", "none"),
        ("a.jsonl", "ndjson", "none"),
        ("a.csv", "csv", "none"),
        ("a.b.csv", "csv", "none"),
        ("A.CSV.GZ", "csv", "gzip"),
        ("a.json.zst", "json", "zstd"),
        ("a.jsonl.gz", "ndjson", "gzip"),
        (".json", "json", "none"),
        ("a.parquet", "parquet", None),
        ("a.arrow", "arrow", None),
    ],
)
def test_endings_that_are_known(name: str, format: str, codec: str | None) -> None:
    assert parse_ending(name) == (ExportFormat(format), codec)


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "a",
        "json",
        "a.gz",
        "a.zst",
        "json.gz",
        "a.json.gz.gz",
        "a.json.bz2",
        "a.",
        "",
        "a.parquet.gz",
        "a.arrow.zst",
    ],
)
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(InvalidFormat):
        parse_ending(name)


def test_a_format_is_read_by_its_name_and_by_its_endings() -> None:
    assert parse_format("JSONL") is parse_format("ndjson") is ExportFormat.NDJSON
    for wrong in ("xml", "", "json.gz"):
        with pytest.raises(InvalidFormat):
            parse_format(wrong)


@pytest.mark.parametrize("format", list(ExportFormat))
def test_every_codec_of_a_format_takes_exactly_its_levels(format: ExportFormat) -> None:
    codecs = TRAITS[format].codecs
    assert TRAITS[format].default_codec in codecs
    for codec, levels in codecs.items():
        assert ExportOptions(compression=codec).resolve(format=format, codec=None).codec == codec
        low, high = levels if levels is not None else (1, 0)
        for level in (low - 1, high + 1):
            with pytest.raises(InvalidFormat, match="level"):
                ExportOptions(compression=codec, compression_level=level).resolve(format=format, codec=None)
        for level in range(low, high + 1):
            layout = ExportOptions(compression=codec, compression_level=level).resolve(format=format, codec=None)
            assert layout.level == level
    for codec in {"gzip", "zstd", "snappy", "lz4", "none", "brotli", ""} - set(codecs):
        with pytest.raises(InvalidFormat, match="has no compression"):
            ExportOptions(compression=codec).resolve(format=format, codec=None)


def test_the_name_and_the_option_may_agree_but_not_differ() -> None:
    agreed = ExportOptions(compression="gzip", format="csv").resolve(format=ExportFormat.CSV, codec="gzip")
    assert (agreed.codec, agreed.file_ending) == ("gzip", ".csv.gz")
    for said, named in (("gzip", "zstd"), ("gzip", "none"), ("none", "gzip")):
        with pytest.raises(InvalidFormat, match="the name says"):
            ExportOptions(compression=said).resolve(format=ExportFormat.CSV, codec=named)


def test_what_belongs_to_one_format_is_refused_elsewhere() -> None:
    for format in ExportFormat:
        for options in (ExportOptions(pretty=True), ExportOptions(csv_null="NULL")):
            fits = format is (ExportFormat.JSON if options.pretty else ExportFormat.CSV)
            if fits:
                options.resolve(format=format, codec=None)
            else:
                with pytest.raises(InvalidFormat):
                    options.resolve(format=format, codec=None)


@pytest.mark.parametrize(
    "given",
    [
        {"format": "xml"},
        {"columns": []},
        {"columns": ["id", "id"]},
        {"columns": "id"},
        {"part_rows": 0},
        {"part_bytes": -1},
        {"row_group_rows": 0},
        {"workers": 0},
        {"workers": 257},
        {"max_bytes": 0},
        {"max_duration": 0},
        {"max_duration": -1.0},
        {"max_duration": float("nan")},
        {"memory_limit": 64 * MIB - 1},
        {"csv_null": "a,b"},
        {"csv_null": '"'},
        {"csv_null": "\n"},
        {"csv_null": "\r"},
        {"csv_null": "\t"},
        {"csv_null": "\x00"},
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ExportOptions(**given)


def test_columns_come_out_in_the_order_in_which_they_are_asked_for() -> None:
    layout = ExportOptions(columns=["seq", "id", "data"]).resolve(format=ExportFormat.CSV, codec=None)
    assert layout.columns == ("seq", "id", "data")
    with pytest.raises(UsageError, match="unknown column 'nope'"):
        ExportOptions(columns=["nope"]).resolve(format=ExportFormat.CSV, codec=None)
    assert ExportOptions().resolve(format=ExportFormat.CSV, codec=None).columns == COLUMNS


def test_a_layout_says_what_a_decoder_needs() -> None:
    assert Layout(format=ExportFormat.CSV, csv_null="-").to_json() == {
        "csv": {"null": "-", "formulas": "raw"},
    }
    assert Layout(format=ExportFormat.JSON, pretty=True).to_json()["pretty"] is True
    assert Layout(format=ExportFormat.PARQUET).to_json()["row_group_rows"] == 131_072
    assert Layout(format=ExportFormat.PARQUET, codec="zstd").file_ending == ".parquet"
    assert Layout(format=ExportFormat.NDJSON, codec="zstd").file_ending == ".ndjson.zst"
    assert [format.extension for format in ExportFormat] == ["json", "ndjson", "csv", "parquet", "arrow"]
    assert ExportFormat.CSV.media_type == "text/csv"
