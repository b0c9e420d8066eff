"""Python code run as a user without any rights, to see what it is refused.

The interpreter and its libraries may lie where such a user cannot look: everything is used once before the rights go.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
_PRELUDE = f"""
import difflib, os, sys, tempfile
from pathlib import Path
import pyarrow.csv
from penstock import *
from penstock.cli import run
with tempfile.TemporaryDirectory() as place:
    with SqliteAnalyticsStorage(place + "/a.db") as store:
        store.append([AnalyticsEvent("x")])
        store.stats()
        Exporter(store).export(place + "/a.parquet", options=ExportOptions(verify_written=True))
    with open(os.devnull, "w") as sys.stderr, open(os.devnull, "w") as sys.stdout:
        for line in ("inspect a.db", "export a.db b.csv", "verify b.csv", "export no b.csv"):
            run([line.split()[0], *(f"{{place}}/{{name}}" for name in line.split()[1:])])
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
"""


def run(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code; ``sys.argv[1:]`` are the arguments. A traceback is never right."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def start(code: str, *arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Begin to run code that talks through its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
