"""Ten databases as applications that everybody knows make them, exported as they are and as events, in every format:
equal to what the ``sqlite3`` module reads, value and type, and to what DuckDB reads, where it says what a column is."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import duckdb_scanner
import foreign_readers
import typed_readers
from foreign_readers import manifest_of
from penstock_command import Run
from sample_events import shape

Command = Callable[..., Run]
ENDINGS = ("parquet", "ndjson", "csv", "json", "arrow")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A database: how it is made, which table is read and how, what type each column has, and which ``order`` its rows
    come in. ``events`` maps them."""

    name: str
    script: str
    table: str
    types: Mapping[str, str]
    events: str
    order: str
    options: tuple[str, ...] = ()
    values: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)


def _utc(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _millis(number: float) -> datetime:
    return datetime.fromtimestamp(number / 1000, UTC)


#: What a value of each type is, as the ``sqlite3`` module gives it.
VALUES: Mapping[str, Callable[[Any], Any]] = {
    "int64": int,
    "float64": float,
    "text": str,
    "binary": bytes,
    "bool": bool,
    "decimal": lambda value: Decimal(repr(value)).quantize(Decimal("0.01")),
    "date": date.fromisoformat,
    "timestamp_utc": _utc,
    "json": lambda text: shape(json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)),
}

