"""DuckDB as a reader of SQLite files, in a process of its own.

It reads them by an extension that is there for one version of it only, so ``make .venv/.test`` puts both beside the
environment: exports are read with another DuckDB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLACE = Path(sys.prefix) / "scanner"
_READ = """
import json, sys
import duckdb, duckdb_extension_sqlite_scanner as extension
path, table, columns, order = json.load(sys.stdin)
found = f"{extension.__path__[0]}/extensions/v{duckdb.__version__}/sqlite_scanner.duckdb_extension"
duckdb.sql(f"LOAD '{found}'")
duckdb.sql(f"ATTACH '{path}' AS app (TYPE sqlite, READ_ONLY)")
names = ", ".join(f'"{name}"' for name in columns)
read = duckdb.sql(f'SELECT {names} FROM app."{table}" ORDER BY {order}')
def plain(value):
    return value.hex() if isinstance(value, bytes) else value if isinstance(value, (int, float, str)) else str(value)
rows = [[None if value is None else plain(value) for value in row] for row in read.fetchall()]
print(json.dumps([[str(type) for type in read.types], rows]))
"""


def read(path: Path, table: str, columns: Sequence[str], order: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The type that it gives each column, and the rows: bytes as hexadecimal digits, times and decimals as text."""
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        input=json.dumps([str(path), table, list(columns), order]),
        env={**os.environ, "PYTHONPATH": str(PLACE)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    types, rows = json.loads(done.stdout)
    return dict(zip(columns, types, strict=True)), [dict(zip(columns, row, strict=True)) for row in rows]
