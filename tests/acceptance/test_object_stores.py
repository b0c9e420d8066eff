"""Exports to a bucket of a server that speaks S3: every verb, by the command, read back with other clients."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pyarrow.parquet as pq
import pytest

import object_services
from penstock_command import PENSTOCK, Run

Penstock = Callable[..., Run]
SECRET = "canary-secret"


@pytest.fixture
def bucket(s3: None) -> str:
    return object_services.new_bucket()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A database with a table, made by another SQLite."""
    path = tmp_path / "app.db"
    _sql(path, "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, name TEXT)")
    _add(path, 0, 3000)
    return path


def _sql(path: Path, *statements: str) -> None:
    code = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c: [c.execute(s) for s in sys.argv[2:]]"
    subprocess.run([sys.executable, "-c", code, str(path), *statements], check=True)


def _add(path: Path, first: int, stop: int) -> None:
    rows = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {stop}) "
    _sql(path, f"INSERT INTO t {rows} SELECT i, '2026-01-0' || (1 + i % 3) || 'T00:00:00Z', 'name ' || i FROM n")


def _objects(bucket: str) -> dict[str, bytes]:
    """What lies in a bucket, by a client of the vendor's."""
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found}


def _ids(objects: dict[str, bytes], names: list[str]) -> list[int]:
    return sorted(number for name in names for number in pq.read_table(io.BytesIO(objects[name]))["id"].to_pylist())


def _parts(text: bytes) -> list[str]:
    return [part["name"] for part in json.loads(text)["parts"]]


def test_every_verb_works_on_what_lies_in_a_bucket(
    penstock_process: Penstock, app: Path, bucket: str, tmp_path: Path
) -> None:
    url = f"s3://{bucket}/a dir/ün"
    said = [penstock_process("export", app, f"{url}/", "--table", "t", "--incremental", "--key", "id")]
    _add(app, 3000, 3500)
    said.append(penstock_process("resume", app, f"{url}/"))
    said += [penstock_process("verify", f"{url}/"), penstock_process("gaps", f"s3://{bucket}/a dir/")]
    said.append(penstock_process("export", app, "here/", "--table", "t"))
    said.append(penstock_process("diff", "here/", f"{url}/"))
    assert [run.code for run in said] == [0] * len(said), [run.stderr for run in said]
    objects = {key.removeprefix("a dir/ün/"): text for key, text in _objects(bucket).items()}
    runs = [objects[f"_penstock/runs/{number:06d}.json"] for number in (1, 2)]
    assert _ids(objects, [name for run in runs for name in _parts(run)]) == list(range(3500))
    assert all(json.loads(run)["attempt"] in name for run in runs for name in _parts(run))
    assert not [key for key in objects if key.startswith(".")]
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.delete_object(Bucket=bucket, Key=f"a dir/ün/{_parts(runs[0])[0]}")
    damaged = penstock_process("verify", f"{url}/")
    repaired = penstock_process("repair", f"{url}/", "--from", app)
    assert (damaged.code, repaired.code, penstock_process("verify", f"{url}/").code) == (4, 0, 0), repaired.stderr
    assert not any(SECRET in run.stderr or SECRET.encode() in run.stdout for run in [*said, damaged, repaired])


def test_events_are_restored_from_a_bucket(penstock_process: Penstock, bucket: str, tmp_path: Path) -> None:
    lines = [json.dumps({"event_type": "a", "timestamp": 1_760_000_000 + n, "data": {"n": n}}) for n in range(500)]
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    url = f"s3://{bucket}/events.ndjson.gz"
    said = [
        penstock_process("ingest", "events.db", "in.ndjson"),
        penstock_process("export", "events.db", url),
        penstock_process("restore", url, "--into", "back.db"),
        penstock_process("diff", "events.db", "back.db"),
    ]
    assert [run.code for run in said] == [0] * 4, [run.stderr for run in said]
    count = "import sqlite3; print(sqlite3.connect('back.db').execute('SELECT count(*) FROM events').fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", count], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "500"


