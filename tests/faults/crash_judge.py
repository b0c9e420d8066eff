"""What a reader finds at a destination, judged without the exporter's code, and then with its ``verify``.

:func:`judge` looks at a place that may just have seen a crash; :func:`settle` runs the export again and demands that
everything is in order then. Both return sentences about what is wrong; none means that the promise held.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from crash_scenarios import Stage

from penstock import DirectoryDestination, ExportDestination, FileDestination
from penstock.errors import DestinationExists, ExportError, ManifestError, NotFound
from penstock.reading.verify import verify

NONE, OLD, NEW = "none", "old", "new"


def judge(stage: Stage) -> tuple[str, list[str]]:
    """What export is there (``none``, ``old``, ``new``), and what is wrong with it."""
    wrong = _touched(stage)
    there = _read(stage.base / stage.manifest)
    if there is None:
        return NONE, wrong + _judge_none(stage)
    for state, contents in ((NEW, stage.new), (OLD, stage.old)):
        if there == contents.get(stage.manifest):
            return state, wrong + _judge_whole(stage, contents, there)
    return "torn", [*wrong, f"the manifest is neither the old nor the new one: {there[:60]!r}"]


def _judge_none(stage: Stage) -> list[str]:
    wrong = []
    if not stage.scenario.none_allowed:
        wrong.append("there is no manifest, although a directory's export is replaced in one step")
    if stage.scenario.single:
        allowed = [contents.get(stage.scenario.dest) for contents in (stage.old, stage.new)]
        found = _read(stage.base / stage.scenario.dest)
        if found not in allowed:
            wrong.append(f"{stage.scenario.dest} is neither the old file nor the new one: {_short(found)}")
    else:
        wrong += [
            f"{name} stands under its final name, but is not whole: {_short(found)}"
            for name, text in stage.new.items()
            if (found := _read(stage.base / name)) not in (None, text)
        ]
    try:
        verify(_destination(stage))
    except (ManifestError, NotFound):
        return wrong
    return [*wrong, "verify did not say that there is no export"]


def _judge_whole(stage: Stage, contents: dict[str, bytes], manifest: bytes) -> list[str]:
    wrong = []
    for part in json.loads(manifest)["parts"]:
        found = _read(stage.base / part["name"])
        if found is None or hashlib.sha256(found).hexdigest() != part["sha256"]:
            wrong.append(f"{part['name']} is not what the manifest names: {_short(found)}")
        elif found != contents[part["name"]]:
            wrong.append(f"{part['name']} is of another export")
    result = verify(_destination(stage))
    return wrong + [f"verify: {problem.part}: {problem.message}" for problem in result.problems]


def settle(stage: Stage, state: str, *, overwrite: bool | None = None) -> list[str]:
    """Run the same export again, on a place in this state, and see that it ends whole and tidy."""
    flag = stage.scenario.overwrite if overwrite is None else overwrite
    try:
        stage.export(overwrite=overwrite)
    except DestinationExists as error:
        if flag or (state == NONE and not stage.scenario.overwrite):
            return [f"the next run refused: {error}"]
    except ExportError as error:
        return [f"the next run failed: {type(error).__name__}: {error}"]
    else:
        if not flag and state != NONE:
            return ["the next run went over a finished export"]
    return settled(stage, OLD if not flag and state == OLD else NEW)


def settled(stage: Stage, state: str) -> list[str]:
    """What is wrong with a place where everything should be in order: exactly this export, whole, nothing else."""
    found, wrong = judge(stage)
    if found != state:
        wrong.append(f"the {found} export is there, not the {state} one")
    expected = set({NEW: stage.new, OLD: stage.old, NONE: {}}[state])
    if state == NONE and stage.scenario.before == "bare":
        expected = set(stage.old)
    expected |= {str(path.relative_to(stage.base)) for path in stage.strangers() if path.is_relative_to(stage.base)}
    expected |= {str(folder) for name in expected for folder in Path(name).parents if folder.name}
    there = {str(path.relative_to(stage.base)) for path in stage.base.rglob("*")}
    wrong += [f"{name} was left behind" for name in sorted(there - expected)]
    wrong += [f"{name} is gone" for name in sorted(expected - there)]
    if not stage.scenario.single:
        around = {path.name for path in stage.place.iterdir()} - {path.name for path in stage.strangers()}
        wrong += [f"{name} was left beside the directory" for name in sorted(around - {stage.scenario.dest})]
        if state == NONE and stage.scenario.before == "nothing" and stage.base.is_dir():
            wrong.append(f"{stage.scenario.dest} was made and left")
    if not wrong and state != NONE:
        result = verify(_destination(stage))
        strangers = any(path.parent == stage.base for path in stage.strangers())
        wrong += [f"verify notes: {note}" for note in result.notes if not (strangers and "left alone" in note)]
    return wrong


def _touched(stage: Stage) -> list[str]:
    return [
        f"the foreign file {path.name} was changed" for path, text in stage.strangers().items() if _read(path) != text
    ]


def _destination(stage: Stage) -> ExportDestination:
    path = stage.place / stage.scenario.dest
    return FileDestination(path) if stage.scenario.single else DirectoryDestination(path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _short(text: bytes | None) -> str:
    return "missing" if text is None else f"{len(text)} bytes"
