"""JSON records: payloads verbatim, fields by the mapping, and everything hostile set aside with its reason."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loading import MICROS, STAMP, load, ndjson, quarantined, record, stored
from penstock.errors import InvalidMapping, UsageError
from penstock.loading.mapping import FieldMap
from penstock.loading.members import members_of, text_of
from penstock.loading.records import RecordReader
from sample_events import uuid_of

ODD = '"n":1.50,"big":123456789012345678901234567890,"e":1e400,"z":"\\u0000\\u00e9/\\/","same":{"a":1,"a":2},"":[]'


def only(place: Path, text: str | bytes, **given: Any) -> dict[str, Any]:
    """The one event of one record."""
    result = load(place, ndjson(text), **given)
    assert (result.inserted, result.quarantined) == (1, 0), result
    return stored(place / "events.db")[0]


def refused(place: Path, text: str | bytes, **given: Any) -> dict[str, Any]:
    """The quarantine's entry of one record."""
    result = load(place, ndjson(text), **given)
    assert (result.inserted, result.quarantined) == (0, 1), result
    return quarantined(result)[0]


def test_what_is_no_field_of_ours_becomes_data_byte_for_byte(tmp_path: Path) -> None:
    event = only(tmp_path, record(ODD))

    assert event["data"] == f"{{{ODD}}}"
    assert event["timestamp"] == MICROS
    assert (event["category"], event["priority"], event["session_id"], event["metadata"]) == ("custom", 1, None, "{}")


def test_white_space_outside_strings_goes_and_inside_stays(tmp_path: Path) -> None:
    event = only(tmp_path, f'\t{{ "event_type" : "a b",{STAMP}, "x" : [ 1 , "c  d" ] , "y":{{ }} }} \r')

    assert event["event_type"] == "a b"
    assert event["data"] == '{"x":[1,"c  d"],"y":{}}'


def test_our_own_fields_are_used_as_such(tmp_path: Path) -> None:
    id, session = uuid_of(1), uuid_of(2)
    event = only(
        tmp_path,
        f'{{"id":"{id.upper()}","category":"usage","event_type":"feature_used",{STAMP},"session_id":"{session}",'
        '"priority":"critical","data":{"a":1.0},"metadata":{"os":"linux"},"seq":77,"received_at":"never"}',
    )

    assert list(event.values()) == [
        id, "usage", "feature_used", MICROS, session, 3, '{"a":1.0}', '{"os":"linux"}'
    ]  # fmt: skip


@pytest.mark.parametrize("text", [record('"seq":5'), record(f'"id":"{uuid_of(1)}","seq":5,"more":1')])
def test_seq_is_data_in_a_record_that_is_not_one_of_our_exports(tmp_path: Path, text: str) -> None:
    assert json.loads(only(tmp_path, text)["data"])["seq"] == 5


@pytest.mark.parametrize(
    ("given", "priority"),
    [('"low"', 0), ('"HIGH"', 2), ("0", 0), ("3", 3), ('"2"', 2), ("null", 1)],
)
def test_priorities_are_names_or_ranks(tmp_path: Path, given: str, priority: int) -> None:
    assert only(tmp_path, record(f'"priority":{given}'))["priority"] == priority


def test_null_is_as_good_as_nothing(tmp_path: Path) -> None:
    event = only(tmp_path, record('"id":null,"category":null,"session_id":null,"data":null,"metadata":null'))

    assert (event["category"], event["session_id"], event["data"], event["metadata"]) == ("custom", None, "{}", "{}")