def test_directories_and_files_are_replaced_only_when_asked(penstock_process: Penstock, app: Path, bucket: str) -> None:
    for name in ("dir/", "out.parquet"):
        url = f"s3://{bucket}/{name}"
        first = penstock_process("export", app, url, "--table", "t")
        before = _objects(bucket)
        refused = penstock_process("export", app, url, "--table", "t")
        assert (first.code, refused.code, _objects(bucket) == before) == (0, 2, True), refused.stderr
        _add(app, 5000 if name == "dir/" else 6000, 5500 if name == "dir/" else 6500)
        replaced = penstock_process("export", app, url, "--table", "t", "--overwrite")
        assert (replaced.code, penstock_process("verify", url).code) == (0, 0), replaced.stderr
        assert len(_objects(bucket)) == len(before)
    objects = _objects(bucket)
    assert len(_ids(objects, ["out.parquet"])) == 4000
    assert json.loads(objects["out.parquet.manifest.json"])["guarantees"] == {"one_writer": "claimed"}


def test_partitions_and_processes_write_there_too(penstock_process: Penstock, app: Path, bucket: str) -> None:
    given = ("--table", "t", "--time", "at", "--partition-by", "day", "--format", "ndjson")
    parted = penstock_process("export", app, f"s3://{bucket}/days/", *given)
    spread = penstock_process("export", app, f"s3://{bucket}/spread/", "--table", "t", "--runner", "processes")
    every = penstock_process("export", app, f"s3://{bucket}/all/", "--all-tables")
    assert (parted.code, spread.code, every.code) == (0, 0, 0), (parted.stderr, spread.stderr, every.stderr)
    assert [penstock_process("verify", f"s3://{bucket}/{name}/").code for name in ("days", "spread", "all/t")] == [
        0
    ] * 3
    objects = _objects(bucket)
    days = _parts(objects["days/_penstock/manifest.json"])
    assert [name.split("/")[1] for name in days] == [f"date=2026-01-0{day}" for day in (1, 2, 3)]
    lines = [json.loads(line) for name in days for line in objects[f"days/{name}"].splitlines()]
    assert sorted(line["id"] for line in lines) == list(range(3000))


def test_what_cannot_be_is_told_with_what_to_do(penstock_process: Penstock, app: Path, bucket: str) -> None:
    cases = [
        ((f"s3://{bucket}-not/x/",), {}, 6, "there is no bucket"),
        ((f"s3://key:{SECRET}@{bucket}/x/",), {}, 2, "a URL holds no secret"),
        (("s3:///x/",), {}, 2, "lacks a name"),
        ((f"ftp://{bucket}/x/",), {}, 2, "is not known"),
        ((f"s3://{bucket}/x.zzz",), {}, 2, "unknown ending"),
        ((f"s3://{bucket}/a/../b/",), {}, 2, "is no key"),
        ((f"s3://{bucket}/x.parquet", "--incremental"), {}, 2, "end the name with /"),
        ((f"s3://{bucket}/x/",), {"AWS_ALLOW_HTTP": "false"}, 2, "AWS_ALLOW_HTTP=true"),
    ]
    for arguments, environment, code, text in cases:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            run = penstock_process("export", app, *arguments, "--table", "t")
        assert (run.code, text in run.stderr, SECRET in run.stderr) == (code, True, False), (arguments, run.stderr)
    assert _objects(bucket) == {}
    assert penstock_process("verify", f"s3://{bucket}/x/").code == 6
    assert penstock_process("gaps", f"s3://{bucket}/").code == 6


