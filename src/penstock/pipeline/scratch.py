"""A scratch database: what has to be counted or sorted and may not fit into memory, on the disk while a verb runs.

It is a file of this process alone that no store's driver ever sees, so the standard library's SQLite may have it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.errors import IoError, NoSpace

_CACHE_KIB = 32_768


class Scratch:
    """One temporary database, made when it is first used and gone after ``close``. Memory: some tens of MiB.

    ``schema`` is the statement that makes its table; ``purpose`` says in errors what it is for. Errors are
    :class:`~penstock.errors.NoSpace` and :class:`~penstock.errors.IoError`.
    """

    def __init__(self, schema: str, *, purpose: str) -> None:
        self._schema = schema
        self._purpose = purpose
        self._connection: sqlite3.Connection | None = None

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows that a statement gives, as they are taken."""
        with self._translated():
            yield from self._open().execute(statement, values)

    def put(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row."""
        with self._translated():
            self._open().executemany(statement, rows)

    def close(self) -> None:
        """Drop it all. Safe to call twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
                self._connection = sqlite3.connect(
                    Path(directory) / "scratch.db", isolation_level=None, check_same_thread=False
                )
                # Nothing of this file is needed after the run.
                for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "temp_store=FILE"):
                    self._connection.execute(f"PRAGMA {setting}")
                self._connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
                self._connection.execute(self._schema)
                self._connection.execute("BEGIN")
            # From here on it has no name: a process that is killed leaves nothing behind.
        return self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind = NoSpace if "full" in str(error) or "No space" in str(error) else IoError
            raise kind(
                f"cannot {self._purpose} in {tempfile.gettempdir()}: {error}", hint="TMPDIR names another directory"
            ) from None
