"""Payload text: kept to the last digit, made compact, and refused where it is not strict JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as limits

import sample_events
from penstock import AnalyticsEvent
from penstock.errors import InvalidEvent
from penstock.model import jsontext

VERBATIM = [
    '{"n":1.50}',
    '{"n":1e400}',
    '{"n":-1E+0400}',
    '{"n":-0}',
    '{"n":-0.0}',
    '{"n":9007199254740993}',
    '{"n":18446744073709551616}',
    '{"n":0.1000000000000000055511151231257827}',
    '{"n":' + "7" * 5000 + "}",
    '{"t":"\\u0000\\u001f\\/\\"\\\\"}',
    '{"t":"\\u00E9\\u00e9é"}',
    '{"t":"\\ud83d\\ude00😀"}',
    '{"t":"\x7f\u0085\u2028\ufeff"}',
    '{"t":" a  b\\tc "}',
    '{"a":1,"a":2,"a":[{"a":null,"a":true}]}',
    '{"":{"":{}},"z":1,"a":2}',
    "{}",
]


@pytest.mark.parametrize("text", VERBATIM)
def test_compact_text_is_kept_byte_for_byte(text: str) -> None:
    event = AnalyticsEvent("x", data=text, metadata=text.encode())
    assert event.data_text == event.metadata_text == text.encode()


def test_only_white_space_outside_strings_goes() -> None:
    sent = '\r\n\t {\t"a b" :\n[ 1 , "x , y" , { } , [ ] ] , "n": 2.50 } \n'
    assert jsontext.compact_object(sent, what="data") == b'{"a b":[1,"x , y",{},[]],"n":2.50}'


@limits(max_examples=300)
@given(sample_events.payloads())
def test_any_spelling_loses_its_blanks_and_nothing_else(text: sample_events.Payload) -> None:
    assert jsontext.compact_object(text.sent, what="data").decode() == text.kept
    assert jsontext.compact_object(text.kept, what="data").decode() == text.kept


NOT_STRICT = [
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "01",
    "-01",
    "1.",
    ".5",
    "+1",
    "1e",
    "1e+",
    "-",
    "--1",
    "0x1",
    "1_0",
    "tru",
    "nullx",
    "undefined",
    "'x'",
    '"\\x"',
    '"\\u12"',
    '"\\uZZZZ"',
    '"\x00"',
    '"\x01"',
    '"\n"',
    '"\t"',
    '"\x1f"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud800\\u0041"',
    '"\\ud800 and so on, for long enough"',
    '"\\ud800\\n, for long enough"',
    "[1 2]",
    "[1,]",
    "[,1]",
    "{,}",
    '{"b":1,}',
    '{"b" 1}',
    "{b:1}",
    "1 2",
    "\x0b1",
    "\x0c1",
    "\u00a01",
    "",
    "1}",
    "/*c*/1",
    "1//c",
]


@pytest.mark.parametrize("value", NOT_STRICT)
def test_what_is_not_strict_json_is_refused(value: str) -> None:
    for text in (f'{{"a":{value}}}', f'{{"a":[{value}],"z":"a long enough end"}}'):
        if value == "" and "[" in text:
            continue  # an empty list is fine
        with pytest.raises(InvalidEvent, match="data"):
            AnalyticsEvent("x", data=text)


@pytest.mark.parametrize("text", ["", "  ", "[]", "1", '"x"', "null", "{}{}", "{} x", "{", "}", "{}\x00", "\ufeff{}"])
def test_what_is_not_one_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidEvent):
        AnalyticsEvent("x", data=text)


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"\x00"])
def test_bytes_that_are_not_utf8_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidEvent):
        AnalyticsEvent("x", data=b'{"a":"' + text + b'"}')


def test_a_python_text_with_half_a_pair_is_refused_in_every_way_in() -> None:
    for data in ({"a": "\ud800"}, {"\udfff": 1}, '{"a":"\ud800"}'):
        with pytest.raises(InvalidEvent):
            AnalyticsEvent("x", data=data)


def test_500_levels_are_taken_and_501_are_not() -> None:
    def nested(levels: int) -> str:
        return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"

    assert AnalyticsEvent("x", data=nested(500)).data_text == nested(500).encode()
    for levels in (501, 100_000):
        with pytest.raises(InvalidEvent, match="deeper than 500 levels"):
            AnalyticsEvent("x", data=nested(levels))


def test_brackets_in_strings_are_not_levels() -> None:
    text = '{"a":"' + '[{\\"' * 2000 + '"}'
    assert jsontext.compact_object(text, what="data") == text.encode()
    assert jsontext.depth(b'{"a":["]",{}]}') == 3


def test_python_values_are_written_compactly_in_their_order() -> None:
    assert AnalyticsEvent("x", data={"b": [1, 2.5, None, True], "a": "é\u2028"}).data_text == (
        '{"b":[1,2.5,null,true],"a":"é\u2028"}'.encode()
    )


def test_python_values_that_json_does_not_have_are_refused() -> None:
    circle: dict[str, object] = {}
    circle["again"] = circle
    for data in ({"a": float("nan")}, {"a": float("inf")}, {"a": {1, 2}}, {"a": b"x"}, {(1, 2): 3}, circle, None, 5):
        with pytest.raises(InvalidEvent, match="data"):
            AnalyticsEvent("x", data=data)  # type: ignore[arg-type]  # that is the point
