"""A run's place in its lineage: as text and back, and the names of the runs' manifests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.model.lineage import Anchor, Break, Lineage, parse_lineage, run_name, run_number

FIRST = Lineage(run=1, previous=None, after=0, upto=7, store="penstock:ab", deletions=0, reached=7)
ANCHORS = (Anchor(seq=-1, key="ü\0", digest="0f" * 16), Anchor(seq=-2, key=None, digest=None))
LATER = Lineage(
    run=2, previous="0f" * 32, after=-3, upto=2**63 - 1, store="table:é", anchors=ANCHORS, reached=2**63 - 1
)
BROKEN = replace(LATER, upto=-1, reached=20, broken=Break(cursor=9, why="it was put back"))


@pytest.mark.parametrize("lineage", [FIRST, LATER, BROKEN])
def test_a_place_survives_being_written(lineage: Lineage) -> None:
    assert parse_lineage(lineage.to_json()) == lineage


@pytest.mark.parametrize(
    "change",
    [
        {"run": 0},
        {"run": -1},
        {"run": True},
        {"run": "2"},
        {"run": 2.0},
        {"run": 1},
        {"previous": None},
        {"previous": "0f" * 31},
        {"previous": "0F" * 32},
        {"previous": 7},
        {"after": 5},
        {"after": {"seq": 2**63}},
        {"after": None},
        {"after": {}},
        {"upto": {"seq": -4}},
        {"upto": {"seq": "9"}},
        {"reached": {"seq": 9}},
        {"deletions": "0"},
        {"deletions": True},
        {"broken": {"cursor": {"seq": 9}}},
        {"broken": {"cursor": {"seq": -4}, "why": ""}},
        {"broken": 1},
        {"anchors": None},
        {"anchors": 5},
        {"anchors": [{"seq": "1", "key": "a", "digest": "0f" * 16}]},
        {"anchors": [{"seq": 1, "key": "a", "digest": "0F" * 16}]},
        {"anchors": [{"seq": 1, "key": "a", "digest": None}]},
        {"anchors": [{"seq": 1, "key": 7, "digest": "0f" * 16}]},
        {"anchors": [{"seq": 1, "key": None}]},
        {"anchors": [{"key": None, "digest": None}]},
        {"anchors": [{"seq": 1, "key": None, "digest": None}] * 2},
        {"anchors": [{"seq": 1, "key": None, "digest": None}, {"seq": 2, "key": None, "digest": None}]},
        {"anchors": [{"seq": 2**63, "key": None, "digest": None}]},
        {"anchors": [{"seq": -number, "key": None, "digest": None} for number in range(17)]},
    ],
    ids=str,
)
def test_a_place_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_lineage(LATER.to_json() | change)


def test_a_first_run_breaks_no_cursor() -> None:
    with pytest.raises(ValueError, match="fit together"):
        parse_lineage(FIRST.to_json() | {"broken": {"cursor": {"seq": 0}, "why": ""}})


@pytest.mark.parametrize("name", list(FIRST.to_json()))
def test_no_member_may_be_missing(name: str) -> None:
    raw = LATER.to_json()
    del raw[name]
    with pytest.raises(KeyError):
        parse_lineage(raw)


def test_members_of_later_versions_are_ignored() -> None:
    assert parse_lineage(LATER.to_json() | {"more": 1}) == LATER


@pytest.mark.parametrize("run", [1, 9, 999_999, 1_000_000, 123_456_789_012])
def test_a_manifest_name_tells_its_run(run: int) -> None:
    assert run_number(run_name(run)) == run


@pytest.mark.parametrize(
    "name",
    [
        "run-1.manifest.json",
        "run-0000001.manifest.json",
        "run-000001.manifest.json\n",
        "run-000001.manifest.json.bak",
        "xrun-000001.manifest.json",
        "run-00000a.manifest.json",
        "run-٠٠٠٠٠١.manifest.json",
        "run--00001.manifest.json",
        "manifest.json",
        "run-000001-part-00000-1-2-0123abcd.ndjson",
    ],
)
def test_other_names_are_no_runs(name: str) -> None:
    assert run_number(name) is None
