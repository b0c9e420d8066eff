"""``export --flatten``: payloads as typed columns, the same in every format, wherever they are written and read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pytest

from adopted_tables import build, elsewhere
from penstock import AnalyticsEvent, ExportOptions, SqliteAnalyticsStorage, export, verify
from penstock_command import Run
from sample_events import START, uuid_of

Command = Callable[..., Run]
DATA: list[dict[str, Any] | str] = [
    {"status": 200, "user": {"id": 1, "name": 'é "x", y'}, "ms": 1.5, "tags": [1, {"a": None}], "ok": True},
    {"status": 404, "user": {"id": 2}, "ms": 2, "ok": False, "mixed": "a"},
    {"status": None, "user": {}, "mixed": 1},
    '{"status":500,"status":501,"ms":0.25,"big":123456789012345678901234567890}',
    {},
]
COLUMNS = ["data.status", "data.user.id", "data.user.name", "data.ms", "data.tags", "data.ok", "data.mixed", "data.big"]
ROWS = [
    (200, 1, 'é "x", y', 1.5, '[1,{"a":null}]', True, None, None, None),
    (404, 2, None, 2.0, None, False, '"a"', None, None),
    (None, None, None, None, None, None, "1", None, '{"user":{}}'),
    (500, None, None, 0.25, None, None, None, "123456789012345678901234567890", '{"status":501}'),
    (None,) * 9,
]
COUNTS = {"coerced_json_null": 1, "rest_empty_object": 1, "rest_repeated": 1}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a store of five events, ``events.db``, that nobody has open."""
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(
            AnalyticsEvent("page_view", id=uuid_of(number), timestamp=START, data=data)
            for number, data in enumerate(DATA)
        )
    return tmp_path


def more(place: Path, *payloads: dict[str, Any] | str) -> None:
    """Events that arrive later."""
    with SqliteAnalyticsStorage(place / "events.db") as store:
        store.append(AnalyticsEvent("page_view", timestamp=START, data=data) for data in payloads)


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_format_has_the_same_typed_columns_with_one_digest(place: Path, penstock: Command) -> None:
    digests, columns = set(), [*COLUMNS, "data_rest"]
    for ending in ("ndjson", "json", "csv", "parquet", "arrow"):
        done = penstock("export", "events.db", f"a.{ending}", "--flatten", "data,metadata", "--verify-written")
        assert done.code == 0, done.stderr
        assert verify(place / f"a.{ending}").problems == ()
        said = manifest(place / f"a.{ending}.manifest.json")
        digests.add(said["rows_digest"]["value"])
        assert said["counts"] == COUNTS
        assert [column["name"] for column in said["schema"]] == [
            *("id", "category", "event_type", "timestamp", "session_id", "priority"),
            *columns,
            *("metadata_rest", "seq", "received_at"),
        ]
    assert len(digests) == 1
    for reader in (polars.read_parquet(place / "a.parquet"), polars.read_ipc(place / "a.arrow")):
        assert reader.select(columns).rows() == ROWS
    lines = [json.loads(line, parse_float=str, parse_int=str) for line in (place / "a.ndjson").read_text().splitlines()]
    assert lines == json.loads((place / "a.json").read_text(), parse_float=str, parse_int=str)
    assert [line["data.big"] for line in lines] == [None, None, None, "123456789012345678901234567890", None]
    cells = list(csv.DictReader((place / "a.csv").read_text().splitlines()))
    assert [cell["data.user.name"] for cell in cells] == ['é "x", y', "", "", "", ""]
    assert [cell["data.tags"] for cell in cells] == ['[1,{"a":null}]', "", "", "", ""]