def test_members_beside_data_join_it(tmp_path: Path) -> None:
    assert only(tmp_path, record('"b":2,"data":{"a":1},"c":3'))["data"] == '{"a":1,"b":2,"c":3}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (record('"a":1,"a":2'), "a field is repeated: 'a'"),
        (record('"\\u0061":1,"a":2'), "a field is repeated: 'a'"),
        (record('"\\u0065vent_type":"other"'), "a field is repeated: 'event_type'"),
        (record('"data":{"a":1},"a":2'), "data has the field already: 'a'"),
        (record('"data":{"\\u0061":1},"a":2'), "data has the field already: 'a'"),
        (record('"data":[1]'), "data is not a JSON object"),
        (record('"metadata":"{}"'), "metadata is not a JSON object"),
        (record('"x":NaN'), "not strict JSON"),
        (record('"x":-Infinity'), "not strict JSON"),
        (record('"x":01'), "not strict JSON"),
        (record('"x":"\\ud800"'), "not strict JSON"),
        (record('"x":"\\udc00\\ud800"'), "not strict JSON"),
        (record('"\\ud800":1'), "not strict JSON"),
        (record('"x":"a\x00b"'), "not strict JSON"),
        (record('"x":"a\tb"'), "not strict JSON"),
        (record() + record(), "not strict JSON"),
        (record()[:-1], "not strict JSON"),
        ("[1]", "not a JSON object: [1]"),
        ("null", "not a JSON object: null"),
        (record('"category":"nope"'), "category is unknown: 'nope'"),
        (record('"category":7'), "category is not text: 7"),
        (record('"category":"error"', event_type="feature_used"), "category is not that of the event type"),
        (record('"priority":"urgent"'), "priority is unknown: 'urgent'"),
        (record('"priority":4'), "priority is unknown: '4'"),
        (record('"priority":true'), "priority is not text or a number: true"),
        (record('"session_id":1.5'), "session_id is not text or an integer: 1.5"),
        (record('"session_id":1e3'), "session_id is not text or an integer: 1e3"),
        (record('"session_id":true'), "session_id is not text or an integer: true"),
        (record('"session_id":""'), "session_id is not allowed: session_id is empty"),
        (record('"id":{"$oid":"a"}'), 'id is not text or an integer: {"$oid":"a"}'),
        (record(f'"id":"{"x" * 1025}"'), "id is not allowed: id has 1,025 bytes, more than 1,024"),
        (record(f'"id":{"1" * 1025}'), "id is not allowed: id has 1,025 bytes, more than 1,024"),
        (record('"id":"a\\u0000b"'), "id is not allowed: id holds a control character"),
        (record('"id":"a\x7fb"'), "id is not allowed: id holds a control character"),
        (record('"id":"a\x85b"'), "id is not allowed: id holds a control character"),
        (record('"id":"\\ud800"'), "not strict JSON"),
        (record(event_type=""), "event_type is not allowed"),
        (record(event_type="x" * 201), "event_type is not allowed"),
        (record(event_type="a\\nb"), "event_type is not allowed"),
        (f'{{"event_type":["x"],{STAMP}}}', 'event_type is not text: ["x"]'),
        (f'{{"event_type":null,{STAMP}}}', "event_type is missing"),
        ('{"event_type":"x"}', "timestamp is missing"),
        ('{"event_type":"x","timestamp":"soon"}', "timestamp cannot be read: not an RFC 3339 time"),
        ('{"event_type":"x","timestamp":20261101}', "timestamp cannot be read: the number 20261101 does not say"),
        ('{"event_type":"x","timestamp":true}', "timestamp is not text or a number: true"),
        ('{"event_type":"x","timestamp":"10000-01-01"}', "timestamp cannot be read"),
    ],
)
def test_a_record_that_is_no_event_is_set_aside_as_it_came(tmp_path: Path, text: str, reason: str) -> None:
    entry = refused(tmp_path, text)

    assert entry["reason"].startswith(reason)
    assert entry["raw"] == text
    assert (entry["file"], entry["line"]) == (str(tmp_path / "in.ndjson"), 1)


def test_what_is_not_utf8_is_kept_in_base64(tmp_path: Path) -> None:
    text = record('"x":"€"').encode().replace("€".encode(), b"\xe2\x82")

    entry = refused(tmp_path, text)

    assert entry["reason"] == f"invalid UTF-8: at byte {text.index(0xE2)}"
    assert "raw" not in entry
    assert base64.b64decode(entry["raw_base64"]) == text


