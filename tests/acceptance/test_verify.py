"""``penstock verify``: exit 0 only for an export that is whole, and every fault is found where it is."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sample_events
from penstock import Exporter, ExportOptions, SqliteAnalyticsStorage, VerifyResult, verify
from penstock.errors import ManifestError, NewerVersion, NotFound
from penstock_command import Run
from watching import Watching

Command = Callable[..., Run]
FILES = ["a.ndjson", "a.json", "pretty.json.gz", "a.csv.zst", "a.parquet", "a.arrow"]
DIRECTORIES = ["plain", "packed", "columns"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory with an export of every kind; tests work on copies."""
    place = tmp_path_factory.mktemp("exports")
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(sample_events.varied(90))
        exporter = Exporter(store)
        for name in FILES:
            exporter.export(place / name, options=ExportOptions(pretty=name.startswith("pretty")))
        exporter.export(place / "plain", options=ExportOptions(format="csv", part_rows=30))
        exporter.export(place / "packed", options=ExportOptions(format="ndjson", compression="gzip", part_rows=30))
        exporter.export(place / "columns", options=ExportOptions(part_rows=30, columns=["id", "data"]))
    return place


@pytest.fixture
def place(exports: Path, tmp_path: Path) -> Path:
    """A fresh copy of the exports."""
    subprocess.run(["cp", "-r", "--reflink=auto", f"{exports}/.", str(tmp_path)], check=True)
    return tmp_path


def manifest_path(export: Path) -> Path:
    return export / "_penstock/manifest.json" if export.is_dir() else export.with_name(export.name + ".manifest.json")


def parts(export: Path) -> list[Path]:
    if not export.is_dir():
        return [export]
    return [export / entry["name"] for entry in json.loads(manifest_path(export).read_bytes())["parts"]]


def called(path: Path) -> str:
    """What a manifest calls a part that lies there."""
    return f"data/{path.name}" if path.parent.name == "data" else path.name


def named(result: VerifyResult) -> set[str]:
    """Which files the problems are about."""
    return {problem.part for problem in result.problems}


@pytest.mark.parametrize("name", [*FILES, *DIRECTORIES])
def test_a_whole_export_is_whole(place: Path, penstock: Command, name: str) -> None:
    result = verify(place / name)
    assert (result.ok, result.problems, result.notes) == (True, (), ())
    assert (result.event_count, result.parts) == (90, len(parts(place / name)))
    assert result.bytes == sum(path.stat().st_size for path in parts(place / name))
    done = penstock("verify", name)
    assert (done.code, done.stdout) == (0, b"")
    assert f"{name} is whole: 90 events" in done.stderr


def test_it_needs_no_store(place: Path, penstock_process: Command) -> None:
    (place / "events.db").unlink()
    assert penstock_process("verify", "a.parquet").code == 0


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "a flip at the start": lambda data: _flip(data, 0),
    "a flip in the middle": lambda data: _flip(data, len(data) // 2),
    "a flip at the end": lambda data: _flip(data, len(data) - 1),
    "one byte less": lambda data: data[:-1],
    "one byte less at the start": lambda data: data[1:],
    "one byte more": lambda data: data + b"\n",
    "nothing left": lambda data: b"",
    "twice": lambda data: data + data,
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*FILES, *DIRECTORIES])
def test_a_changed_part_is_found_and_named(place: Path, name: str, fault: str) -> None:
    for path in parts(place / name):
        whole = path.read_bytes()
        path.write_bytes(FAULTS[fault](whole))
        assert named(verify(place / name)) == {called(path)}
        path.write_bytes(whole)
    assert verify(place / name).ok


def test_every_single_byte_counts(place: Path) -> None:
    path = place / "a.csv.zst"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(_flip(whole, position))
        assert not verify(path).ok, position


@pytest.mark.parametrize("name", ["a.csv.zst", "plain"])
def test_the_command_names_the_part_and_exits_with_4(place: Path, penstock_process: Command, name: str) -> None:
    path = parts(place / name)[-1]
    path.write_bytes(path.read_bytes()[:-1])
    done = penstock_process("verify", name)
    assert (done.code, done.stdout) == (4, b"")
    assert done.stderr.startswith(f"{called(path)}: ")
    assert f"{name} is NOT whole: 1 problem" in done.stderr
    machine = penstock_process("verify", name, "--json")
    assert machine.code == machine.summary["exit_code"] == 4
    assert machine.summary["ok"] is False
    assert [line["part"] for line in machine.lines if line["type"] == "problem"] == [called(path)]


