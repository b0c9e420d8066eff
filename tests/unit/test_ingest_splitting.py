"""Where one record ends and the next begins, in streams that come in pieces of any size, with records of any size."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_events
from penstock.errors import SerializationError
from penstock.loading.streams import Pieces
from penstock.pipeline.elements import elements as split
from penstock.pipeline.lines import Broken, Overlong
from penstock.pipeline.lines import line_blocks as split_lines

NO_LIMIT = 1 << 40


class Dribble(Pieces):
    """A stream in pieces of one size, which may end in a damage."""

    def __init__(self, content: bytes, size: int, *, damaged: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self._size = size
        self._damaged = damaged

    def read(self, size: int = 0) -> bytes:
        data = super().read(self._size)
        if not data and self._damaged:
            raise SerializationError("the rest is lost")
        return data


def line_blocks(pieces: Pieces, *, limit: int) -> list[tuple[int, bytes | Overlong | Broken]]:
    """Each line with its number, and what stands in place of one, of what comes in these pieces."""
    found: list[tuple[int, bytes | Overlong | Broken]] = []
    for number, text in split_lines(lambda _: pieces.read(), limit=limit):
        lines = text.removesuffix(b"\n").split(b"\n") if isinstance(text, bytes) else [text]
        found += enumerate(lines, number)
    return found


def elements(pieces: Pieces, *, limit: int, array: bool) -> Iterator[bytes | Overlong | Broken]:
    """The elements of what comes in these pieces, whatever is asked for."""
    return split(lambda _: pieces.read(), limit=limit, array=array)


line = st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"."))
sizes = st.integers(1, 9)


@given(st.lists(line, max_size=8), sizes, st.booleans())
def test_lines_are_those_of_the_text_in_pieces_of_any_size(lines: list[bytes], size: int, ended: bool) -> None:
    text = b"\n".join(lines) + (b"\n" if ended else b"")

    found = line_blocks(Dribble(text, size), limit=NO_LIMIT)

    expected = text.removesuffix(b"\n").split(b"\n") if text else []
    assert found == list(enumerate(expected, 1))
    pieces = Dribble(text, size)
    blocks = [block for _, block in split_lines(lambda _: pieces.read(), limit=NO_LIMIT) if isinstance(block, bytes)]
    assert b"".join(blocks) == text
    assert all(block.endswith(b"\n") for block in blocks[:-1])


@given(st.lists(line, min_size=1, max_size=8), sizes, st.integers(1, 9))
def test_lines_over_the_limit_are_told_with_their_length_and_the_others_come(
    lines: list[bytes], size: int, limit: int
) -> None:
    text = b"\n".join(lines) + b"\n"

    found = line_blocks(Dribble(text, size), limit=limit)

    assert len(found) == len(lines)
    for number, (expected, got) in enumerate(zip(lines, found, strict=True), 1):
        if len(expected) > limit:
            assert got == (number, Overlong(expected, len(expected)))
        else:
            assert got == (number, expected)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_byte_order_mark_is_no_part_of_the_first_line(size: int) -> None:
    text = b"\xef\xbb\xbf{}\n\xef\xbb\xbf\n"

    assert line_blocks(Dribble(text, max(size, 3)), limit=9) == [(1, b"{}"), (2, b"\xef\xbb\xbf")]


def test_damage_comes_after_all_lines_before_it_and_keeps_the_unfinished_one() -> None:
    *whole, rest = line_blocks(Dribble(b"a\nb\nhalf", 2, damaged=True), limit=9)

    assert whole == [(1, b"a"), (2, b"b")]
    number, broken = rest
    assert isinstance(broken, Broken)
    assert (number, broken.rest, broken.error.message) == (3, b"half", "the rest is lost")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('ab"\\[]{},é'), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=5), sizes, st.sampled_from([None, 1]))
def test_elements_of_an_array_are_those_another_parser_finds(items: list[Any], size: int, indent: int | None) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=False).encode() + b" \n"

    found = list(elements(Dribble(text, size), limit=NO_LIMIT, array=True))

    assert [json.loads(each) if isinstance(each, bytes) else each for each in found] == items


@given(st.lists(sample_events.payloads(), max_size=6), st.sampled_from(["", " ", "\n\t "]), sizes)
def test_elements_are_given_as_they_are_spelled(values: list[sample_events.Payload], blank: str, size: int) -> None:
    text = (blank + "[" + ",".join(blank + value.sent + blank for value in values) + blank + "]" + blank).encode()

    found = list(elements(Dribble(text, size), limit=NO_LIMIT, array=True))

    assert found == [value.sent.strip(" \t\r\n").encode() for value in values]


objects = st.dictionaries(st.text(max_size=2), json_values, max_size=3)


@given(st.lists(objects, max_size=5), sizes, st.sampled_from(["", "\n", " \n\t"]))
def test_values_one_after_another_are_found_however_they_are_laid_out(
    items: list[Any], size: int, between: str
) -> None:
    text = between.join(json.dumps(each, indent=1) for each in items).encode()

    found = list(elements(Dribble(text, size), limit=NO_LIMIT, array=False))

    assert [json.loads(each) if isinstance(each, bytes) else each for each in found] == items


@given(st.lists(json_values, min_size=1, max_size=5), sizes, st.integers(1, 12))
def test_elements_over_the_limit_are_told_and_the_others_come(items: list[Any], size: int, limit: int) -> None:
    texts = [json.dumps(item, ensure_ascii=False).encode() for item in items]

    found = list(elements(Dribble(b"[" + b",".join(texts) + b"]", size), limit=limit, array=True))

    assert len(found) == len(texts)
    for text, got in zip(texts, found, strict=True):
        if len(text) > limit:
            assert isinstance(got, Overlong)
            assert got.length == len(text)
            assert text.startswith(got.head)
        else:
            assert got == text


@pytest.mark.parametrize("depth", [3, 4, 5, 9, 400])
def test_elements_of_any_depth_are_whole(depth: int) -> None:
    deep = b'{"a":[' * depth + b'"]}"' + b"]}" * depth

    assert list(elements(Dribble(b"[" + deep + b"," + deep + b"]", 7), limit=NO_LIMIT, array=True)) == [deep, deep]


WHOLE = b'[{"a":"x]"},{"b":[1,2]}]'


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_an_array_that_is_cut_anywhere_gives_its_whole_elements_and_says_so(length: int) -> None:
    *whole, rest = elements(Dribble(WHOLE[:length], 4), limit=NO_LIMIT, array=True)

    assert whole == [b'{"a":"x]"}', b'{"b":[1,2]}'][: (length > 11) + (length > 23)]
    assert isinstance(rest, Broken)
    assert "cut short" in rest.error.message


@pytest.mark.parametrize(
    ("text", "whole", "detail"),
    [
        (b"{}", 0, "it does not begin with ["),
        (b"", 0, "it does not begin with ["),
        (b"[1] 2", 1, "bytes after the end"),
        (b"[1]" + b" " * 50 + b"]", 1, "bytes after the end"),
        (b"[1}}", 1, "bytes after the end"),
    ],
)
def test_what_is_no_array_or_goes_on_after_it_is_told(text: bytes, whole: int, detail: str) -> None:
    *found, rest = elements(Dribble(text, 3), limit=NO_LIMIT, array=True)

    assert len(found) == whole
    assert isinstance(rest, Broken)
    assert detail in rest.error.message


@pytest.mark.parametrize("text", [b"[]", b" \n [ ] \n", b"\xef\xbb\xbf[]"])
def test_an_empty_array_has_no_elements(text: bytes) -> None:
    assert list(elements(Dribble(text, 9), limit=NO_LIMIT, array=True)) == []


@given(st.integers(1, 7), st.sampled_from([b"\\\\", b'\\"', b"]", b"\\u005d"]), st.integers(0, 40))
def test_a_string_far_over_the_limit_is_passed_by_to_its_true_end(size: int, unit: bytes, times: int) -> None:
    text = b'[1,"' + unit * times + b'",2]'

    found = list(elements(Dribble(text, size), limit=3, array=True))

    assert (found[0], found[2:]) == (b"1", [b"2"])
    assert isinstance(found[1], Overlong) == (len(unit) * times + 2 > 3)


def test_what_was_read_before_a_damage_is_not_lost() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            data = super().read1(3)
            if not data:
                raise SerializationError("torn")
            return data

    pieces = Pieces(Failing(b"abcdefgh"))

    assert pieces.read(100) == b"abcdefgh"
    with pytest.raises(SerializationError, match="torn"):
        pieces.read(100)


def test_a_damage_right_behind_the_byte_order_mark_is_told() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            data = super().read1(size)
            if not data:
                raise SerializationError("torn")
            return data

    with pytest.raises(SerializationError, match="torn"):
        Pieces(Failing(b"\xef\xbb\xbf")).read()
