"""Manifests and parts that are larger than they may be: said to be so with exit 4, at once, and in little memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import foreign_sqlite
import sample_events
from forged import part, run_path, signed
from penstock import AnalyticsEvent, ExportOptions, SqliteAnalyticsStorage, export, restore, verify
from penstock.errors import ExportError, IntegrityError
from watched_command import watched

MIB = 1 << 20


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store, and a lineage ``runs`` of one run."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("feature_used", timestamp="2026-11-01", id=sample_events.uuid_of(1))])
    export(tmp_path / "events.db", tmp_path / "runs", incremental=True, options=ExportOptions(format="ndjson"))
    return tmp_path


def test_run_manifests_of_nothing_but_holes(place: Path) -> None:
    for number in range(2, 62):
        with run_path(place / "runs", number).open("wb") as file:
            file.truncate(40 * MIB)
    for verb in (["verify", "runs"], ["restore", "runs", "--into", "back.db"], ["gaps", "runs"]):
        found = watched(*verb, cwd=place)
        assert found.code == 4
    assert "runs/000002.json" in found.said or verb[0] == "gaps"


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"",', b'{"a":[]},'])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_manifest_of_forty_mebibytes_of_junk(piece: bytes, sealed: bool, place: Path) -> None:
    export(place / "events.db", place / "a.csv")
    path = place / "a.csv.manifest.json"
    junk = b"[" + piece * (40 * MIB // len(piece)) + b"0]"
    if sealed:
        text = signed(json.loads(path.read_bytes()) | {"junk": "here"}).replace(b'"here"', junk)
        path.write_bytes(text)
    else:
        path.write_bytes(junk)
    found = watched("verify", "a.csv", cwd=place)
    assert found.code == 4
    assert "this is not a Penstock manifest" in found.said


def test_a_manifest_of_one_long_and_wide_text(place: Path) -> None:
    export(place / "events.db", place / "a.csv")
    path = place / "a.csv.manifest.json"
    raw = json.loads(path.read_bytes())
    path.write_bytes(signed(raw | {"source": raw["source"] | {"note": "𝄞" + "a" * (46 * MIB)}}))
    assert watched("verify", "a.csv", cwd=place).code == 0


def test_a_part_that_grew_to_a_hundred_gigabytes_is_not_read(place: Path) -> None:
    grown = part(place / "runs", 1)
    with grown.open("r+b") as file:
        file.truncate(100 << 30)
    for verb in (["verify", "runs"], ["restore", "runs", "--into", "back.db"]):
        found = watched(*verb, cwd=place, seconds=20)
        assert found.code == 4
        assert f"{100 << 30} bytes are stored, the manifest says" in found.said


TEXTS = [
    "{1}",
    '{"a":1',
    '{"a":1}}',
    '{"a":1},"metadata":{}',
    "{}{}",
    "{}\n{}",
    "",
    "nothing",
    '{"a":"\n"}',
    '{"a":NaN}',
]


@pytest.mark.parametrize("format", ["json", "ndjson", "csv", "parquet", "arrow"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_no_json_is_found_before_it_is_published(text: str, format: str, place: Path) -> None:
    foreign_sqlite.execute(place / "events.db", ("UPDATE events SET data = ?", [text]))
    with pytest.raises(ExportError):
        export(place / "events.db", place / f"a.{format}", options=ExportOptions(verify_written=True))
    assert not list(place.glob("a.*"))


@pytest.mark.parametrize("format", ["csv", "parquet", "arrow"])
def test_an_export_of_text_that_is_no_json_is_neither_whole_nor_restored(format: str, place: Path) -> None:
    foreign_sqlite.execute(place / "events.db", ("UPDATE events SET metadata = ?", ['{"a":1}}']))
    export(place / "events.db", place / f"a.{format}")
    assert "payload" in str(verify(place / f"a.{format}").problems[0])
    with pytest.raises(IntegrityError):
        restore(place / f"a.{format}", place / "back.db")
