"""Hints of refusals that name an option or a command: each is provoked, read, followed, and then it works."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from penstock import AnalyticsEvent, SqliteAnalyticsStorage
from penstock_command import Run

Command = Callable[..., Run]
SCRIPT = """CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL, created INTEGER, "date" DATE, at DATETIME,
        doc JSON);
    INSERT INTO orders VALUES (1, 1.5, 1793536215123, '2026-11-01', '2026-11-01', '{"a": 1}');
    INSERT INTO orders VALUES (2, 2.5, 1793536215124, '2026-11-02', '2026-11-02', '{"a": 2}');
    CREATE TABLE mixed (id INTEGER PRIMARY KEY, n INT); INSERT INTO mixed VALUES (1, 'word');
    CREATE TABLE twice (n INT, id TEXT); INSERT INTO twice VALUES (1, 'a'), (1, 'b');
    CREATE TABLE nameless ("" INTEGER, a INTEGER); INSERT INTO nameless VALUES (1, 2);
    CREATE TABLE texts (id INTEGER PRIMARY KEY, doc TEXT); INSERT INTO texts VALUES (1, '{"a": 1}');
    CREATE VIEW seen AS SELECT id, at FROM orders;"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file with tables, a store with an event, and a lineage of each."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.executescript(SCRIPT)
    with SqliteAnalyticsStorage(tmp_path / "events.db") as store:
        store.append([AnalyticsEvent("feature_used", data={"a": 1})])
    (tmp_path / "one.ndjson").write_text('{"event_type": "a", "timestamp": "2026-11-01"}\n')
    return tmp_path


