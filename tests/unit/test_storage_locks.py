"""The POSIX lock trap: who opens and closes the file of an open store in the same process loses acknowledged events.

Closing any descriptor of a file drops every POSIX lock that the process holds on it. Another process then takes itself
for the last user of the database, removes the write-ahead log, and what is appended afterwards goes into a file without
a name, although each append succeeds. The trap is real (the first test falls into it on purpose, in a child process);
nothing that the library does may spring it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import foreign_sqlite

_CHILD = """
import json, os, subprocess, sys, threading
from pathlib import Path
import penstock
from penstock import *

path = Path(sys.argv[1])
visitor = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
    "print(c.execute('SELECT count(*) FROM events').fetchone()[0]); c.close()"
)

def visit():
    return int(subprocess.run([sys.executable, "-c", visitor, str(path)], capture_output=True, check=True).stdout)

store = SqliteAnalyticsStorage(path)
store.append([AnalyticsEvent("before")])
{middle}
seen = visit()
result = store.append([AnalyticsEvent("after")])
print(json.dumps([seen, result.inserted, os.path.exists(str(path) + "-wal")]), flush=True)
os._exit(0)  # as a crash would: no clean close
"""


def _survivors(path: Path, middle: str) -> tuple[str, list[str]]:
    """What a child says that appends, does ``middle``, is visited, and appends again; and what is stored then."""
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CHILD.replace("{middle}", middle), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    (rows, whole) = foreign_sqlite.execute(path, "SELECT event_type FROM events ORDER BY seq", "PRAGMA integrity_check")
    assert whole == [["ok"]]
    return said.stdout.strip().splitlines()[-1], [row[0] for row in rows]


@pytest.mark.parametrize(
    "middle",
    [
        "open(path, 'rb').close()",
        "import sqlite3; c = sqlite3.connect(path); c.execute('SELECT * FROM events').fetchone(); c.close()",
    ],
    ids=["open", "sqlite3"],
)
def test_the_trap_is_real(tmp_path: Path, middle: str) -> None:
    said, stored = _survivors(tmp_path / "events.db", middle)
    assert said == "[1, 1, false]", "the append was acknowledged, the log is gone"
    assert stored == ["before"], "and the acknowledged event is lost"


def test_without_the_trap_the_event_is_kept(tmp_path: Path) -> None:
    assert _survivors(tmp_path / "events.db", "pass") == ("[1, 1, true]", ["before", "after"])


OPERATIONS = {
    "a second store, opened and closed": "SqliteAnalyticsStorage(path).close()",
    "a store for reading": "SqliteAnalyticsStorage(path, read_only=True).close()",
    "a store that must exist": "SqliteAnalyticsStorage(path, create=False).close()",
    "the same file by another name": (
        "os.symlink(path, path.with_name('soft.db')); SqliteAnalyticsStorage(path.with_name('soft.db')).close()"
    ),
    "snapshots": "[store.pin(readers=n).close() for n in (1, 2, 4)]",
    "questions": "store.count(); store.stats(); store.histogram(); list(store.scan())",
    "a scan that is left in the middle": "next(store.scan()); next(SqliteAnalyticsStorage(path).scan())",
    "exports": (
        "[penstock.export(path, path.with_name(n)) for n in ('a.csv', 'b.json.gz', 'c.parquet', 'd.arrow', 'e')];"
        "penstock.export(path, path.with_name('a.csv'), overwrite=True, options=ExportOptions(verify_written=True))"
    ),
    "verifying": "penstock.export(path, path.with_name('a.csv')); penstock.verify(path.with_name('a.csv'))",
    "verifying the store by mistake": (
        "try: penstock.verify(path)\nexcept ExportError: pass\nelse: raise SystemExit('not refused')"
    ),
    "exporting over the store by mistake": (
        "os.link(path, path.with_name('store.csv'))\n"
        "try: Exporter(store).export(path.with_name('store.csv'), overwrite=True)\n"
        "except ExportError: pass\nelse: raise SystemExit('not refused')"
    ),
    "exports and stores in threads": (
        "ts = [threading.Thread(target=penstock.export, args=(path, path.with_name(f'{n}.csv'))) for n in range(6)];"
        "ts += [threading.Thread(target=lambda: SqliteAnalyticsStorage(path).close()) for n in range(6)];"
        "[t.start() for t in ts]; [t.join() for t in ts]"
    ),
    "deleting": "store.delete(ExportFilter(event_types=['other']))",
    "a garbage collection": "SqliteAnalyticsStorage(path).count(); import gc; gc.collect()",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_that_the_library_does_springs_it(tmp_path: Path, name: str) -> None:
    said, stored = _survivors(tmp_path / "events.db", OPERATIONS[name])
    assert said == "[1, 1, true]"
    assert stored == ["before", "after"]


def test_the_store_is_open_to_others_when_it_is_closed(tmp_path: Path) -> None:
    """The count of open connections goes down again: a file that was replaced meanwhile is looked at anew."""
    middle = (
        "store.close(); path.rename(path.with_name('old.db')); path.write_text('no database');\n"
        "try: SqliteAnalyticsStorage(path)\n"
        "except penstock.ExportError as error: print(type(error).__name__)\n"
        "path.unlink(); path.with_name('old.db').rename(path); store = SqliteAnalyticsStorage(path)"
    )
    assert _survivors(tmp_path / "events.db", middle) == ("[1, 1, true]", ["before", "after"])