@pytest.mark.parametrize("name", ["a.json", "packed"])
def test_a_part_that_is_gone_or_something_else_is_found_and_named(place: Path, penstock: Command, name: str) -> None:
    path = parts(place / name)[-1]
    path.rename(path.with_name("elsewhere"))
    done = penstock("verify", name)
    assert done.code == 4
    assert f"{called(path)}: the file is missing" in done.stderr
    path.symlink_to("nowhere")
    assert named(verify(place / name)) == {called(path)}
    path.unlink()
    path.mkdir()
    if path.parent != place:
        assert named(verify(place / name)) == {called(path)}
    assert penstock("verify", name).code == 4


def test_parts_that_changed_places_are_found(place: Path) -> None:
    first, second, third = parts(place / "plain")
    first.rename(place / "aside")
    second.rename(first)
    (place / "aside").rename(second)
    assert named(verify(place / "plain")) == {called(first), called(second)}
    assert third.exists()


def test_sha256sum_agrees_about_every_part(place: Path) -> None:
    """Without any of our code the same parts are found to be wrong."""
    for name in DIRECTORIES:
        first, second, third = parts(place / name)
        second.write_bytes(_flip(second.read_bytes(), 5))
        third.unlink()
        done = subprocess.run(
            ["sha256sum", "-c", "_penstock/SHA256SUMS"], cwd=place / name, capture_output=True, text=True, check=False
        )
        said = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
        assert said[called(first)] == "OK"
        assert {file for file, verdict in said.items() if verdict != "OK"} == named(verify(place / name))


@pytest.mark.parametrize("name", ["a.csv.zst", "plain"])
def test_a_changed_manifest_is_refused(place: Path, penstock: Command, name: str) -> None:
    path = manifest_path(place / name)
    whole = path.read_bytes()
    for changed in (
        whole.replace(b'"rows": 90', b'"rows": 91'),
        whole + b"\n",
        whole[:-1],
        b"",
        b"{}",
        b"\x00" * 100,
        whole.replace(b'"rows": 30', b'"rows": 31', 1) if name == "plain" else whole.replace(b"zstd", b"gzip"),
    ):
        assert changed != whole
        path.write_bytes(changed)
        done = penstock("verify", name, "--json")
        assert (done.code, done.summary["exit_code"]) == (4, 4)
        with pytest.raises(ManifestError):
            verify(place / name)
    path.unlink()
    assert penstock("verify", name).code == 4


def _signed(raw: dict[str, Any]) -> bytes:
    """A manifest that somebody edited with care: its own digest fits again."""
    raw.pop("manifest_sha256", None)
    head = json.dumps(raw, indent=2, ensure_ascii=False).encode()[: -len(b"\n}")]
    return head + b',\n  "manifest_sha256": "' + hashlib.sha256(head).hexdigest().encode() + b'"\n}\n'


def _edited(export: Path, edit: Callable[[dict[str, Any]], object]) -> VerifyResult:
    path = manifest_path(export)
    raw = json.loads(path.read_bytes())
    edit(raw)
    path.write_bytes(_signed(raw))
    return verify(export)


def _count_one_more(raw: dict[str, Any]) -> None:
    raw["rows"] += 1
    raw["parts"][0]["rows"] += 1


def _other_digest(raw: dict[str, Any]) -> None:
    raw["rows_digest"]["value"] = raw["parts"][0]["rows_digest"] = "0" * 32


#: Edits of a part's entry that keep the manifest's own digest and totals right.
EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a row more": _count_one_more,
    "another events digest": _other_digest,
    "less content": lambda raw: raw["parts"][0].update(content_bytes=raw["parts"][0]["content_bytes"] - 1),
    "more content": lambda raw: raw["parts"][0].update(content_bytes=raw["parts"][0]["content_bytes"] + 1),
    "other content": lambda raw: raw["parts"][0].update(content_sha256="0" * 64),
    "other times": lambda raw: raw["parts"][0]["time_range"].update(first="2026-10-31T00:00:00.000000Z"),
    "no times": lambda raw: raw["parts"][0].update(time_range=None),
    "other numbers": lambda raw: raw["parts"][0]["seq_range"].update(last=91),
    "another length": lambda raw: raw["parts"][0].update(bytes=raw["parts"][0]["bytes"] + 1),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", FILES)
def test_what_a_careful_editor_changed_is_found_in_the_data(place: Path, name: str, edit: str) -> None:
    assert named(_edited(place / name, EDITS[edit])) == {name}