ORDERS = "export app.db out.parquet --table orders"
MAPPED = "--map timestamp=at,event_type='order'"
#: What is asked for, what its hint says in these words, and what is asked for by who follows it.
FOLLOWED = [
    ("export app.db out.csv", "name it with --table", "export app.db out.csv --table orders"),
    ("export app.db out.csv", "penstock inspect app.db lists", "inspect app.db"),
    ("export app.db out.db --table orders", "is sqlite:///FILE", "export app.db sqlite:///out.db --table orders"),
    (
        "export app.db out.csv --table orders --map timestamp=at,event_type=order",
        """--map "event_type='order'\"""",
        f"{ORDERS} {MAPPED}",
    ),
    (f"{ORDERS} --where price>in", '"unit price"', f'{ORDERS} --where "price">1'),
    (
        'export app.db out.csv --query SELECT(?)"a"',
        "where ? stands",
        'export app.db out.parquet --query SELECT(1.5)"a"',
    ),
    ("export app.db out.csv --time at", "--table NAME", "export app.db out.csv --time at --table orders"),
    ("export app.db out.csv --key id", "--table NAME", "export app.db out.csv --key id --table orders"),
    ("export app.db out.csv --map id=id", "--table NAME", f"{ORDERS} --map id=id,{MAPPED.removeprefix('--map ')}"),
    ("export app.db out.csv --table order", "did you mean 'orders'?", "export app.db out.csv --table orders"),
    ("export events.db out.csv --table events", "leave --table and --map out", "export events.db out.csv"),
    (f"{ORDERS} --start 2026-11-02", "name it with --time", f"{ORDERS} --start 2026-11-02 --time at"),
    (f"{ORDERS} --start 2026-11-02", "leave start and end out", ORDERS),
    (f"{ORDERS} --time create", "did you mean 'created'?", f"{ORDERS} --time created:ms"),
    (f"{ORDERS} --types price", "write --types price:decimal(10,2)", f"{ORDERS} --types price:decimal(10,2)"),
    (f"{ORDERS} --rename price", "write --rename old=new", f"{ORDERS} --rename price=cost"),
    (f"{ORDERS} --map timestamp=at", "--map event_type=COLUMN", f"{ORDERS} --map timestamp=at --map event_type=price"),
    (f"{ORDERS} {MAPPED} --time at", "map timestamp to the column", f"{ORDERS} {MAPPED}"),
    (f"{ORDERS} {MAPPED} --key id", "map seq to the column", f"{ORDERS} {MAPPED} --map seq=id"),
    ("export app.db out.csv --table mixed", "--types n:text", "export app.db out.csv --table mixed --types n:text"),
    ("export app.db out.csv --table mixed", "--misfits null", "export app.db out.csv --table mixed --misfits null"),
    (
        f"{ORDERS} --types created:timestamp_utc:s",
        "--types created:timestamp_utc:ms",
        f"{ORDERS} --types created:timestamp_utc:ms",
    ),
    (
        "export app.db out.csv --table nameless",
        "--rename =name",
        "export app.db out.csv --table nameless --rename =name",
    ),
    ("export app.db out.csv --table twice --key n", "or leave it out", "export app.db out.csv --table twice"),
    (
        "export app.db out.csv --table twice --map seq=n,timestamp='2026-11-01',event_type='a',id=:none",
        "of events, map the id as well",
        "export app.db out.csv --table twice --map seq=n,timestamp='2026-11-01',event_type='a',id=id",
    ),
    (
        "export app.db runs/ --table seen --incremental",
        "with --key, or",
        "export app.db runs/ --table seen --incremental --key id",
    ),
    ("export app.db runs/ --table seen --incremental", "export it whole", "export app.db runs/ --table seen"),
    (
        f"export app.db runs/ --table seen --incremental {MAPPED}",
        "--map seq=COLUMN",
        f"export app.db runs/ --table seen --incremental {MAPPED} --map seq=id",
    ),
    (
        "export app.db days/ --table orders --partition-by day",
        "name it with --time",
        "export app.db days/ --table orders --partition-by day --time at --partition-name on",
    ),
    (
        "export app.db days/ --table orders --partition-by day --time at",
        "--partition-name day",
        "export app.db days/ --table orders --partition-by day --time at --partition-name day",
    ),
    (
        "export events.db days/ --partition-name on",
        "add --partition-by day",
        "export events.db days/ --partition-name on --partition-by day",
    ),
    ("export events.db out.csv --partition-by day", "leave --partition-by out", "export events.db out.csv"),
    ("export events.db out.csv --part-size 1MB", "leave --part-size out", "export events.db out.csv"),
    ("export events.db out.csv --runner processes", "leave --runner out", "export events.db out.csv"),
    ("export events.db - --verify-written", "leave --verify-written out", "export events.db -"),
    ("export events.db out.csv --manifest m.json", "leave --manifest out", "export events.db out.csv"),
    ("export events.db out.csv --format parquet", "leave --format out", "export events.db out.csv"),
    ("export events.db out.csv.gz --compression zstd", "leave --compression out", "export events.db out.csv.gz"),
    (
        "export events.db runs/ --overlap 5",
        "add --incremental",
        "export app.db runs/ --table orders --overlap 5 --incremental",
    ),
    (
        f"{ORDERS} --updates",
        "add --overlap 1h",
        "export app.db runs/ --table orders --updates --overlap 1h --incremental --time at",
    ),
    (f"{ORDERS} --flatten-schema doc.a:int64", "add --flatten", f"{ORDERS} --flatten-schema doc.a:int64 --flatten doc"),
    (f"{ORDERS} --flatten price", "columns of JSON are doc", f"{ORDERS} --flatten doc"),
    (
        "export app.db out.csv --table mixed --flatten n --types n:text",
        "leave --flatten out",
        "export app.db o.csv --table orders",
    ),
    (
        "export app.db out.csv --table texts --flatten doc",
        "with --types COLUMN:json",
        "export app.db out.csv --table texts --flatten doc --types doc:json",
    ),
    (f"{ORDERS} --flatten doc --columns doc", "as doc.MEMBER", f"{ORDERS} --flatten doc --columns doc.a"),
    (
        f"{ORDERS} --flatten doc --max-duration 60",
        "--flatten-schema",
        f"{ORDERS} --flatten doc --max-duration 60 --flatten-schema doc.a:int64",
    ),
    (
        "export app.db out.csv --table orders --columns id",
        "add --csv-null NULL",
        "export app.db out.csv --table orders --columns id --csv-null NULL",
    ),
    ("export app.db all/ --all-tables --dry-run", "penstock inspect", "inspect app.db"),
    ("export app.db all/ --all-tables --limit 1", "with --table", "export app.db all/ --table orders --limit 1"),
    ("export nothing.db out.csv", "'penstock ingest' creates one", "ingest nothing.db one.ndjson"),
    ("resume events.db runs", "penstock export STORE DIR --incremental", "export events.db runs --incremental"),
]