@pytest.mark.parametrize("shape", ["[", '{"a":'])
def test_payloads_as_deep_as_allowed_are_kept_and_deeper_ones_are_not(tmp_path: Path, shape: str) -> None:
    def nested(levels: int) -> str:
        return shape * levels + "1" + ("]" if shape == "[" else "}") * levels

    place, own = tmp_path / "foreign", tmp_path / "own"
    place.mkdir()
    own.mkdir()

    assert only(place, record(f'"d":{nested(499)}'))["data"] == f'{{"d":{nested(499)}}}'
    assert only(own, record(f'"data":{{"d":{nested(499)}}}'))["data"] == f'{{"d":{nested(499)}}}'
    for text in (
        record(f'"d":{nested(500)}'),
        record(f'"data":{{"d":{nested(500)}}}'),
        record(f'"metadata":{{"d":{nested(500)}}}'),
    ):
        assert load(tmp_path, ndjson(text)).reasons == {"nested deeper than 500 levels": 1}
    assert load(tmp_path, ndjson(record(f'"d":{nested(100_000)}'))).quarantined == 1
    assert load(tmp_path, ndjson(record('"d":[[1]]')), max_depth=2).reasons == {"nested deeper than 2 levels": 1}
    with pytest.raises(UsageError, match="max_depth must be 1 to 500"):
        load(tmp_path, b"", max_depth=501)


def test_the_good_records_around_a_bad_one_are_stored_in_order(tmp_path: Path) -> None:
    result = load(tmp_path, ndjson(record('"n":0'), "{", record('"n":1'), "", record('"n":2')))

    assert [event["data"] for event in stored(tmp_path / "events.db")] == ['{"n":0}', '{"n":1}', '{"n":2}']
    assert [entry["line"] for entry in quarantined(result)] == [2]


def test_mapped_fields_are_taken_out_of_objects_too(tmp_path: Path) -> None:
    session = uuid_of(9)
    event = only(
        tmp_path,
        f'{{"user":{{"name":"\\u0061nn","session":"{session}","\\u0078":1}},"at":1700000000,"kind":"k","n":1.0}}',
        mapping={"session_id": "user.session", "timestamp": "at", "event_type": "kind"},
    )

    assert (event["session_id"], event["timestamp"], event["event_type"]) == (session, 1_700_000_000_000_000, "k")
    assert event["data"] == '{"user":{"name":"\\u0061nn","\\u0078":1},"n":1.0}'


@pytest.mark.parametrize(
    ("text", "event_type", "data"),
    [
        ('{"a.b.c":"whole","a":{"b":{"c":"deep"}}', "whole", '{"a":{"b":{"c":"deep"}}}'),
        ('{"a.b":{"c":"half"},"a":{"b":{"c":"deep"}}', "half", '{"a.b":{},"a":{"b":{"c":"deep"}}}'),
        ('{"a":{"b.c":"inner","b":{"c":"deep"}}', "inner", '{"a":{"b":{"c":"deep"}}}'),
        ('{"a":{"b":{"c":"deep"}}', "deep", '{"a":{"b":{}}}'),
    ],
)
def test_a_name_that_holds_the_dots_itself_wins(tmp_path: Path, text: str, event_type: str, data: str) -> None:
    event = only(tmp_path, f"{text},{STAMP}}}", mapping={"event_type": "a.b.c"})

    assert (event["event_type"], event["data"]) == (event_type, data)


def test_a_field_can_be_taken_out_of_what_is_itself_data(tmp_path: Path) -> None:
    event = only(
        tmp_path,
        '{"payload":{"at":"2026-11-01T12:00:00Z","x":1,"x":2},"event_type":"seen","beside":true}',
        mapping={"data": "payload", "timestamp": "payload.at"},
    )

    assert (event["timestamp"], event["data"]) == (MICROS, '{"x":1,"x":2,"beside":true}')


def test_a_mapped_name_that_stands_twice_in_its_object_is_no_guess(tmp_path: Path) -> None:
    entry = refused(tmp_path, record('"u":{"s":1,"s":2}'), mapping={"session_id": "u.s"})

    assert entry["reason"] == "a field is repeated: 's'"


def test_a_field_that_is_mapped_is_read_from_there_alone(tmp_path: Path) -> None:
    event = only(tmp_path, record('"kind":"k","id":12'), mapping={"event_type": "kind", "id": ":none"})

    assert event["event_type"] == "k"
    assert event["data"] == '{"event_type":"seen","id":12}'


