"""Signals at every file operation of the command, one of them or one after the other: what is said is true, and nothing
lies about afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import real_command as real
from sweep_requests import FULL

from penstock import export, verify
from penstock.ports.observer import Progress
from proof_ledger import Ledger

#: Forks a child for each case. In it every operation from one on, or that one alone, sends a signal to the process.
_DRIVER = """
import functools, json, os, shutil, signal, sys
from penstock import cli
from penstock.api import export  # so that the children need not load it
from penstock.backends.local.fileops import FileOps

if "PENSTOCK_DEFECT" in os.environ:
    from crash_defects import planted
    planting = planted(os.environ["PENSTOCK_DEFECT"])
    planting.__enter__()
NAMES = [name for name in vars(FileOps) if not name.startswith("_")]

def signalling(number, nth, lasting):
    count = 0
    def counted(real):
        @functools.wraps(real)
        def call(self, *given):
            nonlocal count
            result = real(self, *given)
            count += 1
            if count == nth or lasting and count > nth:
                os.kill(os.getpid(), number)
            return result
        return call
    for name in NAMES:
        setattr(FileOps, name, counted(getattr(FileOps, name)))

def child(request, nth, told):
    for stream in (1, 2):
        os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.chdir(request["place"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    signalling(request["number"], nth, request["lasting"])
    os._exit(cli.run(request["arguments"]))

for line in sys.stdin:
    request = json.loads(line)
    for nth in range(1, 400):
        place = f"{request['place']}-{nth}"
        shutil.copytree(request["place"], place)
        told = place + ".told"
        pid = os.fork()
        if not pid:
            child({**request, "place": place}, nth, told)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = open(told, "rb").read().decode()
        print(json.dumps({"nth": nth, "place": place, "code": code, "said": said}), flush=True)
        if "interrupt" not in said and code == 0 and nth > request["least"]:
            break
    print("null", flush=True)
"""
_SHAPES = {
    "file": ("out.ndjson", []),
    "directory": ("out", ["--part-size", "100rows", "--format", "csv"]),
    "lineage": ("out", ["--incremental", "--format", "ndjson"]),
}
_MANIFESTS = {
    "file": "out.ndjson.manifest.json",
    "directory": "out/_penstock/manifest.json",
    "lineage": "out/_penstock/runs/{}.json",
}


@dataclass(frozen=True)
class Case:
    """One child: the operation at which the signal came, how it ended, what it said, and where."""

    nth: int
    place: Path
    code: int
    said: str


def _cases(request: dict[str, object]) -> list[Case]:
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER],
        input=json.dumps(request) + "\n",
        env=real.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told.pop() is None
    return [Case(each["nth"], Path(each["place"]), each["code"], each["said"]) for each in told]


_WAYS = [(False, False), (True, True), *([(False, True), (True, False)] if FULL else [])]


@pytest.mark.parametrize(("lasting", "again"), _WAYS)
@pytest.mark.parametrize("shape", _SHAPES)
def test_what_is_said_after_a_signal_is_true(
    shape: str, lasting: bool, again: bool, tmp_path: Path, ledger: Ledger
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    real.fill_store(place / "events.db", 250)
    name, flags = _SHAPES[shape]
    command = ["export", "events.db", name, *flags]
    if again:
        assert real.run("export", place / "events.db", place / name, *flags).code == 0
        command += ["--overwrite"] if shape != "lineage" else []
    manifest = _MANIFESTS[shape].format(f"{1 + again:06d}")
    before = _read(place / manifest)
    number = 15 if again else 2
    cases = _cases({"place": str(place), "arguments": command, "number": number, "lasting": lasting, "least": 10})
    passed, stopped, late = 0, 0, 0
    for case in cases:
        stands = _read(case.place / manifest) != before
        assert "Traceback" not in case.said, case
        assert not real.leftovers(case.place), case
        if case.code == 0:
            assert stands, case
            assert verify(case.place / name).ok
            late += "after" in case.said
        else:
            assert case.code == 128 + number, case
            assert "nothing half-written was left behind" in case.said
            assert not stands, case
            stopped += 1
        passed += 1
    assert stopped >= 3
    assert late >= 1
    ledger.add(
        f"{shape}: signal {number} at each operation" + " and from there on" * lasting + " again" * again,
        "interrupts",
        planned=len(cases),
        fired=len(cases),
        passed=passed,
    )


class _Interrupting:
    """Sends SIGINT when it hears of the commit."""

    cancelled = False

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest

    def progress(self, at: Progress, /) -> None:
        if at.committed:
            assert self._manifest.exists()
            os.kill(os.getpid(), signal.SIGINT)


def test_a_program_is_interrupted_behind_the_commit(tmp_path: Path) -> None:
    store = real.fill_store(tmp_path / "events.db", 250)
    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / "out.csv", observer=_Interrupting(tmp_path / "out.csv.manifest.json"))
    assert verify(tmp_path / "out.csv").ok
    assert not real.leftovers(tmp_path)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