@pytest.mark.parametrize(
    ("asked", "words", "followed"), FOLLOWED, ids=[f"{asked}: {said}" for asked, said, _ in FOLLOWED]
)
def test_a_hint_that_is_followed_works(asked: str, words: str, followed: str, place: Path, penstock: Command) -> None:
    refused = penstock(*asked.split())
    assert refused.code not in (0, 1)
    _, there, hint = refused.stderr.partition("hint: ")
    assert there, refused.stderr
    assert words in hint
    done = penstock(*followed.split())
    assert done.code == 0, done.stderr


#: What is there first, what is asked for, what its hint says in these words, and what is asked for by who follows it.
FOUND = [
    (
        ["export app.db runs/ --table orders --incremental --key at,id"],
        "export app.db runs/ --table orders --incremental",
        "its rows stand by --key at,id",
        "export app.db runs/ --table orders --incremental --key at,id",
    ),
    (
        ["export app.db runs/ --table orders --incremental --key at,id"],
        "diff app.db runs --table orders",
        "--key at,id",
        "diff app.db runs --table orders --key at,id",
    ),
    (["export app.db all/ --all-tables"], "verify all", "all/mixed", "verify all/mixed"),
    (
        ["export app.db sqlite:///r.db --table orders", "export app.db sqlite:///r.db --table seen"],
        "verify sqlite:///r.db",
        "'sqlite:///r.db?table=orders'",
        "verify sqlite:///r.db?table=orders",
    ),
]


@pytest.mark.parametrize(("there", "asked", "words", "followed"), FOUND)
def test_a_hint_about_what_lies_there_works(
    there: list[str], asked: str, words: str, followed: str, place: Path, penstock: Command
) -> None:
    with closing(sqlite3.connect(place / "app.db")) as connection, connection:
        connection.executescript("DROP TABLE nameless; UPDATE mixed SET n = 1")
    for each in there:
        assert penstock(*each.split()).code == 0, each
    refused = penstock(*asked.split())
    assert refused.code not in (0, 1)
    assert words in refused.stderr.partition("hint: ")[2], refused.stderr
    assert penstock(*followed.split()).code == 0


def test_the_command_that_inspect_prints_works_for_odd_names(place: Path, penstock: Command) -> None:
    with closing(sqlite3.connect(place / "odd.db")) as connection, connection:
        connection.executescript(
            """CREATE TABLE "-dash" (id INTEGER PRIMARY KEY); CREATE TABLE "Übersicht 'a/b'" (id INTEGER PRIMARY KEY);
            CREATE TABLE users (id INTEGER PRIMARY KEY, last_login DATETIME, joined DATETIME);
            INSERT INTO users VALUES (1, '2026-11-01', '2026-11-01'), (2, NULL, '2026-11-01');"""
        )
    printed = penstock("inspect", "odd.db").stdout.decode().splitlines()
    commands = [shlex.split(line)[1:] for line in printed if line.startswith("  penstock ")]
    assert sorted(each[2] for each in commands) == ["dash.parquet", "users.parquet", "Übersicht_a_b_.parquet"]
    assert [each[-2:] for each in commands if "users" in each] == [["--time", "joined"]]  # no row is without it
    for command in commands:
        assert penstock(*command).code == 0, command


def test_an_export_without_its_key_is_made_again_with_it(place: Path, penstock: Command) -> None:
    told = ("export", "app.db", "rows.csv", "--table", "twice")
    assert penstock(*told).code == 0
    refused = penstock("diff", "app.db", "rows.csv", "--table", "twice")
    assert refused.code == 2
    assert "export again with rowid among the columns" in refused.stderr
    assert penstock(*told, "--overwrite", "--columns", "n,id,rowid").code == 0
    assert penstock("diff", "app.db", "rows.csv", "--table", "twice").code == 0


def test_an_export_that_is_there_is_replaced_as_the_hint_says(place: Path, penstock: Command) -> None:
    assert penstock(*ORDERS.split()).code == 0
    assert "--overwrite" in penstock(*ORDERS.split()).stderr
    assert penstock(*ORDERS.split(), "--overwrite").code == 0
