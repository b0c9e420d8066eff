"""The real command, killed in its system calls on the files of a database: all rows of a run are there, or none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import real_command as real

import foreign_sqlite
from penstock import verify
from penstock.errors import ManifestError, NotFound
from proof_ledger import Ledger
from proof_size import FULL

pytestmark = pytest.mark.skipif(real.STRACE is None, reason=real.NO_STRACE)

_CALLS = ("openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "unlink")
_TRACED = ",".join(f"?{call}" for call in _CALLS)
#: What a database writes beside its file.
_BESIDE = ("", "-journal", "-wal", ".wal", ".tmp")
#: How many kills of each call at a first load; one more where an old one is replaced.
_EACH = 20 if FULL else 1


def _count_sqlite(path: Path) -> int:
    return int(foreign_sqlite.execute(path, "SELECT count(*) FROM events")[0][0][0])


def _count_duckdb(path: Path) -> int:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        found = connection.execute("SELECT count(*) FROM events").fetchone()
    assert found is not None
    return int(found[0])


def whole(url: str) -> int | None:
    """How many rows the export has that is there, whole; ``None`` if there is none."""
    try:
        result = verify(url)
    except (ManifestError, NotFound):
        return None
    assert result.ok, result.problems
    return result.event_count


@pytest.mark.parametrize("old", [None, 40], ids=["first", "overwrite"])
@pytest.mark.parametrize(("scheme", "count"), [("sqlite", _count_sqlite), ("duckdb", _count_duckdb)])
def test_a_killed_load_left_all_or_nothing(
    scheme: str, count: Callable[[Path], int], old: int | None, tmp_path: Path, ledger: Ledger
) -> None:
    store, place = real.fill_store(tmp_path / "events.db", 300), tmp_path / "place"
    url = f"{scheme}:///{place}/out.db"
    (tmp_path / "template").mkdir()
    if old is not None:
        assert real.run("export", store, f"{scheme}:///{tmp_path}/template/out.db", "--limit", old).code == 0
    arguments = ["export", store, url, "--workers", "1", "--overwrite"]
    paths = [place / f"out.db{ending}" for ending in _BESIDE]

    def reset() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(tmp_path / "template", place)

    reset()
    traced = real.run_under_strace(arguments, tmp_path / "trace", paths=paths, calls=_TRACED)
    assert traced.code == 0, traced.told
    calls = real.counted_calls(traced.trace)
    counts = {call: min(number, _EACH + (old is not None)) for call, number in sorted(calls.items())}
    planned = [(call, 1 + n * calls[call] // each) for call, each in counts.items() for n in range(each)]
    assert len(planned) >= 4, calls
    left: set[int | None] = set()
    for call, when in planned:
        reset()
        inject = [f"{call}:signal=SIGKILL:when={when}"]
        ended = real.run_under_strace(arguments, tmp_path / "trace", paths=paths, calls=_TRACED, inject=inject)
        assert ended.killed, (call, when, ended)
        left.add(whole(url))
        assert left <= {old, 300}, (call, when, left)
        assert real.run(*arguments).code == 0
        assert whole(url) == count(place / "out.db") == 300, (call, when)
    assert old in left
    ledger.add(
        f"{scheme} load", real.KILLS, sampled=True, planned=len(planned), fired=len(planned), passed=len(planned)
    )