def test_parquet_opens_typed_in_duckdb_polars_and_pandas(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "a.parquet", "--flatten", "data").code == 0
    path = place / "a.parquet"
    with duckdb.connect() as database:
        types = dict(
            database.execute(
                "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?))", [str(path)]
            ).fetchall()
        )
        names = ", ".join(f'"{name}"' for name in [*COLUMNS, "data_rest"])
        assert database.execute(f"SELECT {names} FROM read_parquet(?) ORDER BY seq", [str(path)]).fetchall() == ROWS
    assert [types[name] for name in COLUMNS] == [
        *("BIGINT", "BIGINT", "VARCHAR", "DOUBLE", "VARCHAR", "BOOLEAN", "VARCHAR", "VARCHAR")
    ]
    schema = polars.read_parquet_schema(path)
    assert [schema[name] for name in ("data.status", "data.ms", "data.ok")] == [
        polars.Int64,
        polars.Float64,
        polars.Boolean,
    ]
    frame = pandas.read_parquet(path)
    assert frame["data.ms"].dtype == "float64"
    assert frame["data.status"].sum() == 1104
    assert frame.loc[frame["data.ok"] == True, "data.user.name"].tolist() == ['é "x", y']  # noqa: E712  # a column


def test_the_library_flattens_as_the_command_does(place: Path, penstock: Command) -> None:
    penstock("export", "events.db", "a.ndjson", "--flatten", "data", "--flatten-columns", "3")
    result = export(place / "events.db", place / "b.ndjson", options=ExportOptions(flatten=["data"], flatten_columns=3))
    assert (place / "a.ndjson").read_bytes() == (place / "b.ndjson").read_bytes()
    assert result.notes == ("5 members of data have no column, as 'data.user.id'; they are in data_rest",)
    assert result.manifest.counts["rest_without_column"] == 7
    table = pa.table(result)
    assert table["data.status"].type == pa.int64()
    assert table["data_rest"].to_pylist()[1] == '{"user":{"id":2},"ok":false}'


