"""The house stays small: no module and no function that nobody can read in one go, and every file says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import penstock

MOST_LINES_OF_A_MODULE = 420
MOST_LINES_OF_A_FUNCTION = 70
#: What may use the standard library's SQLite: for scratch files of its own, which no driver ever opens.
SCRATCH = {"pipeline/scratch.py"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}


def _modules() -> Iterator[tuple[str, Path]]:
    assert penstock.__file__ is not None
    root = Path(penstock.__file__).parent
    for path in sorted(root.rglob("*.py")):
        yield str(path.relative_to(root)), path


def test_no_module_is_longer_than_a_reader_bears() -> None:
    long = {name: len(path.read_text().splitlines()) for name, path in _modules()}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES_OF_A_MODULE} == {}


def test_no_function_is_longer_than_a_screen_or_two() -> None:
    long = {
        f"{name}:{node.name}": lines
        for name, path in _modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_every_file_opens_with_what_belongs_in_it() -> None:
    silent = [name for name, path in _modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_no_room_without_a_name() -> None:
    assert [name for name, path in _modules() if {path.stem, *path.parts[-3:-1]} & FORBIDDEN_NAMES] == []


def test_only_the_store_knows_its_driver_and_nothing_opens_a_file_with_another_sqlite() -> None:
    for name, path in _modules():
        if name.startswith("testing"):
            continue
        text = path.read_text()
        imported = {
            alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert "duckdb" not in imported or name == "tables/duckdb.py", name  # which opens no file of SQLite
        assert "sqlite3" not in imported or "sqlite3.connect" not in text or name in SCRATCH, name
        if imported & {"adbc_driver_sqlite", "adbc_driver_manager"}:
            assert name.startswith(("sources", "cli/doctor", "tables/postgres")), name