SHAPES = [
    Shape(
        name="django",
        script="""CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
            "password" varchar(128) NOT NULL, "last_login" datetime NULL,
            "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE,
            "date_joined" datetime NOT NULL, "settings" text NOT NULL
            CHECK ((JSON_VALID("settings") OR "settings" IS NULL)), "credit" decimal NOT NULL);
            INSERT INTO auth_user VALUES
            (1, 'pbkdf2$x', NULL, 1, 'ada', '2026-11-01 12:00:00.123456', '{"a": 1}', 12.5),
            (2, '', '2026-11-02 00:00:00', 0, 'bea', '2026-11-01 12:00:01', 'null', 3), (9, 'ü', NULL, 0, 'cy',
            '2026-10-31 23:59:59.999999', '[]', -0.01);""",
        table="auth_user",
        types={
            "id": "int64",
            "password": "text",
            "last_login": "timestamp_utc",
            "is_superuser": "bool",
            "username": "text",
            "date_joined": "timestamp_utc",
            "settings": "text",
            "credit": "float64",
        },
        events="timestamp=date_joined,event_type='user_joined',session_id=username",
        order="id",
    ),
    Shape(
        name="rails",
        script="""CREATE TABLE "orders" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "state" varchar DEFAULT 'new',
            "total" decimal(10,2), "gift" boolean, "placed_on" date, "created_at" datetime(6) NOT NULL, "meta" json);
            INSERT INTO orders VALUES (1, 'new', 19.99, 1, '2026-11-01', '2026-11-01 12:00:00.000001', '{"k": [1, 2]}'),
            (2, 'paid', 100, 't', NULL, '2026-11-01 12:00:00', NULL), (3, NULL, -0.5, 'f', '2026-02-28',
            '2026-11-02 12:00:00.5', '"text"');""",
        table="orders",
        types={
            "id": "int64",
            "state": "text",
            "total": "decimal(10,2)",
            "gift": "bool",
            "placed_on": "date",
            "created_at": "timestamp_utc",
            "meta": "json",
        },
        values={"gift": lambda value: value in (1, "t")},
        events="timestamp=created_at,event_type='order'",
        order="id",
    ),
    Shape(
        name="umami",
        script="""CREATE TABLE website_event (event_id VARCHAR(36) PRIMARY KEY, website_id VARCHAR(36),
            created_at TIMESTAMP, url_path VARCHAR(500), event_type INTEGER DEFAULT 1, event_name VARCHAR(50));
            INSERT INTO website_event VALUES ('b-2', 'w', '2026-11-01T12:00:00Z', '/', 1, NULL),
            ('a-1', 'w', '2026-11-01T14:00:00+02:00', '/p?q=1', 2, 'signup');""",
        table="website_event",
        types={
            "event_id": "text",
            "website_id": "text",
            "created_at": "timestamp_utc",
            "url_path": "text",
            "event_type": "int64",
            "event_name": "text",
        },
        events="id=event_id,timestamp=created_at,event_type='page_view'",
        order="rowid",
    ),
    Shape(
        name="matomo",
        script="""CREATE TABLE log_visit (idvisit INTEGER PRIMARY KEY, idsite INT UNSIGNED, idvisitor BINARY(8),
            visit_last_action_time DATETIME, location_ip BLOB, visit_total_time SMALLINT,
            location_latitude DECIMAL(9,6));
            INSERT INTO log_visit VALUES (1, 1, x'0011223344556677', '2026-11-01 00:00:01', x'7f000001', 12, 52.52),
            (2, 1, x'ff', '2026-11-01 00:00:02', NULL, NULL, -33.868800);""",
        table="log_visit",
        types={
            "idvisit": "int64",
            "idsite": "int64",
            "idvisitor": "binary",
            "visit_last_action_time": "timestamp_utc",
            "location_ip": "binary",
            "visit_total_time": "int64",
            "location_latitude": "decimal(9,6)",
        },
        values={"location_latitude": lambda value: Decimal(repr(value)).quantize(Decimal("0.000001"))},
        events="timestamp=visit_last_action_time,event_type='visit'",
        order="idvisit",
    ),
    Shape(
        name="chinook",
        script="""CREATE TABLE [Invoice] ([InvoiceId] INTEGER NOT NULL, [CustomerId] INTEGER NOT NULL,
            [InvoiceDate] DATETIME NOT NULL, [BillingCity] NVARCHAR(40), [Total] NUMERIC(10,2) NOT NULL,
            CONSTRAINT [PK_Invoice] PRIMARY KEY ([InvoiceId]));
            INSERT INTO Invoice VALUES (1, 2, '2021-01-01 00:00:00', 'Stuttgart', 1.98), (2, 4, '2021-01-02 00:00:00',
            'Oslo', 3.96), (3, 8, '2021-01-03 00:00:00', NULL, 25);""",
        table="Invoice",
        types={
            "InvoiceId": "int64",
            "CustomerId": "int64",
            "InvoiceDate": "timestamp_utc",
            "BillingCity": "text",
            "Total": "decimal(10,2)",
        },
        events="timestamp=InvoiceDate,event_type='invoice'",
        order="InvoiceId",
    ),
    Shape(
        name="without rowid",
        script="""CREATE TABLE seen (page TEXT, visitor TEXT, at INTEGER, PRIMARY KEY (page, visitor))
            WITHOUT ROWID, STRICT;
            INSERT INTO seen VALUES ('/b', 'v1', 1793536215), ('/a', 'v2', 1793536216), ('/a', 'v1', NULL),
            ('/c', 'v', 1793536218);""",
        table="seen",
        options=("--time", "at"),
        types={"page": "text", "visitor": "text", "at": "timestamp_utc"},
        values={"at": lambda number: datetime.fromtimestamp(number, UTC)},
        events="timestamp=at,event_type='seen',session_id=visitor",
        order="page, visitor",
    ),
    Shape(
        name="view with join",
        script="""CREATE TABLE artist (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE album
            (id INTEGER PRIMARY KEY, title TEXT, artist_id INT, released DATE);
            INSERT INTO artist VALUES (1, 'Ada'), (2, 'Bea');
            INSERT INTO album VALUES (1, 'One', 1, '2001-01-31'), (2, 'Two', 2, NULL), (3, 'Three', 1, '1969-12-31');
            CREATE VIEW albums AS SELECT album.id, title, artist.name AS artist, released,
            length(title) * 0.5 AS weight, count(*) OVER () AS many FROM album JOIN artist ON artist.id = artist_id;""",
        table="albums",
        options=("--key", "id"),
        types={
            "id": "int64",
            "title": "text",
            "artist": "text",
            "released": "date",
            "weight": "float64",
            "many": "int64",
        },
        events="timestamp=released,event_type='album',seq=id",
        order="id",
    ),
    Shape(
        name="epoch milliseconds as reals",
        script="""CREATE TABLE samples (ts REAL, sensor TEXT, value DOUBLE);
            INSERT INTO samples VALUES (1793536215123.0, 'a', 0.1), (1793536215123.5, 'b', -1e300),
            (1793536216000.0, 'a', 2);""",
        table="samples",
        options=("--time", "ts:ms"),
        types={"ts": "timestamp_utc", "sensor": "text", "value": "float64"},
        values={"ts": _millis},
        events="timestamp=ts:ms,event_type=sensor",
        order="rowid",
    ),
    Shape(
        name="json text",
        script="""CREATE TABLE docs (id INTEGER PRIMARY KEY, at TEXT, body TEXT);
            INSERT INTO docs VALUES (1, '2026-11-01', '{"n": 1.50, "big": 12345678901234567890, "s": " a b "}'),
            (2, '2026-11-02', '[1, {"ü": null}]'), (3, '2026-11-03', NULL);""",
        table="docs",
        options=("--types", "body:json", "--time", "at"),
        types={"id": "int64", "at": "timestamp_utc", "body": "json"},
        values={"body": lambda text: shape(text.replace(": ", ":").replace(", ", ","))},
        events="timestamp=at,event_type='doc',data=body",
        order="id",
    ),
    Shape(
        name="mixed types",
        script="""CREATE TABLE bag (id INTEGER PRIMARY KEY, at, thing, only_int, number NUMERIC);
            INSERT INTO bag VALUES (1, '2026-11-01', 'text', 1, 1), (2, 1793536215, 2, -9223372036854775808, 2.5),
            (3, 1793536215123, 3.25, NULL, NULL), (4, '2026-11-01T00:00:00Z', NULL, 9223372036854775807, -7);""",
        table="bag",
        options=("--time", "at"),
        types={"id": "int64", "at": "timestamp_utc", "thing": "text", "only_int": "int64", "number": "float64"},
        values={
            "at": lambda value: (
                _utc(value)
                if isinstance(value, str)
                else datetime.fromtimestamp(value if value < 10**10 else value / 1000, UTC)
            )
        },
        events="timestamp=at,event_type='thing'",
        order="id",
    ),
]


