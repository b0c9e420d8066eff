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


def assigned(made: Identities, records: list[bytes], source: str = "app", micros: int = 1) -> list[str]:
    """The ids of records that all have the same time."""
    return made.assign(source, [micros] * len(records), records)


contents = st.lists(st.binary(max_size=2), max_size=40)


@given(contents, st.integers(1, 7))
def test_ids_depend_on_content_and_rank_alone_whatever_the_batches_are(records: list[bytes], size: int) -> None:
    with Identities() as whole, Identities() as cut:
        at_once = assigned(whole, records)
        in_batches = [
            id for start in range(0, len(records), size) for id in assigned(cut, records[start : start + size])
        ]

    assert in_batches == at_once
    assert len(set(at_once)) == len(records)


@given(contents, st.randoms(use_true_random=False))
def test_any_order_of_the_same_records_has_the_same_ids(records: list[bytes], chance: object) -> None:
    shuffled = list(records)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    with Identities() as one, Identities() as other:
        assert Counter(zip(records, assigned(one, records), strict=True)) == Counter(
            zip(shuffled, assigned(other, shuffled), strict=True)
        )


def test_ids_are_uuids_of_version_8_and_differ_by_source() -> None:
    with Identities() as made:
        first, second, other = *assigned(made, [b"{}", b"{}"]), *assigned(made, [b"{}"], "web")

    assert len({first, second, other}) == 3
    for id in (first, second, other):
        assert str(uuid.UUID(id)) == id
        assert uuid.UUID(id).version == 8
        assert uuid.UUID(id).variant == uuid.RFC_4122


def test_ids_never_change_between_versions() -> None:
    with Identities() as made:
        assert assigned(made, [b'{"a":1}', b'{"a":1}'], "access.log", 1_793_534_400_123_456) == [
            "01a196fb-167b-8529-9927-81e15d5dea35",
            "01a196fb-167b-8124-a40e-1aba5b1e57e1",
        ]


def test_ids_are_in_the_order_of_their_times_and_begin_with_0_before_1970() -> None:
    moments = [-1_000_000, 0, 999, 1_000, 1_793_534_400_123_456, 253_402_300_799_999_999]
    with Identities() as made:
        ids = [assigned(made, [b"%d" % micros], micros=micros)[0] for micros in moments]

    assert [uuid.UUID(id).int >> 80 for id in ids] == [max(0, micros // 1000) for micros in moments]
    assert ids[3:] == sorted(ids[3:])
