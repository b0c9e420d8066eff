"""The publishing situations that the fault tests go through: what lies at the destination before, and what is asked.

A :class:`Stage` is a scratch directory with a store and, for its scenario, the place as it is before the export, and
the exact bytes that the place holds after the old and after the new one. Exports run with a fixed clock, so that every
repetition gives the same bytes, the manifest included.
"""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crash_defects import planted

from penstock import AnalyticsEvent, DirectoryDestination, Exporter, ExportFilter, ExportOptions, FileDestination
from penstock.backends.local.backend import LocalBackend
from penstock.backends.local.fileops import FileOps
from penstock.sources.sqlite.store import SqliteAnalyticsStorage
from penstock.testing.faults import Fail, Fault, FaultyOps, Operation

EVENTS = 200
#: Files that belong to somebody else, in the place and, for a directory, inside it. Nothing may ever happen to them.
BYSTANDERS = {"neighbour.ndjson": b'{"not": "ours"}\n', "manifest.json.bak": b"an old friend\n"}
#: What stands at a single file's name without a manifest.
BARE = b"somebody's notes, about to be replaced on request\n"
_EPOCH = datetime(2026, 11, 1, tzinfo=UTC)


class FixedClock:
    """A clock that stands still."""

    def __init__(self, hour: int) -> None:
        self._now = _EPOCH.replace(hour=hour)

    def now(self) -> datetime:
        return self._now


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``before`` is ``nothing``, ``export`` (an old export), ``bare`` (a file without manifest) or ``strangers`` (a
    directory with foreign files). ``limit`` cuts the old export, ``rows`` are rows a part, or a range of one file."""

    name: str
    dest: str
    before: str = "nothing"
    overwrite: bool = False
    rows: int = 50
    old_rows: int = 50
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def single(self) -> bool:
        return "." in self.dest

    @property
    def none_allowed(self) -> bool:
        """Whether a reader may find no export in between: not where a directory's export is replaced."""
        return self.single or self.before != "export"


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="file", dest="out.ndjson"),
        Scenario(name="file-gzip", dest="out.json.gz"),
        Scenario(name="file-json", dest="out.json", rows=100),
        Scenario(name="file-csv", dest="out.csv", rows=100),
        Scenario(name="file-arrow", dest="out.arrow", rows=100),
        Scenario(name="file-parquet", dest="out.parquet", options={"row_group_rows": 60}),
        Scenario(name="file-overwrite", dest="out.ndjson", before="export", overwrite=True),
        Scenario(name="file-overwrite-bare", dest="out.csv", before="bare", overwrite=True, rows=100),
        Scenario(name="directory", dest="out", options={"format": "ndjson"}),
        Scenario(name="directory-strangers", dest="out", before="strangers", options={"format": "csv"}, rows=70),
        Scenario(name="directory-overwrite", dest="out", before="export", overwrite=True, options={"format": "ndjson"}),
        Scenario(
            name="directory-overwrite-all",
            dest="out",
            before="export",
            overwrite=True,
            options={"format": "parquet"},
            rows=70,
            old_rows=45,
        ),
    )
}