def test_totals_are_those_of_the_parts(place: Path) -> None:
    for edit in (
        lambda raw: raw["rows_digest"].update(value="0" * 32),
        lambda raw: raw.update(checksum="0" * 64),
    ):
        for name in ("a.json", "plain"):
            whole = manifest_path(place / name).read_bytes()
            assert named(_edited(place / name, edit)) == {
                "_penstock/manifest.json" if name == "plain" else f"{name}.manifest.json"
            }
            manifest_path(place / name).write_bytes(whole)


def test_another_layout_than_the_one_written_is_found(place: Path) -> None:
    other = {"ndjson": "csv", "csv": "json", "parquet": "arrow", "arrow": "parquet", "json": "ndjson"}
    for name in ("a.ndjson", "a.json", "a.parquet", "a.arrow"):
        assert named(_edited(place / name, lambda raw: raw.update(format=other[raw["format"]]))) == {name}
    assert named(_edited(place / "a.csv.zst", lambda raw: raw["compression"].update(codec="gzip"))) == {"a.csv.zst"}
    columns: Callable[[dict[str, Any]], None] = lambda raw: raw.update(schema=raw["schema"][:1], own=raw["own"][:1])  # noqa: E731
    assert len(named(_edited(place / "columns", columns))) == 3


def test_a_manifest_never_leads_out_of_its_directory(place: Path, penstock: Command) -> None:
    (place / "secret").write_text("not to be read")
    for name in ("../secret", "/etc/passwd", "a/../../secret", "..", ".", "", "a\\b", "x\x00"):
        for export in ("plain", "a.csv.zst"):
            path = manifest_path(place / export)
            raw = json.loads(path.read_bytes())
            raw["parts"][0]["name"] = name
            whole = path.read_bytes()
            path.write_bytes(_signed(raw))
            with pytest.raises(ManifestError, match="not a plain file name"):
                verify(place / export)
            assert penstock("verify", export).code == 4
            path.write_bytes(whole)


def test_a_manifest_about_another_file_is_found(place: Path) -> None:
    for old, new in (("a.csv.zst", "b.csv.zst"),):
        os.rename(place / old, place / new)
        os.rename(manifest_path(place / old), manifest_path(place / new))
        assert "b.csv.zst.manifest.json" in named(verify(place / new))


def test_a_newer_manifest_is_not_called_damaged(place: Path, penstock: Command) -> None:
    for name in ("a.csv.zst", "plain"):
        with pytest.raises(NewerVersion):
            _edited(place / name, lambda raw: raw.update(penstock_manifest=2))
        done = penstock("verify", name)
        assert done.code == 2
        assert "upgrade" in done.stderr


def test_sums_that_do_not_fit_are_found(place: Path) -> None:
    sums = place / "plain" / "_penstock/SHA256SUMS"
    whole = sums.read_bytes()
    for changed in (whole[:-1], whole + b"x", b"", whole.replace(b"  ", b" *")):
        sums.write_bytes(changed)
        assert named(verify(place / "plain")) == {"_penstock/SHA256SUMS"}
    sums.unlink()
    assert named(verify(place / "plain")) == {"_penstock/SHA256SUMS"}


def test_strangers_in_the_directory_are_noted_and_no_fault(place: Path, penstock: Command) -> None:
    (place / "plain" / "notes.txt").write_text("mine")
    done = penstock("verify", "plain")
    assert done.code == 0
    assert "note: 1 files here are not of this export and were left alone: notes.txt" in done.stderr


def test_what_is_not_there_is_not_found(place: Path, penstock: Command) -> None:
    for name in ("nothing.csv", "nothing/", "nothing", "no/thing.csv"):
        with pytest.raises(NotFound):
            verify(place / name)
        assert penstock("verify", name).code == 6
    (place / "stray.csv").write_text("id\n")
    (place / "empty").mkdir()
    for name in ("stray.csv", "empty"):
        with pytest.raises(ManifestError):
            verify(place / name)
        assert penstock("verify", name).code == 4


def test_a_single_file_may_be_named_by_its_manifest(place: Path, penstock: Command) -> None:
    assert penstock("verify", "a.parquet.manifest.json").code == 0
    assert verify(place / "a.parquet.manifest.json").ok


def test_progress_ends_at_the_whole(place: Path) -> None:
    watching = Watching()
    result = verify(place / "plain", observer=watching)
    assert len(watching.seen) == 3
    assert (watching.seen[-1].done, watching.seen[-1].total) == (result.bytes, result.bytes)
