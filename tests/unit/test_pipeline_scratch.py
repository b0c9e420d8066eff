"""A scratch database: what does not fit into memory, under no name that a killed process could leave behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from penstock.pipeline.scratch import Scratch

ROWS = 60_000


def test_more_than_memory_holds_comes_back_and_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = Scratch("CREATE TABLE rows (number INTEGER, text TEXT)", purpose="keep rows")
    try:
        scratch.put("INSERT INTO rows VALUES (?, ?)", ((number, "x" * 1000) for number in range(ROWS)))
        assert list(tmp_path.iterdir()) == []
        scratch.put("INSERT INTO rows VALUES (?, ?)", [(ROWS, "x")])
        found = list(scratch.rows("SELECT count(*), sum(number), sum(length(text)) FROM rows"))
    finally:
        scratch.close()
    assert found == [(ROWS + 1, ROWS * (ROWS + 1) // 2, 1000 * ROWS + 1)]
    assert list(tmp_path.iterdir()) == []
