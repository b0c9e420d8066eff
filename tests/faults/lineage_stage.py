"""A lineage in a scratch directory that a run can be added to with faults, and what a stranger reads there.

Nothing of the product takes part in the reading: runs are plain JSON manifests, their parts gzip and NDJSON.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crash_scenarios import BYSTANDERS, FixedClock

from penstock import AnalyticsEvent, DirectoryDestination, ExportFilter, ExportOptions, verify
from penstock.backends.local.fileops import FileOps
from penstock.exporting.crew import Workers
from penstock.exporting.incremental import export_incremental
from penstock.model.options import ExportFormat
from penstock.model.result import ExportResult
from penstock.runners.threads import ThreadRunner
from penstock.sources.sqlite.store import SqliteAnalyticsStorage
from penstock.testing.faults import Fail, Fault, FaultyOps, Operation

#: Events in the store, and how many of them runs have covered before the one that is disturbed.
EVENTS = 120
SCENARIOS: dict[str, tuple[int, ...]] = {
    "first": (),
    "later": (30, 70),
    "empty": (50, EVENTS),
    "partitioned": (30, 70),
}


@dataclass
class Stage:
    """One scenario: ``before`` are the numbers of events that the store held when each earlier run was made."""

    name: str
    root: Path
    no_links: bool = False

    @property
    def place(self) -> Path:
        return self.root / "place"

    @property
    def base(self) -> Path:
        """The directory of the lineage."""
        return self.place / "runs"

    @property
    def covered(self) -> int:
        """How many events earlier runs hold."""
        return max(SCENARIOS[self.name], default=0)

    @property
    def label(self) -> str:
        return f"lineage, {self.name} run" + " without links" * self.no_links

    def reset(self) -> None:
        """Lay the place out as it is before the run."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.root / "template", self.place)

    def export(self, *faults: Fault, rows: int = 25) -> list[Operation]:
        """Add a run in parts of so many rows. Returns what was done; after an error it is in ``log``."""
        always = [Fail(on=("link",), code=errno.EPERM, lasting=True)] if self.no_links else []
        ops = FaultyOps(*faults, *always)
        self.log = ops.log
        add_run(self.root / "store.db", self.base, ops, rows=rows, partition_by=partitions(self.name))
        return ops.log


def partitions(name: str) -> str | None:
    """Into which partitions a scenario exports."""
    return "hour" if name == "partitioned" else None


def add_run(
    store: Path, base: Path, ops: FileOps | None, *, rows: int = 25, partition_by: str | None = None
) -> ExportResult:
    """One more run of compressed NDJSON, by one worker."""
    options = ExportOptions(workers=1, part_rows=rows, compression="gzip", partition_by=partition_by)
    with SqliteAnalyticsStorage(store, create=False, read_only=True) as storage:
        return export_incremental(
            storage,
            DirectoryDestination(base, ops=ops).lineage(),
            layout=options.resolve(format=ExportFormat.NDJSON, codec=None),
            filter=ExportFilter(),
            options=options,
            clock=FixedClock(3),
            workers=Workers(threads=ThreadRunner(1)),
        )


def build(name: str, root: Path) -> None:
    """Prepare the scratch directory of a scenario. Opens stores: for a child."""
    template = root / "template"
    template.mkdir(parents=True)
    for file, text in BYSTANDERS.items():
        (template / file).write_bytes(text)
    stored = 0
    stops = SCENARIOS[name]
    for number, upto in enumerate((*stops, EVENTS)):
        with SqliteAnalyticsStorage(root / "store.db") as storage:
            storage.append(_event(number) for number in range(stored, upto))
        if number < len(stops):
            add_run(root / "store.db", template / "runs", None, partition_by=partitions(name))
        stored = upto
    if name != "first":
        for file, text in BYSTANDERS.items():
            (template / "runs" / file).write_bytes(text)


def _event(number: int) -> AnalyticsEvent:
    """An event of one of three hours, on two days; the third hour is new in the last run."""
    moment = datetime(2026, 11, 1, 22 + number % 2, tzinfo=UTC) + timedelta(hours=1 if number > 90 else 0)
    return AnalyticsEvent(
        "feature_used", id=identity(number), timestamp=moment, data={"n": number, "ms": number * 1.25}
    )