class Stage:
    """One scenario in one scratch directory. ``old`` and ``new`` are the file contents, by name, of the two exports.

    ``defect`` is planted in every export. With ``no_links`` the file system has no hard links.
    """

    def __init__(
        self,
        scenario: Scenario,
        root: Path,
        old: dict[str, bytes],
        new: dict[str, bytes],
        *,
        defect: str | None = None,
        no_links: bool = False,
    ) -> None:
        self.scenario = scenario
        self.root = root
        self.old = old
        self.new = new
        self.defect = defect
        self.no_links = no_links

    @property
    def name(self) -> str:
        without = " without links" * self.no_links
        return self.scenario.name + without + (f", with the defect {self.defect}" if self.defect is not None else "")

    @property
    def template(self) -> Path:
        return self.root / "template"

    @property
    def place(self) -> Path:
        """Where the faults happen."""
        return self.root / "place"

    @property
    def base(self) -> Path:
        """The directory that the export's files lie in."""
        return self.place if self.scenario.single else self.place / self.scenario.dest

    @property
    def manifest(self) -> str:
        return f"{self.scenario.dest}.manifest.json" if self.scenario.single else "_penstock/manifest.json"

    def reset(self) -> None:
        """Lay the place out as it is before the export."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.template, self.place)

    def know_again(self) -> None:
        """After a state was laid out as files: let the intent know the file that is to go by its new inode."""
        intent, dest = self.place / f".{self.scenario.dest}.penstock" / "intent", self.scenario.dest
        try:
            raw = json.loads(intent.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        there = LocalBackend(self.place).stat(dest) if self.scenario.single else None
        if raw["data"] is not None and there is not None and (self.place / dest).read_bytes() == self.old[dest]:
            intent.write_text(json.dumps({**raw, "data": there.version}))

    def export(self, *faults: Fault, keep_data: bool = False, overwrite: bool | None = None) -> list[Operation]:
        """Run the new export as the scenario has it; ``overwrite`` overrides its flag. Returns what was done; whoever
        expects an error finds it in :attr:`log`."""
        flag = self.scenario.overwrite if overwrite is None else overwrite
        always = [Fail(on=("link",), code=errno.EPERM, lasting=True)] if self.no_links else []
        ops = FaultyOps(*faults, *always, keep_data=keep_data)
        self.log = ops.log
        with planted(self.defect):
            _export(self.root / "store.db", self.place, self.scenario, ops, overwrite=flag, new=True)
        return ops.log

    def strangers(self) -> dict[Path, bytes]:
        """Every foreign file that must stay as it is."""
        places = [self.place]
        if not self.scenario.single and self.scenario.before != "nothing":
            places += [self.base, self.base / "data"]
        return {place / name: text for place in places for name, text in BYSTANDERS.items()}


def build(name: str, root: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Prepare the scratch directory of a scenario; returns the old and the new contents. Opens stores: for a child."""
    scenario = SCENARIOS[name]
    template = root / "template"
    template.mkdir(parents=True)
    _fill_store(root / "store.db")
    stage = Stage(scenario, root, {}, {})
    stage.reset()
    _export(root / "store.db", stage.place, scenario, None, overwrite=False, new=True)
    new = contents(stage.base)
    for file, text in BYSTANDERS.items():
        (template / file).write_bytes(text)
    old: dict[str, bytes] = {}
    if scenario.before == "bare":
        (template / scenario.dest).write_bytes(BARE)
        old = {scenario.dest: BARE}
    elif scenario.before == "export":
        stage.reset()
        _export(root / "store.db", stage.place, scenario, None, overwrite=False, new=False)
        old = {file: text for file, text in contents(stage.base).items() if file not in BYSTANDERS}
        shutil.rmtree(template)
        shutil.copytree(stage.place, template)
    if not scenario.single and scenario.before != "nothing":
        (template / scenario.dest / "data").mkdir(parents=True, exist_ok=True)
        for file, text in BYSTANDERS.items():
            (template / scenario.dest / file).write_bytes(text)
            (template / scenario.dest / "data" / file).write_bytes(text)
    shutil.rmtree(stage.place)
    return old, new


def contents(base: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path from there."""
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


def _export(store: Path, place: Path, scenario: Scenario, ops: FileOps | None, *, overwrite: bool, new: bool) -> Any:
    make = FileDestination if scenario.single else DirectoryDestination
    options = ExportOptions(workers=1, part_rows=scenario.rows if new else scenario.old_rows, **scenario.options)
    with SqliteAnalyticsStorage(store, create=False, read_only=True) as storage:
        return Exporter(storage, clock=FixedClock(2 if new else 1)).export(
            make(place / scenario.dest, ops=ops),
            filter=ExportFilter() if new else ExportFilter(limit=130),
            options=options,
            overwrite=overwrite,
        )


def _fill_store(path: Path) -> None:
    with SqliteAnalyticsStorage(path) as storage:
        storage.append(
            AnalyticsEvent(
                "feature_used",
                data={"feature": f"search {number}", "ms": number * 1.25},
                timestamp=_EPOCH.replace(minute=number % 60, second=number // 60),
                id=f"00000000-0000-4000-8000-{number:012x}",
            )
            for number in range(EVENTS)
        )
