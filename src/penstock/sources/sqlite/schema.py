"""The event store on disk: its tables, its version, and the bookkeeping that makes scans cheap and safe.

``events`` holds the events. ``penstock_blocks`` holds, for each block of 4096 consecutive ``seq``, how many rows and
bytes it has and the span of their timestamps: scans are cut by bytes from it and skip blocks outside a time
filter. Its numbers are upper bounds: deletes leave the span of times wide, and a trigger widens all of them on updates.
``penstock_counters`` counts rows that were deleted and rows that were updated, by whoever; two snapshots with equal
counters agree on every row below their horizon, because all else only appends. ``penstock_facts`` holds the store's
random id, by which an incremental export knows it again.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from penstock.errors import NewerVersion, NotAStore, StorageError
from penstock.model.columns import COLUMNS
from penstock.model.event import EventCategory
from penstock.sources.connection import Connection
from penstock.sources.file import APPLICATION_ID, is_ours

SCHEMA_VERSION = 1
BLOCK_BITS = 12
BLOCK_ROWS = 1 << BLOCK_BITS
_TEXTS = ("id", "category", "event_type", "session_id", "data", "metadata")
#: Bytes of a row beside its texts, roughly; for planning.
_ROW_OVERHEAD = 80
#: Bytes of a row, by which ranges are cut.
ROW_BYTES = " + ".join([*(f"ifnull(octet_length({name}), 0)" for name in _TEXTS), str(_ROW_OVERHEAD)])

_CATEGORIES = ", ".join(f"'{name}'" for name in EventCategory)


def _bytes_of(row: str) -> str:
    """The same for a row of a trigger, which SQLite before 3.43 has to run as well."""
    return " + ".join([*(f"ifnull(length(CAST({row}.{name} AS BLOB)), 0)" for name in _TEXTS), str(_ROW_OVERHEAD)])


_STATEMENTS = (
    f"""CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT CHECK (seq > 0),
        id TEXT NOT NULL,
        category TEXT NOT NULL CHECK (category IN ({_CATEGORIES})),
        event_type TEXT NOT NULL,
        timestamp INTEGER NOT NULL,
        session_id TEXT,
        priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
        data TEXT NOT NULL,
        metadata TEXT NOT NULL,
        received_at INTEGER NOT NULL
    ) STRICT""",
    "CREATE UNIQUE INDEX penstock_ids ON events (id)",
    """CREATE TABLE penstock_blocks (
        block INTEGER PRIMARY KEY,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        first_time INTEGER NOT NULL,
        last_time INTEGER NOT NULL,
        last_seq INTEGER NOT NULL
    ) STRICT""",
    "CREATE TABLE penstock_counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO penstock_counters VALUES ('deleted', 0), ('updated', 0)",
    "CREATE TABLE penstock_facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO penstock_facts VALUES ('store_id', lower(hex(randomblob(16))))",
    f"""CREATE TRIGGER penstock_deleted AFTER DELETE ON events BEGIN
        UPDATE penstock_counters SET value = value + 1 WHERE name = 'deleted';
        UPDATE penstock_blocks SET rows = rows - 1,
            bytes = bytes - ({_bytes_of("OLD")})
        WHERE block = OLD.seq >> {BLOCK_BITS} AND OLD.seq <= last_seq;
    END""",
    f"""CREATE TRIGGER penstock_updated AFTER UPDATE ON events BEGIN
        UPDATE penstock_counters SET value = value + 1 WHERE name = 'updated';
        UPDATE penstock_blocks SET
            bytes = bytes + {_bytes_of("NEW")},
            first_time = min(first_time, NEW.timestamp), last_time = max(last_time, NEW.timestamp)
        WHERE block = NEW.seq >> {BLOCK_BITS};
    END""",
    """CREATE TRIGGER penstock_renumbered BEFORE UPDATE OF seq ON events WHEN NEW.seq IS NOT OLD.seq BEGIN
        SELECT RAISE(ABORT, 'seq is given by the store and never changes');
    END""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

