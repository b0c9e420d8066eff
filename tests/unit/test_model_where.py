"""The grammar of conditions: what is read as what, what is refused with which words, and that nothing overwhelms it."""

from __future__ import annotations

import random
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import ExportFilter
from penstock.errors import InvalidFilter
from penstock.model.checking import check
from penstock.model.columns import EVENTS
from penstock.model.condition import LEAST, MOST, columns, span
from penstock.model.dataset import Dataset
from penstock.model.expression import Expression, text_of
from penstock.model.where import parse
from penstock.pipeline.matching import truth

NUMBERS = Dataset(
    "numbers", pa.schema([("a", pa.int64()), ("b", pa.int64()), ("x", pa.float64())]), own=("a", "b", "x")
)
ROW = pa.record_batch([pa.array([7]), pa.array([-2]), pa.array([0.5])], schema=NUMBERS.schema)


def holds(text: str) -> bool | None:
    found: list[bool | None] = truth(ROW, check(parse(text), NUMBERS)).to_pylist()
    return found[0]


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("a=1", "a = 1"),
        ("A == 1 AND b<>2 Or not c", "A = 1 and b != 2 or not c"),
        ("(a or b) and c", "(a or b) and c"),
        ("a or (b or c)", "a or b or c"),
        ("not (a = 1)", "not a = 1"),
        ("(not a) = b", "(not a) = b"),
        ("not a and b", "not a and b"),
        ("not (a and b) or c", "not (a and b) or c"),
        ("a - (b - 1) - 2", "a - (b - 1) - 2"),
        ("a + b * 2 % 3 > -a", "a + b * 2 % 3 > 0 - a"),
        ("-5 < - 5.5e1", "-5 < -55"),
        ("a between 1 and 2 and b", "a >= 1 and a <= 2 and b"),
        ("a not between 1 and 2", "not (a >= 1 and a <= 2)"),
        ("a not in (1,-2, 'x''y')", "not a in (1, -2, 'x''y')"),
        ("a not like 'x!%' escape '!'", "not a like 'x!%' escape '!'"),
        ("a is not null", "not a is null"),
        ('"a b"."c ""d"[0]."in".or = TRUE', '"a b"."c ""d"[0].in.or = true'),
        ('"and" = 1', '"and" = 1'),
        ("été = '日本'", "été = '日本'"),
        ("(a = 1) = (b = 2)", "(a = 1) = (b = 2)"),
        ("\n a\t=\r\n1", "a = 1"),
    ],
)
def test_a_condition_has_one_spelling_which_reads_back(text: str, spelled: str) -> None:
    tree = parse(text)
    assert text_of(tree) == spelled
    assert parse(spelled) == tree
    assert ExportFilter(where=text) == ExportFilter(where=spelled)
    assert ExportFilter(where=text).to_json() == {"where": spelled}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 * 2 = 8", True),
        ("10 - 3 - 2 = 5", True),
        ("a / 2 = 3.5", True),
        ("a % b = 1", True),
        ("-a % 2 = -1", True),
        ("b / 0 is null", True),
        ("a % 0 is null", True),
        ("a * 9223372036854775807 is null", True),
        ("(b + 1) * -9223372036854775808 is null", True),
        ("-9223372036854775808 * (b + 1) is null", True),
        ("(b + 1) * 9223372036854775807 = -9223372036854775807", True),
        ("-9223372036854775808 % (b + 1) = 0", True),
        ("0 - (-9223372036854775807 - 1) is null", True),
        ("x * 1e308 * 1e308 is null", True),
        ("9007199254740993 > 9007199254740992.0", True),
        ("a = 7.0 and a in (7.0)", True),
        ("a > b or a / 0 > 1", True),
        ("a < b and a / 0 > 1", False),
        ("a > b and a / 0 > 1", None),
        ("not a / 0 > 1", None),
        ("a between b and 10", True),
        ("a in (1, 2)", False),
        ("a / 0 in (1)", None),
        ("x = .5", True),
    ],
)
def test_what_a_condition_means(text: str, expected: bool | None) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "at its end: a column or a value is expected here"),
        ("a =", "at its end: a column or a value"),
        ("a = 1 b", "at 'b' (character 7): and, or, or the end"),
        ("a = 1 = 2", "(character 7): and, or, or the end is expected here (put one of the two comparisons"),
        ("a = null", "(character 5): a column or a value is expected here (nothing is equal to null: write 'is null'"),
        ("a in ()", "(character 7): a column or a value"),
        ("a in (1, null)", "nothing is equal to null"),
        ("a in (b)", "(character 7): a list takes numbers and texts only"),
        ("a in 1", "'(' is expected here"),
        ("a like b", "a pattern, as 'GET /%' is expected here"),
        ("a like 'x' escape '!!'", "escape takes one character"),
        ("a is 1", "'null' is expected here"),
        ("a not 1", "in, like or between is expected here"),
        ("(a = 1", "')' is expected here"),
        ("a = 'x", "this quote is not closed (a ' inside of it is written twice)"),
        ('"a = 1', "this quote is not closed"),
        ("a = 2xx", "this is no number"),
        ("a = 1.2.3", "and, or, or the end"),
        ("a = 1e9999", "beyond all that are known"),
        ("a = 1e99999", "this is no number"),
        ("a & b", "(character 3): this character means nothing here (write and)"),
        ("!a", "write not, or !="),
        ("a = 1; drop table events", "write one condition"),
        ("a = 1 --", "at its end: a column or a value"),
        ("data.", "the name of a member is expected here"),
        ("data[-1] = 1", "the number of an element is expected here (the first one is [0])"),
        ("data[1.0] = 1", "the number of an element"),
        ("a = '\ud800'", "this is not UTF-8"),
        ("a = \0", "this character means nothing here"),
        ("\u0663 = 1", "this is no number"),
        ("a" * 65_537, "has 65,537 characters, more than 65,536"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_place(text: str, told: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        ExportFilter(where=text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "evnt_type = 'x'",
            "events has no column 'evnt_type' (did you mean 'event_type'? its columns are id, category",
        ),
        ('event_type = "error"', "(character 14): events has no column 'error' (a text stands in single quotes"),
        ("SEQ = 1", "did you mean 'seq'?"),
        ("events.seq = 1", "events has no column 'events'"),
        ("seq = '1'", "a whole number cannot be compared with text (numbers stand without quotes"),
        ("event_type > 5", "text cannot be compared with a whole number"),
        ("seq in ('a')", "a whole number is never text"),
        ("seq", "this is a whole number, and no condition"),
        ("event_type", "this is text, and no condition"),
        ("data", "this is a value of JSON, and no condition"),
        ("data = 'x'", "'data' is JSON (name a member of it, as data.status)"),
        ("data in ('x')", "'data' is JSON"),
        ("data like '%x%'", "like looks at columns of text, and this is a value of JSON"),
        ("seq.x = 1", "'seq' is int64, only JSON has members (a name with a dot in it stands in quotes: \"seq.x\")"),
        ("seq like 'x'", "like looks at columns of text, and this is a whole number"),
        ("'a' like 'a'", "like looks at columns of text"),
        ("event_type like 'a!' escape '!'", "'!' escapes nothing in the pattern"),
        (f"event_type like '{'x' * 1001}'", "the pattern has more than 1000 characters"),
        ("timestamp > 5", "a time cannot be compared with a whole number"),
        ("timestamp > 'yesterday'", "not an RFC 3339 time: 'yesterday' (write '2026-11-01'"),
        ("timestamp in ('2026-13-01')", "not a real time"),
        ("data.at > timestamp", "a member of JSON is never a time"),
        ("priority >= 'high'", "priorities are names, in another order (write priority in ('high', 'critical'))"),
        ("seq + event_type = 1", "'+' takes numbers, and this is text"),
        ("seq % 1.5 = 1", "% takes whole numbers"),
        ("(seq = 1) + 1 = 2", "this is a condition, a value is expected"),
        ("(seq = 1) < true", "true and false have no order"),
        ("data.x in (true)", "a list takes numbers and texts only"),
        ("'a' = 'b'", "two texts are compared here, and no column"),
        ("true = false", "no column is compared here"),
        ("1 is null", "a value is never null"),
        ("1 in (1)", "in looks at columns"),
    ],
)
def test_what_makes_no_sense_of_events_is_refused_at_once(text: str, told: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        ExportFilter(where=text).condition(EVENTS)
    assert told in str(caught.value)


def test_binary_can_only_be_missing() -> None:
    dataset = Dataset("raw", pa.schema([("raw", pa.binary())]), own=("raw",))
    for text in ("raw = 'x'", "raw = raw", "raw in ('x')"):
        with pytest.raises(InvalidFilter, match="binary"):
            check(parse(text), dataset)
    check(parse("raw is null"), dataset)


@pytest.mark.parametrize(
    "nest",
    [
        lambda depth: "(" * depth + "a = 1" + ")" * depth,
        lambda depth: "not " * depth + "a = 1",
        lambda depth: "- " * depth + "a = 1",
        lambda depth: "a" + " + a" * depth + " = 1",
        lambda depth: "(a = 1 and (b = 1 or " * (depth // 4) + "a = 1" + "))" * (depth // 4),
        lambda depth: "(" * depth,
    ],
)
def test_deep_nesting_is_evaluated_or_refused(nest: object) -> None:
    assert callable(nest)
    for depth in (150, 4_000):
        text = str(nest(depth))
        if depth == 150 and text[-1] != "(":
            holds(text)
            continue
        with pytest.raises(InvalidFilter, match=r"nested deeper than 200 levels|expected here"):
            holds(text)


def test_wide_conditions_are_no_deep_ones() -> None:
    assert holds(" or ".join(f"a = {number}" for number in range(3_000))) is True
    assert holds(f"a in ({', '.join(map(str, range(8_000)))})") is True


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tree = parse(text)
    except InvalidFilter:
        return
    assert parse(text_of(tree)) == tree


_WORDS = [
    *[
        "a",
        "b",
        "x",
        "data",
        ".",
        "[",
        "]",
        "(",
        ")",
        ",",
        "=",
        "!=",
        "<",
        ">=",
        "in",
        "like",
        "is",
        "not",
        "null",
        "and",
        "or",
        "between",
        "true",
    ],
    *["-", "+", "%", "/", "1", "2.5", "'x'", "'%'", "escape"],
    '"a"',
]


@pytest.mark.parametrize("seed", range(5))
def test_any_words_are_read_or_refused(seed: int) -> None:
    source, read = random.Random(seed), 0
    for _ in range(3_000):
        text = " ".join(source.choices(_WORDS, k=source.randint(1, 9)))
        try:
            tree: Expression = parse(text)
            assert parse(text_of(tree)) == tree
            check(tree, NUMBERS)
        except InvalidFilter:
            continue
        read += 1
    assert read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timestamp >= '1970-01-02' and timestamp < '1970-01-03'", (86_400_000_000, 172_799_999_999)),
        ("'1970-01-02' > timestamp and seq = 1", (LEAST, 86_399_999_999)),
        ("timestamp = '1970-01-02'", (86_400_000_000, 86_400_000_000)),
        ("not timestamp > '1970-01-01'", (LEAST, 0)),
        ("timestamp >= '1970-01-02' or seq = 1", (LEAST, MOST)),
        ("received_at >= '1970-01-02'", (LEAST, MOST)),
    ],
)
def test_bounds_of_time_are_told(text: str, expected: tuple[int, int]) -> None:
    assert span(ExportFilter(where=text).condition(EVENTS), "timestamp") == expected


