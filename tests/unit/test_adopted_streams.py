"""What comes by once, a view or a query: slices in which every row lies once, whether rows have a number or are given
one, and no number twice, wherever a slice ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adopted_tables import NEEDED, TIME, build
from penstock import AdoptedTable, ExportFilter, StorageConfig
from penstock.errors import InvalidMapping
from penstock.ports.source import Slice, View

ROWS = 40
#: Numbers with gaps, some below zero, and every third row no event.
SCRIPT = (
    "CREATE TABLE hits (n INTEGER, at, name, x)",
    f"""WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {ROWS})
        INSERT INTO hits SELECT i * 3 - 30, iif(i % 3, {TIME} + i, 'never'), 'click', printf('%.*c', i, 'x') FROM c""",
    "CREATE VIEW seen AS SELECT * FROM hits",
)
QUERY = "SELECT * FROM hits"
KINDS = {
    "numbered": StorageConfig(query=QUERY, key=("n",)),
    "numbered view": StorageConfig(table="seen", key=("n",)),
    "numbered events": StorageConfig(query=QUERY, mapping={**NEEDED, "seq": "n"}),
    "events": StorageConfig(query=QUERY, mapping=NEEDED),
    "as it comes": StorageConfig(query=QUERY),
}
NUMBERED = [name for name in KINDS if name.startswith("numbered")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return build(tmp_path / "app.db", *SCRIPT)


def wanted(kind: str) -> list[int]:
    """The number of each row that comes out: its own, or as the how manieth it comes."""
    return [i * 3 - 30 if kind in NUMBERED else i for i in range(1, ROWS + 1) if "events" not in kind or i % 3]


def read(
    kind: str, view: View, filter: ExportFilter, *, rows: int, size: int = 1 << 20, after: int | None = None
) -> Iterator[tuple[Slice, list[int]]]:
    """Each slice as it is planned, with the numbers of its rows."""
    for span in view.plan(filter, max_rows=rows, max_bytes=size, after=after):
        found = [row.get("seq", row.get("n")) for batch in view.read(span, filter) for row in batch.to_pylist()]
        yield span, [number // 3 + 10 for number in found] if kind == "as it comes" else found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limits", [(1, 1 << 20), (7, 1 << 20), (100, 1 << 20), (100, 400)])
def test_slices_follow_each_other_and_hold_the_rows_of_their_span(
    path: Path, kind: str, limits: tuple[int, int]
) -> None:
    with AdoptedTable(path, KINDS[kind]) as source, source.pin() as view:
        found = list(read(kind, view, ExportFilter(), rows=limits[0], size=limits[1]))
    assert [number for _, numbers in found for number in numbers] == wanted(kind)
    assert sum(span.rows for span, _ in found) == ROWS
    assert len(found) > 1 or limits == (100, 1 << 20)
    reached = found[0][0].after
    for span, numbers in found:
        assert (span.after, span.rows <= limits[0]) == (reached, True)
        assert all(span.after < number <= span.upto for number in numbers)
        reached = span.upto
    assert reached == (ROWS * 3 - 30 if kind in NUMBERED else ROWS)


@pytest.mark.parametrize("kind", NUMBERED)
def test_a_plan_goes_on_behind_a_number(path: Path, kind: str) -> None:
    with AdoptedTable(path, KINDS[kind]) as source, source.pin() as view:
        for after in (-100, -28, -27, 0, 31, 33, 89, 90, 500):
            found = list(read(kind, view, ExportFilter(), rows=7, after=after))
            assert [number for _, numbers in found for number in numbers] == [n for n in wanted(kind) if n > after]
            assert [span.after for span, _ in found][:1] == ([after] if after < 90 else [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_is_one_of_all_slices_together(path: Path, kind: str) -> None:
    for limit in (0, 1, 7, 8, 20, 1000):
        with AdoptedTable(path, KINDS[kind]) as source, source.pin() as view:
            found = list(read(kind, view, ExportFilter(limit=limit), rows=4))
        assert sum(len(numbers) for _, numbers in found) == min(limit, len(wanted(kind)))
        seen = sum(span.rows for span, _ in found)
        near = limit * 3 // (2 if "events" in kind else 3) + 4
        assert seen <= (near if limit else 0), "what lies behind the limit is not read"


@pytest.mark.parametrize("kind", NUMBERED)
@pytest.mark.parametrize("rows", [1, 2, 4, 5, 100])
def test_a_number_that_comes_twice_is_refused_wherever_a_slice_ends(path: Path, kind: str, rows: int) -> None:
    build(path, "INSERT INTO hits SELECT n, at, name, x FROM hits WHERE n = 12")
    with (
        AdoptedTable(path, KINDS[kind]) as source,
        source.pin() as view,
        pytest.raises(InvalidMapping, match="'n' holds 12 twice"),
    ):
        list(view.plan(ExportFilter(), max_rows=rows, max_bytes=1 << 20))