def identity(number: int) -> str:
    """The id of the event with this number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def runs_in(base: Path) -> list[list[str]]:
    """The ids that each committed run holds, straight from the files."""
    found = []
    for path in sorted(base.glob("_penstock/runs/*.json")):
        manifest = json.loads(path.read_bytes())
        ids = []
        for part in manifest["parts"]:
            stored = (base / part["name"]).read_bytes()
            assert hashlib.sha256(stored).hexdigest() == part["sha256"], part["name"]
            ids += [json.loads(line)["id"] for line in gzip.decompress(stored).splitlines()]
        assert len(ids) == manifest["rows"], path.name
        found.append(ids)
    return found


def judge(stage: Stage) -> tuple[str, list[str]]:
    """What a reader finds right after a crash: ``old`` or ``new`` events, and what is wrong."""
    wrong = []
    try:
        union = sorted(one for run in runs_in(stage.base) for one in run)
    except (AssertionError, OSError, ValueError) as error:
        return "torn", [f"a committed run is not whole: {type(error).__name__}: {error}"]
    runs = len(list(stage.base.glob("_penstock/runs/*.json")))
    states = {
        (stage.covered, len(SCENARIOS[stage.name])): "old",
        (EVENTS, len(SCENARIOS[stage.name]) + 1): "new",
    }
    state = states.get((len(union), runs), "torn")
    if union != [identity(number) for number in range(len(union))] or state == "torn":
        wrong.append(f"{runs} runs hold {len(union)} events that are not those of a stretch")
    if runs:
        wrong += [f"verify: {problem.part}: {problem.message}" for problem in verify(stage.base).problems]
    return state, wrong


def settled(stage: Stage) -> list[str]:
    """What is wrong with a lineage that was brought to its end: every event once, whole, and nothing left behind."""
    wrong = []
    union = sorted(one for run in runs_in(stage.base) for one in run)
    if union != [identity(number) for number in range(EVENTS)]:
        wrong.append(f"the union of the runs is {len(union)} events, not the {EVENTS} of the store once each")
    manifests = sorted(stage.base.glob("_penstock/runs/*.json"))
    parts = [part for path in manifests for part in json.loads(path.read_bytes())["parts"]]
    expected = {str(path.relative_to(stage.base)) for path in manifests} | {part["name"] for part in parts}
    expected |= {str(path.relative_to(stage.base).with_suffix(".sha256")) for path in manifests}
    expected |= set(BYSTANDERS) if stage.name != "first" else set()
    expected |= {str(folder) for name in expected for folder in Path(name).parents if folder.name}
    there = {str(path.relative_to(stage.base)) for path in stage.base.rglob("*")}
    wrong += [f"{name} was left behind" for name in sorted(there - expected)]
    wrong += [f"{name} is gone" for name in sorted(expected - there)]
    wrong += _sums(stage.base, parts)
    for place in (stage.place, stage.base):
        for file, text in BYSTANDERS.items():
            if (place == stage.place or stage.name != "first") and (place / file).read_bytes() != text:
                wrong.append(f"the foreign file {file} was changed")
    result = verify(stage.base)
    wrong += [f"verify: {problem.part}: {problem.message}" for problem in result.problems]
    return wrong + [f"verify notes: {note}" for note in result.notes if "left alone" not in note]


def _sums(base: Path, parts: Sequence[dict[str, str]]) -> list[str]:
    text = "".join(path.read_text() for path in sorted(base.glob("_penstock/runs/*.sha256")))
    if text != "".join(f"{part['sha256']}  {part['name']}\n" for part in parts):
        return ["the sums do not cover the parts of all runs in order"]
    command = ["sha256sum", "--check", "--strict", "--quiet"]
    done = subprocess.run(command, input=text.encode(), cwd=base, capture_output=True, check=False)
    return [f"sha256sum: {done.stdout!r} {done.stderr!r}"] if parts and done.returncode else []
