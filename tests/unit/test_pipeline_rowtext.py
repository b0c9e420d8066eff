"""How typed values are spelled, held to Python's own text of them; and that they come back."""

from __future__ import annotations

import base64
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import StorageError
from penstock.model.dataset import Dataset, instants, json_field
from penstock.pipeline.binding import Binding
from penstock.pipeline.rowtext import RowText, check_values

MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
WIDE = Context(prec=80)
DECIMALS: list[tuple[pa.DataType, int]] = [
    (pa.decimal128(38, 10), 10),
    (pa.decimal128(38, 38), 38),
    (pa.decimal128(3, 0), 0),
    (pa.decimal256(76, 70), 70),
    (pa.decimal256(76, 0), 0),
]


def _one(type: pa.DataType) -> RowText:
    schema = pa.schema([pa.field("x", type)])
    return RowText(Dataset("one", schema, own=("x",)))


def _there_and_back(type: pa.DataType, values: list[Any]) -> list[Any]:
    """The texts of the values, once they came back the same, whole and as a slice."""
    text_of = _one(type)
    batch = pa.record_batch([pa.array(values, type)], schema=text_of.schema)
    spelled = text_of.spelled(batch)
    assert text_of.typed(spelled.columns).equals(batch)
    some = batch.slice(1, 3)
    assert text_of.spelled(some).column(0).to_pylist() == spelled.column(0).to_pylist()[1:4]
    return list(spelled.column(0).to_pylist())


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_float_is_the_shortest_text_that_reads_back_the_same(values: list[float | None]) -> None:
    texts = _there_and_back(pa.float64(), values)
    for text, value in zip(texts, values, strict=True):
        if value is None or text is None:
            assert text is value is None
            continue
        assert math.copysign(1, float(text)) == math.copysign(1, value)
        assert float(text) == value
        assert len(text.replace("e+", "e")) <= len(repr(value)) + 4
        assert Decimal(text) == Decimal(repr(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (-0.0, "-0"), (0.1, "0.1"), (1e300, "1e+300"), (5e-324, "5e-324"), (1e15, "1e+15"), (1e-7, "1e-7")],
)
def test_floats_are_spelled_as_the_format_says(value: float, text: str) -> None:
    assert _there_and_back(pa.float64(), [value]) == [text]


@pytest.mark.parametrize(("type", "scale"), DECIMALS)
@given(data=st.data())
def test_a_decimal_keeps_its_digits_and_never_has_an_exponent(
    type: pa.DataType, scale: int, data: st.DataObject
) -> None:
    most = 10**type.precision - 1
    whole = data.draw(st.lists(st.none() | st.integers(-most, most) | st.integers(-5, 5)))
    values = [None if one is None else Decimal(one).scaleb(-scale, WIDE) for one in whole]
    texts = _there_and_back(type, values)
    for text, one in zip(texts, whole, strict=True):
        if one is None:
            assert text is None
            continue
        digits = f"{abs(one):0{scale + 1}d}"
        assert text == ("-" if one < 0 else "") + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


@given(st.lists(st.none() | st.dates()))
def test_a_date_is_as_iso_8601_has_it(values: list[date | None]) -> None:
    assert _there_and_back(pa.date32(), values) == [None if one is None else one.isoformat() for one in values]


@given(st.lists(st.none() | MOMENTS))
def test_a_time_without_a_zone_has_no_letter_behind_it(values: list[datetime | None]) -> None:
    wanted = [None if one is None else one.isoformat(timespec="microseconds") for one in values]
    assert _there_and_back(pa.timestamp("us"), values) == wanted


@given(st.lists(st.none() | st.binary()))
def test_binary_is_base64_with_padding(values: list[bytes | None]) -> None:
    wanted = [None if one is None else base64.b64encode(one).decode() for one in values]
    assert _there_and_back(pa.binary(), values) == wanted


@given(st.lists(st.none() | st.booleans()))
def test_booleans_are_true_and_false(values: list[bool | None]) -> None:
    assert _there_and_back(pa.bool_(), values) == [None if one is None else str(one).lower() for one in values]


