"""Values of adopted columns as text and JSON: what is taken as it is, and what is kept in another spelling, counted."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_events
from penstock.model import jsontext
from penstock.sources.tables.payload import Members, objects, texts


def column(*values: bytes | None) -> pa.StringArray:
    """A text column as the driver gives it: nobody has looked whether it is UTF-8."""
    return pa.array(values, pa.binary()).view(pa.string())


def one_object(value: bytes | None, *, blob: bool = False, field: str = "data") -> tuple[str, dict[str, int]]:
    counts: Counter[str] = Counter()
    marks = pa.array([True]) if blob else None
    return objects(column(value), marks, field, counts).to_pylist()[0], dict(counts)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, "{}"),
        (b"{}", "{}"),
        (b' { "a" : 1.50 , "a" : [ ] }\n', '{"a":1.50,"a":[]}'),
        ('{"é":"\\u0000 x"}'.encode(), '{"é":"\\u0000 x"}'),
    ],
)
def test_objects_are_kept_digit_for_digit(value: bytes | None, kept: str) -> None:
    assert one_object(value) == (kept, {})


@pytest.mark.parametrize("value", [b"[1, 2]", b"5", b"1e400", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_is_put_into_one(value: bytes) -> None:
    inside = value.decode().replace(" ", "")

    assert one_object(value) == (f'{{"data":{inside}}}', {"coerced_data_not_object": 1})
    assert one_object(value, field="metadata") == (f'{{"metadata":{inside}}}', {"coerced_metadata_not_object": 1})


@pytest.mark.parametrize("value", ["", "hello", '{"a":1', '{"a":NaN}', "{'a':1}", 'say "hi"\x00\n', '{"a":"\\ud800"}'])
def test_text_that_is_no_json_is_kept_as_text(value: str) -> None:
    kept, counts = one_object(value.encode())

    assert json.loads(kept) == {"data": value}
    assert counts == {"coerced_data_not_json": 1}


def test_blobs_are_base64_unless_they_hold_an_object() -> None:
    assert one_object(b"00FF", blob=True) == ('{"data":"AP8="}', {"coerced_blob": 1})
    assert one_object(b'{ "a":1}'.hex().encode(), blob=True) == ('{"a":1}', {})
    assert one_object(b"[1]".hex().encode(), blob=True) == ('{"data":"WzFd"}', {"coerced_blob": 1})
    assert one_object(b"", blob=True) == ('{"data":""}', {"coerced_blob": 1})


def test_text_that_is_not_utf8_is_base64() -> None:
    raw = b'{"a":"\xff"}'

    assert one_object(raw) == ('{"data":"' + base64.b64encode(raw).decode() + '"}', {"coerced_invalid_utf8": 1})


@pytest.mark.parametrize("depth", [jsontext.MAX_DEPTH - 2, jsontext.MAX_DEPTH - 1, jsontext.MAX_DEPTH, 1000, 100_000])
def test_what_comes_out_is_never_deeper_than_a_payload_may_be(depth: int) -> None:
    for value in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        kept, counts = one_object(value)

        assert jsontext.compact_object(kept, what="data").decode() == kept
        assert (kept.encode() == value) or counts


def members_of(text: str) -> list[tuple[str, Any]]:
    """The members of an object in order, repeated ones too, numbers as they are spelled."""
    found: Any = sample_events.shape(text)
    return list(found[1])


def one_row(names: list[str], values: list[bytes], base: str | None = None) -> tuple[str, dict[str, int]]:
    counts: Counter[str] = Counter()
    members, columns = Members(names), [column(value) for value in values]
    found = (
        members.objects(columns, counts)
        if base is None
        else members.added(pa.array([base], pa.string()), columns, counts)
    )
    return found.to_pylist()[0], dict(counts)


def test_members_stand_in_table_order() -> None:
    assert one_row(["b", "a"], [b"1", b'"x"']) == ('{"b":1,"a":"x"}', {})
    assert one_row(["b", "a"], [b"1", b"null"], "{}") == ('{"b":1,"a":null}', {})
    assert one_row(["b", "a"], [b"1", b"null"], '{"z":[]}') == ('{"z":[],"b":1,"a":null}', {})
    assert one_row([], [], '{"z":[]}') == ('{"z":[]}', {})


@pytest.mark.parametrize("name", ['say "hi"', "a\\b", "tab\t", "é", "😀", ""])
def test_any_name_is_a_key(name: str) -> None:
    assert json.loads(one_row([name], [b"1"])[0]) == {name: 1}


def test_what_is_no_json_is_mended_and_counted() -> None:
    found = one_row(["a", "b", "c", "d"], [b"x00FF", b"Inf", b"-Inf", b'"x\\"\xff"'])

    raw = base64.b64encode(b'x"\xff').decode()
    assert found == (
        f'{{"a":"AP8=","b":"Infinity","c":"-Infinity","d":"{raw}"}}',
        {"coerced_blob": 1, "coerced_infinity": 2, "coerced_invalid_utf8": 1},
    )


def test_a_member_whose_name_is_taken_gets_another() -> None:
    assert one_row(["a", "b"], [b"1", b"2"], '{"a":{"b":0}}') == (
        '{"a":{"b":0},"a_column":1,"b":2}',
        {"coerced_member_name": 1},
    )
    assert one_row(["a", "a_column"], [b"1", b"2"], '{"a":0}') == (
        '{"a":0,"a_column_column":1,"a_column":2}',
        {"coerced_member_name": 1},
    )
    assert one_row(["a"], [b"1"], '{"x\\"a":0,"b":"a"}') == ('{"x\\"a":0,"b":"a","a":1}', {})


def test_text_is_kept_or_base64() -> None:
    plain, none = texts(column(b"a", None, b""), None)
    assert (plain.to_pylist(), none) == (["a", None, ""], [])

    found, changed = texts(column(b"a", b"\xff", b"00FF", None), pa.array([False, False, True, False]))
    assert found.to_pylist() == ["a", "/w==", "AP8=", None]
    assert {name: where.to_pylist() for name, where in changed} == {
        "coerced_blob": [False, False, True, False],
        "coerced_invalid_utf8": [False, True, False, False],
    }


ROWS = st.lists(
    st.one_of(st.none(), sample_events.payloads().map(lambda payload: payload.sent.encode()), st.binary(max_size=20)),
    max_size=6,
)


@given(ROWS, st.lists(st.sampled_from(["a", "b", "data", "a_column", 'é"']), unique=True, max_size=4), st.data())
def test_whatever_is_stored_a_payload_comes_out(
    rows: list[bytes | None], names: list[str], data: st.DataObject
) -> None:
    counts: Counter[str] = Counter()
    texts_of = data.draw(st.lists(st.lists(st.text(max_size=4), min_size=len(rows), max_size=len(rows)), min_size=4))
    columns = [column(*(json.dumps(text).encode() for text in texts_of[place])) for place in range(len(names))]
    bases = objects(column(*rows), None, "data", counts)
    found = Members(names).added(bases, columns, counts).to_pylist()

    for row, (base, whole) in enumerate(zip(bases.to_pylist(), found, strict=True)):
        assert jsontext.compact_object(whole, what="data").decode() == whole
        pairs, own = members_of(whole), members_of(base)
        assert pairs[: len(own)] == own
        assert [value for _, value in pairs[len(own) :]] == [texts_of[place][row] for place in range(len(names))]
        added = [name for name, _ in pairs[len(own) :]]
        assert len(set(added)) == len(added)
        spelled = {name for name, _ in own if json.dumps(name, ensure_ascii=False) in base}
        assert not spelled & set(added)
