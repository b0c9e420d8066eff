"""The chain of a lineage without any file: what is read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock import DirectoryDestination
from penstock.errors import ManifestError
from penstock.model.columns import EVENTS
from penstock.model.lineage import Anchor, Break, Lineage, run_name
from penstock.model.manifest import Manifest, PartEntry, Shape
from penstock.model.options import ExportFormat, ExportOptions
from penstock.model.span import Span
from penstock.pipeline.digests import digest_hex
from penstock.reading.chain import own_digest, pinned_differences, read_chain
from penstock.reading.verify_chain import contradictions

LAYOUT = ExportOptions().resolve(format=ExportFormat.NDJSON, codec=None)
Change = Callable[[Manifest], Manifest]


def manifest(lineage: Lineage | None, *parts: PartEntry) -> Manifest:
    return Manifest(
        version="0.1.0",
        exported_at=0,
        shape=Shape.DIRECTORY if lineage is None else Shape.LINEAGE,
        dataset=LAYOUT.dataset,
        format=LAYOUT.format,
        codec=LAYOUT.codec,
        level=LAYOUT.level,
        options=LAYOUT.to_json(),
        filter={},
        source={},
        rows=sum(part.rows for part in parts),
        rows_digest=digest_hex(0),
        checksum="0" * 64,
        lineage=lineage,
        parts=parts,
    )


def place(run: int, previous: str | None, **change: Any) -> Lineage:
    anchors = tuple(Anchor(seq=10 * run - back, key=f"e{run}-{back}", digest="0" * 32) for back in (0, 1, 2, 4))
    given: dict[str, Any] = {"after": 10 * (run - 1), "upto": 10 * run, "reached": 10 * run, "anchors": anchors}
    return Lineage(run=run, previous=previous, store="penstock:a", **(given | change))


def chain(count: int, changes: dict[int, Change] | None = None) -> list[tuple[str, bytes]]:
    """Manifests of so many runs; ``changes`` are made to some of them, and the later ones follow the changed ones."""
    found: list[tuple[str, bytes]] = []
    previous = None
    for run in range(1, count + 1):
        made = manifest(place(run, previous))
        text = (changes or {}).get(run, lambda one: one)(made).to_bytes()
        found.append((run_name(run), text))
        previous = own_digest(text)
    return found


def moved(**change: Any) -> Change:
    """A change of a run's place."""

    def make(one: Manifest) -> Manifest:
        assert one.lineage is not None
        return replace(one, lineage=replace(one.lineage, **change))

    return make


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_whole_chain_is_read_in_order(count: int) -> None:
    links = read_chain(chain(count))
    assert [link.lineage.run for link in links] == list(range(1, count + 1))
    assert [link.name for link in links] == [run_name(run) for run in range(1, count + 1)]


def test_the_first_manifest_that_is_wrong_ends_it_before_another_is_read() -> None:
    def runs() -> Iterator[tuple[str, bytes]]:
        yield run_name(1), bytes(1000)
        raise AssertionError("the second was read")

    with pytest.raises(ManifestError, match="not readable"):
        read_chain(runs())


def test_the_order_is_that_of_the_numbers_not_of_the_names(tmp_path: Path) -> None:
    (tmp_path / "_penstock/runs").mkdir(parents=True)
    for run in (1_000_000, 999_999, 2):
        (tmp_path / run_name(run)).write_bytes(manifest(place(run, "0" * 64)).to_bytes())
    assert [name for name, _ in DirectoryDestination(tmp_path).lineage().runs()] == list(
        map(run_name, (2, 999_999, 1_000_000))
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved(after=9), "overlap"),
        (moved(after=11), "gap"),
        (moved(after=6, broken=Break(cursor=11, why="")), "gap"),
        (moved(after=6, broken=Break(cursor=9, why="")), "overlap"),
        (moved(after=7, broken=Break(cursor=10, why="")), "begins at 7"),
        (moved(reached=21), "how far"),
        (moved(previous="1" * 64), "does not follow"),
        (moved(store="penstock:b"), "another store"),
        (moved(run=3), "not the manifest of run 2"),
        (lambda one: replace(one, lineage=None, shape=Shape.DIRECTORY), "not the manifest of run 2"),
        (lambda one: replace(one, filter={"limit": 1}), "another filter"),
        (lambda one: replace(one, format=ExportFormat.JSON), "another format"),
        (lambda one: replace(one, codec="gzip"), "another compression"),
        (lambda one: replace(one, options={"x": 1}), "another options"),
        (lambda one: replace(one, dataset=EVENTS.select(["id"])), "another dataset"),
    ],
)
def test_a_run_that_does_not_follow_is_refused(change: Change, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        read_chain(chain(3, {2: change}))


@pytest.mark.parametrize("after", [10, 9, 6, 5, 0, -8])
def test_a_run_may_begin_at_a_row_that_the_one_before_names_or_below_them_all(after: int) -> None:
    broken = moved(after=after, broken=Break(cursor=10, why=""))
    assert [link.lineage.after for link in read_chain(chain(2, {2: broken}))] == [0, after]


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_gap_is_named(missing: int) -> None:
    with pytest.raises(ManifestError, match=f"{run_name(missing)} is missing"):
        read_chain([one for one in chain(4) if one[0] != run_name(missing)])


def test_the_first_run_follows_none() -> None:
    found = chain(2)
    with pytest.raises(ManifestError):
        read_chain([(run_name(1), found[1][1])])


def test_the_digest_of_a_text_is_its_own() -> None:
    text = manifest(place(1, None)).to_bytes()
    assert len(own_digest(text)) == 64
    assert text.endswith(f'"manifest_sha256": "{own_digest(text)}"\n}}\n'.encode())


def test_what_two_runs_do_not_share_is_named() -> None:
    one = manifest(None)
    assert pinned_differences(one, one) == []
    other = replace(one, filter={"limit": 1}, level=3)
    assert [name for name, _, _ in pinned_differences(one, other)] == ["filter", "compression"]


def test_manifests_that_say_what_cannot_be_are_found() -> None:
    entry = PartEntry(
        name="data/run-000001-part-00000-1-2-00000000.ndjson",
        rows=1,
        bytes=1,
        sha256="0" * 64,
        content_bytes=1,
        content_sha256="0" * 64,
        rows_digest="0" * 31 + "1",
        seq_range=Span(first=1, last=2),
    )
    wrong: Change = lambda one: replace(one, parts=(entry,), rows=1, seq_range=entry.seq_range)  # noqa: E731
    found = [problem.message for problem in contradictions(read_chain(chain(2, {1: wrong, 2: wrong})))]
    assert sum("two runs name" in text for text in found) == 1
    assert sum("outside the run's stretch" in text for text in found) == 1
    assert sum("rows digest" in text for text in found) == 2
    assert sum("checksum" in text for text in found) == 2
