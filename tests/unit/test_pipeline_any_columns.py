"""Rows of any columns, given as data: their lines, CSV and digest against plain ones, and the way back."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_intdigest

import naive_format
from penstock.model.columns import EVENT_SPELLING
from penstock.model.spelling import Kind, Spelled, Spelling
from penstock.model.times import MAX_MICROS, MIN_MICROS
from penstock.pipeline.canonical import NotCanonical, parse_lines, render_csv, render_lines, rows_digest


def cents(number: int) -> float:
    return number / 100


NAMES = st.text(max_size=12) | st.sampled_from(['"', "\\", "a,b", "\n", "\0", "é", "own", "", "id"])
MOMENT = pa.timestamp("us", "UTC")
VALUES: dict[Kind, tuple[pa.DataType, st.SearchStrategy[object]]] = {
    Kind.TEXT: (pa.string(), st.text(max_size=20)),
    Kind.VERBATIM: (pa.string(), st.sampled_from(["0", "-1.5e+9", "true", '"é\\n"', '{"a":[1,{}]}', "[]", '""'])),
    Kind.INT64: (pa.int64(), st.integers(-(1 << 63), (1 << 63) - 1)),
    Kind.TIME: (MOMENT, st.integers(MIN_MICROS, MAX_MICROS)),
    Kind.NULL: (pa.null(), st.none()),
    Kind.REAL: (
        pa.float64(),
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12).map(cents),
    ),
}


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Spelling, pa.RecordBatch]:
    """Any columns, and some rows of them that are a slice of more."""
    columns, arrays = [], []
    rows = draw(st.integers(0, 12))
    for name in draw(st.lists(NAMES, min_size=1, max_size=14, unique=True)):
        kind, nullable = draw(st.sampled_from(list(Kind))), draw(st.booleans())
        type, values = VALUES[kind]
        if nullable:
            values |= st.none()
        columns.append(Spelled(name, kind, own=draw(st.booleans()), nullable=nullable or kind is Kind.NULL))
        arrays.append(pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), type))
    spelling = Spelling(tuple(columns))
    first = draw(st.integers(0, rows))
    return spelling, pa.record_batch(arrays, schema=spelling.schema).slice(first, draw(st.integers(0, rows - first)))


def _with_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with Arrow's own text in place of reals."""
    columns = [column.cast(pa.string()) if pa.types.is_floating(column.type) else column for column in batch.columns]
    fields = [
        pa.field(field.name, column.type, field.nullable) for field, column in zip(batch.schema, columns, strict=True)
    ]
    return pa.record_batch(columns, schema=pa.schema(fields))


def as_read(spelling: Spelling) -> Spelling:
    """The columns as they are asked for by who reads: reals as text."""
    kinds = [Kind.VERBATIM if column.kind is Kind.REAL else column.kind for column in spelling.columns]
    return Spelling(tuple(replace(column, kind=kind) for column, kind in zip(spelling.columns, kinds, strict=True)))


def json_string(text: str) -> str:
    return naive_format.member("", text)[3:]


def plain_values(spelling: Spelling, batch: pa.RecordBatch) -> list[list[str | None]]:
    """What each value is spelled as in CSV, but for the quotes of fields."""
    rows = []
    for row in _with_texts(batch).to_pylist():
        values = [
            None
            if row[column.name] is None
            else naive_format.spelled(row[column.name])
            if column.kind is Kind.TIME
            else str(row[column.name])
            for column in spelling.columns
        ]
        rows.append(values)
    return rows


def plain_lines(spelling: Spelling, batch: pa.RecordBatch) -> tuple[bytes, int]:
    """The same lines and sum, written member by member."""
    lines, total = [], 0
    for values in plain_values(spelling, batch):
        members, own = [], []
        for column, value in zip(spelling.columns, values, strict=True):
            quoted = column.kind in (Kind.TEXT, Kind.TIME)
            text = "null" if value is None else json_string(value) if quoted else value
            members.append(f"{json_string(column.name)}:{text}")
            own += members[-1:] if column.own else []
        lines.append("{" + ",".join(members) + "}\n")
        total += xxh3_128_intdigest(("{" + ",".join(own)).encode())
    return "".join(lines).encode(), total % (1 << 128)