def test_the_package_that_lacks_is_named(app: Path) -> None:
    code = "import sys; sys.modules['obstore'] = None; from penstock.cli import main; main()"
    command = [sys.executable, "-c", code, "export", str(app), "s3://bucket/x/", "--table", "t"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'penstock[objects]'" in done.stderr) == (2, True), done.stderr


def test_a_claim_that_a_kill_left_is_told_and_may_be_removed(
    penstock_process: Penstock, app: Path, bucket: str
) -> None:
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.put_object(Bucket=bucket, Key=".out.csv.penstock/claim", Body=b"")
    refused = penstock_process("export", app, f"s3://{bucket}/out.csv", "--table", "t")
    assert (refused.code, f"s3://{bucket}/.out.csv.penstock/claim" in refused.stderr) == (11, True), refused.stderr
    client.delete_object(Bucket=bucket, Key=".out.csv.penstock/claim")
    assert penstock_process("export", app, f"s3://{bucket}/out.csv", "--table", "t").code == 0


def test_a_service_that_overwrites_in_silence_is_found_out(penstock_process: Penstock, app: Path, bucket: str) -> None:
    def forget(method: str, path: str, headers: dict[str, str]) -> None:
        headers.pop("if-none-match", None)
        headers.pop("if-match", None)

    with (
        object_services.Proxy(os.environ["AWS_ENDPOINT_URL"], forget) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        runs = [penstock_process("export", app, f"s3://{bucket}/{n}", "--table", "t") for n in ("d/", "f.csv")]
        runs.append(penstock_process("export", app, f"s3://{bucket}/d/", "--table", "t"))
        runs.append(penstock_process("verify", f"s3://{bucket}/d/"))
    assert [run.code for run in runs] == [0, 0, 2, 0], [run.stderr for run in runs]
    assert ["overwrites in silence" in run.stderr for run in runs] == [True, True, False, False]
    for name in ("d/_penstock/manifest.json", "f.csv.manifest.json"):
        assert json.loads(_objects(bucket)[name])["guarantees"] == {"one_writer": "assumed"}


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_other_services_take_files_directories_and_runs(
    scheme: str, penstock_process: Penstock, app: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(scheme)
    url = f"{scheme}://{object_services.new_bucket(scheme)}"
    said = [penstock_process("export", app, f"{url}/runs/", "--table", "t", "--incremental", "--key", "id")]
    _add(app, 3000, 3500)
    said.append(penstock_process("resume", app, f"{url}/runs/"))
    for name in ("dir/", "out.csv"):
        said += [
            penstock_process("export", app, f"{url}/{name}", "--table", "t", *more) for more in ((), ("--overwrite",))
        ]
    said += [penstock_process("verify", f"{url}/{name}") for name in ("runs/", "dir/", "out.csv")]
    said.append(penstock_process("diff", f"{url}/runs/", f"{url}/dir/"))
    assert [run.code for run in said] == [0] * len(said), [run.stderr for run in said]
    missing = penstock_process("export", app, f"{scheme}://not{url.partition('://')[2]}/x/", "--table", "t")
    assert (missing.code, "there is no" in missing.stderr) == (6, True), missing.stderr
    if scheme == "az":
        lines = object_services.azure_request("GET", f"{url.removeprefix('az://')}/out.csv").splitlines()
        assert len(lines) == 3501


def test_later_runs_cost_no_more_requests(penstock_process: Penstock, app: Path, bucket: str) -> None:
    costs = []
    with (
        object_services.Proxy(os.environ["AWS_ENDPOINT_URL"], lambda *_: None) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        for number in range(7):
            before = len(proxy.log)
            run = penstock_process("export", app, f"s3://{bucket}/r/", "--table", "t", "--incremental", "--key", "id")
            assert run.code == 0, run.stderr
            costs.append(len(proxy.log) - before)
            _add(app, 10_000 + 10 * number, 10_010 + 10 * number)
    assert costs[6] <= costs[3], costs


@pytest.mark.parametrize("number", [2, 7, 11])
def test_a_process_that_is_killed_at_a_request_is_made_good_by_the_next(
    number: int, penstock_process: Penstock, app: Path, bucket: str
) -> None:
    url = f"s3://{bucket}/d/"
    children: list[subprocess.Popen[bytes]] = []
    seen = itertools.count(1)

    def kill(method: str, path: str, headers: dict[str, str]) -> tuple[str, int] | None:
        if method not in ("PUT", "POST", "DELETE") or next(seen) != number:
            return None
        children[0].kill()
        return ("after" if number % 2 else "before"), 0

    with object_services.Proxy(os.environ["AWS_ENDPOINT_URL"], kill) as proxy:
        command = [*PENSTOCK, "export", str(app), url, "--table", "t"]
        children.append(subprocess.Popen(command, env={**os.environ, "AWS_ENDPOINT_URL": proxy.url}))
        assert children[0].wait(60) == -signal.SIGKILL
    before = penstock_process("verify", url).code
    again = penstock_process("export", app, url, "--table", "t")
    assert (before, again.code) in {(0, 2), (4, 0), (6, 0)}, again.stderr
    assert penstock_process("verify", url).code == 0
    objects = _objects(bucket)
    names = {f"d/{name}" for name in _parts(objects["d/_penstock/manifest.json"])}
    assert {key for key in objects if not key.startswith("d/.probe/")} == names | {
        "d/_penstock/manifest.json",
        "d/_penstock/SHA256SUMS",
    }
