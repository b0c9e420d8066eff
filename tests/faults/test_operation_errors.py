"""Any operation may fail: the error is of the tree and tells the truth, and what is there is whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sweep_requests import FULL, Sweep, share, sweep

_CODES = ("ENOSPC", "EIO", "EACCES", "EDQUOT")
_TURNS = not FULL
#: Text formats, a codec, and a directory that is replaced.
_SHORT = ("file", "file-json", "file-csv", "file-gzip", "directory-overwrite")


@pytest.mark.parametrize(
    "wanted",
    [
        *(sweep("error_sweep", name, least=80, codes=_CODES) for name in ("file", "file-overwrite")),
        *(
            sweep("error_sweep", name, least=20, codes=_CODES, turns=_TURNS)
            for name in ("file-overwrite-bare", "directory", "directory-overwrite")
        ),
        *(
            sweep("error_sweep", name, least=20, codes=_CODES, turns=_TURNS)
            for name in ("file-json", "file-csv", "file-arrow", "file-gzip", "file-parquet")
        ),
        sweep("lineage_error_sweep", "first", least=15, codes=("EIO", "EACCES"), step=share(4)),
        sweep("lineage_error_sweep", "later", least=15, codes=("EIO", "EACCES"), step=share(2)),
    ],
)
def test_an_error_at_any_operation(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("error_sweep", name, least=20, codes=_CODES, turns=_TURNS, lasting=True)
        for name in ("file", "file-overwrite", "directory", "directory-overwrite")
    ],
)
def test_a_disk_that_fails_from_some_operation_on(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        sweep("error_sweep", name, least=20, codes=_CODES, turns=_TURNS, late=True)
        for name in ("file", "file-overwrite", "directory", "directory-overwrite")
    ],
)
def test_an_error_of_something_that_happened(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        *(sweep("short_write_sweep", name, least=10) for name in _SHORT),
        sweep(
            "short_write_sweep", "file-parquet", least=20
        ),  # a few large writes: its row groups are put together first
        sweep("short_write_sweep", "file-arrow", least=50, step=share(5)),
        sweep("lineage_short_write_sweep", "later", least=10),
    ],
)
def test_short_writes(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least


@pytest.mark.parametrize(
    "wanted",
    [
        *(sweep("intruder_sweep", name, least=2) for name in ("file", "directory-strangers", "directory-overwrite")),
        *(sweep("intruder_sweep", name, least=2, no_links=True) for name in ("file", "directory")),
    ],
)
def test_a_name_that_somebody_else_takes(wanted: Sweep, proven: Callable[[Sweep], int]) -> None:
    assert proven(wanted) >= wanted.least