@given(datasets())
def test_rows_of_any_columns_are_spelled_and_summed_as_plainly_and_come_back(
    dataset: tuple[Spelling, pa.RecordBatch],
) -> None:
    spelling, batch = dataset
    text, total = plain_lines(spelling, batch)
    rendered = render_lines(batch, spelling)
    assert bytes(rendered.text) == text
    assert rendered.digest == render_csv(batch, spelling, null="").digest == rows_digest(batch, spelling) == total
    assert parse_lines(text, as_read(spelling)).batch.equals(_with_texts(batch), check_metadata=True)
    if as_read(spelling) != spelling:
        with pytest.raises(NotCanonical, match="no columns"):
            parse_lines(text, spelling)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_real_that_is_not_finite_is_refused_unless_it_is_null(value: float) -> None:
    spelling = Spelling((Spelled("x", Kind.REAL),))
    batch = pa.record_batch([pa.array([1.5, value])], schema=spelling.schema)
    for refuse in (render_lines, rows_digest):
        with pytest.raises(pa.ArrowInvalid, match="not finite"):
            refuse(batch, spelling)
    validity = pa.array([True, False]).buffers()[1]
    hidden = pa.Array.from_buffers(pa.float64(), 2, [validity, batch["x"].buffers()[1]])
    assert (
        bytes(render_lines(pa.record_batch([hidden], schema=spelling.schema), spelling).text)
        == b'{"x":1.5}\n{"x":null}\n'
    )


@given(datasets(), st.sampled_from(["", "null", "0", "\\N"]))
def test_csv_of_any_columns_is_read_by_others_as_the_values_it_was(
    dataset: tuple[Spelling, pa.RecordBatch], null: str
) -> None:
    spelling, batch = dataset
    values = plain_values(spelling, batch)
    text = bytes(render_csv(batch, spelling, null=null).text).decode()
    read = list(csv.reader(io.StringIO(text, newline=""), lineterminator="\n"))
    shown = [[null if value is None else value for value in row] for row in values]
    if len(spelling.columns) == 1:  # a null alone on a line is a line of nothing, which a reader may drop
        read, shown = [row for row in read if any(row)], [row for row in shown if any(row)]
    assert read == shown


def test_two_thousand_columns_are_rendered_and_more_are_refused() -> None:
    kinds = [Kind.INT64, Kind.TEXT, Kind.VERBATIM, Kind.TIME, Kind.NULL]
    for count in (2000, 2001):
        spelling = Spelling(tuple(Spelled(f"column {at}", kinds[at % 5], own=at % 3 > 0) for at in range(count)))
        values = {Kind.INT64: [-7], Kind.TEXT: ["é\n"], Kind.VERBATIM: ['{"a":1}'], Kind.TIME: [1], Kind.NULL: [None]}
        arrays = [pa.array(values[each.kind], spelling.schema.field(each.name).type) for each in spelling.columns]
        batch = pa.record_batch(arrays, schema=spelling.schema)
        if count == 2000:
            assert parse_lines(bytes(render_lines(batch, spelling).text), spelling).batch.equals(batch)
            assert (bytes(render_lines(batch, spelling).text), rows_digest(batch, spelling)) == plain_lines(
                spelling, batch
            )
        else:
            with pytest.raises(ValueError, match="not its columns"):
                render_lines(batch, spelling)
            with pytest.raises(NotCanonical):
                parse_lines(b"{}\n", spelling)


@pytest.mark.parametrize("micros", [MIN_MICROS - 1, MAX_MICROS + 1, -(1 << 63), (1 << 63) - 1])
def test_times_without_a_year_of_four_digits_are_refused_unless_they_are_null(micros: int) -> None:
    spelling = EVENT_SPELLING.select(["timestamp"])
    numbers = pa.array([0, micros], pa.int64())
    for valid in (3, 1):
        buffers = [pa.py_buffer(bytes([valid])), numbers.buffers()[1]]
        batch = pa.record_batch([pa.Array.from_buffers(MOMENT, 2, buffers)], names=["timestamp"])
        if valid == 3:
            with pytest.raises(ValueError, match="outside the years"):
                render_lines(batch, spelling)
        else:
            assert bytes(render_lines(batch, spelling).text).endswith(b'\n{"timestamp":null}\n')
