"""``penstock export`` as a user runs it: every ending, directories, streams, filters, limits, talk and exit codes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars
import pytest

import foreign_readers
import sample_events
from penstock import AnalyticsEvent, Exporter, ExportFilter, ExportOptions, SqliteAnalyticsStorage, export, verify
from penstock_command import PENSTOCK, Run
from plain_filter import matches
from watching import Watching

Command = Callable[..., Run]
EVENTS = sample_events.varied()
ENDINGS = [
    "json",
    "json.gz",
    "json.zst",
    "ndjson",
    "ndjson.gz",
    "jsonl",
    "jsonl.zst",
    "csv",
    "csv.gz",
    "csv.zst",
    "parquet",
    "arrow",
]


@pytest.fixture
def place(filled: SqliteAnalyticsStorage, tmp_path: Path) -> Path:
    """A directory with a store of five hundred events, ``events.db``, that nobody has open."""
    filled.close()
    return tmp_path


def _sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", path.name], cwd=path.parent, capture_output=True, check=True, text=True).stdout[
        :64
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_one_file_with_its_manifest_beside_it(
    place: Path, penstock: Command, penstock_process: Command, ending: str
) -> None:
    name = f"out.{ending}"
    done = (penstock_process if ending in ("csv.gz", "parquet") else penstock)("export", "events.db", name)
    assert (done.code, done.stdout) == (0, b"")
    assert done.stderr.startswith("500 events, ")
    rows = foreign_readers.read(place / name)
    assert foreign_readers.without_arrival(rows) == foreign_readers.rows_of(EVENTS)
    manifest = foreign_readers.manifest_of(place / name)
    (part,) = manifest["parts"]
    assert part["name"] == name
    assert part["sha256"] == manifest["checksum"] == _sha256(place / name)
    assert part["bytes"] == (place / name).stat().st_size
    assert manifest["rows"] == 500
    assert manifest["seq_range"] == {"first": 1, "last": 500}
    assert manifest["checksum"] in done.stderr
    assert {path.name for path in place.iterdir()} - {name, f"{name}.manifest.json"} <= {
        "events.db",
        "events.db-wal",
        "events.db-shm",
        f"{name}.plain",
    }


@pytest.mark.parametrize("ending", ["", ".ndjson.gz", ".csv"])
def test_a_directory_holds_parts_a_manifest_and_sums(place: Path, penstock: Command, ending: str) -> None:
    format = ending.split(".")[1] if ending else "parquet"
    more = ["--format", format, "--compression", "gzip" if ending.endswith("gz") else "none"] if ending else []
    assert penstock("export", "events.db", "out/", "--part-size", "120rows", *more).code == 0
    manifest = foreign_readers.manifest_of(place / "out")
    names = [part["name"] for part in manifest["parts"]]
    assert len(names) == 5
    for number, part in enumerate(manifest["parts"]):
        span = part["seq_range"]
        wanted = f"data/part-{number:05d}-{span['first']}-{span['last']}-{part['sha256'][:8]}{ending or '.parquet'}"
        assert part["name"] == wanted
        assert part["rows"] <= 120
    there = {str(path.relative_to(place / "out")) for path in (place / "out").rglob("*") if path.is_file()}
    assert there == {*names, "_penstock/manifest.json", "_penstock/SHA256SUMS"}
    sums = subprocess.run(
        ["sha256sum", "-c", "--strict", "_penstock/SHA256SUMS"], cwd=place / "out", capture_output=True, check=True
    )
    assert sums.stdout.count(b": OK") == 5
    assert manifest["checksum"] == _sha256(place / "out" / "_penstock/SHA256SUMS")
    rows = [row for name in names for row in foreign_readers.read(place / "out" / name)]
    assert foreign_readers.without_arrival(rows) == foreign_readers.rows_of(EVENTS)
    assert penstock("verify", "out").code == 0


@pytest.mark.parametrize("name", ["parts", "parts/", "made"])
def test_a_plain_name_a_slash_and_an_existing_directory_are_directories(
    place: Path, penstock: Command, name: str
) -> None:
    (place / "made").mkdir()
    assert penstock("export", "events.db", name).code == 0
    assert foreign_readers.manifest_of(place / name)["format"] == "parquet"


def test_one_name_that_begins_like_a_part_is_still_one_file(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "part-1.csv").code == 0
    assert penstock("verify", "part-1.csv").code == 0
    assert foreign_readers.manifest_of(place / "part-1.csv")["checksum"] == _sha256(place / "part-1.csv")


def test_standard_output_carries_data_and_nothing_else(
    place: Path, penstock: Command, penstock_process: Command
) -> None:
    plain = penstock_process("export", "events.db", "-")
    assert plain.code == 0
    assert "500 events" in plain.stderr
    assert [json.loads(line)["id"] for line in plain.stdout.splitlines()] == [event.id for event in EVENTS]
    for format, compression in (("csv", "gzip"), ("json", "none"), ("ndjson", "zstd"), ("parquet", "zstd")):
        ending = {"gzip": ".gz", "zstd": ".zst"}.get(compression, "") if format != "parquet" else ""
        done = penstock("export", "events.db", "-", "--format", format, "--compression", compression, "-q")
        assert (done.code, done.stderr) == (0, "")
        path = place / f"saved.{format}{ending}"
        path.write_bytes(done.stdout)
        assert foreign_readers.without_arrival(foreign_readers.read(path)) == foreign_readers.rows_of(EVENTS)
    stream = penstock("export", "events.db", "-", "--format", "arrow").stdout
    assert polars.read_ipc_stream(io.BytesIO(stream))["id"].to_list() == [event.id for event in EVENTS]


def test_the_manifest_of_a_stream_goes_where_it_is_wanted(place: Path, penstock: Command) -> None:
    done = penstock("export", "events.db", "-", "--manifest", "m.json", "--json")
    manifest = json.loads((place / "m.json").read_bytes())
    assert manifest["checksum"] == hashlib.sha256(done.stdout).hexdigest()
    assert json.loads(done.stderr.splitlines()[-1])["type"] == "summary"
    assert penstock("export", "events.db", "-", "--manifest", "m.json").code == 2
    assert penstock("export", "events.db", "x.csv", "--manifest", "n.json").code == 2


BULKY = sample_events.bulky(2500, 2600)


@pytest.fixture(scope="module")
def bulky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of several megabytes, read in many ranges under a small memory limit."""
    path = tmp_path_factory.mktemp("large") / "large.db"
    with SqliteAnalyticsStorage(path) as store:
        store.append(BULKY)
    return path


