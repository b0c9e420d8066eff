"""What every table destination promises, as checks that any database's tests run: ``check(place)`` for each of
:data:`CHECKS`.

Each check wants an empty database of its own, and fails with ``AssertionError``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeAlias

import pyarrow as pa

from penstock.errors import ExportError, Locked, NotFound, UsageError
from penstock.model.dataset import Dataset, json_field
from penstock.ports.table import PartRows, TableDestination
from penstock.testing.backend_place import refused

_MANIFEST = b'{"said": "\xc3\xa9"}'
SCHEMA = pa.schema(
    [
        pa.field("k", pa.int64()),
        pa.field("flag", pa.bool_()),
        pa.field("size", pa.float64()),
        pa.field("price", pa.decimal128(38, 10)),
        pa.field("wide", pa.decimal256(60, 2)),
        pa.field("name", pa.string()),
        json_field("facts"),
        pa.field("raw", pa.binary()),
        pa.field("day", pa.date32()),
        pa.field("at", pa.timestamp("us", "UTC")),
        pa.field("there", pa.timestamp("us")),
    ]
)
#: A column of each type.
DATASET = Dataset(name="rows", schema=SCHEMA, own=tuple(SCHEMA.names))
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)
_ROWS = [
    [0, None, None, None, None, None, None, None, None, None, None],
    [
        -(1 << 63),
        False,
        5e-324,
        Decimal("-0.0000000001"),
        Decimal("-1.01"),
        "",
        '{"a":1e999,"a":[1.0,"\\ud800"]}',
        b"",
        date(1, 1, 1),
        _FIRST.replace(tzinfo=UTC),
        _FIRST,
    ],
    [
        (1 << 63) - 1,
        True,
        -1.7976931348623157e308,
        Decimal("9" * 28 + "." + "9" * 10),
        Decimal("9" * 58 + ".99"),
        "a'b\"c\\d\r\n\t, \u00e9\U0001f600\u202e",
        "12345678901234567890.50",
        bytes(range(256)),
        date(9999, 12, 31),
        _LAST.replace(tzinfo=UTC),
        _LAST,
    ],
]


def sample() -> pa.RecordBatch:
    """Rows of :data:`DATASET`: nulls, and the ends of each type."""
    columns = [
        pa.array(list(values), field.type) for values, field in zip(zip(*_ROWS, strict=True), SCHEMA, strict=True)
    ]
    return pa.record_batch(columns, schema=SCHEMA)


@dataclass(frozen=True, slots=True)
class Place:
    """A database that is empty at first: ``open`` gives a new handle on a table of it."""

    open: Callable[[str | None], TableDestination]


Check: TypeAlias = Callable[[Place], None]


def load(table: TableDestination, run: int, batch: pa.RecordBatch, *, dataset: Dataset = DATASET) -> PartRows:
    """Load a batch as the one part of a run."""
    part = PartRows(name=f"data/part-{run}", run=run, first=0, rows=batch.num_rows, bytes=100)
    loading = table.begin()
    try:
        loading.prepare(dataset)
        loading.write(run, 0, batch)
        loading.commit(run, _MANIFEST, [part])
    finally:
        loading.abort()
    return part


def rows_of(table: TableDestination, part: PartRows, dataset: Dataset = DATASET) -> pa.Table:
    """All rows of a part."""
    return pa.Table.from_batches(list(table.read(part, dataset)), dataset.schema)


def _refused(call: Callable[[], object], kind: type[ExportError], *words: str) -> None:
    said = "nothing"
    try:
        call()
    except kind as error:
        said = str(error) if error.hint else f"no hint with {error}"
    assert all(word in said for word in words), said


def nothing_is_there_at_first(place: Place) -> None:
    table = place.open("rows")
    assert not table.runs()
    assert not table.parts()
    assert not table.rolls()
    assert table.manifest(1) is None
    assert table.count() == 0
    _refused(lambda: place.open(None).name, NotFound, "no export")


def what_is_committed_is_there(place: Place) -> None:
    part = load(place.open("rows"), 1, sample())
    table = place.open("rows")
    assert table.runs() == {1: len(_MANIFEST)}
    assert table.manifest(1) == _MANIFEST
    assert table.parts() == [part]
    assert table.count() == table.count(part) == len(_ROWS)
    assert place.open(None).name == "rows"
    assert rows_of(table, part).equals(pa.Table.from_batches([sample()])), rows_of(table, part).to_pylist()


def what_is_not_committed_is_not(place: Place) -> None:
    table = place.open("rows")
    loading = table.begin()
    loading.prepare(DATASET)
    loading.write(1, 0, sample())
    loading.keep(1, 0, b"roll")
    assert table.count() == len(_ROWS), "its own process sees what it loads"
    loading.abort()
    loading.abort()
    nothing_is_there_at_first(place)
    load(table, 1, sample())
    assert table.count() == len(_ROWS)


def one_load_is_open_at_a_time(place: Place) -> None:
    first, second = place.open("rows"), place.open("rows")
    loading = first.begin()
    try:
        loading.prepare(DATASET)
        loading.write(1, 0, sample())
        with refused(Locked):
            second.begin()
        loading.commit(1, _MANIFEST, [])
    finally:
        loading.abort()
    assert place.open("rows").count() == len(_ROWS)


def runs_lie_side_by_side(place: Place) -> None:
    table = place.open("rows")
    parts = [load(table, run, sample().slice(run)) for run in (1, 2)]
    assert list(table.runs()) == [1, 2]
    assert table.parts() == parts
    assert rows_of(table, parts[1])["k"].to_pylist() == [(1 << 63) - 1]
    assert place.open("others").count() == 0
    load(place.open("others"), 1, sample())
    assert table.count() == 3


def a_run_is_taken_away_and_made_again_in_one(place: Place) -> None:
    table = place.open("rows")
    load(table, 0, sample())
    load(place.open("others"), 0, sample())
    loading = table.begin()
    loading.prepare(DATASET)
    loading.remove(0)
    loading.write(0, 0, sample().slice(2))
    loading.commit(0, b"again", [PartRows(name="data/p", run=0, first=0, rows=1, bytes=1)])
    assert table.count() == 1
    assert table.manifest(0) == b"again"
    assert [part.name for part in table.parts()] == ["data/p"]
    loading = table.begin()
    loading.remove(0)
    loading.abort()
    assert table.count() == 1
    assert place.open("others").count() == len(_ROWS)


def rolls_are_kept(place: Place) -> None:
    table = place.open("rows")
    loading = table.begin()
    loading.prepare(DATASET)
    for piece, data in enumerate((b"\0" * 100, bytes(range(256)))):
        loading.keep(1, piece, data)
    loading.commit(1, _MANIFEST, [])
    assert place.open("rows").rolls() == {1: 356}
    assert b"".join(place.open("rows").roll(1)) == b"\0" * 100 + bytes(range(256))


def many_rows_are_read_in_order(place: Place) -> None:
    count = 150_000
    schema = pa.schema([("n", pa.int64())])
    dataset = Dataset(name="rows", schema=schema, own=("n",))
    table = place.open("rows")
    loading = table.begin()
    loading.prepare(dataset)
    numbers = pa.array([number * 7919 % count for number in range(count)], pa.int64())
    for first in range(0, count, 40_000):
        loading.write(1, first, pa.record_batch([numbers.slice(first, 40_000)], schema=schema))
    part = PartRows(name="data/p", run=1, first=100, rows=count - 200, bytes=count)
    loading.commit(1, _MANIFEST, [part])
    assert table.count(part) == count - 200
    assert rows_of(table, part, dataset)["n"].combine_chunks().equals(numbers.slice(100, count - 200))


def columns_are_added(place: Place) -> None:
    few = DATASET.select(["k", "name"])
    table = place.open("rows")
    first = load(table, 1, sample().select(["k", "name"]), dataset=few)
    second = load(table, 2, sample())
    assert rows_of(table, first, few).to_pylist() == sample().select(["k", "name"]).to_pylist()
    assert rows_of(table, second).to_pylist() == sample().to_pylist()


def other_columns_are_refused(place: Place) -> None:
    table = place.open("rows")
    load(table, 1, sample())
    few = DATASET.select(["k", "name"])
    _refused(lambda: load(table, 2, sample().select(["k", "name"]), dataset=few), UsageError, "flag")
    schema = pa.schema([pa.field("k", pa.string()), *list(SCHEMA)[1:]])
    other = Dataset(name="rows", schema=schema, own=tuple(schema.names))
    _refused(lambda: load(table, 2, sample(), dataset=other), UsageError, "k", "has the type")
    assert list(table.runs()) == [1]
    assert table.count() == len(_ROWS)


def names_of_its_own_are_refused(place: Place) -> None:
    schema = pa.schema([("_penstock_run", pa.int64())])
    dataset = Dataset(name="rows", schema=schema, own=("_penstock_run",))
    table = place.open("rows")
    _refused(
        lambda: load(table, 1, pa.record_batch([[1]], schema=schema), dataset=dataset), UsageError, "_penstock_run"
    )
    nothing_is_there_at_first(place)


CHECKS: Sequence[Check] = (
    nothing_is_there_at_first,
    what_is_committed_is_there,
    what_is_not_committed_is_not,
    one_load_is_open_at_a_time,
    runs_lie_side_by_side,
    a_run_is_taken_away_and_made_again_in_one,
    rolls_are_kept,
    many_rows_are_read_in_order,
    columns_are_added,
    other_columns_are_refused,
    names_of_its_own_are_refused,
)
