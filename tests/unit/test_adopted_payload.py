"""Values of adopted columns as text and JSON: what is taken as it is, and what is kept in another spelling, counted."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_events
from penstock.model import jsontext
from penstock.pipeline.gathering import Gather, GatherKind, Note
from penstock.sources.connection import Connection

NOT_OBJECT, NOT_JSON = {Note.NOT_OBJECT: 1}, {Note.NOT_JSON: 1}
#: Bytes that are stored as text, whatever they are.
TEXT = "CAST(? AS TEXT)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    connection = Connection(tmp_path_factory.mktemp("payloads") / "any.db", mode="rwc", busy_timeout=1)
    yield connection
    connection.close()


def one_row(
    store: Connection, names: Sequence[str], values: Sequence[Any], *base: str, field: str = "data"
) -> tuple[str, dict[Note, int]]:
    """What one row becomes whose first value is the payload ``base``, if there is one, and the others its members."""
    kind = GatherKind.PAYLOAD if base else GatherKind.OBJECT
    given = [TEXT if type(value) is bytes else "?" for value in base] + ["?"] * len(values)
    sql = f"SELECT {', '.join(given)}"
    with store.cursor(sql, [*base, *values], columns=[Gather(field, kind, members=tuple(names))]) as cursor:
        found = cursor.take(1, 1)
    assert found is not None
    found.batch.validate(full=True)
    counts: Counter[Note] = Counter()
    for (_, note), count in found.notes.counts().items():
        counts[note] += count
    return found.batch[field][0].as_py(), dict(counts)


def one_object(
    store: Connection, value: Any, *, blob: bool = False, field: str = "data"
) -> tuple[str, dict[Note, int]]:
    column = Gather(field, GatherKind.PAYLOAD)
    with store.cursor(f"SELECT {'?' if blob else TEXT}", [value], columns=[column]) as cursor:
        found = cursor.take(1, 1)
    assert found is not None
    return found.batch[field][0].as_py(), {note: count for (_, note), count in found.notes.counts().items()}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, "{}"),
        (b"{}", "{}"),
        (b' { "a" : 1.50 , "a" : [ ] }\n', '{"a":1.50,"a":[]}'),
        ('{"é":"\\u0000 x"}'.encode(), '{"é":"\\u0000 x"}'),
    ],
)
def test_objects_are_kept_digit_for_digit(store: Connection, value: bytes | None, kept: str) -> None:
    assert one_object(store, value) == (kept, {})


@pytest.mark.parametrize("value", [b"[1, 2]", b"5", b"1e400", b'"x"', b"null", b"true"])
def test_json_that_is_no_object_is_put_into_one(store: Connection, value: bytes) -> None:
    inside = value.decode().replace(" ", "")

    assert one_object(store, value) == (f'{{"data":{inside}}}', NOT_OBJECT)
    assert one_object(store, value, field="metadata") == (f'{{"metadata":{inside}}}', NOT_OBJECT)


def test_numbers_are_put_into_an_object_as_they_are(store: Connection) -> None:
    for value in (7, -(2**63), 0.5, 1e300):
        assert one_object(store, value, blob=True) == (f'{{"data":{value!r}}}', NOT_OBJECT)
    assert one_object(store, float("-inf"), blob=True) == ('{"data":"-Inf"}', NOT_JSON)


@pytest.mark.parametrize("value", ["", "hello", '{"a":1', '{"a":NaN}', "{'a':1}", 'say "hi"\x00\n', '{"a":"\\ud800"}'])
def test_text_that_is_no_json_is_kept_as_text(store: Connection, value: str) -> None:
    kept, counts = one_object(store, value.encode())

    assert json.loads(kept) == {"data": value}
    assert counts == NOT_JSON


def test_blobs_are_base64_unless_they_hold_an_object(store: Connection) -> None:
    for blob, kept in [(b"\x00\xff", "AP8="), (b"[1]", "WzFd"), (b"", "")]:
        assert one_object(store, blob, blob=True) == (f'{{"data":"{kept}"}}', {Note.BLOB: 1})
    assert one_object(store, b'{ "a":1}', blob=True) == ('{"a":1}', {})


def test_text_that_is_not_utf8_is_base64(store: Connection) -> None:
    raw = b'{"a":"\xff"}'

    kept = '{"data":"' + base64.b64encode(raw).decode() + '"}'
    assert one_object(store, raw) == (kept, {Note.INVALID_UTF8: 1})


@pytest.mark.parametrize("depth", [jsontext.MAX_DEPTH - 2, jsontext.MAX_DEPTH - 1, jsontext.MAX_DEPTH, 1000, 100_000])
def test_what_comes_out_is_never_deeper_than_a_payload_may_be(store: Connection, depth: int) -> None:
    for value in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        kept, counts = one_object(store, value)

        assert jsontext.compact_object(kept, what="data").decode() == kept
        assert (kept.encode() == value) or counts


def members_of(text: str) -> list[tuple[str, Any]]:
    """The members of an object in order, repeated ones too, numbers as they are spelled."""
    found: Any = sample_events.shape(text)
    return list(found[1])


def test_members_stand_in_table_order(store: Connection) -> None:
    assert one_row(store, ["b", "a"], [1, "x"]) == ('{"b":1,"a":"x"}', {})
    assert one_row(store, ["b", "a"], [1, None], "{}") == ('{"b":1,"a":null}', {})
    assert one_row(store, ["b", "a"], [1, None], '{"z":[]}') == ('{"z":[],"b":1,"a":null}', {})
    assert one_row(store, [], [], '{"z":[]}') == ('{"z":[]}', {})


@pytest.mark.parametrize("name", ['say "hi"', "a\\b", "tab\t", "é", "😀", ""])
def test_any_name_is_a_key(store: Connection, name: str) -> None:
    assert json.loads(one_row(store, [name], [1])[0]) == {name: 1}
    assert json.loads(one_row(store, [name], [1], json.dumps({name: 0}))[0]) == {name: 0, f"{name}_column": 1}


def test_what_is_no_json_is_mended_and_counted(store: Connection) -> None:
    found = one_row(store, ["a", "b", "c"], [b"\x00\xff", float("inf"), float("-inf")])
    assert found == ('{"a":"AP8=","b":"Infinity","c":"-Infinity"}', {Note.BLOB: 1, Note.INFINITE: 2})


def test_a_member_whose_name_is_taken_gets_another(store: Connection) -> None:
    """However it is escaped there, and whatever else is called as it would be then."""
    renamed = {Note.RENAMED: 1}
    assert one_row(store, ["a", "b"], [1, 2], '{"a":{"b":0}}') == ('{"a":{"b":0},"a_column":1,"b":2}', renamed)
    kept = '{"a":0,"a_column_column":1,"a_column":2}'
    assert one_row(store, ["a", "a_column"], [1, 2], '{"a":0}') == (kept, renamed)
    assert one_row(store, ["a"], [1], '{"x\\"a":0,"b":"a"}') == ('{"x\\"a":0,"b":"a","a":1}', {})
    assert one_row(store, ["x"], [1], r'{"\u0078":0}') == (r'{"\u0078":0,"x_column":1}', renamed)
    twice = '{"a":0,"a_column":0,"a_column_column":1,"a_column_column_column":2}'
    assert one_row(store, ["a", "a_column"], [1, 2], '{"a":0,"a_column":0}') == (twice, {Note.RENAMED: 2})


@given(
    st.one_of(sample_events.payloads().map(lambda payload: payload.sent.encode()), st.binary(max_size=20)),
    st.dictionaries(st.sampled_from(["a", "b", "data", "a_column", 'é"']), st.text(max_size=4), max_size=4),
)
def test_whatever_is_stored_a_payload_comes_out(store: Connection, sent: bytes, members: dict[str, str]) -> None:
    base, _ = one_object(store, sent)
    whole, counts = one_row(store, list(members), list(members.values()), sent)

    assert jsontext.compact_object(whole, what="data").decode() == whole
    pairs, own = members_of(whole), members_of(base)
    assert pairs[: len(own)] == own
    assert [value for _, value in pairs[len(own) :]] == list(members.values())
    added = [name for name, _ in pairs[len(own) :]]
    assert len({*added} - {name for name, _ in own}) == len(added)
    assert counts.get(Note.RENAMED, 0) == sum(name in dict(own) for name in members)