@pytest.mark.parametrize(
    ("path", "member", "micros"),
    [
        ("at", '"at":1700000000123', 1_700_000_000_123_000),
        ("at:ms", '"at":5', 5_000),
        ("at:s", '"at":"-1.5"', -1_500_000),
        ("a.b:us", '"a":{"b":5}', 5),
        ("at:iso", '"at":"1970-01-01T00:00:00.000007"', 7),
        ("dc:date", '"dc:date":"1970-01-02"', 86_400_000_000),
        ("at:ms:auto", '"at:ms":1700000000', 1_700_000_000_000_000),
    ],
)
def test_a_unit_may_stand_behind_the_path_of_the_time(tmp_path: Path, path: str, member: str, micros: int) -> None:
    text = f'{{"event_type":"x",{member}}}'

    assert only(tmp_path, text, mapping={"timestamp": path})["timestamp"] == micros


def test_a_unit_that_fits_no_number_sets_the_record_aside_with_the_value(tmp_path: Path) -> None:
    reasons = []
    for unit in ("iso", "s", "h"):
        place = tmp_path / unit
        place.mkdir()
        entry = refused(place, '{"event_type":"x","at":1700000000123}', mapping={"timestamp": f"at:{unit}"})
        reasons.append(entry["reason"])

    assert reasons == [
        "timestamp cannot be read: a number, not an RFC 3339 time: 1700000000123",
        "timestamp cannot be read: outside the years 0001 to 9999: 1700000000123",
        "timestamp is missing",
    ]


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"seq": "n"}, "seq cannot be mapped"),
        ({"colour": "n"}, "unknown field 'colour'"),
        ({"id": ""}, "mapped to nothing"),
        ({"id": "a", "session_id": "a"}, "mapped to two fields"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(mapping: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidMapping, match=complaint):
        FieldMap(paths=mapping)


def test_notes_tell_what_to_map(tmp_path: Path) -> None:
    bare = load(tmp_path, ndjson('{"what":"x","when":1}', '{"what":"y"}'))
    typo = load(tmp_path, ndjson(record('"n":1')), mapping={"session_id": "visitr"})
    ids = load(tmp_path, ndjson(record('"id":1.5'), record('"id":[2]')))
    some = load(tmp_path, ndjson("{}", record()))

    assert bare.notes == (
        "every record lacks event_type and timestamp; the fields of the first are what, when: "
        "say --map event_type=FIELD --map timestamp=FIELD",
    )
    assert typo.notes == ("no record has the field 'visitr', which is mapped to session_id",)
    assert ids.notes == ("no id of these records is text or an integer; with --map id=:none it is kept in data",)
    assert some.notes == ()


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    names = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"c.d"', '"é"', '"\\""', '""'])
    return st.lists(st.tuples(names, inner), max_size=4).map(
        lambda members: "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"
    )


values = st.recursive(
    st.sampled_from(["1", "1.50", "-0", "1e400", '"a"', '"\\u0061"', '"é"', "null", "[]", "{}", '"},{"', '"\\""']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]") | objects(inner),
    max_leaves=6,
)


@given(objects(values))
def test_members_that_are_put_back_together_are_the_same_text(text: str) -> None:
    assert text_of(members_of(text.encode())) == text.encode()


@given(objects(values), st.sampled_from(["a", "b", "c.d", "é", '"', ""]))
def test_a_member_is_taken_out_without_touching_the_others(text: str, name: str) -> None:
    pairs: list[tuple[str, object]] = json.loads(text, object_pairs_hook=lambda found: found)
    names = [known for known, _ in pairs]
    members = members_of(text.encode())

    if names.count(name) <= 1:
        taken = members.pop(name, None)

        assert (taken is not None) == (name in names)
        left = json.loads(text_of(members), object_pairs_hook=lambda found: found)
        assert left == [pair for pair in pairs if pair[0] != name]


@given(st.lists(objects(values), max_size=4))
def test_data_of_any_foreign_record_is_its_own_text(texts: list[str]) -> None:
    reader = RecordReader(fields=FieldMap(paths={"data": "d"}), unit="line")

    portion = reader.read([(n, f'{{"event_type":"x",{STAMP},"d":{text}}}'.encode()) for n, text in enumerate(texts)])

    assert portion.rows is not None
    assert portion.rows.columns["data"].to_pylist() == texts