#: What each table has, as SQLite describes it; a view or a virtual table by that name is none.
_TABLES = {
    "events": ", ".join(COLUMNS),
    "penstock_blocks": "block, rows, bytes, first_time, last_time, last_seq",
    "penstock_counters": "name, value",
    "penstock_facts": "name, value",
}
_DESCRIBED = """SELECT t.name AS "table", c.name AS "column"
    FROM pragma_table_list AS t JOIN pragma_table_xinfo(t.name, 'main') AS c
    WHERE t.schema = 'main' AND t.type = 'table' AND t.strict = 1 AND c.hidden = 0"""
#: How many rows there are, and how many the index of their ids knows of.
COUNTED = "SELECT (SELECT count(*) FROM events NOT INDEXED) AS rows, (SELECT count(*) FROM events) AS named"

#: Statistics of the rows that ``penstock_blocks`` does not cover yet, a row a block.
UNCOVERED = f"""SELECT seq >> {BLOCK_BITS} AS block, count(*) AS rows,
        sum({ROW_BYTES}) AS bytes,
        min(timestamp) AS first_time, max(timestamp) AS last_time, max(seq) AS last_seq
    FROM events WHERE seq > coalesce((SELECT last_seq FROM penstock_blocks ORDER BY block DESC LIMIT 1), 0)
    GROUP BY 1"""

#: Part of every append's transaction: where another program deleted the numbering, no number is given out again all the
#: same, since the blocks would not cover its row.
KEEP_NUMBERING = """INSERT INTO sqlite_sequence (name, seq) SELECT 'events', last_seq FROM
    (SELECT last_seq FROM penstock_blocks ORDER BY block DESC LIMIT 1)
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'events')"""

#: Brings ``penstock_blocks`` up to the last row; part of every append's transaction.
COVER = f"""INSERT INTO penstock_blocks (block, rows, bytes, first_time, last_time, last_seq) {UNCOVERED}
    ON CONFLICT (block) DO UPDATE SET rows = rows + excluded.rows, bytes = bytes + excluded.bytes,
        first_time = min(first_time, excluded.first_time), last_time = max(last_time, excluded.last_time),
        last_seq = excluded.last_seq"""


def ensure_schema(connection: Connection) -> None:
    """Create the tables in an empty database; accept our own version; refuse everything else untouched."""
    if _has_schema(connection):
        return
    with connection.transaction():
        if connection.query("SELECT count(*) AS n FROM sqlite_master")[0]["n"]:
            if _has_schema(connection):
                return
            raise _not_ours(connection)
        for statement in _STATEMENTS:
            connection.execute(statement)


def check_schema(connection: Connection) -> None:
    """Raise unless the database is an event store of a version that is known here."""
    if not _has_schema(connection):
        raise _not_ours(connection)


def _not_ours(connection: Connection) -> NotAStore:
    path = connection.path
    return NotAStore(
        f"{path} is a SQLite database, but not an event store",
        hint=f"to export a table of it, name it with --table; penstock inspect {shlex.quote(str(path))} lists them",
    )


def _has_schema(connection: Connection) -> bool:
    if not is_ours(connection):
        return False
    version = connection.query("PRAGMA user_version")[0]["user_version"]
    if version > SCHEMA_VERSION:
        raise NewerVersion(
            f"{connection.path} has schema version {version}, newer than {SCHEMA_VERSION}, the newest known here",
            hint="upgrade penstock",
        )
    described = {(row["table"], row["column"]) for row in connection.query(_DESCRIBED)}
    for table, columns in _TABLES.items():
        for column in columns.split(", "):
            if (table, column) not in described:
                raise changed(connection.path, f"the table {table} with its column {column} is not there")
    return True


def changes(connection: Connection) -> int:
    """How many rows were ever deleted or updated. Raises :class:`~penstock.errors.StorageError`."""
    rows = connection.query("SELECT sum(value) AS value FROM penstock_counters")
    if not rows or not isinstance(rows[0]["value"], int):
        raise changed(connection.path, "its counter of changes is gone")
    return int(rows[0]["value"])


def changed(path: Path, what: str) -> StorageError:
    """What is said of a store that is ours, and not as we leave it."""
    return StorageError(f"{path}: {what}", hint="the file is damaged, or another program changed it")
