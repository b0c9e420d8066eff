"""``penstock ingest`` as a user starts it: what it says, what it leaves, and how it exits."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from loading import ndjson, record, stored
from penstock_command import PENSTOCK, Run

Command = Callable[..., Run]
EXAMPLE = Path(__file__).parents[2] / "examples" / "web_requests.ndjson.gz"
MAPPING = ("--map", "event_type=event", "--map", "timestamp=at", "--map", "session_id=visitor")


def test_the_example_is_loaded_once_however_often(penstock: Command, tmp_path: Path) -> None:
    first = penstock("ingest", "s.db", EXAMPLE, *MAPPING)
    again = penstock("ingest", "s.db", EXAMPLE, "--map", "event_type=event,timestamp=at,session_id=visitor")

    assert (first.code, first.stdout) == (0, b"")
    assert first.stderr == "9,999 records: 9,999 stored, 0 there already, 0 quarantined\n"
    assert (again.code, again.stderr) == (0, "9,999 records: 0 stored, 9,999 there already, 0 quarantined\n")
    events = stored(tmp_path / "s.db")
    assert len({event["id"] for event in events}) == 9999
    lines = gzip.decompress(EXAMPLE.read_bytes()).decode().splitlines()
    for line, event in zip(lines, events, strict=True):
        given = json.loads(line)
        assert (event["event_type"], event["session_id"]) == (given.pop("event"), given.pop("visitor"))
        del given["at"]
        assert event["data"] == json.dumps(given, separators=(",", ":"), ensure_ascii=False)


def test_what_was_loaded_is_exported_and_loaded_again_as_it_is(penstock: Command, tmp_path: Path) -> None:
    assert penstock("ingest", "s.db", EXAMPLE, *MAPPING).code == 0
    for name in ("a.parquet", "b.csv", "c.arrow", "d.json", "e.ndjson.zst"):
        assert penstock("export", "s.db", name).code == 0

    said = penstock("ingest", "t.db", "a.parquet", "b.csv", "c.arrow", "d.json", "e.ndjson.zst", "--json")

    assert said.code == 0
    assert said.summary["inserted"] == 9999
    assert said.summary["duplicates"] == 4 * 9999
    assert stored(tmp_path / "t.db") == stored(tmp_path / "s.db")


def test_bad_records_are_told_kept_and_exit_3(penstock: Command, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_bytes(ndjson(record(), "{", record('"session_id":["bob"]'), "["))

    said = penstock("ingest", "s.db", "in.ndjson")
    machine = penstock("ingest", "s.db", "in.ndjson", "--json", "--quarantine", "bad.ndjson")

    assert said.code == 3
    assert said.stderr.splitlines() == [
        "note: 2 quarantined: not strict JSON",
        "note: 1 quarantined: session_id is not text or an integer",
        "note: the quarantined records are in s.db.quarantine.ndjson",
        "4 records: 1 stored, 0 there already, 3 quarantined",
    ]
    entries = pl.read_ndjson(tmp_path / "s.db.quarantine.ndjson").to_dicts()
    assert [(entry["file"], entry["line"]) for entry in entries] == [
        ("in.ndjson", 2),
        ("in.ndjson", 3),
        ("in.ndjson", 4),
    ]
    assert machine.code == 3
    summary = machine.summary
    assert (summary["ok"], summary["exit_code"], summary["records"]) == (False, 3, 4)
    assert (summary["inserted"], summary["duplicates"], summary["quarantined"]) == (0, 1, 3)
    assert summary["reasons"] == {"not strict JSON": 2, "session_id is not text or an integer": 1}
    assert summary["quarantine"] == "bad.ndjson"


def test_every_record_lacking_what_is_required_says_how_to_map(penstock: Command, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("what,when\nx,2026-11-01\n")

    said = penstock("ingest", "s.db", "in.csv")

    assert said.code == 3
    assert "the fields of the first are what, when" in said.stderr
    assert "--map event_type=FIELD --map timestamp=FIELD" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("ingest", "s.db", "missing.ndjson"), 6, "there is no file missing.ndjson"),
        (("ingest", "s.db", "good.ndjson", "missing.ndjson"), 6, "there is no file missing.ndjson"),
        (("ingest", "s.db", "."), 2, ". is a directory"),
        (("ingest", "s.db"), 2, "Missing argument"),
        (("ingest", "none/s.db", "good.ndjson"), 6, "there is no directory"),
        (("ingest", "s.db", "good.ndjson", "--map", "seq=n"), 2, "seq cannot be mapped"),
        (("ingest", "s.db", "good.ndjson", "--map", "nope"), 2, "cannot read the mapping"),
        (("ingest", "s.db", "good.ndjson", "--format", "xml"), 2, "unknown format 'xml'"),
        (("ingest", "s.db", "good.ndjson", "--max-record", "huge"), 2, "cannot read the size"),
        (("ingest", "good.ndjson", "good.ndjson"), 2, "is what this load writes to"),
        (("ingest", "good.ndjson", "-"), 2, "is not a SQLite database"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_stored(
    penstock: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    (tmp_path / "good.ndjson").write_bytes(ndjson(record()))

    said = penstock(*arguments)

    assert said.code == code
    assert complaint in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["good.ndjson"]


NOBODY = """
import os, sys
from penstock.cli import run
run(["ingest", "warm.db", "good.ndjson", "missing"])
run(["ingest", "warm.db", "good.ndjson", "--dry-run", "-q"])
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(*(run(["ingest", *each.split()]) for each in sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_may_not_be_read_or_written_exits_7(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "good.ndjson").write_bytes(ndjson(record()))
    (tmp_path / "secret.ndjson").write_bytes(ndjson(record()))
    (tmp_path / "secret.ndjson").chmod(0)

    done = subprocess.run(
        [PENSTOCK[0], "-c", NOBODY, "s.db secret.ndjson", "s.db good.ndjson"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["7", "7"], done.stderr
    assert not (tmp_path / "s.db").exists()


def piped(place: Path, content: bytes, *arguments: str) -> int:
    """The exit code of a load whose standard input is a pipe."""
    command = [*PENSTOCK, "ingest", *arguments]
    return subprocess.run(command, cwd=place, input=content, capture_output=True, check=False).returncode


@pytest.mark.parametrize("format", ["ndjson", "json", "csv", "parquet", "arrow"])
def test_standard_input_is_read_in_every_format(tmp_path: Path, format: str) -> None:
    frame = pl.DataFrame({"event_type": ["a", "b"], "timestamp": ["2026-11-01", "2026-11-02"], "n": ["1", "2"]})
    place = tmp_path / "in"
    if format == "ndjson":
        frame.write_ndjson(place)
    elif format == "json":
        frame.write_json(place)
    elif format == "csv":
        frame.write_csv(place)
    elif format == "parquet":
        frame.write_parquet(place)
    else:
        frame.write_ipc_stream(place)
    content = place.read_bytes()

    assert piped(tmp_path, content, "a.db", "-", "--format", format, "--source", "x") == 0
    assert piped(tmp_path, gzip.compress(content), "b.db", "-", "--source", "x") == 0
    assert [event["data"] for event in stored(tmp_path / "a.db")] == ['{"n":"1"}', '{"n":"2"}']
    assert stored(tmp_path / "b.db") == stored(tmp_path / "a.db")


def test_a_dry_run_stores_nothing_and_tells(penstock: Command, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_bytes(ndjson(record(), "{"))

    said = penstock("ingest", "s.db", "in.ndjson", "--dry-run")

    assert said.code == 3
    assert said.stderr.endswith("2 records: 1 fit, 1 would be quarantined\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in.ndjson"]


def test_conflicts_are_told_apart(penstock: Command, tmp_path: Path) -> None:
    id = '"id":"00000000-0000-4000-8000-000000000001"'
    (tmp_path / "in.ndjson").write_bytes(ndjson(record(f'{id},"n":1'), record(f'{id},"n":2')))

    said = penstock("ingest", "s.db", "in.ndjson")

    assert said.code == 0
    assert said.stderr.splitlines() == [
        "note: 1 records have the id of a stored event and other content; the stored ones stay",
        "2 records: 1 stored, 0 there already, 1 in conflict, 0 quarantined",
    ]


def test_a_load_that_is_killed_is_finished_by_running_it_again(penstock: Command, tmp_path: Path) -> None:
    count = 100_000
    (tmp_path / "in.ndjson").write_bytes(ndjson(*(record(f'"n":{n}') for n in range(count))))
    killed = subprocess.Popen([*PENSTOCK, "ingest", "s.db", "in.ndjson"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not ((tmp_path / "s.db-wal").exists() and os.stat(tmp_path / "s.db-wal").st_size):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    said = penstock("ingest", "s.db", "in.ndjson", "--json")

    assert said.code == 0
    assert said.summary["inserted"] + said.summary["duplicates"] == count
    assert [json.loads(event["data"])["n"] for event in stored(tmp_path / "s.db")] == list(range(count))


def test_two_loads_at_once_store_every_event_once(tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_bytes(ndjson(*(record(f'"n":{n}') for n in range(5000)), "{"))
    both = [
        subprocess.Popen([*PENSTOCK, "ingest", "s.db", "in.ndjson", "-q"], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(2)
    ]

    said = [(each.communicate()[1], each.returncode) for each in both]

    assert [code for _, code in said] == [3, 3], said
    assert len(stored(tmp_path / "s.db")) == 5000
    lines = (tmp_path / "s.db.quarantine.ndjson").read_text().splitlines()
    assert [json.loads(line)["raw"] for line in lines] == ["{", "{"]


MEASURED = """
import sys
from penstock.cli import run
code = run(["ingest", "s.db", "-", "--format", sys.argv[1], "-q"])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, int(peak) // 1024)
"""
ENDLESS = {
    "ndjson": (b'{"x":"', b'"}\n' + ndjson(record())),
    "json": (b'[{"x":"', b'"},' + record().encode() + b"]"),
    "csv": (b'event_type,timestamp\n"', b'",\nseen,2026-11-01\n'),
}


@pytest.mark.parametrize("format", ENDLESS)
def test_memory_does_not_grow_with_one_endless_record(tmp_path: Path, format: str) -> None:
    head, tail = ENDLESS[format]
    with subprocess.Popen(
        [PENSTOCK[0], "-c", MEASURED, format],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(head)
        for _ in range(200):
            process.stdin.write(b"ab\\\\" * (1 << 18))
        process.stdin.write(tail)
        process.stdin.close()
        exit_code, mebibytes = map(int, process.stdout.read().split())

    assert exit_code == 3
    assert mebibytes < 300
    assert [event["event_type"] for event in stored(tmp_path / "s.db")] == ["seen"]


def test_memory_does_not_grow_with_one_large_batch(tmp_path: Path) -> None:
    rows = 16_000
    text = pa.array(["b" * 10_000]).take(pa.array([0] * rows))
    batch = pa.record_batch({"event_type": ["x"] * rows, "timestamp": ["2026-11-01"] * rows, "text": text})
    with pa.OSFile(str(tmp_path / "in.arrow"), "wb") as target, pa.ipc.new_file(target, batch.schema) as writer:
        writer.write_batch(batch)
    del text, batch

    done = subprocess.run(
        [PENSTOCK[0], "-c", MEASURED.replace('"-", "--format", sys.argv[1]', '"in.arrow", "--dry-run"')],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    exit_code, mebibytes = map(int, done.stdout.split())
    assert exit_code == 0
    assert mebibytes < 280


def test_a_csv_that_a_spreadsheet_wrote_goes_in_and_comes_out(penstock: Command, tmp_path: Path) -> None:
    with (tmp_path / "in.csv").open("w", encoding="utf-8-sig", newline="") as target:
        writer = csv.writer(target, delimiter=";")
        writer.writerow(["Kind", "When", "Note"])
        writer.writerow(["sold", "2026-11-01 09:00", 'two "lines"\nof text; really'])

    loaded = penstock("ingest", "s.db", "in.csv", "--map", "event_type=Kind,timestamp=When")
    penstock("export", "s.db", "out.csv")

    assert loaded.code == 0
    with (tmp_path / "out.csv").open(newline="") as source:
        (row,) = csv.DictReader(source)
    assert row["timestamp"] == "2026-11-01T09:00:00.000000Z"
    assert json.loads(row["data"]) == {"Note": 'two "lines"\nof text; really'}
