"""The real command, stopped by strace inside its system calls: what the operations showed holds on the kernel too."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import real_command as real
from sweep_requests import FULL, share

from proof_ledger import Ledger
from proof_size import SEED

pytestmark = pytest.mark.skipif(real.STRACE is None, reason=real.NO_STRACE)

_CALLS = ("mkdir", "openat", "write", "fsync", "link", "linkat", "rename", "renameat2", "unlink", "unlinkat", "rmdir")
_TRACED = ",".join(f"?{call}" for call in _CALLS)
_STAGED = ("lock", "intent", "sums", "put-00000")


@dataclass(frozen=True)
class Case:
    """One command line, and the place before it."""

    name: str
    dest: str
    old: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    step: int = 1


_CASES = [
    Case("file", "out.ndjson", flags=("--workers", "1"), step=4),
    Case("file-overwrite", "out.csv.gz", old=("--limit", "100"), flags=("--workers", "1", "--overwrite"), step=3),
    Case("directory", "out", flags=("--workers", "1", "--format", "ndjson", "--part-size", "70rows"), step=5),
    Case(
        "directory-overwrite",
        "out",
        old=("--format", "ndjson", "--part-size", "70rows", "--limit", "100"),
        flags=("--workers", "1", "--format", "ndjson", "--part-size", "70rows", "--overwrite"),
        step=6,
    ),
]


class Bench:
    """A store, a place laid out for a case, and the paths that its export touches."""

    def __init__(self, case: Case, store: Path, root: Path) -> None:
        self.case, self.store, self.root = case, store, root
        self.template, self.place = root / "template", root / "place"
        self.template.mkdir(parents=True)
        self.dest = self.place / case.dest
        self.old: Mapping[str, str] = {}
        if case.old:
            assert real.run("export", store, self.template / case.dest, *case.old).code == 0
            self.old = real.parts_of(self.template / case.dest)
        self.reset()
        assert real.run(*self.arguments).code == 0
        self.new = real.parts_of(self.dest)

    @property
    def arguments(self) -> list[object]:
        return ["export", self.store, self.dest, *self.case.flags]

    @property
    def single(self) -> bool:
        return "." in self.case.dest

    def reset(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)

    def paths(self) -> list[Path]:
        base = self.place if self.single else self.dest
        staging = base / (f".{self.case.dest}.penstock" if self.single else ".penstock")
        about = ["_penstock", "_penstock/manifest.json", "_penstock/SHA256SUMS", "data"]
        names = [*self.new, *self.old, f"{self.case.dest}.manifest.json", *about]
        staged = [*_STAGED, *(f"data-{index:05d}" for index in range(len(self.new)))]
        return [base, staging, *(base / name for name in dict.fromkeys(names)), *(staging / name for name in staged)]

    def trace(self, *inject: str) -> real.Ended:
        self.reset()
        log = self.root / "trace"
        return real.run_under_strace(self.arguments, log, paths=self.paths(), calls=_TRACED, inject=inject)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real.fill_store(tmp_path_factory.mktemp("real") / "events.db", 200)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_a_kill_inside_a_system_call_is_harmless(case: Case, store: Path, tmp_path: Path, ledger: Ledger) -> None:
    bench = Bench(case, store, tmp_path)
    clean = bench.trace()
    assert clean.code == 0
    counts = {call: count for call, count in real.counted_calls(clean.trace).items() if call in _CALLS}
    points = [(call, number) for call in sorted(counts) for number in range(1, counts[call] + 1)]
    points = points[SEED % share(case.step) :: share(case.step)]
    fired = passed = 0
    for call, number in points:
        fired += bench.trace(f"{call}:signal=KILL:when={number}").killed
        state = real.found(bench.dest, bench.old, bench.new)
        assert state is not None or bench.single or not case.old, f"{call} {number}: the old export is gone"
        again = real.run(*bench.arguments)
        assert again.code == (2 if state == 1 and not case.old else 0), (call, number, again.told)
        assert real.found(bench.dest, bench.old, bench.new) == 1
        assert not real.leftovers(bench.place)
        there = {path.name for path in (bench.place if bench.single else bench.dest).rglob("*") if path.is_file()}
        named = {Path(name).name for name in bench.new}
        assert there - named <= {"manifest.json", "SHA256SUMS", f"{case.dest}.manifest.json"}
        passed += 1
    name = f"{case.name}: killed in a system call"
    ledger.add(name, real.KILLS, planned=len(points), fired=fired, passed=passed, sampled=share(case.step) > 1)
    assert len(points) == fired == passed


_ERRORS = [
    ("write:error=ENOSPC:when=1", 5, "No space left"),
    ("fsync:error=EIO:when=1", 5, "Input/output error"),
    ("fsync:error=ENOSPC:when=2", 5, "No space left"),
    ("fsync:error=EDQUOT:when=3", 5, "quota exceeded"),
    ("mkdir:error=EACCES:when=1", 7, "Permission denied"),
    ("mkdir:error=EROFS:when=1", 7, "Read-only file system"),
    ("write:retval=1:when=1", 5, "were written"),
    ("write:retval=0:when=1", 5, "takes no more bytes"),
    ("?link,?linkat:error=EIO:when=2", 5, "Input/output error"),
]


@pytest.mark.parametrize(("inject", "code", "said"), _ERRORS, ids=str)
def test_an_error_of_the_kernel(inject: str, code: int, said: str, store: Path, tmp_path: Path, ledger: Ledger) -> None:
    bench = Bench(_CASES[0], store, tmp_path)
    ended = bench.trace(inject)
    assert ended.fired == 1, ended.trace
    assert ended.code == code
    assert said in ended.told
    assert "Traceback" not in ended.told
    assert list(bench.place.iterdir()) == []
    assert real.run(*bench.arguments).code == 0
    assert real.found(bench.dest, bench.new) == 0
    ledger.add(inject, "operation faults", planned=1, fired=ended.fired, passed=1)


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP"])
def test_without_hard_links_files_are_renamed(error: str, store: Path, tmp_path: Path) -> None:
    bench = Bench(_CASES[0], store, tmp_path)
    ended = bench.trace(f"?link,?linkat:error={error}")
    assert ended.fired == 2
    assert ended.code == 0, ended.told
    assert real.found(bench.dest, bench.new) == 0
    assert not real.leftovers(bench.place)


def test_without_links_and_exclusive_renames_it_is_said(store: Path, tmp_path: Path) -> None:
    bench = Bench(_CASES[0], store, tmp_path)
    ended = bench.trace("?link,?linkat:error=EPERM", "renameat2:error=EINVAL")
    assert ended.fired == 2
    assert ended.code == 5
    assert "can neither link nor rename without overwriting" in ended.told
    assert list(bench.place.iterdir()) == []


def test_a_fault_that_does_not_fire_is_noticed(store: Path, tmp_path: Path) -> None:
    bench = Bench(_CASES[0], store, tmp_path)
    ended = bench.trace("fsync:signal=KILL:when=1000")
    assert ended.code == 0
    assert not ended.killed
    with pytest.raises(AssertionError, match="absolute"):
        real.run_under_strace(
            bench.arguments, tmp_path / "trace", paths=[Path("out.ndjson")], calls="fsync", inject=["fsync:signal=KILL"]
        )


@pytest.mark.skipif(not FULL, reason="every read and close as well: only in a full proof (PENSTOCK_PROOF=full)")
def test_a_kill_inside_every_other_call(store: Path, tmp_path: Path, ledger: Ledger) -> None:
    bench = Bench(_CASES[1], store, tmp_path)
    calls = "close,newfstatat,fstat,flock,getdents64,read"
    log = tmp_path / "trace"
    bench.reset()
    clean = real.run_under_strace(bench.arguments, log, paths=bench.paths(), calls=calls)
    counts = sorted(real.counted_calls(clean.trace).items())
    points = [(call, number) for call, count in counts for number in range(1, count + 1)][:: share(1, 2)]
    fired = 0
    for call, number in points:
        bench.reset()
        inject = [f"{call}:signal=KILL:when={number}"]
        fired += real.run_under_strace(bench.arguments, log, paths=bench.paths(), calls=calls, inject=inject).killed
        real.found(bench.dest, bench.old, bench.new)
        assert real.run(*bench.arguments).code == 0
        assert real.found(bench.dest, bench.old, bench.new) == 1
        assert not real.leftovers(bench.place)
    name = f"{bench.case.name}: killed in any other system call"
    ledger.add(name, real.KILLS, planned=len(points), fired=fired, passed=len(points), sampled=share(1, 2) > 1)
    assert fired == len(points)