def test_text_json_integers_and_utc_times_pass_through_in_place() -> None:
    schema = pa.schema(
        [
            pa.field("t", pa.string()),
            json_field("j"),
            pa.field("n", pa.int64()),
            pa.field("at", pa.timestamp("us", "UTC")),
        ]
    )
    text_of = RowText(Dataset("some", schema, own=("t",)))
    batch = pa.RecordBatch.from_pylist([{"t": "a", "j": "{}", "n": 1, "at": datetime.now(UTC)}], schema)
    assert [column.kind for column in text_of.spelling.columns] == ["text", "verbatim", "int64", "time"]
    assert text_of.spelled(batch) is batch
    more = RowText(Dataset("more", schema.append(pa.field("b", pa.bool_())), own=())).spelling.columns[4]
    assert (more.kind, more.own) == ("verbatim", False)


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (pa.binary(), "abc"),
        (pa.binary(), "a\nbc="),
        (pa.binary(), "ab==cd"),
        (pa.binary(), "é"),
        (pa.date32(), "2026-02-30"),
        (pa.date32(), "10000-01-01"),
        (pa.timestamp("us"), "2026-01-01T00:00:00.000000Z"),
        (pa.timestamp("us"), "2026-01-01T25:00:00.000000"),
        (pa.bool_(), "yes"),
        (pa.float64(), "1,5"),
        (pa.decimal128(4, 2), "123.45"),
        (pa.decimal128(4, 2), "1.234"),
        (pa.decimal128(4, 2), "x"),
    ],
)
def test_a_text_that_is_no_value_is_refused(type: pa.DataType, text: str) -> None:
    with pytest.raises(pa.ArrowInvalid, match="x: "):
        _one(type).typed([pa.array([text])])


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (pa.binary(), "YQ"),
        (pa.binary(), "YR=="),
        (pa.date32(), "2026-1-1"),
        (pa.timestamp("us"), "2026-01-01 00:00:00"),
        (pa.bool_(), "1"),
        (pa.bool_(), "True"),
        (pa.float64(), "1.0"),
        (pa.float64(), "1e0"),
        (pa.float64(), "nan"),
        (pa.decimal128(4, 2), "1.5"),
        (pa.decimal128(4, 2), "1E1"),
        (pa.decimal128(4, 2), "-0.00"),
    ],
)
def test_another_spelling_of_a_value_is_refused_or_spelled_anew(type: pa.DataType, text: str) -> None:
    text_of = _one(type)
    try:
        again = text_of.spelled(text_of.typed([pa.array([text])])).column(0).to_pylist()
    except pa.ArrowInvalid:
        return
    assert again != [text]


def test_a_null_where_none_may_be_is_refused() -> None:
    schema = pa.schema([pa.field("x", pa.bool_(), nullable=False)])
    with pytest.raises(pa.ArrowInvalid, match="x: it is null"):
        RowText(Dataset("one", schema, own=("x",))).typed([pa.array([None], pa.string())])


BEYOND: list[pa.Array] = [
    pa.array([1.5, math.nan]),
    pa.array([-math.inf]),
    pa.array([2**62], pa.timestamp("us")),
    pa.array([-(2**62)], pa.timestamp("us", "UTC")),
    pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
]


@pytest.mark.parametrize("values", BEYOND)
def test_a_value_that_no_text_can_spell_is_refused_in_a_columnar_file_too(values: pa.Array) -> None:
    with pytest.raises(pa.ArrowInvalid):
        check_values(pa.record_batch([values], names=["x"]))
    text_of = _one(values.type)
    batch = pa.record_batch([values], schema=text_of.schema)
    if text_of.spelling.columns[0].kind != "time":
        with pytest.raises(pa.ArrowInvalid):
            text_of.spelled(batch)


def test_a_json_null_is_refused_in_a_columnar_file() -> None:
    schema = pa.schema([json_field("x")])
    check_values(pa.record_batch([pa.array(["[null]", None])], schema=schema))
    with pytest.raises(pa.ArrowInvalid, match="x: null"):
        check_values(pa.record_batch([pa.array(["null"])], schema=schema))


