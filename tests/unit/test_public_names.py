"""The public face: the promised names are there, cost nothing until they are used, and stay few."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import penstock

PROMISED = {
    "AnalyticsEvent",
    "AnalyticsStorage",
    "EventBatch",
    "EventCategory",
    "EventPriority",
    "ExportDestination",
    "ExportError",
    "ExportFilter",
    "ExportFormat",
    "ExportMetadata",
    "ExportOptions",
    "ExportResult",
    "Exporter",
    "Observer",
    "Progress",
    "Unconfirmed",
    "FileDestination",
    "SqliteAnalyticsStorage",
    "StorageConfig",
    "StorageStats",
    "export",
    "verify",
}


def test_every_public_name_loads_and_says_what_it_is() -> None:
    assert set(penstock.__all__) >= PROMISED
    for name in penstock.__all__:
        value = getattr(penstock, name)
        assert name == "__version__" or value.__doc__, name
    assert sorted(dir(penstock)) == sorted(penstock.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = penstock.nope


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    assert penstock.__file__ is not None
    tree = ast.parse(Path(penstock.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: node.module
        for node in ast.walk(checked)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == penstock._HOMES


def test_importing_the_package_or_asking_for_help_loads_no_heavy_library() -> None:
    code = (
        "import sys, penstock; heavy = {'pyarrow', 'adbc_driver_manager', 'isal', 'click', 'rich', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)));"
        "from penstock.cli import run; run(['--help']);"
        "print(sorted({'pyarrow', 'adbc_driver_manager', 'isal', 'rich', 'numpy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0] == said[-1] == "[]"


def test_the_command_does_without_what_arrow_would_only_look_at(tmp_path: Path) -> None:
    """Each of these costs a process more time than a small export takes, and the first two 60 MiB."""
    with penstock.SqliteAnalyticsStorage(tmp_path / "a.db") as store:
        store.append([penstock.AnalyticsEvent("page_view")])
    code = (
        "import os, sys; from penstock.cli import main; os._exit = lambda code: print(code, sorted("
        "{'dateutil', 'numpy', 'pandas', 'pyarrow.csv', 'pyarrow.parquet', 'ssl', 'penstock.reading.diff'}"
        " & set(sys.modules)));"
        f"sys.argv = ['penstock', 'export', {str(tmp_path / 'a.db')!r}, {str(tmp_path / 'a.ndjson')!r}]; main()"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "0 []\n"
    assert find_spec("pandas") is not None


def test_the_version_is_the_packages() -> None:
    assert penstock.__version__ == version("penstock")