def test_named_members_alone_are_columns(place: Path, penstock: Command) -> None:
    schema = 'data.status:int64, data.mixed:text,data."a.b":bool'
    done = penstock(
        *("export", "events.db", "-", "--flatten", "data", "--flatten-schema", schema),
        *("--columns", "data_rest,data.status,data.mixed,data.a.b"),
    )
    assert done.code == 0
    assert [list(line.values())[:3] for line in done.lines[1:4]] == [
        [{"user": {"id": 2}, "ms": 2, "ok": False}, 404, "a"],
        [{"user": {}, "mixed": 1}, None, None],
        [{"status": 501, "ms": 0.25, "big": 123456789012345678901234567890}, 500, None],
    ]
    assert "rest other type: 1" in done.stderr


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_processes_flatten_as_threads_do(place: Path, penstock_process: Command, format: str) -> None:
    more(place, *({"n": number, "odd" if number % 2 else "even": str(number)} for number in range(900)))
    for runner in ("threads", "processes"):
        done = penstock_process(
            *("export", "events.db", f"{runner}/", "--flatten", "data", "--runner", runner, "--part-size", "300rows"),
            *("--format", format, "--workers", "2"),
        )
        assert done.code == 0, done.stderr
        assert verify(place / runner).problems == ()
        assert manifest(place / f"{runner}/_penstock/manifest.json")["counts"] == COUNTS
    assert len(list((place / "threads/data").iterdir())) > 3
    for path in (place / "threads/data").iterdir():
        assert path.read_bytes() == (place / "processes/data" / path.name).read_bytes()
    with duckdb.connect() as database:
        sql = f'SELECT sum("data.n"), count("data.odd") FROM \'{place}/processes/data/*.{format}\''
        assert database.execute(sql).fetchone() == (900 * 899 // 2, 450)


def test_partitions_are_flattened(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "out/", "--flatten", "data", "--partition-by", "day").code == 0
    assert verify(place / "out").problems == ()
    frame = polars.read_parquet(f"{place}/out/data/**/*.parquet", hive_partitioning=True)
    assert frame.sort("seq").select([*COLUMNS, "data_rest"]).rows() == ROWS


def test_a_limit_is_about_the_first_pass_too(place: Path, penstock: Command) -> None:
    done = penstock("export", "events.db", "-", "--flatten", "data", "--limit", "2")
    assert [name for name in done.lines[0] if name.startswith("data")] == [*COLUMNS[:7], "data_rest"]
    assert len(done.lines) == 2
    assert done.lines[1]["data.mixed"] == "a"


def test_the_first_run_of_a_lineage_settles_the_columns_of_all(place: Path, penstock: Command) -> None:
    run = ("export", "events.db", "runs/", "--incremental", "--flatten", "data")
    assert penstock(*run).code == 0
    assert (done := penstock(*run)).code == 0, done.stderr
    more(place, {"status": 1, "new": True, "ms": "text"})
    done = penstock(*run)
    assert done.code == 0
    assert "rest without column: 1" in done.stderr
    assert "rest other type: 1" in done.stderr
    assert penstock("resume", "events.db", "runs/").code == 0
    assert verify(place / "runs").problems == ()
    steps = [manifest(path)["steps"] for path in sorted((place / "runs/_penstock/runs").glob("*.json"))]
    assert len(steps) == 4
    assert all(step == steps[0] for step in steps)
    frame = polars.read_parquet(f"{place}/runs/data/*.parquet").sort("seq")
    assert frame.select([*COLUMNS, "data_rest"]).rows() == [*ROWS, (1, *[None] * 7, '{"new":true,"ms":"text"}')]
    for other, said in (
        (run[:-2], "begun with data flattened to at most 200 columns, not with no column flattened"),
        ((*run, "--flatten-columns", "3"), "not with data flattened to at most 3 columns"),
        ((*run, "--flatten-schema", "data.a:text"), "not with data flattened to these members: data.a"),
        ((*run[:-1], "data,metadata"), "not with data and metadata flattened"),
    ):
        done = penstock(*other)
        assert done.code == 2
        assert said in done.stderr


def test_lost_parts_and_runs_of_a_flattened_lineage_are_made_again(place: Path, penstock: Command) -> None:
    run = ("export", "events.db", "runs/", "--incremental", "--flatten", "data,metadata")
    for number in range(3):
        assert penstock(*run).code == 0
        more(place, {"status": number, "late": {}})
    (first, *_) = sorted((place / "runs/data").iterdir())
    was = first.read_bytes()
    first.unlink()
    (place / "runs/_penstock/runs/000002.json").unlink()
    done = penstock("repair", "runs", "--from", "events.db")
    assert done.code == 0, done.stderr
    assert first.read_bytes() == was
    assert verify(place / "runs").problems == ()
    assert penstock(*run).code == 0
    frame = polars.read_parquet(f"{place}/runs/data/*.parquet").sort("seq")
    assert frame["data.status"].to_list() == [200, 404, None, 500, None, 0, 1, 2]
    assert frame["data_rest"].to_list()[-1] == '{"late":{}}'


def test_a_lineage_does_not_begin_without_members(tmp_path: Path, penstock: Command) -> None:
    SqliteAnalyticsStorage(tmp_path / "events.db").close()
    run = ("export", "events.db", "runs/", "--incremental", "--flatten", "data")
    done = penstock(*run)
    assert done.code == 2
    assert "no row has a member of data yet" in done.stderr
    assert penstock(*run, "--flatten-schema", "data.n:int64").code == 0
    more(tmp_path, {"n": 1})
    assert penstock(*run, "--flatten-schema", "data.n:int64").code == 0
    assert polars.read_parquet(f"{tmp_path}/runs/data/*.parquet")["data.n"].to_list() == [1]


def test_rows_that_are_read_again_are_known_in_their_flattened_shape(place: Path, penstock: Command) -> None:
    """The store is put back to before the last run, and grows in another way."""
    run = (
        "export",
        "events.db",
        "runs/",
        "--incremental",
        "--flatten",
        "data",
        "--flatten-schema",
        "data.status:int64",
    )
    kept = (place / "events.db").read_bytes()
    more(place, {"status": 1, "x": 1}, {"status": 2})
    assert penstock(*run).code == 0
    for name in ("events.db-wal", "events.db-shm"):
        (place / name).unlink(missing_ok=True)
    (place / "events.db").write_bytes(kept)
    more(place, {"status": 3, "y": 1})
    done = penstock(*run)
    assert done.code == 3, done.stderr
    frame = polars.read_parquet(f"{place}/runs/data/*.parquet")
    assert frame["data.status"].to_list() == [200, 404, None, 500, None, 1, 2, 3]


def test_a_flattened_export_and_its_store_are_compared_in_its_columns(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "a.csv", "--flatten", "data").code == 0
    assert penstock("diff", "a.csv", "events.db").code == 0
    elsewhere(place / "events.db", "UPDATE events SET data = replace(data, '404', '405')")
    done = penstock("diff", "events.db", "a.csv")
    assert done.code == 4
    assert uuid_of(1) in done.stdout.decode()


def test_a_flattened_export_is_not_restored(place: Path, penstock: Command) -> None:
    assert penstock("export", "events.db", "a.csv", "--flatten", "metadata").code == 0
    done = penstock("restore", "a.csv", "--into", "b.db")
    assert done.code == 2
    assert "the export is flattened" in done.stderr
    assert not (place / "b.db").exists()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A database with a table of twenty orders, whose ``props`` are JSON with white space, and a view of some."""
    rows = [(n, "2026-11-01T00:00:00Z", "k", f'{{ "total" : {n}.5, "n" : {n} }}' if n % 4 else None) for n in range(20)]
    return build(
        tmp_path / "app.db",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, at TEXT, kind TEXT, props JSON)",
        "CREATE VIEW late AS SELECT id, props FROM orders WHERE id >= 10",
        rows=rows,
        into="orders",
    )


@pytest.mark.parametrize(
    ("source", "column", "first"),
    [
        (["--table", "orders"], "props", 0),
        (["--table", "orders", "--rename", "props=p"], "p", 0),
        (["--table", "orders", "--map", "timestamp=at,event_type=kind,data=props"], "data", 0),
        (["--table", "late", "--types", "props:json"], "props", 10),
        (["--query", "SELECT id, props FROM orders WHERE id >= 5", "--types", "props:json"], "props", 5),
        (["--table", "orders", "--runner", "processes", "--part-size", "7rows", "--workers", "2"], "props", 0),
        (["--table", "orders", "--incremental"], "props", 0),
    ],
)
def test_json_columns_of_tables_views_and_queries_are_flattened(
    table: Path, penstock_process: Command, source: list[str], column: str, first: int
) -> None:
    done = penstock_process("export", "app.db", "out/", *source, "--flatten", column)
    assert done.code == 0, done.stderr
    assert verify(table.parent / "out").problems == ()
    frame = polars.read_parquet(f"{table.parent}/out/data/*.parquet")
    found = sorted(frame[f"{column}.total"].to_list(), key=lambda total: total or 0)
    wanted = [n + 0.5 if n % 4 else None for n in range(first, 20)]
    assert found == sorted(wanted, key=lambda total: total or 0)
    assert frame[f"{column}.n"].dtype == polars.Int64
    with duckdb.connect() as database:
        sql = f"SELECT sum(\"{column}.total\") FROM '{table.parent}/out/data/*.parquet'"
        assert database.execute(sql).fetchone() == (sum(total or 0 for total in wanted),)


def test_a_flattened_table_and_its_export_are_compared_in_its_columns(table: Path, penstock: Command) -> None:
    assert penstock("export", "app.db", "a.ndjson", "--table", "orders", "--flatten", "props").code == 0
    assert penstock("diff", "app.db", "a.ndjson", "--table", "orders").code == 0
    elsewhere(table, "UPDATE orders SET props = '{\"n\":17.0}' WHERE id = 17")
    done = penstock("diff", "a.ndjson", "app.db", "--table", "orders")
    assert (done.code, done.stdout.decode().split()) == (4, ["~", "17"])


def test_a_condition_is_about_the_payload_and_the_first_pass_sees_what_it_takes(place: Path, penstock: Command) -> None:
    done = penstock("export", "events.db", "a.ndjson", "--flatten", "data", "--where", "data.status >= 404")
    assert done.code == 0
    (row, *_) = (json.loads(line) for line in (place / "a.ndjson").read_text().splitlines())
    names = [name for name in row if name.startswith("data")]
    assert names == ["data.status", "data.user.id", "data.ms", "data.ok", "data.mixed", "data.big", "data_rest"]
    done = penstock("diff", "events.db", "a.ndjson", "--where", "data.status >= 404")
    assert done.code == 2
    assert "export again without --flatten data" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--flatten", "nope"], "events has no column 'nope'"),
        (["--flatten", "id"], "events holds no JSON in the column 'id'"),
        (["--flatten", "data,data"], "none of them twice"),
        (["--flatten", ","], "name at least one column"),
        (["--flatten-columns", "5"], "no column is flattened"),
        (["--flatten-schema", "data.a:text"], "no column is flattened"),
        (["--flatten", "data", "--flatten-columns", "0"], "1 to 2,000, not 0"),
        (["--flatten", "data", "--flatten-columns", "2001"], "1 to 2,000, not 2001"),
        (["--flatten", "data", "--flatten-schema", "data.a"], "cannot read the members"),
        (["--flatten", "data", "--flatten-schema", "data.a:text,data.a:text"], "is named twice"),
        (["--flatten", "data", "--flatten-schema", "data.a:number"], "cannot have the type 'number'"),
        (["--flatten", "data", "--flatten-schema", "data.a:text", "--flatten-columns", "5"], "a schema is given"),
        (["--flatten", "data", "--max-duration", "5"], "does not go with a first pass"),
        (["--flatten", "data", "--dry-run"], "--dry-run reads no payloads"),
        (["--flatten", "data", "--columns", "data"], "the column 'data' is flattened"),
        (["--flatten", "data", "--columns", "id,tiemstamp"], "did you mean 'timestamp'?"),
        (["--flatten", "data", "--columns", "id,data.nope"], "unknown column 'data.nope'"),
    ],
)
def test_what_does_not_go_together_is_refused(place: Path, penstock: Command, options: list[str], said: str) -> None:
    done = penstock("export", "events.db", "a.csv", *options)
    assert done.code == 2
    assert said in done.stderr
    assert not (place / "a.csv").exists()


def test_a_payload_that_is_no_json_is_refused_by_its_text(place: Path, penstock: Command) -> None:
    elsewhere(place / "events.db", "UPDATE events SET data = '{nope' WHERE seq = 3")
    done = penstock("export", "events.db", "a.csv", "--flatten", "data")
    assert done.code == 7
    assert "a payload cannot be flattened" in done.stderr
    assert "'{nope'" in done.stderr
    assert not (place / "a.csv").exists()


def test_numbers_of_five_shapes_come_out_as_they_went_in(tmp_path: Path, penstock: Command) -> None:
    numbers = ["0.1", "1.50", "1e3", "0.30000000000000004", "-0.0", "5e-324", "1.7976931348623157e308", "123456789.125"]
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append(AnalyticsEvent("n", timestamp=START, data=f'{{"v":{number}}}') for number in numbers)
    assert penstock("export", "events.db", "a.parquet", "--flatten", "data").code == 0
    found = polars.read_parquet(tmp_path / "a.parquet").sort("seq")["data.v"].to_list()
    assert [value.hex() for value in found] == [float(number).hex() for number in numbers]