def test_instants_are_microseconds_since_1970() -> None:
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    for type in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        assert instants(pa.array([micros, None], pa.int64()).cast(type)).to_pylist() == [micros, None]
    assert instants(pa.array([date(2026, 11, 24)])).to_pylist() == [micros - 12 * 3_600_000_000]


def _bound(values: pa.Array, *, json: bool = False) -> tuple[list[Any], dict[str, int]]:
    batch = pa.record_batch([values], names=["x"])
    binding = Binding(batch.schema, json=["x"] if json else [])
    found, counts = binding.apply(batch)
    assert found.schema.equals(binding.schema, check_metadata=True)
    found.validate(full=True)
    check_values(found)
    return found.column(0).to_pylist(), dict(counts)


def test_what_a_source_gives_is_cast_and_what_changed_is_counted() -> None:
    assert _bound(pa.array([1, None], pa.uint8())) == ([1, None], {})
    assert _bound(pa.array([2**64 - 1, None], pa.uint64())) == ([Decimal(2**64 - 1), None], {})
    assert _bound(pa.array([0.5, math.nan, None, math.inf, -math.inf], pa.float32())) == (
        [0.5, None, None, None, None],
        {"coerced_not_finite": 3},
    )
    assert _bound(pa.array(["a", None, "a"]).dictionary_encode()) == (["a", None, "a"], {})
    assert _bound(pa.array([b"ab"], pa.binary(2))) == ([b"ab"], {})
    assert _bound(pa.array([None], pa.null())) == ([None], {})
    assert _bound(pa.array([Decimal("1500")], pa.decimal128(5, -2))) == ([Decimal("1500")], {})
    assert _bound(pa.array([Decimal("1.50")], pa.decimal256(5, 2))) == ([Decimal("1.50")], {})


def test_times_of_every_unit_become_microseconds() -> None:
    at = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    for unit, value in (("s", -1), ("ms", -1000), ("us", -1_000_000), ("ns", -1_000_000_000)):
        assert _bound(pa.array([value, None], pa.timestamp(unit, "Asia/Tokyo"))) == ([at, None], {})
        assert _bound(pa.array([value], pa.timestamp(unit))) == ([at.replace(tzinfo=None)], {})
    below = datetime(1969, 12, 31, 23, 59, 59, 999999)
    assert _bound(pa.array([-1], pa.timestamp("ns"))) == ([below], {"coerced_nanoseconds": 1})
    assert _bound(pa.array([1], pa.timestamp("ns"))) == ([datetime(1970, 1, 1)], {"coerced_nanoseconds": 1})
    first, last = -62_135_596_800, 253_402_300_799
    seconds = pa.array([first - 1, first, last, last + 1, None, 2**62, -(2**62)], pa.timestamp("s"))
    found, counts = _bound(seconds)
    assert found == [None, datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), None, None, None, None]
    assert counts == {"coerced_out_of_range": 4}
    days = pa.array([-719_163, -719_162, 2_932_896, 2_932_897], pa.int32()).cast(pa.date32())
    assert _bound(days) == ([None, date(1, 1, 1), date(9999, 12, 31), None], {"coerced_out_of_range": 2})


def test_json_loses_its_spaces_and_a_json_null_is_null() -> None:
    texts = [' { "a b" : [1.50, "\\u0000"] } ', "null", " null ", None, '"null"', "1e400"]
    wanted = ['{"a b":[1.50,"\\u0000"]}', None, None, None, '"null"', "1e400"]
    for type in (pa.string(), pa.large_string()):
        assert _bound(pa.array(texts, type), json=True) == (wanted, {"coerced_json_null": 2})
    marked = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(texts))
    assert _bound(marked) == (wanted, {"coerced_json_null": 2})


@pytest.mark.parametrize("text", ["{", "NaN", "", "{} {}", "'a'", '{"a":"\\ud800"}', "[" * 501 + "]" * 501])
def test_text_that_is_no_json_is_refused_by_its_column(text: str) -> None:
    with pytest.raises(StorageError, match="column 'x'"):
        _bound(pa.array([text]), json=True)


def test_text_that_is_not_utf8_is_refused() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    with pytest.raises(StorageError, match="column 'x'"):
        _bound(broken)
