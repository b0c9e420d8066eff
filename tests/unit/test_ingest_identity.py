"""Ids of records that have none: stable, different for equal records, and apart by source."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.loading.identity import Identities, source_name


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("access.log", "access.log"),
        ("access.log.1", "access.log"),
        ("access.log.12.gz", "access.log"),
        ("access.log-20260101.gz", "access.log"),
        ("access.log-20260101", "access.log"),
        ("access.log-2026010112", "access.log"),
        ("access.log.2026-01-01", "access.log"),
        ("access.log-2026-01-01T13", "access.log"),
        ("app.ndjson.zst", "app.ndjson"),
        ("events-2026-01-01.ndjson", "events-2026-01-01.ndjson"),
        ("app.v2.csv", "app.v2.csv"),
        ("report.2024", "report.2024"),
        (".1", ".1"),
        (".gz", ".gz"),
        ("20260101", "20260101"),
    ],
)
def test_the_source_is_the_file_name_without_compression_and_rotation(file: str, source: str) -> None:
    assert source_name(file) == source


contents = st.lists(st.binary(max_size=2), max_size=40)


@given(contents, st.integers(1, 7))
def test_ids_depend_on_content_and_rank_alone_whatever_the_batches_are(records: list[bytes], size: int) -> None:
    with Identities() as whole, Identities() as cut:
        at_once = whole.assign("app", records)
        in_batches = [
            id for start in range(0, len(records), size) for id in cut.assign("app", records[start : start + size])
        ]

    assert in_batches == at_once
    assert len(set(at_once)) == len(records)


@given(contents, st.randoms(use_true_random=False))
def test_any_order_of_the_same_records_has_the_same_ids(records: list[bytes], chance: object) -> None:
    shuffled = list(records)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    with Identities() as one, Identities() as other:
        assert Counter(zip(records, one.assign("app", records), strict=True)) == Counter(
            zip(shuffled, other.assign("app", shuffled), strict=True)
        )


def test_ids_are_uuids_of_version_8_and_differ_by_source() -> None:
    with Identities() as made:
        first, second, other = *made.assign("app", [b"{}", b"{}"]), *made.assign("web", [b"{}"])

    assert len({first, second, other}) == 3
    for id in (first, second, other):
        assert str(uuid.UUID(id)) == id
        assert uuid.UUID(id).version == 8
        assert uuid.UUID(id).variant == uuid.RFC_4122


def test_ids_never_change_between_versions() -> None:
    with Identities() as made:
        assert made.assign("access.log", [b'{"a":1}', b'{"a":1}']) == [
            "529649e0-7857-877a-8d40-4ff8322c69c3",
            "12490386-ae96-8795-b87d-1c81d0692317",
        ]
