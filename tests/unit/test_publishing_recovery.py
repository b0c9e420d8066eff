"""Every state that a dead attempt can leave, laid before the recovery as data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_model_lineage import FIRST

from penstock.model.columns import EVENTS
from penstock.model.manifest import Manifest, PartEntry
from penstock.model.manifest import Shape as Layout
from penstock.model.options import ExportFormat, ExportOptions
from penstock.pipeline.digests import digest_hex
from penstock.publishing.recovery import (
    Action,
    Clear,
    Data,
    Found,
    Intent,
    PutData,
    PutManifest,
    PutSums,
    TakeBack,
    Tell,
    decide,
    parse_intent,
)
from penstock.publishing.shapes import Directory, OneFile, Run, Shape, are_sums

_LAYOUT = ExportOptions().resolve(format=ExportFormat.NDJSON, codec=None)


def _entry(name: str) -> PartEntry:
    return PartEntry(
        name=name,
        rows=0,
        bytes=0,
        sha256="0" * 64,
        content_bytes=0,
        content_sha256="0" * 64,
        rows_digest="0" * 32,
    )


def _manifest(*names: str, run: int | None = None, at: int = 0) -> Manifest:
    previous = None if run == 1 else "a" * 64
    kind = Layout.LINEAGE if run is not None else Layout.DIRECTORY if "data/" in "".join(names) else Layout.FILE
    return Manifest(
        version="0.1.0",
        exported_at=at,
        shape=kind,
        dataset=EVENTS,
        format=_LAYOUT.format,
        codec=_LAYOUT.codec,
        level=_LAYOUT.level,
        options=_LAYOUT.to_json(),
        filter={},
        source={},
        rows=0,
        rows_digest=digest_hex(0),
        checksum="0" * 64,
        lineage=None if run is None else replace(FIRST, run=run, previous=previous),
        parts=tuple(_entry(name) for name in names),
    )


_FILE = OneFile("out.ndjson")
_NEW_FILE, _OLD_FILE = _manifest("out.ndjson", at=2), _manifest("out.ndjson", at=1)
_A, _B, _C = (f"data/part-0000{number}-empty-00000000.ndjson" for number in range(3))
_NEW, _OLD = _manifest(_A, _B, at=2), _manifest(_B, _C, at=1)
_RUN_PART = "data/run-000001-part-00000-empty-00000000.ndjson"
_RUN = _manifest(_RUN_PART, run=1, at=2)
_DAMAGED = _OLD.to_bytes().replace(b'"ndjson"', b'"nxjson"')
_DONE = Tell("an interrupted replacement was completed first")
_CLEARED = Tell("an interrupted run was cleared up first")


def _intent(manifest: Manifest, **more: Any) -> Intent:
    return Intent(manifest=manifest.to_bytes(), **more)


_REPLACING = _intent(_NEW_FILE, replaces=True, old=_OLD_FILE.to_bytes(), data="1")
_BARE = _intent(_NEW_FILE, replaces=True, data="1")
_REPLACING_ALL = _intent(_NEW, replaces=True, old=_OLD.to_bytes())


def _committed(key: str) -> Tell:
    return Tell(f"the interrupted run of {key} was committed already")


def _back(*names: str) -> list[Action]:
    return [TakeBack(_entry(name)) for name in names]


_STATES: dict[str, tuple[Found, list[Action]]] = {
    "nothing": (Found(shape=_FILE, leftovers=False), []),
    "data is staged, no intent": (Found(shape=_FILE), [Clear(), _CLEARED]),
    "a new file, nothing placed or only data": (
        Found(shape=_FILE, intent=_intent(_NEW_FILE)),
        [*_back("out.ndjson"), Clear(), _CLEARED],
    ),
    "a new file, whose name somebody else had first": (
        Found(shape=_FILE, intent=_intent(_NEW_FILE), alive=True, gave=False),
        [Clear()],
    ),
    "a new file, committed": (
        Found(shape=_FILE, intent=_intent(_NEW_FILE), manifest=_NEW_FILE.to_bytes()),
        [Clear(), _committed("out.ndjson.manifest.json")],
    ),
    "a new file, and the manifest of another export of it": (
        Found(shape=_FILE, intent=_intent(_NEW_FILE), manifest=_OLD_FILE.to_bytes()),
        [Clear(), _CLEARED],
    ),
    "a new file, and a manifest that cannot be read": (
        Found(shape=_FILE, intent=_intent(_NEW_FILE), manifest=_DAMAGED),
        [Clear(), _CLEARED],
    ),
    "a replaced file, the old manifest still there": (
        Found(shape=_FILE, intent=_REPLACING, manifest=_OLD_FILE.to_bytes()),
        [Clear(), _CLEARED],
    ),
    "a replaced file, the old manifest gone": (
        Found(shape=_FILE, intent=_REPLACING, data=Data.BEFORE, staged=True),
        [PutData(), PutManifest(_NEW_FILE.to_bytes()), _DONE, Clear()],
    ),
    "a replaced file, the old manifest gone, in the attempt that failed": (
        Found(shape=_FILE, intent=_REPLACING, data=Data.BEFORE, staged=True, alive=True),
        [PutManifest(_OLD_FILE.to_bytes()), Clear()],
    ),
    "a replaced file, the data exchanged": (
        Found(shape=_FILE, intent=_REPLACING, data=Data.NEW),
        [PutManifest(_NEW_FILE.to_bytes()), _DONE, Clear()],
    ),
    "a replaced file, the data exchanged, in the attempt that failed": (
        Found(shape=_FILE, intent=_REPLACING, data=Data.NEW, alive=True),
        [PutManifest(_NEW_FILE.to_bytes()), _DONE, Clear()],
    ),
    "a replaced file, changed by others since": (
        Found(shape=_FILE, intent=_REPLACING, data=Data.OTHER, staged=True),
        [Clear(), _CLEARED],
    ),
    "a replaced file, whose staged bytes are torn": (
        Found(shape=_FILE, intent=_REPLACING, data=Data.BEFORE),
        [Clear(), _CLEARED],
    ),
    "a replaced file, committed": (
        Found(shape=_FILE, intent=_REPLACING, manifest=_NEW_FILE.to_bytes()),
        [Clear(), _committed("out.ndjson.manifest.json")],
    ),
    "a file without manifest, replaced": (
        Found(shape=_FILE, intent=_BARE, data=Data.BEFORE, staged=True),
        [PutData(), PutManifest(_NEW_FILE.to_bytes()), _DONE, Clear()],
    ),
    "a file without manifest, replaced, in the attempt that failed": (
        Found(shape=_FILE, intent=_BARE, data=Data.BEFORE, staged=True, alive=True),
        [Clear()],
    ),
    "a new directory, not committed": (
        Found(shape=Directory(), intent=_intent(_NEW)),
        [*_back(_A, _B), Clear(), _CLEARED],
    ),
    "a new directory, committed": (
        Found(shape=Directory(), intent=_intent(_NEW), manifest=_NEW.to_bytes()),
        [PutSums(_NEW, None), Clear(), _committed("_penstock/manifest.json")],
    ),
    "a replaced directory, not committed: what both name stays": (
        Found(shape=Directory(), intent=_REPLACING_ALL, manifest=_OLD.to_bytes()),
        [*_back(_A), Clear(), _CLEARED],
    ),
    "a replaced directory, committed: what only the old one names goes": (
        Found(shape=Directory(), intent=_REPLACING_ALL, manifest=_NEW.to_bytes()),
        [PutSums(_NEW, _OLD.to_bytes()), *_back(_C), Clear(), _committed("_penstock/manifest.json")],
    ),
    "a replaced directory, whose old manifest cannot be read": (
        Found(shape=Directory(), intent=_intent(_NEW, replaces=True, old=_DAMAGED), manifest=_DAMAGED),
        [Clear(), _CLEARED],
    ),
    "the same, in the attempt that failed": (
        Found(shape=Directory(), intent=_intent(_NEW, replaces=True, old=_DAMAGED), manifest=_DAMAGED, alive=True),
        [*_back(_A, _B), Clear()],
    ),
    "a replaced directory of a damaged manifest, committed": (
        Found(shape=Directory(), intent=_intent(_NEW, replaces=True, old=_DAMAGED), manifest=_NEW.to_bytes()),
        [PutSums(_NEW, _DAMAGED), Clear(), _committed("_penstock/manifest.json")],
    ),
    "a run, not committed": (Found(shape=Run(1), intent=_intent(_RUN)), [*_back(_RUN_PART), Clear(), _CLEARED]),
    "a run, committed": (
        Found(shape=Run(1), intent=_intent(_RUN), manifest=_RUN.to_bytes()),
        [PutSums(_RUN, None), Clear(), _committed("_penstock/runs/000001.json")],
    ),
    "a run, superseded by one with the same part": (
        Found(shape=Run(1), intent=_intent(_RUN), manifest=_manifest(_RUN_PART, run=1, at=3).to_bytes()),
        [Clear(), _CLEARED],
    ),
}


@pytest.mark.parametrize("state", _STATES)
def test_each_state_is_answered(state: str) -> None:
    found, actions = _STATES[state]
    assert decide(found) == actions


@pytest.mark.parametrize("intent", [_intent(_NEW), _REPLACING, _BARE, _intent(_NEW, replaces=True, old=b"\xff\x00{")])
def test_an_intent_comes_back_and_a_torn_one_is_none(intent: Intent) -> None:
    text = intent.to_bytes()
    assert parse_intent(text) == intent
    assert all(parse_intent(text[:length]) is None for length in range(0, len(text), 7))
    assert parse_intent(text.replace(b"0.1.0", b"0.1.1")) is None


@pytest.mark.parametrize(
    ("shape", "manifest", "fits"),
    [
        (_FILE, _NEW_FILE, True),
        (OneFile("other.ndjson"), _NEW_FILE, False),
        (_FILE, _NEW, False),
        (Directory(), _NEW, True),
        (Directory(), _RUN, False),
        (Directory(), _NEW_FILE, False),
        (Directory(), _manifest("data/strange-00000.ndjson"), False),
        (Run(1), _RUN, True),
        (Run(2), _RUN, False),
        (Run(1), _NEW, False),
    ],
)
def test_a_manifest_is_of_one_shape(shape: Shape, manifest: Manifest, fits: bool) -> None:
    assert shape.could_be(manifest) is fits


def test_sums_of_ours_name_data_alone() -> None:
    assert are_sums(_NEW.sums())
    assert are_sums(b"")
    assert not are_sums(b"somebody's\n")
    assert not are_sums(_NEW.sums() + b"0" * 64 + b"  notes.txt\n")
