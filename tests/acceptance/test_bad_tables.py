"""Tables, views and queries that cannot be exported as they are asked for: one clear line, the right exit code, nothing
published, and a hint that is a command which works."""

from __future__ import annotations

import shlex
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from penstock import AdoptedTable, Exporter, ExportOptions, StorageConfig
from penstock_command import PENSTOCK, Run

Command = Callable[..., Run]
SCRIPT = """CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL, created INTEGER, "date" DATE, note TEXT);
    INSERT INTO orders VALUES (1, 1.5, 1793536215123, '2026-11-01', 'a'), (2, 2.5, 1793536215124, '2026-11-02', 'b');
    CREATE TABLE mixed (id INTEGER PRIMARY KEY, n INT, t TEXT, d DATE, at DATETIME, j JSON, p DECIMAL(4,1), b BOOLEAN,
        r REAL, raw BLOB);
    CREATE TABLE twice (n INT, x TEXT); INSERT INTO twice VALUES (1, 'a'), (1, 'b');
    CREATE TABLE none (x TEXT, n TEXT); INSERT INTO none VALUES ('a', 'b');
    CREATE TABLE gone (x); CREATE VIEW broken AS SELECT * FROM gone; DROP TABLE gone;
    CREATE TABLE generated (id INTEGER PRIMARY KEY, a INT, b INT AS (a * 2) STORED);
    INSERT INTO generated (a) VALUES (4);
    CREATE TABLE nameless ("" INTEGER, a INTEGER); INSERT INTO nameless VALUES (1, 2);
    CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('some words');"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file with tables of every troublesome kind."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.executescript(SCRIPT)
    return tmp_path


#: What is asked for, and a word of the answer.
REFUSED = [
    ("--table order", "did you mean 'orders'?"),
    ("--table broken", "no such table: main.gone"),
    ("--table words_data", "is a shadow table"),
    ("--table orders --query 'SELECT 1 AS x'", "two things to read"),
    ("--query 'SELECT 1 AS a; SELECT 2 AS b'", "more than one statement"),
    ("--query 'DELETE FROM orders'", "the query writes"),
    ("--query 'DELETE FROM orders RETURNING id'", "the query writes"),
    ("--query \"ATTACH 'other.db' AS o\"", "may not use ATTACH"),
    ("--query 'PRAGMA journal_mode = DELETE'", "may not use PRAGMA"),
    ("--query \"SELECT load_extension('x') AS x\"", "may not use the function load_extension"),
    ("--query \"VACUUM INTO 'copy.db'\"", "the query"),
    ("--query 'SELECT id FROM orders WHERE id > ?'", "nothing is given for the parameter ?"),
    ("--query 'SELECT id FROM orders WHERE id > :since'", "nothing is given for the parameter :since"),
    ("--query ''", "the query is empty"),
    ("--query '-- nothing'", "the query is empty"),
    ("--query 'SELECT FROM'", "syntax error"),
    ("--query 'SELECT * FROM nowhere'", "no such table: nowhere"),
    ("--query 'SELECT 1 AS a, 2 AS a'", "comes twice"),
    ("--query 'SELECT 1 AS a, 2 AS A'", "in nothing but case"),
    ("--query 'SELECT 1 AS \"\"'", "has no name"),
    ("--query 'SELECT 1 AS \"a\nb\"'", "cannot be the name of a column"),
    ("--query-file nowhere.sql", "cannot read nowhere.sql"),
    ("--table nameless", "has an empty name"),
    ("--table orders --rename price=note", "would be called 'note'"),
    ("--table orders --rename cost=price", "has no column 'cost'"),
    ("--table orders --time crated", "did you mean 'created'?"),
    ("--table orders --time created:minutes", "unknown unit 'minutes'"),
    ("--table orders --types price:money", "unknown type 'money'"),
    ("--table orders --types price:int64:ms", "has no unit"),
    ("--table orders --types price", "cannot read 'price'"),
    ("--table orders --columns prise", "did you mean 'price'?"),
    ("--table orders --key nope", "has no column 'nope'"),
    ("--table orders --start 2026-11-01", "has no time"),
    ("--table orders --category usage", "category"),
    ("--table orders --where 'prise > 1'", "did you mean"),
    ("--table orders --map timestamp=created,event_type=note --types price:text", "does not go with a mapping"),
    ("--table twice --key n", "holds 1 twice"),
    ("--query 'SELECT n, x FROM twice' --key n --incremental", "holds 1 twice"),
    ("--query 'SELECT n, x FROM twice' --key n", "holds 1 twice"),
    ("--table none --map timestamp=x,event_type=n", "no row of 'none' is an event"),
    ("--query 'SELECT price FROM orders' --incremental", "nothing tells new rows from old ones"),
    ("--types price:text", "needs --table or --query"),
]


@pytest.mark.parametrize(("asked", "word"), REFUSED, ids=[asked for asked, _ in REFUSED])
def test_what_cannot_be_exported_is_refused_in_one_line(place: Path, penstock: Command, asked: str, word: str) -> None:
    before = sorted(path.name for path in place.iterdir())
    dest = "out/" if "--incremental" in asked else "out.csv"
    done = penstock("export", "app.db", dest, *shlex.split(asked))

    assert (done.code, done.stdout) == (6 if "nowhere.sql" in asked else 2, b""), done.stderr
    assert word in done.stderr
    assert done.stderr.count("penstock: ") == 1
    assert not list((place / "out").rglob("*.csv"))
    assert [name for name in sorted(path.name for path in place.iterdir()) if name != "out"] == before


def test_a_column_whose_name_is_no_utf8_is_refused_rather_than_read_as_its_name(place: Path, penstock: Command) -> None:
    stored = (place / "app.db").read_bytes()
    (place / "app.db").write_bytes(stored.replace(b"none (x TEXT", b"none (\xff TEXT"))
    for asked, word in (("--table none", "no such column"), ("--query 'SELECT * FROM none'", "the name of a column")):
        done = penstock("export", "app.db", "out.csv", *shlex.split(asked))
        assert (done.code, word in done.stderr, (place / "out.csv").exists()) == (2, True, False), done.stderr
    asked = "WITH named (a, b) AS (SELECT * FROM none) SELECT a, b FROM named"
    assert penstock("export", "app.db", "out.csv", "--query", asked).code == 0
    assert (place / "out.csv").read_text() == "a,b\na,b\n"


#: Values that do not fit, and what is said of them.
UNFIT = [
    ("n", "'two'", 'holds the text "two", which is no int64'),
    ("n", "1.5", "holds the real 1.5, which is no int64"),
    ("n", "x'00ff'", "holds the blob x'00ff', which is no int64"),
    ("t", "x'00ff'", "holds the blob x'00ff', which is no text"),
    ("t", "CAST(x'ff61' AS TEXT)", "which is no text"),
    ("d", "'2026-02-30'", 'holds the text "2026-02-30", which is no date'),
    ("d", "'2026-11-01 12:00:00'", "2026-11-01T12:00:00.000000Z, which is no date"),
    ("at", "'soon'", 'holds the text "soon", which is no timestamp_utc'),
    ("at", "99", "holds the integer 99, which is no timestamp_utc"),
    ("at", "'99999-01-01'", "which is no timestamp_utc"),
    ("j", "'{\"a\":'", "which is no json"),
    ("p", "12.25", "holds the real 12.25, which is no decimal(4,1)"),
    ("p", "12345", "holds the integer 12345, which is no decimal(4,1)"),
    ("b", "2", "holds the integer 2, which is no bool"),
    ("raw", "'text'", 'holds the text "text", which is no binary'),
]


@pytest.mark.parametrize(("column", "value", "said"), UNFIT, ids=[f"{column} {value}" for column, value, _ in UNFIT])
def test_a_value_that_does_not_fit_is_named_and_each_way_out_works(
    place: Path, penstock: Command, column: str, value: str, said: str
) -> None:
    with closing(sqlite3.connect(place / "app.db")) as connection, connection:
        connection.execute("INSERT INTO mixed (id) VALUES (16)")
        connection.execute(f"INSERT INTO mixed (id, {column}) VALUES (17, {value})")
    done = penstock("export", "app.db", "out.ndjson", "--table", "mixed")

    assert (done.code, (place / "out.ndjson").exists()) == (2, False)
    assert f"mixed, id 17: the column '{column}' holds the" in done.stderr
    assert said in done.stderr
    assert f"--types {column}:text" in done.stderr
    assert "--misfits null" in done.stderr
    for number, fix in enumerate((f"--types {column}:text", "--misfits null", "--misfits text")):
        again = penstock("export", "app.db", f"{number}.ndjson", "--table", "mixed", *fix.split())
        assert again.code == 0, again.stderr
    text = (place / "0.ndjson").read_text().splitlines()[1]
    assert f'"{column}":null' not in text
    assert text == (place / "2.ndjson").read_text().splitlines()[1]
    assert f'"{column}":null' in (place / "1.ndjson").read_text().splitlines()[1]
    assert "coerced misfit: 1" in penstock("export", "app.db", "3.csv", "--table", "mixed", "--misfits", "null").stderr


def test_a_wrong_unit_is_answered_with_the_right_one(place: Path, penstock: Command) -> None:
    done = penstock("export", "app.db", "out.csv", "--table", "orders", "--time", "created:s")
    assert done.code == 2
    assert "orders, id 1: the column 'created' holds the integer 1793536215123" in done.stderr
    fix = next(word for word in done.stderr.split() if word.startswith("created:timestamp_utc"))
    again = penstock("export", "app.db", "out.csv", "--table", "orders", "--time", "created:s", "--types", fix)
    assert again.code == 0
    assert "2026-11-01T12:30:15.123000Z" in (place / "out.csv").read_text()


def test_folders_of_partitions_are_called_otherwise_where_a_column_has_their_name(
    place: Path, penstock: Command
) -> None:
    given = ("export", "app.db", "days/", "--table", "orders", "--time", "date", "--partition-by", "day")
    done = penstock(*given)
    assert (done.code, "'date' is called like a folder" in done.stderr) == (2, True)
    assert "--partition-name day\n" in done.stderr
    assert penstock(*given, "--partition-name", "day").code == 0
    assert {path.name for path in (place / "days/data").iterdir()} == {"day=2026-11-01", "day=2026-11-02"}
    assert penstock(*given, "--overwrite", "--partition-name", "PRICE").code == 2
    assert penstock(*given, "--overwrite", "--rename", "date=on_day").code == 0


def test_generated_columns_odd_names_and_virtual_tables_are_exported(place: Path, penstock: Command) -> None:
    assert penstock("export", "app.db", "a.csv", "--table", "generated").code == 0
    assert (place / "a.csv").read_text() == "id,a,b\n1,4,8\n"
    assert penstock("export", "app.db", "b.ndjson", "--table", "words").code == 0
    assert (place / "b.ndjson").read_text() == '{"body":"some words"}\n'
    assert "--rename =name" in penstock("export", "app.db", "c.csv", "--table", "nameless").stderr
    assert penstock("export", "app.db", "c.csv", "--table", "nameless", "--rename", "=name").code == 0
    assert (place / "c.csv").read_text() == "name,a\n1,2\n"


ENDLESS = "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("more", [(), ("--types", "x:int64"), ("--types", "x:int64", "--key", "x")])
def test_a_query_that_never_ends_is_ended_by_a_signal(
    place: Path, sent: signal.Signals, code: int, more: tuple[str, ...]
) -> None:
    process = subprocess.Popen(
        [*PENSTOCK, "export", "app.db", "out.csv", "--query", ENDLESS, *more, "--csv-null", "NULL"],
        cwd=place,
        stderr=subprocess.PIPE,
    )
    time.sleep(1.0)
    assert process.poll() is None, "it runs on and on"
    process.send_signal(sent)
    assert process.wait(30) == code
    process.communicate()
    assert not (place / "out.csv").exists()


def test_a_query_that_gives_no_more_rows_ends_when_its_time_is_over(place: Path, penstock: Command) -> None:
    given = ("export", "app.db", "out.ndjson", "--max-duration", "0.3", "--query")
    done = penstock(*given, f"{ENDLESS} OR x = 5", "--types", "x:int64")
    assert (done.code, "stopped at max duration: 1" in done.stderr) == (8, True)
    assert (place / "out.ndjson").read_text() == '{"x":5}\n'
    assert penstock("verify", "out.ndjson").code == 0


@pytest.mark.parametrize(
    "more",
    [
        ("--query", ENDLESS),
        ("--query", ENDLESS, "--dry-run"),
        ("--query", ENDLESS, "--types", "x:int64", "--key", "x"),
        ("--query", ENDLESS, "--map", "timestamp=x:s,event_type='a'"),
        ("--table", "endless"),
    ],
)
def test_what_never_says_what_it_gives_ends_when_the_time_is_over(
    place: Path, penstock: Command, more: tuple[str, ...]
) -> None:
    with closing(sqlite3.connect(place / "app.db")) as connection, connection:
        connection.execute(f"CREATE VIEW endless AS {ENDLESS}")
    done = penstock("export", "app.db", "out.ndjson", "--max-duration", "0.3", *more)
    assert (done.code, "its time was over" in done.stderr) == (8, True), done
    assert not (place / "out.ndjson").exists()


def test_an_open_source_ends_by_the_options_of_the_export(place: Path) -> None:
    for query, found in ((f"{ENDLESS} OR x = 5", 1), (ENDLESS, 0)):
        source = AdoptedTable(place / "app.db", StorageConfig(query=query, types={"x": "int64"}))
        done = Exporter(source).export(place / f"{found}.ndjson", options=ExportOptions(max_duration=0.3))
        assert (done.manifest.rows, dict(done.manifest.counts)) == (found, {"stopped_at_max_duration": 1})


def test_a_table_that_was_altered_between_runs_is_told(place: Path, penstock: Command) -> None:
    given = ("export", "app.db", "runs/", "--table", "orders", "--incremental")
    assert penstock(*given).code == 0
    with closing(sqlite3.connect(place / "app.db")) as connection, connection:
        connection.execute("DROP VIEW broken")
        connection.execute("ALTER TABLE orders RENAME COLUMN note TO remark")
    done = penstock(*given)
    assert (done.code, "has no column 'note' any more, which the lineage has" in done.stderr) == (2, True)
    with closing(sqlite3.connect(place / "app.db")) as connection, connection:
        connection.execute("DROP TABLE orders")
    assert "has no table 'orders'" in penstock(*given).stderr