@pytest.fixture
def large(bulky: Path, tmp_path: Path) -> Path:
    """A directory with that store, ``large.db``."""
    (tmp_path / "large.db").symlink_to(bulky)
    return tmp_path


def test_a_reader_that_goes_away_early_ends_it_quietly(large: Path) -> None:
    script = f"{PENSTOCK[0]} -m penstock export large.db - | head -n 3; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=large, capture_output=True, check=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines[:3]] == [1, 2, 3]
    assert lines[3:] == ["141"]
    assert done.stderr == ""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so_and_leaves_nothing(large: Path, sent: signal.Signals, code: int) -> None:
    """It is interrupted while it waits for a reader who does not read."""
    with subprocess.Popen(
        [*PENSTOCK, "export", "large.db", "-", "--manifest", "m.json"],
        cwd=large,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None
        run.stdout.read(1)
        run.send_signal(sent)
        said = run.communicate(timeout=60)[1].decode()
    assert run.returncode == code
    assert "Traceback" not in said
    assert not (large / "m.json").exists()


@pytest.mark.parametrize("ending", ["json", "json.gz", "ndjson", "csv.zst", "parquet", "arrow"])
def test_many_ranges_on_several_threads_join_to_one_valid_file(large: Path, ending: str) -> None:
    files = []
    for workers in (1, 3):
        options = ExportOptions(workers=workers, memory_limit=64 << 20, row_group_rows=700)
        watching = Watching()
        path = large / f"{workers}.{ending}"
        result = export(large / "large.db", path, options=options, observer=watching)
        seen = [at.done for at in watching.seen]
        assert len(seen) > 3, "several ranges"
        assert seen == sorted(seen)
        files.append(path.read_bytes())
        assert verify(path).problems == ()
        assert result.file_size == len(files[-1])
    assert files[0] == files[1]
    rows = foreign_readers.read(large / f"3.{ending}")
    assert foreign_readers.without_arrival(rows) == foreign_readers.rows_of(BULKY)
    assert [row["seq"] for row in rows] == list(range(1, 2501))


def test_the_common_tools_take_our_compressed_files(large: Path) -> None:
    for name, tools in (
        ("a.ndjson.gz", (["gzip", "-t"], ["zcat"])),
        ("a.csv.zst", (["zstd", "-tq"], ["zstd", "-dcq"])),
    ):
        result = export(large / "large.db", large / name, options=ExportOptions(workers=2, memory_limit=64 << 20))
        for tool in tools:
            done = subprocess.run([*tool, name], cwd=large, capture_output=True, check=True)
            assert done.stderr == b""
        assert len(done.stdout) == result.manifest.parts[0].content_bytes
        assert hashlib.sha256(done.stdout).hexdigest() == result.manifest.parts[0].content_sha256


@pytest.mark.parametrize(
    "name", ["a.ndjson", "a.ndjson.gz", "a.ndjson.zst", "a.json", "a.csv", "a.csv.gz", "a.parquet"]
)
def test_duckdb_reads_it_without_being_told_anything(place: Path, name: str) -> None:
    export(place / "events.db", place / name)
    with duckdb.connect() as connection:
        (found,) = connection.execute(
            f"SELECT count(*), sum(seq), count(session_id), count(DISTINCT id), min(timestamp)::TIMESTAMP"
            f" FROM '{place / name}'"
        ).fetchall()
    assert found == (
        500,
        125_250,
        sum(event.session_id is not None for event in EVENTS),
        500,
        min(event.timestamp for event in EVENTS).replace(tzinfo=None),
    )


def test_the_limit_cuts_exactly_wherever_the_ranges_end(large: Path) -> None:
    options = ExportOptions(workers=3, memory_limit=64 << 20, columns=["seq"])
    for limit in (1, 499, 500, 1729, 2499, 2500, 2501):
        path = large / f"{limit}.csv"
        export(large / "large.db", path, options=options, filter=ExportFilter(limit=limit))
        assert path.read_bytes().split() == [b"seq", *(b"%d" % number for number in range(1, min(limit, 2500) + 1))]


def test_filters_of_the_command_are_those_of_the_library(place: Path, penstock: Command) -> None:
    start, end = sample_events.START + timedelta(days=2), sample_events.START + timedelta(days=20)
    wanted = ExportFilter(
        start=start,
        end=end,
        categories=["error", "usage"],
        event_types=["error_occurred", "feature_used"],
        priority="normal",
    )
    words = ["--start", "2026-11-03", "--end", "2026-11-21T01:00+01:00", "--category", "error", "--category", "usage"]
    words += ["--event-type", "error_occurred", "--event-type", "feature_used", "--priority", "normal"]
    done = penstock("export", "events.db", "out.ndjson", *words)
    assert done.code == 0
    expected = [event.id for event in EVENTS if matches(wanted, event)]
    assert expected
    assert [row["id"] for row in foreign_readers.read(place / "out.ndjson")] == expected
    assert foreign_readers.manifest_of(place / "out.ndjson")["filter"] == wanted.to_json()
    session = EVENTS[1].session_id or EVENTS[2].session_id or EVENTS[3].session_id
    lines = penstock(
        "export", "events.db", "-", "--session", session, "--limit", 4, "--columns", "session_id,id"
    ).stdout
    assert [json.loads(line)["session_id"] for line in lines.splitlines()] == [session] * 4


def test_a_time_may_be_counted_back_from_now(tmp_path: Path, penstock: Command) -> None:
    now = datetime.now(UTC)
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(AnalyticsEvent("x", timestamp=now - timedelta(hours=hours)) for hours in (1, 23, 25, 100))
    done = penstock("export", "events.db", "-", "--start", "24h ago", "--columns", "seq")
    assert done.stdout == b'{"seq":1}\n{"seq":2}\n'


def test_an_export_that_is_there_stays_unless_it_is_to_be_replaced(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "out.csv", "--limit", 3).code == 0
    before = (place / "out.csv").read_bytes()
    refused = penstock("export", "events.db", "out.csv")
    assert refused.code == 2
    assert "exists" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert (place / "out.csv").read_bytes() == before
    assert penstock("export", "events.db", "out.csv", "--overwrite", "--limit", 5).code == 0
    assert len(foreign_readers.read(place / "out.csv")) == 5
    assert penstock("verify", "out.csv").code == 0


def test_replacing_a_directory_takes_exactly_the_old_parts_away(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "out/", "--part-size", "100rows", "--format", "csv").code == 0
    (place / "out" / "notes.txt").write_text("mine")
    (place / "out" / "data/part-00000-1-100-deadbeef.csv").write_text("mine, too")
    assert penstock("export", "events.db", "out/").code == 2
    assert penstock("export", "events.db", "out/", "--overwrite").code == 0
    manifest = foreign_readers.manifest_of(place / "out")
    assert {str(path.relative_to(place / "out")) for path in (place / "out").rglob("*") if path.is_file()} == {
        manifest["parts"][0]["name"],
        "_penstock/manifest.json",
        "_penstock/SHA256SUMS",
        "notes.txt",
        "data/part-00000-1-100-deadbeef.csv",
    }
    assert penstock("verify", "out").code == 0


@pytest.mark.parametrize("name", ["a.json", "a.ndjson.gz", "a.csv", "a.csv.zst", "a.parquet", "a.arrow", "parts"])
def test_an_empty_export_is_a_whole_one(place: Path, penstock: Command, name: str) -> None:
    done = penstock("export", "events.db", name, "--event-type", "never")
    assert done.code == 0
    assert penstock("verify", name).code == 0
    manifest = foreign_readers.manifest_of(place / name)
    assert (manifest["rows"], manifest["time_range"], len(manifest["parts"])) == (0, None, 1)
    file = place / name if "." in name else place / name / manifest["parts"][0]["name"]
    assert foreign_readers.read(file) == []


def test_an_empty_export_may_be_called_a_failure(place: Path, penstock: Command) -> None:
    for name in ("out.csv", "out/"):
        done = penstock("export", "events.db", name, "--event-type", "never", "--fail-on-empty", "--json")
        assert (done.code, done.summary["exit_code"], done.summary["ok"]) == (9, 9, False)
    assert not [path for path in place.iterdir() if not path.name.startswith("events.db")]
    assert penstock("export", "events.db", "out.csv", "--fail-on-empty").code == 0


def test_a_dry_run_writes_nothing(place: Path, penstock: Command) -> None:
    before = {path.name for path in place.iterdir()}
    done = penstock("export", "events.db", "out.csv.gz", "--dry-run", "--priority", "critical", "--json")
    expected = sum(event.priority == 3 for event in EVENTS)
    assert done.code == 0
    assert done.summary == {
        "v": 1,
        "type": "summary",
        "ok": True,
        "dry_run": True,
        "event_count": expected,
        "format": "csv",
        "compression": "gzip",
    }
    assert f"{expected} events" in penstock("export", "events.db", "out/", "--dry-run", "--priority", "critical").stderr
    assert penstock("export", "events.db", "out.xyz", "--dry-run").code == 2
    assert {path.name for path in place.iterdir()} - {"events.db-wal", "events.db-shm"} == before


def test_talk_in_json_lines_ends_with_a_summary_of_the_manifest(place: Path, penstock: Command) -> None:
    done = penstock("export", "events.db", "out.parquet", "--json", "--level", 7)
    manifest = foreign_readers.manifest_of(place / "out.parquet")
    assert done.stderr == ""
    assert done.summary == {
        "v": 1,
        "type": "summary",
        "ok": True,
        "exit_code": 0,
        "path": "out.parquet",
        "event_count": 500,
        "file_size": (place / "out.parquet").stat().st_size,
        "checksum": manifest["checksum"],
        "events_digest": manifest["rows_digest"]["value"],
        "parts": 1,
        "counts": {},
    }
    assert manifest["compression"] == {"codec": "zstd", "level": 7}


def test_quiet_says_nothing(place: Path, penstock: Command) -> None:
    done = penstock("export", "events.db", "out.csv", "-q")
    assert (done.code, done.stdout, done.stderr) == (0, b"", "")


def test_columns_pretty_and_null_do_what_they_say(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "a.csv", "--columns", "seq, session_id,id", "--csv-null", "NULL").code == 0
    rows = foreign_readers.read_csv(place / "a.csv", null="NULL")
    assert [list(row.values()) for row in rows] == [
        [number, event.session_id, event.id] for number, event in enumerate(EVENTS, 1)
    ]
    assert penstock("export", "events.db", "b.json.gz", "--pretty", "--columns", "data").code == 0
    assert b'\n  {\n    "data": {\n      "n": 0,' in foreign_readers.content(place / "b.json.gz")
    for name in ("a.csv", "b.json.gz"):
        assert penstock("verify", name).code == 0


def test_a_limit_of_bytes_ends_it_early_and_says_so(large: Path, penstock: Command) -> None:
    done = penstock("export", "large.db", "out.ndjson", "--max-bytes", "2MB", "--memory-limit", "64MiB", "--json")
    assert (done.code, done.summary["exit_code"]) == (8, 8)
    manifest = foreign_readers.manifest_of(large / "out.ndjson")
    assert manifest["counts"] == {"stopped_at_max_bytes": 1}
    rows = foreign_readers.read(large / "out.ndjson")
    assert 0 < len(rows) == manifest["rows"] < 2500
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert penstock("verify", "out.ndjson").code == 0


def test_a_limit_of_time_ends_it_early_and_says_so(large: Path) -> None:
    result = export(
        large / "large.db", large / "a.csv", options=ExportOptions(max_duration=1e-9, memory_limit=64 << 20)
    )
    assert dict(result.manifest.counts) == {"stopped_at_max_duration": 1}
    assert 0 < result.metadata.event_count < 2500
    assert verify(large / "a.csv").problems == ()


def test_a_limit_that_left_nothing_out_was_not_reached(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "out.csv", "--max-bytes", "1", "--max-duration", "0.000001").code == 0
    assert foreign_readers.manifest_of(place / "out.csv")["counts"] == {}
    assert len(foreign_readers.read(place / "out.csv")) == 500


def test_levels_are_honoured_and_recorded(large: Path) -> None:
    sizes = {}
    for level in (1, 4, 9):
        result = export(large / "large.db", large / f"{level}.csv.gz", options=ExportOptions(compression_level=level))
        sizes[level] = result.file_size
        assert foreign_readers.manifest_of(large / f"{level}.csv.gz")["compression"] == {
            "codec": "gzip",
            "level": level,
        }
        subprocess.run(["gzip", "-t", str(large / f"{level}.csv.gz")], check=True)
    assert len(set(sizes.values())) == 3


def test_the_file_mode_follows_the_umask(place: Path) -> None:
    export = f"{PENSTOCK[0]} -m penstock export -q events.db"
    subprocess.run(["bash", "-c", f"umask 027; {export} out.csv; {export} d/"], cwd=place, check=True)
    made = [
        place / "out.csv",
        place / "out.csv.manifest.json",
        *(path for path in (place / "d").rglob("*") if path.is_file()),
    ]
    assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o640"}


def test_written_data_may_be_decoded_before_it_is_published(place: Path) -> None:
    for name in ("a.json", "b.csv.gz", "c.parquet", "d"):
        export(place / "events.db", place / name, options=ExportOptions(verify_written=True))
        assert verify(place / name).ok


def test_the_library_gives_what_the_command_says(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    result = Exporter(filled).export(tmp_path / "a.csv", filter=ExportFilter(priority="high"))
    manifest = foreign_readers.manifest_of(tmp_path / "a.csv")
    matching = [event for event in EVENTS if event.priority >= 2]
    assert result.path == tmp_path / "a.csv"
    assert result.file_size == os.stat(result.path).st_size
    assert result.metadata.event_count == manifest["rows"] == len(matching)
    assert result.metadata.checksum == manifest["checksum"]
    assert result.metadata.time_range == (
        min(event.timestamp for event in matching),
        max(event.timestamp for event in matching),
    )
    assert result.metadata.filters == {"priority": "high"}
    assert abs(result.metadata.exported_at - datetime.now(UTC)) < timedelta(days=1)
    assert not result.partial


def test_a_file_url_is_a_path(place: Path, penstock: Command) -> None:
    assert penstock("export", f"file://{place}/events.db", f"file://{place}/out.csv").code == 0
    assert penstock("verify", f"file://{place}/out.csv").code == 0


def test_every_verb_explains_itself(penstock: Command) -> None:
    whole = penstock("--help")
    assert whole.code == 0
    for verb in ("export", "verify", "inspect"):
        assert verb in whole.stdout.decode()
        said = penstock(verb, "--help")
        assert said.code == 0
        assert said.stdout.startswith(f"Usage: penstock {verb}".encode())
        assert b"Example" in said.stdout
    assert re.fullmatch(rb"penstock \d+\.\d+\.\d+\n", penstock("--version").stdout)
