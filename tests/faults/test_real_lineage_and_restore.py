"""The real command again, for what is more than one export: a run that is added to a lineage, and a restore.

Killed inside its system calls, or with one of them failing, each is simply run again; then every event is there once.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import real_command as real
from lineage_stage import runs_in
from sweep_requests import share

from penstock import SqliteAnalyticsStorage, verify
from proof_ledger import Ledger
from proof_size import SEED

pytestmark = pytest.mark.skipif(real.STRACE is None, reason=real.NO_STRACE)

_EVENTS = 120
_BEFORE = 70
_PUBLISHING = ("mkdir", "openat", "write", "fsync", "link", "rename", "unlink", "rmdir")
_STORING = ("openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "unlink")
Point = tuple[str, int]


def _ids(count: int = _EVENTS) -> Counter[str]:
    return Counter(f"00000000-0000-4000-8000-{number:012x}" for number in range(count))


class _Bench:
    """One command, the place it changes, and the files in it that are watched."""

    def __init__(self, root: Path, arguments: Sequence[object], calls: Sequence[str]) -> None:
        self.arguments, self.calls = arguments, calls
        self.root = root
        self.template, self.place = root / "template", root / "place"

    def reset(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)

    def watch(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def trace(self, *inject: str) -> real.Ended:
        self.reset()
        calls = ",".join(f"?{call}" for call in self.calls)
        return real.run_under_strace(self.arguments, self.root / "log", paths=self.paths, calls=calls, inject=inject)

    def points(self, calls: Sequence[str], step: int) -> list[Point]:
        """Every ``step``-th of the calls that an undisturbed run makes."""
        clean = self.trace()
        assert clean.code == 0, clean.told
        counts = real.counted_calls(clean.trace)
        every = [(call, number) for call in calls for number in range(1, counts.get(call, 0) + 1)]
        assert len(every) > 8, counts
        return every[SEED % step :: step]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> _Bench:
    """The second run of a lineage."""
    root = tmp_path_factory.mktemp("run")
    store = real.fill_store(root / "events.db", _BEFORE)
    flags = ("--incremental", "--format", "ndjson", "--compression", "gzip", "--part-size", "20rows", "--workers", "1")
    bench = _Bench(root, ["export", store, root / "place" / "runs", *flags], _PUBLISHING)
    bench.template.mkdir()
    assert real.run("export", store, bench.template / "runs", *flags).code == 0
    real.fill_store(store, _EVENTS)
    bench.reset()
    assert real.run(*bench.arguments).code == 0
    runs = bench.place / "runs"
    staged = [
        runs / ".penstock" / name for name in ("", "lock", "intent", "sums", "put-00000", "data-00000", "data-00001")
    ]
    bench.watch([runs, bench.place, *staged, *runs.rglob("*")])
    return bench


@pytest.fixture(scope="module")
def restoring(tmp_path_factory: pytest.TempPathFactory) -> _Bench:
    """A restore into a new store, from a directory of parts."""
    root = tmp_path_factory.mktemp("restore")
    store = real.fill_store(root / "events.db", _EVENTS)
    source, target = root / "export", root / "place" / "back.db"
    flags = ("--format", "csv", "--compression", "zstd", "--part-size", "40rows")
    assert real.run("export", store, source, *flags).code == 0
    bench = _Bench(root, ["restore", source, "--into", target], _STORING)
    bench.template.mkdir()
    bench.watch([target.with_name(target.name + ending) for ending in ("", "-wal", "-shm", "-journal")])
    return bench


def _whole_lineage(bench: _Bench) -> None:
    union = Counter(one for run in runs_in(bench.place / "runs") for one in run)
    assert union == _ids()
    assert verify(bench.place / "runs").ok
    assert not real.leftovers(bench.place)


def _stored(path: Path) -> Counter[str]:
    with SqliteAnalyticsStorage(path, create=False, read_only=True) as store:
        return Counter(one for batch in store.scan() for one in batch["id"].to_pylist())


def test_a_kill_while_a_run_is_added(run: _Bench, ledger: Ledger) -> None:
    step = share(8)
    points = run.points(_PUBLISHING, step)
    fired = 0
    for call, number in points:
        fired += run.trace(f"{call}:signal=KILL:when={number}").killed
        union = Counter(one for one_run in runs_in(run.place / "runs") for one in one_run)
        assert union in (_ids(_BEFORE), _ids()), (call, number)
        assert real.run(*run.arguments).code == 0, (call, number)
        _whole_lineage(run)
    counts = {"planned": len(points), "fired": fired, "passed": len(points)}
    ledger.add("lineage: killed in a system call", real.KILLS, **counts, sampled=step > 1)
    assert fired == len(points)


def test_a_kill_while_events_are_restored(restoring: _Bench, ledger: Ledger) -> None:
    step = share(14, 2)
    points = restoring.points(_STORING, step)
    fired = 0
    target = restoring.paths[0]
    for call, number in points:
        fired += restoring.trace(f"{call}:signal=KILL:when={number}").killed
        again = real.run(*restoring.arguments)
        assert again.code == 0, (call, number, again.told)
        assert _stored(target) == _ids(), (call, number)
    counts = {"planned": len(points), "fired": fired, "passed": len(points)}
    ledger.add("restore: killed in a system call", real.KILLS, **counts, sampled=step > 1)
    assert fired == len(points)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_system_call_that_fails_while_events_are_restored(error: str, restoring: _Bench, ledger: Ledger) -> None:
    step = share(18, 3)
    points = restoring.points(("pwrite64", "fdatasync", "fsync"), step)
    fired = 0
    target = restoring.paths[0]
    for call, number in points:
        ended = restoring.trace(f"{call}:error={error}:when={number}")
        fired += ended.fired
        assert "Traceback" not in ended.told
        assert ended.code in (0, 3, 5, 7), (call, number, ended.told)
        if ended.code == 0:
            assert _stored(target) == _ids(), (call, number)
        assert real.run(*restoring.arguments).code == 0, (call, number)
        assert _stored(target) == _ids(), (call, number)
    counts = {"planned": len(points), "fired": fired, "passed": len(points)}
    ledger.add(f"restore: {error} in a system call", "operation faults", **counts, sampled=step > 1)
    assert fired == len(points)


def test_a_part_that_cannot_be_read(restoring: _Bench, ledger: Ledger) -> None:
    source = Path(str(restoring.arguments[1]))
    parts = sorted(path for path in (source / "data").rglob("*part-*") if path.is_file())
    fired = 0
    for part in parts:
        restoring.reset()
        ended = real.run_under_strace(
            restoring.arguments, restoring.root / "log", paths=[part], calls="read", inject=["read:error=EIO:when=1"]
        )
        fired += ended.fired
        assert ended.code == 5, ended.told
        assert os.strerror(5) in ended.told
        assert "Traceback" not in ended.told
        assert real.run(*restoring.arguments).code == 0
        assert _stored(restoring.paths[0]) == _ids()
    counts = {"planned": len(parts), "fired": fired, "passed": len(parts)}
    ledger.add("restore: EIO at a part", "operation faults", **counts)
    assert fired == len(parts)
