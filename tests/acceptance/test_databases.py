"""Tables of databases as destinations, by the command: what lies there is read by others, and told by our own verbs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import foreign_sqlite
import penstock as library
from penstock import Exporter, SqliteAnalyticsStorage
from penstock.errors import UnfitValue
from penstock.testing.arrow_source import ArrowSource
from penstock_command import Run
from postgres_server import PASSWORD, Server

Command = Callable[..., Run]
#: Where the password is, in a URL.
SECRET = "?password=env:PENSTOCK_TEST_SECRET"


def ask_sqlite(path: Path, sql: str) -> list[list[Any]]:
    return foreign_sqlite.execute(path, sql)[0]


def ask_duckdb(path: Path, sql: str) -> list[list[Any]]:
    with duckdb.connect(str(path)) as connection:
        return [list(row) for row in connection.execute(sql).fetchall()]


def ask_postgres(server: Server, name: str, sql: str) -> list[list[Any]]:
    """What psql answers, numbers as numbers."""
    return [
        [int(field) if field is not None and re.fullmatch(r"-?\d+", field) else field for field in row]
        for row in server.ask(name, sql)
    ]


Ask = Callable[[str], list[list[Any]]]


@dataclass(frozen=True)
class Database:
    """A database that is empty at first: its URL, and what another program answers about it."""

    url: str
    ask: Ask

    def table(self, name: str) -> str:
        return f"{self.url}{'&' if '?' in self.url else '?'}table={name}"


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param != "postgresql":
        ask = {"sqlite": ask_sqlite, "duckdb": ask_duckdb}[request.param]
        return Database(f"{request.param}:///out.db", lambda sql: ask(tmp_path / "out.db", sql))
    server: Server = request.getfixturevalue("postgres")
    name = request.getfixturevalue("new_database")()
    return Database(server.url(name, SECRET), lambda sql: ask_postgres(server, name, sql))


def _orders(path: Path, ids: Sequence[int]) -> None:
    made = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, price DECIMAL(10,2), at TIMESTAMP, note TEXT)"
    rows = [("INSERT INTO orders VALUES (?, ?, ?, ?)", [i, f"{i}.50", "2026-11-01T00:00:00Z", f"n{i}"]) for i in ids]
    foreign_sqlite.execute(path, made, *rows)


def test_events_lie_in_the_table_as_other_programs_read_them(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database
) -> None:
    url, ask = database.url, database.ask
    events = list(filled.scan())
    told = penstock("export", "events.db", url, "--json").summary

    count = sum(batch.num_rows for batch in events)
    assert told["event_count"] == count
    assert ask("SELECT count(*), count(DISTINCT id), min(_penstock_row), max(_penstock_row) FROM events") == [
        [count, count, 0, count - 1]
    ]
    found = ask("SELECT id, event_type, data FROM events ORDER BY _penstock_row")
    expected = [[row["id"], row["event_type"], row["data"]] for batch in events for row in batch.to_pylist()]
    assert found == expected
    [[manifest]] = ask("SELECT manifest FROM _penstock_runs WHERE name = 'events' AND run = 0")
    assert json.loads(manifest)["rows_digest"]["value"] == told["events_digest"]


def test_the_digest_is_that_of_a_file(penstock: Command, filled: SqliteAnalyticsStorage, database: Database) -> None:
    url = database.url
    file = penstock("export", "events.db", "out.ndjson", "--json").summary
    table = penstock("export", "events.db", url, "--json", "--verify-written").summary

    assert table["events_digest"] == file["events_digest"]
    assert penstock("verify", url, "--json").summary["event_count"] == file["event_count"]
    assert penstock("diff", "out.ndjson", url).code == 0
    assert penstock("diff", "events.db", url).code == 0
    assert penstock("restore", url, "--into", "back.db").code == 0
    assert penstock("diff", "events.db", "back.db").code == 0


def test_loading_twice_leaves_one_copy(penstock: Command, filled: SqliteAnalyticsStorage, database: Database) -> None:
    url, ask = database.url, database.ask
    first = penstock("export", "events.db", url, "--json").summary
    again = penstock("export", "events.db", url)

    assert again.code == 2
    assert "exists" in again.stderr
    assert "--overwrite" in again.stderr
    assert penstock("export", "events.db", url, "--limit", "3", "--overwrite").code == 0
    assert ask("SELECT count(*) FROM events") == [[3]]
    assert penstock("export", "events.db", url, "--overwrite").code == 0
    assert ask("SELECT count(*) FROM events") == [[first["event_count"]]]
    assert penstock("verify", url).code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM events WHERE _penstock_row = 1", "rows lie there, the manifest says"),
        ("UPDATE events SET event_type = 'other' WHERE _penstock_row = 1", "rows_digest is"),
        ("INSERT INTO events (id, _penstock_run, _penstock_row) VALUES ('x', 7, 0)", "1 rows lie there that no run"),
        ("DROP TABLE events", "the file is missing"),
    ],
)
def test_verify_tells_what_was_changed(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database, change: str, said: str
) -> None:
    url, ask = database.url, database.ask
    penstock("export", "events.db", url)
    ask(change)
    found = penstock("verify", url)

    assert found.code == 4
    assert said in found.stderr


def test_what_fails_leaves_nothing(penstock: Command, filled: SqliteAnalyticsStorage, database: Database) -> None:
    url, ask = database.url, database.ask
    assert penstock("export", "events.db", url, "--event-type", "nothing", "--fail-on-empty").code == 9
    assert penstock("verify", url).code == 6
    assert penstock("export", "events.db", url).code == 0
    kept = ask("SELECT count(*) FROM events")
    assert penstock("export", "events.db", url, "--event-type", "nothing", "--fail-on-empty", "--overwrite").code == 9
    assert ask("SELECT count(*) FROM events") == kept
    assert penstock("verify", url).code == 0


def test_runs_of_a_lineage_add_rows(penstock: Command, tmp_path: Path, database: Database) -> None:
    url, ask = database.url, database.ask
    _orders(tmp_path / "app.db", range(10))
    arguments = ("export", "app.db", url, "--table", "orders", "--incremental")
    assert penstock(*arguments).code == 0
    _orders(tmp_path / "app.db", range(10, 15))
    assert penstock(*arguments, "--json").summary["event_count"] == 5
    assert penstock(*arguments, "--json").summary["event_count"] == 0

    assert ask("SELECT _penstock_run, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [[1, 10], [2, 5]]
    assert ask("SELECT DISTINCT run FROM _penstock_runs ORDER BY run") == [[1], [2], [3]]
    assert penstock("verify", url).code == 0
    assert penstock("gaps", url).code == 0
    assert penstock("resume", "app.db", url).code == 0
    held = penstock("export", "app.db", url, "--table", "orders")
    assert held.code == 2
    assert "holds an incremental export" in held.stderr


def test_rows_that_came_late_are_found(penstock: Command, tmp_path: Path, database: Database) -> None:
    url, ask = database.url, database.ask
    _orders(tmp_path / "app.db", range(0, 20, 2))
    arguments = ("export", "app.db", url, "--table", "orders", "--incremental", "--overlap", "20")
    assert penstock(*arguments).code == 0
    _orders(tmp_path / "app.db", [3, 20])
    late = penstock(*arguments, "--json").summary

    assert late["counts"]["late"] == 1
    assert ask("SELECT id FROM orders WHERE _penstock_run = 2 ORDER BY id") == [[3], [20]]
    assert penstock("verify", url).code == 0
    assert penstock("diff", "app.db", url, "--table", "orders").code == 0


def test_columns_that_a_table_got_are_added(penstock: Command, tmp_path: Path, database: Database) -> None:
    url, ask = database.url, database.ask
    _orders(tmp_path / "app.db", range(3))
    arguments = ("export", "app.db", url, "--table", "orders", "--incremental", "--new-columns", "add")
    assert penstock(*arguments).code == 0
    foreign_sqlite.execute(
        tmp_path / "app.db", "ALTER TABLE orders ADD COLUMN more INTEGER", "INSERT INTO orders VALUES (3, 1, '', '', 7)"
    )
    foreign_sqlite.execute(tmp_path / "app.db", "UPDATE orders SET at = NULL WHERE id = 3")
    assert penstock(*arguments).code == 0

    assert ask("SELECT id, more FROM orders ORDER BY id") == [[0, None], [1, None], [2, None], [3, 7]]
    assert penstock("verify", url).code == 0


def test_a_table_that_was_dropped_ends_its_lineage(penstock: Command, tmp_path: Path, database: Database) -> None:
    url, ask = database.url, database.ask
    _orders(tmp_path / "app.db", range(3))
    arguments = ("export", "app.db", url, "--table", "orders", "--incremental")
    assert penstock(*arguments).code == 0
    ask("DROP TABLE orders")
    _orders(tmp_path / "app.db", [3])
    refused = penstock(*arguments)

    assert refused.code == 4
    assert "is missing; no run was added" in refused.stderr


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("CREATE TABLE events (id TEXT)", "is not of an export"),
        ("CREATE VIEW events AS SELECT 1 AS id", "is a view, not a table"),
    ],
)
def test_what_is_somebody_elses_is_left_alone(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database, made: str, said: str
) -> None:
    url, ask = database.url, database.ask
    ask(made)
    refused = penstock("export", "events.db", url, "--overwrite")

    assert refused.code == 2
    assert said in refused.stderr
    assert "?table=NAME" in refused.stderr
    assert penstock("export", "events.db", database.table("mine")).code == 0


def test_a_trigger_and_a_rule_are_refused(penstock: Command, filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    url, file = "sqlite:///out.db", tmp_path / "out.db"
    penstock("export", "events.db", url, "--limit", "1")
    ask_sqlite(file, "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END")
    trigger = penstock("export", "events.db", url, "--overwrite")
    foreign_sqlite.execute(file, "DROP TRIGGER t", "CREATE UNIQUE INDEX one ON events (category)")
    rule = penstock("export", "events.db", url, "--overwrite")

    assert (trigger.code, rule.code) == (2, 2)
    assert "has the trigger t" in trigger.stderr
    assert "UNIQUE constraint failed" in rule.stderr
    assert ask_sqlite(file, "SELECT count(*) FROM events") == [[1]]


def test_an_export_is_never_loaded_into_its_own_store(penstock: Command, filled: SqliteAnalyticsStorage) -> None:
    for flags in ((), ("--incremental",)):
        refused = penstock("export", "events.db", "sqlite:///events.db?table=mine", *flags)
        assert refused.code == 2
        assert "is the store itself" in refused.stderr


def test_another_store_takes_no_export(penstock: Command, filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    SqliteAnalyticsStorage(tmp_path / "other.db").close()
    refused = penstock("export", "events.db", "sqlite:///other.db?table=mine")
    foreign = penstock("export", "events.db", "duckdb:///other.db?table=mine")

    assert (refused.code, foreign.code) == (2, 2)
    assert "is an event store" in refused.stderr
    assert "DuckDB" in foreign.stderr


@pytest.mark.parametrize(
    "url",
    ["sqlite://out.db", "sqlite:///", "duckdb:///a.db?tabel=x", "sqlite:///a.db?table=x&table=y", "sqlite:///a.db#x"],
)
def test_a_url_that_cannot_be_read_says_how_it_is_written(
    penstock: Command, filled: SqliteAnalyticsStorage, url: str
) -> None:
    refused = penstock("export", "events.db", url)

    assert refused.code == 2
    assert ":///FILE?table=NAME" in refused.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--format", "parquet"),
        ("--compression", "gzip"),
        ("--part-size", "10rows"),
        ("--partition-by", "day"),
        ("--runner", "processes"),
        ("--level", "3"),
    ],
)
def test_options_of_files_are_refused(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database, flags: tuple[str, ...]
) -> None:
    refused = penstock("export", "events.db", database.url, *flags)

    assert refused.code == 2
    assert f"leave {flags[0]} out" in refused.stderr


def test_which_table_is_asked_where_there_are_several(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database
) -> None:
    url = database.url
    for name in ("a", "b"):
        assert penstock("export", "events.db", database.table(name)).code == 0
    unnamed = penstock("verify", url)

    assert unnamed.code == 2
    assert "there are a, b" in unnamed.stderr
    assert penstock("verify", database.table("b")).code == 0


@pytest.mark.parametrize("value", ["a\0b", -0.0])
def test_values_that_sqlite_would_change_are_refused(tmp_path: Path, value: object) -> None:
    source = ArrowSource("values", pa.table({"v": [value]}))
    with pytest.raises(UnfitValue, match="v holds") as refused:
        Exporter(source).export(f"sqlite:///{tmp_path}/out.db")

    assert "--columns" in str(refused.value.hint)
    assert ask_sqlite(tmp_path / "out.db", "SELECT count(*) FROM sqlite_master") == [[0]]


def test_a_second_loader_waits_or_is_told(penstock: Command, filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    holder = "import duckdb, sys; c = duckdb.connect('out.db'); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        refused = penstock("export", "events.db", "duckdb:///out.db")
        process.communicate()

    assert refused.code == 11
    assert penstock("export", "events.db", "duckdb:///out.db").code == 0


def test_two_loaders_at_once_leave_one_copy(
    penstock: Command, filled: SqliteAnalyticsStorage, tmp_path: Path, database: Database
) -> None:
    url, ask = database.url, database.ask
    command = [sys.executable, "-m", "penstock", "export", "events.db", url]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(2)]
    codes = sorted((process.communicate(), process.returncode)[1] for process in both)

    assert codes in ([0, 2], [0, 11])
    assert penstock("verify", url).code == 0
    assert ask("SELECT count(*) = count(DISTINCT id) FROM events")[0][0]


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [
        ("duckdb", "duckdb:///out.db", "penstock[duckdb]"),
        ("adbc_driver_postgresql", "postgresql://127.0.0.1/x", "penstock[postgres]"),
    ],
)
def test_a_driver_that_is_not_installed_is_named(
    filled: SqliteAnalyticsStorage, tmp_path: Path, module: str, url: str, extra: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from penstock.cli import main; main()"
    command = [sys.executable, "-c", code, "export", "events.db", url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert f"pip install '{extra}'" in done.stderr


def test_a_trigger_and_a_rule_of_postgresql_are_refused(
    penstock: Command, filled: SqliteAnalyticsStorage, postgres: Server, new_database: Callable[[], str]
) -> None:
    name = new_database()
    url = postgres.url(name, SECRET)
    assert penstock("export", "events.db", url, "--limit", "1").code == 0
    postgres.ask(name, "CREATE RULE r AS ON INSERT TO events DO ALSO NOTIFY x")
    ruled = penstock("export", "events.db", url, "--overwrite")
    postgres.ask(name, "DROP RULE r ON events", "CREATE UNIQUE INDEX one ON events (category)")
    unique = penstock("export", "events.db", url, "--overwrite")

    assert (ruled.code, unique.code) == (2, 2)
    assert "has the trigger r" in ruled.stderr
    assert "violates unique constraint" in unique.stderr
    assert postgres.ask(name, "SELECT count(*) FROM events") == [["1"]]


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ("postgresql://postgres:{password}@127.0.0.1:{port}/postgres", 2, "PGPASSWORD"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?password={password}", 2, "?password=env:NAME"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?password=env:NOT_THERE", 2, "NOT_THERE"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?password=env:PATH", 7, "password authentication failed"),
        ("postgresql://postgres@127.0.0.1:{port}/nothing?password=env:PENSTOCK_TEST_SECRET", 6, "does not exist"),
        ("postgresql://postgres@127.0.0.1:1/postgres?password=env:PENSTOCK_TEST_SECRET", 5, "Connection refused"),
        ("postgresql://postgres@127.0.0.1:42/postgres?password=env:PENSTOCK_TEST_SECRET", 5, "Connection refused"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?pasword=x", 2, "takes no option 'pasword'"),
        ("postgresql://127.0.0.1:port/postgres", 2, "what is no URL"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_without_the_password(
    penstock: Command, filled: SqliteAnalyticsStorage, postgres: Server, wrong: str, code: int, said: str
) -> None:
    url = wrong.format(password=PASSWORD, port=postgres.port)
    for arguments in (("export", "events.db", url), ("verify", url)):
        refused = penstock(*arguments, "--json")
        assert refused.code == code, refused
        assert arguments[0] == "verify" or said in refused.stderr
        assert PASSWORD not in refused.stderr + refused.stdout.decode()


def test_no_password_is_told_of_an_export(
    penstock: Command, filled: SqliteAnalyticsStorage, postgres: Server, new_database: Callable[[], str]
) -> None:
    name = new_database()
    done = penstock("export", "events.db", postgres.url(name, SECRET), "--json")

    assert done.code == 0
    assert PASSWORD not in done.stderr + done.stdout.decode()
    assert PASSWORD not in str(postgres.ask(name, "SELECT manifest FROM _penstock_runs"))


def test_results_give_their_rows(filled: SqliteAnalyticsStorage, tmp_path: Path) -> None:
    result = library.export(tmp_path / "events.db", f"duckdb:///{tmp_path}/out.db")

    assert duckdb.sql("SELECT count(*) FROM result").fetchall() == [(result.metadata.event_count,)]


def test_a_table_is_one_of_several_destinations(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database
) -> None:
    done = penstock("export", "events.db", "out.parquet", database.url, "--json")

    assert done.code == 0, done
    assert penstock("diff", "out.parquet", database.url).code == 0
    assert penstock("verify", database.url).code == 0


def test_all_tables_of_a_file_become_tables_of_a_database(
    penstock: Command, tmp_path: Path, database: Database
) -> None:
    _orders(tmp_path / "app.db", range(3))
    foreign_sqlite.execute(tmp_path / "app.db", "CREATE TABLE others (a TEXT)", "INSERT INTO others VALUES ('x')")
    assert penstock("export", "app.db", database.url, "--all-tables").code == 0

    assert database.ask("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM others)") == [[3, 1]]
    assert penstock("verify", database.table("others")).code == 0
    assert penstock("export", "app.db", database.table("x"), "--all-tables").code != 0


def test_a_database_without_an_export_is_told_as_one(
    penstock: Command, filled: SqliteAnalyticsStorage, database: Database
) -> None:
    assert penstock("export", "events.db", database.table("a")).code == 0
    database.ask("DELETE FROM _penstock_runs")

    assert penstock("verify", database.url).code == 6
    assert penstock("verify", database.table("b")).code == 6


def test_a_database_of_a_configuration_lies_beside_it(
    penstock: Command, filled: SqliteAnalyticsStorage, tmp_path: Path
) -> None:
    (tmp_path / "a b").mkdir()
    text = '[exports.daily]\nstore = "../events.db"\nto = "sqlite:///out.db?table=daily"\n'
    (tmp_path / "a b/penstock.toml").write_text(text)
    done = penstock("export", "--config", "a b/penstock.toml", "daily")

    assert done.code == 0, done
    assert ask_sqlite(tmp_path / "a b/out.db", "SELECT count(*) > 0 FROM daily") == [[1]]