def test_the_columns_that_are_looked_at_are_told() -> None:
    condition = ExportFilter(where="data.x = 1 and (seq + 1 > 2 or not session_id like 'a')", start=0).condition(EVENTS)
    assert condition is not None
    assert columns(condition) == {"data", "seq", "session_id", "timestamp"}


@pytest.mark.parametrize(("wide", "narrow"), [((76, 0), (76, 76)), ((40, 0), (40, 40)), ((70, 0), (40, 30))])
def test_decimals_are_compared_whatever_digits_both_have(wide: tuple[int, int], narrow: tuple[int, int]) -> None:
    schema = pa.schema([("a", pa.decimal256(*wide)), ("b", pa.decimal256(*narrow))])
    columns = [pa.array([Decimal(1), Decimal(0), None], schema.field("a").type)]
    columns.append(pa.array([Decimal("0.5"), Decimal("0.5"), Decimal(0)], schema.field("b").type))
    rows = pa.record_batch(columns, schema=schema)
    found = truth(rows, check(parse("a > b"), Dataset("t", schema, own=("a", "b"))))
    assert found.to_pylist() == [True, False, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d < 1.255", [True, False, True]),
        ("d <= 1.255", [True, False, True]),
        ("d > 1.255", [False, True, False]),
        ("d >= 1.255", [False, True, False]),
        ("d = 1.255", [False, False, False]),
        ("d != 1.255", [True, True, True]),
        ("d < 1.25", [False, False, True]),
        ("1.255 > d", [True, False, True]),
        ("d < -1.255", [False, False, True]),
        ("d >= -1.255", [True, True, False]),
        ("d < 1000", [True, True, True]),
        ("d > -1000", [True, True, True]),
        ("d <= 999.99", [True, True, True]),
    ],
)
def test_a_decimal_is_compared_with_numbers_between_two_of_its_type(text: str, expected: list[bool]) -> None:
    schema = pa.schema([("d", pa.decimal128(5, 2))])
    rows = pa.record_batch(
        [pa.array([Decimal("1.25"), Decimal("1.26"), Decimal("-1.26")], schema.field(0).type)], schema=schema
    )
    assert truth(rows, check(parse(text), Dataset("t", schema, own=("d",)))).to_pylist() == expected