@pytest.fixture(params=SHAPES, ids=lambda given: given.name)
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Shape:
    found: Shape = request.param
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.executescript(found.script)
    return found


def read_raw(place: Path, given: Shape) -> list[dict[str, Any]]:
    """What the ``sqlite3`` module reads."""
    with closing(sqlite3.connect(place / "app.db")) as connection:
        cursor = connection.execute(f'SELECT * FROM "{given.table}" ORDER BY {given.order}')
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def typed(given: Shape, name: str, value: Any) -> Any:
    read = given.values.get(name, VALUES[given.types[name].partition("(")[0]])
    return None if value is None else read(value)


def test_as_it_is(given: Shape, tmp_path: Path, penstock: Command) -> None:
    rows = read_raw(tmp_path, given)
    wanted = [{name: typed(given, name, value) for name, value in row.items()} for row in rows]
    digests = set()
    for ending in ENDINGS:
        done = penstock("export", "app.db", f"out.{ending}", "--table", given.table, *given.options)
        path = tmp_path / f"out.{ending}"
        assert done.code == 0, done.stderr
        assert typed_readers.types_of(path) == given.types
        assert typed_readers.read(path, given.types) == wanted
        assert penstock("verify", path.name).code == 0
        digests.add(manifest_of(path)["rows_digest"]["value"])
    assert len(digests) == 1


#: What DuckDB's reader of SQLite files makes of a column of each type.
DUCKDB = {
    "int64": {"BIGINT"},
    "float64": {"DOUBLE", "DECIMAL(21,1)"},
    "text": {"VARCHAR"},
    "binary": {"BLOB"},
    "bool": {"BIGINT"},
    "decimal": {"DOUBLE"},
    "date": {"DATE"},
    "timestamp_utc": {"TIMESTAMP", "BIGINT", "DOUBLE", "VARCHAR"},
    "json": {"VARCHAR"},
}
#: What it refuses, reads as bytes since nothing is declared, or reads without its offset from UTC.
OTHERWISE = {
    "rails": {"gift"},
    "umami": {"created_at"},
    "matomo": {"idvisitor"},
    "mixed types": {"at", "thing", "only_int"},
}


@pytest.mark.skipif(not duckdb_scanner.PLACE.exists(), reason="DuckDB's reader is missing: make .venv/.test brings it")
def test_as_duckdb_reads_it(given: Shape, tmp_path: Path, penstock: Command) -> None:
    assert penstock("export", "app.db", "out.parquet", "--table", given.table, *given.options).code == 0
    read = [name for name in given.types if name not in OTHERWISE.get(given.name, ())]
    types, rows = duckdb_scanner.read(tmp_path / "app.db", given.table, read, given.order)
    for name in read:
        kind = given.types[name].partition("(")[0]
        assert types[name] in DUCKDB[kind], name
        if kind == "binary":
            rows = [{**row, name: None if row[name] is None else bytes.fromhex(row[name])} for row in rows]
        if types[name].startswith("DECIMAL"):
            rows = [{**row, name: float(row[name])} for row in rows]
    wanted = [{name: typed(given, name, value) for name, value in row.items()} for row in rows]
    found = typed_readers.read(tmp_path / "out.parquet", given.types)
    assert [{name: row[name] for name in read} for row in found] == wanted
    assert wanted


def member(value: Any) -> Any:
    """What a value is in the data of an event, but for payloads."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None or isinstance(value, str) else ("number", value)


def test_as_events(given: Shape, tmp_path: Path, penstock: Command) -> None:
    fields = dict(piece.split("=") for piece in given.events.split(","))
    time = fields["timestamp"].partition(":")[0]
    everything = read_raw(tmp_path, given)
    rows = [row for row in everything if row[time] is not None]
    moments = [typed(given, time, row[time]) for row in rows]
    micros = [
        round((each if isinstance(each, datetime) else datetime.combine(each, clock(), UTC)).timestamp() * 10**6)
        for each in moments
    ]
    places = {column.partition(":")[0] for column in fields.values()}
    digests = set()
    for ending in ENDINGS:
        done = penstock("export", "app.db", f"out.{ending}", "--table", given.table, "--map", given.events)
        assert done.code == (0 if len(rows) == len(everything) else 3), done.stderr
        found = foreign_readers.read(tmp_path / f"out.{ending}")
        assert [row["timestamp"] for row in found] == micros
        for event, row in zip(found, rows, strict=True):
            members = dict(event["data"][1])
            for name in members.keys() & row.keys() - places:
                value = members[name]
                read = ("number", type(row[name])(value[1])) if isinstance(value, tuple) else value
                assert read == member(row[name]), name
            left_out = row.keys() - members.keys() - places
            assert left_out <= {given.order, "id"}, "what has no place is a member"
            for name, column in fields.items():
                if name in ("event_type", "session_id", "id"):
                    assert event[name] == (column.strip("'") if column[0] == "'" else row[column])
        digests.add(manifest_of(tmp_path / f"out.{ending}")["rows_digest"]["value"])
    assert len(digests) == 1
