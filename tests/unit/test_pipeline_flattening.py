"""Flattening against a plain one: which members get columns, what these hold, and what is left in the rest."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import ManifestError, StorageError, UsageError
from penstock.model.columns import EVENTS
from penstock.model.dataset import Dataset, json_field
from penstock.model.flatten import DEEPEST, TYPES, Flatten
from penstock.pipeline import flattening, members
from penstock.pipeline.flattening import Flattening, Found, parse_steps, settled
from penstock.pipeline.rowtext import RowText

NUMBERS = [
    *("0", "-0", "1", "-1", "1.0", "1.50", "1e3", "1E+3", "-0.0", "0e999999", "0.1", "123.456", "1e22", "1e23"),
    *("9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808"),
    *("-9223372036854775809", "12345678901234567890", "100000000000000000000", "0.30000000000000004", "5e-324"),
    *("0.1000000000000000055", "0.10000000000000001", "1.7976931348623157e308", "1e309", "2e-324", "4.9e-324"),
    *("2.2250738585072014e-308", "0.8444218515250481", "1" * 400, "0." + "0" * 400 + "1", "1e-400", "1e99999999999"),
    *("8.5e15", "85.14694213867188", "85.14694213867187", "5.960464477539063e-8", "5.960464477539062e-8"),
]
LEAVES = [
    "null",
    "true",
    "false",
    '"text"',
    '"é\\n\\u0000"',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '""',
    "[]",
    '[1,{"a":2}]',
]
KEYS = ["a", "b", "A", "a.b", "", "é", '\\"', "\\u0061", "\\n", "\\ud800", "k" * 300]


@dataclass(frozen=True)
class Node:
    """A JSON value as it is spelled: a leaf or an array as text, or an object by its members."""

    text: str = ""
    members: tuple[tuple[str, Node], ...] | None = None

    def __str__(self) -> str:
        if self.members is None:
            return self.text
        return "{" + ",".join(f'"{key}":{value}' for key, value in self.members) + "}"


LEAF = st.builds(Node, st.sampled_from([*LEAVES, *NUMBERS]))


def objects(values: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    members = st.lists(st.tuples(st.sampled_from(KEYS), values), max_size=4)
    return st.builds(Node, members=members.map(tuple))


ROW = st.none() | LEAF | objects(st.recursive(LEAF, objects, max_leaves=12))


def plain_key(raw: str) -> str | None:
    key = json.loads(f'"{raw}"')
    return None if re.search("[\ud800-\udfff]", key) else key


def is_int64(text: str) -> bool:
    return re.fullmatch(r"0|-?[1-9]\d*", text) is not None and -(1 << 63) <= int(text) < 1 << 63


def is_float64(text: str) -> bool:
    value = float(text)
    return abs(value) != float("inf") and Decimal(text) == Decimal(repr(value))


def fits(value: Node, type: str) -> bool:
    text = str(value)
    if type == "json":
        return True
    if type == "bool":
        return text in ("true", "false")
    if type == "text":
        return text.startswith('"') and plain_key(text[1:-1]) is not None
    number = text[0] in "-0123456789"
    return number and (is_int64 if type == "int64" else is_float64)(text)


def plain_value(value: Node, type: str) -> Any:
    text = str(value)
    if type == "json":
        return text
    return float(text) if type == "float64" else json.loads(text)


class Plain:
    """One text flattened, member by member."""

    def __init__(self, step: Flattening) -> None:
        (self.laid,) = step.laid
        self.columns = {member.path: member for member in self.laid.members}
        self.inner = {path[:length] for path in self.columns for length in range(len(path))}
        self.counts: Counter[str] = Counter()

    def row(self, value: Node | None, nullable: bool) -> dict[str, Any]:
        found: dict[str, Any] = dict.fromkeys([*(member.name for member in self.laid.members), self.laid.rest])
        if value is None:
            return found
        if value.members is None:
            if value.text == "null":
                self.counts["coerced_json_null"] += 1
            else:
                self.counts["rest_no_object"] += 1
                found[self.laid.rest] = value.text
            return found
        if not value.members:
            if nullable:
                self.counts["rest_empty_object"] += 1
                found[self.laid.rest] = "{}"
            return found
        left = self._members(value, (), found)
        found[self.laid.rest] = str(left) if left is not None else None
        return found

    def _members(self, value: Node, path: tuple[str, ...], found: dict[str, Any]) -> Node | None:
        left, seen = [], set()
        for raw, inner in value.members or ():
            key = plain_key(raw)
            at = (*path, key or "")
            if key is None or (at not in self.columns and at not in self.inner):
                reason = "rest_without_column"
            elif key in seen:
                reason = "rest_repeated"
            elif str(inner) == "null":
                reason = "coerced_json_null"
            elif at in self.columns:
                member = self.columns[at]
                reason = "" if fits(inner, member.type) else "rest_other_type"
                if not reason:
                    found[member.name] = plain_value(inner, member.type)
            elif inner.members:
                rest = self._members(inner, at, found)
                left += [] if rest is None else [(raw, rest)]
                reason = ""
            else:
                reason = "rest_other_type" if inner.members is None else "rest_empty_object"
            if key is not None:
                seen.add(key)
            self.counts[reason] += bool(reason)
            if reason.startswith("rest_"):
                left.append((raw, inner))
        return Node(members=tuple(left)) if left else None


def dataset_of(*, nullable: bool) -> Dataset:
    schema = pa.schema([pa.field("n", pa.int64()), json_field("data", nullable=nullable)])
    return Dataset("t", schema, own=("n", "data"))


def batch_of(dataset: Dataset, rows: list[str | None]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(range(len(rows)), pa.int64()), pa.array(rows, pa.string())], schema=dataset.schema)


def settle(dataset: Dataset, rows: list[str | None], **asked: Any) -> tuple[Flattening, list[str]]:
    found = Found(("data",))
    for start in range(0, len(rows), 3):  # as slices come
        more = Found(("data",))
        more.count(batch_of(dataset, rows[start : start + 3]))
        found.add(more)
    return settled(dataset, Flatten(columns=("data",), **asked), found)


def columns_of(*rows: str, **asked: Any) -> dict[str, str]:
    step, _ = settle(dataset_of(nullable=True), list(rows), **asked)
    return {member.name: member.type for member in step.laid[0].members}


@given(st.lists(ROW, max_size=9), st.integers(1, 8), st.booleans(), st.integers(0, 3))
@example(
    [Node(members=(("a", Node(members=(("a", Node("1")),))), ("a", Node(members=(("b", Node("2")),)))))], 8, True, 0
)
def test_columns_and_rest_are_those_of_a_plain_flattening(
    rows: list[Node | None], most: int, nullable: bool, first: int
) -> None:
    nullable = nullable or None in rows
    dataset = dataset_of(nullable=nullable)
    texts = [None if row is None else str(row) for row in rows]
    step, _ = settle(dataset, texts[first:] + texts[:first], most=most)
    batch, counts = step.apply(batch_of(dataset, texts).slice(first))
    plain = Plain(step)
    wanted = [{"n": n, **plain.row(row, nullable)} for n, row in enumerate(rows)][first:]
    plain.counts.clear()
    for row in rows[first:]:
        plain.row(row, nullable)

    batch.validate(full=True)
    assert batch.schema == step.bind(dataset).schema
    assert repr(batch.to_pylist()) == repr(wanted)  # repr tells -0.0 from 0.0
    assert counts == +plain.counts
    assert len(step.laid[0].members) <= most
    RowText(step.bind(dataset)).lines(batch)


PATHS = st.lists(st.sampled_from(["a", "b", "A", "a.b", "", "é", '"']), min_size=1, max_size=2).map(tuple)


@given(st.lists(ROW, min_size=1, max_size=9), st.dictionaries(PATHS, st.sampled_from(list(TYPES)), min_size=1))
@example([Node(members=(("a", Node(text)),)) for text in (*LEAVES, *NUMBERS)], {("a",): "text"})
@example([Node(members=(("a", Node(text)),)) for text in (*LEAVES, *NUMBERS)], {("a",): "bool"})
@example([Node(members=(("a", Node(text)),)) for text in (*LEAVES, *NUMBERS)], {("a",): "int64"})
@example([Node(members=(("a", Node(text)),)) for text in (*LEAVES, *NUMBERS)], {("a",): "float64"})
@example([Node(members=(("a", Node(text)),)) for text in (*LEAVES, *NUMBERS)], {("a",): "json"})
def test_values_that_do_not_fit_named_members_stay_in_the_rest(
    rows: list[Node | None], given: dict[tuple[str, ...], str]
) -> None:
    named = {path: type for path, type in given.items() if len(path) == 1 or path[:1] not in given}
    schema = {".".join(["data", *map(json.dumps, path)]): type for path, type in named.items()}
    dataset = dataset_of(nullable=True)
    step, _ = settled(dataset, Flatten(columns=["data"], schema=schema), None)
    assert {member.path: member.type for member in step.laid[0].members} == named
    plain = Plain(step)
    batch, counts = step.apply(batch_of(dataset, [None if row is None else str(row) for row in rows]))
    batch.validate(full=True)
    assert repr(batch.to_pylist()) == repr([{"n": n, **plain.row(row, True)} for n, row in enumerate(rows)])
    assert counts == +plain.counts


@given(st.lists(objects(st.recursive(LEAF, objects, max_leaves=12)), min_size=1, max_size=9))
def test_a_member_has_a_type_only_if_all_its_values_have_it(rows: list[Node]) -> None:
    """So nothing is left in the rest for its type, unless it comes twice in one object."""
    dataset = dataset_of(nullable=False)
    texts: list[str | None] = [str(row) for row in rows]
    step, _ = settle(dataset, texts)
    _, counts = step.apply(batch_of(dataset, texts))
    assert counts.get("rest_other_type", 0) == 0
    assert parse_steps([json.loads(json.dumps(step.to_json()))]) == (step,)


def type_of(text: str) -> str:
    return "int64" if is_int64(text) else "float64" if is_float64(text) else "json"


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_what_it_is_exactly(text: str) -> None:
    assert columns_of(f'{{"a":{text}}}') == {"data.a": type_of(text)}


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
    | st.floats().map(repr)
)
def test_numbers_are_floats_only_where_the_shortest_spelling_is_the_same_number(text: str) -> None:
    if "n" not in text:  # what is not finite has no spelling in JSON
        assert columns_of(f'{{"a":{text}}}') == {"data.a": type_of(text)}


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (["true", "false", "null"], "bool"),
        (["1", "-9223372036854775808"], "int64"),
        (["1", "1.5"], "float64"),
        (["9007199254740993", "1.5"], "json"),
        (["9223372036854775808"], "json"),
        (["0.10000000000000001"], "json"),
        (['"a"', '""'], "text"),
        (['"\\ud800"'], "json"),
        (['"a"', "1"], "json"),
        (["true", "1"], "json"),
        (["[1]"], "json"),
        (["null"], "json"),
        (['{"b":1}', "2"], "json"),
    ],
)
def test_types_follow_from_all_values(values: list[str], type: str) -> None:
    assert columns_of(*(f'{{"a":{value}}}' for value in values)) == {"data.a": type}


def test_objects_are_opened_down_to_the_fifth_level() -> None:
    deep = '{"v":1}'
    for key in "fedcba":
        deep = f'{{"{key}":{deep}}}'
    assert columns_of(deep) == {"data.a.b.c.d.e": "json"}
    assert len("abcde") == DEEPEST


def test_a_null_beside_objects_keeps_none_of_them_shut() -> None:
    assert columns_of('{"a":null}', '{"a":{"b":1}}', '{"a":{}}') == {"data.a.b": "int64"}
    assert columns_of('{"a":null,"b":1}', '{"a":null}', '{"a":1}', '{"b":2}', most=1) == {"data.b": "int64"}


def test_the_most_frequent_members_get_the_columns_and_those_of_an_object_stand_together() -> None:
    rows = ['{"z":1,"o":{"x":1},"b":1}', '{"z":2,"b":2,"a":1}', '{"z":null,"o":{"y":1}}']
    assert list(columns_of(*rows)) == ["data.z", "data.o.x", "data.o.y", "data.b", "data.a"]
    assert list(columns_of(*rows, most=3)) == ["data.z", "data.b", "data.a"]
    _, notes = settle(dataset_of(nullable=True), list(rows), most=3)
    assert notes == ["2 members of data have no column, as 'data.o.x'; they are in data_rest"]


def test_names_that_are_taken_in_any_case_get_a_number() -> None:
    schema = pa.schema([pa.field("DATA.a", pa.int64()), json_field("data"), pa.field("data_rest", pa.int64())])
    dataset = Dataset("t", schema, own=("DATA.a", "data", "data_rest"))
    batch = pa.record_batch([[1], ['{"a":1,"A":2,"b":{"c":1},"b.c":2}'], [3]], schema=schema)
    found = Found(("data",))
    found.count(batch)
    step, notes = settled(dataset, Flatten(columns=["data"]), found)
    assert step.bind(dataset).own == (
        "DATA.a",
        "data.a_3",
        "data.A_2",
        "data.b.c",
        "data.b.c_2",
        "data_rest_2",
        "data_rest",
    )
    assert step.apply(batch)[0].to_pylist() == [
        {"DATA.a": 1, "data.a_3": 1, "data.A_2": 2, "data.b.c": 1, "data.b.c_2": 2, "data_rest_2": None, "data_rest": 3}
    ]
    assert "the member 'data.A' is the column 'data.A_2': its own name is taken" in notes


@pytest.mark.parametrize("key", ["\\u0000", "\\n", "\\u202e", "k" * 251, "\\ud800"])
def test_members_that_no_column_can_be_called_like_stay_in_the_rest(key: str) -> None:
    dataset, text = dataset_of(nullable=False), f'{{"{key}":1,"a":"x"}}'
    step, _ = settle(dataset, [text])
    batch, counts = step.apply(batch_of(dataset, [text]))
    assert batch.to_pylist() == [{"n": 0, "data.a": "x", "data_rest": f'{{"{key}":1}}'}]
    assert counts == {"rest_without_column": 1}


def test_text_with_white_space_is_read_and_what_is_no_json_is_refused() -> None:
    dataset = dataset_of(nullable=False)
    step, _ = settle(dataset, ['{ "a" : [ 1 ] , "b" : " x " }'])
    batch, _ = step.apply(batch_of(dataset, ['{ "a" : [ 1 ] , "b" : " x " }']))
    assert batch.to_pylist() == [{"n": 0, "data.a": "[1]", "data.b": " x ", "data_rest": None}]
    for text in ("{", '{"a":1}x', '{"a":}', '{"a":01}', '{"a":{"b":1}', '{"a":1,}', "", '{"a":"\x01"}'):
        with pytest.raises(StorageError, match="cannot be flattened"):
            settle(dataset, [text])
        with pytest.raises(StorageError, match="cannot be flattened"):
            step.apply(batch_of(dataset, ["{}", text]))


def test_more_members_than_can_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[str | None] = [
        "{" + ",".join(f'"{n}":{n}' for n in range(start, start + 400)) + "}" for start in (0, 400)
    ]
    monkeypatch.setattr(flattening, "MOST_MEMBERS", 500)
    with pytest.raises(UsageError, match="more than 500 different members"):
        settle(dataset_of(nullable=False), [rows[0], "{}", "{}", rows[1]])
    monkeypatch.setattr(members, "MOST_MEMBERS", 500)
    with pytest.raises(UsageError, match="more than 500 different members") as told:
        settle(dataset_of(nullable=False), rows)
    assert "--flatten-schema data.MEMBER:TYPE" in str(told.value.hint)


def test_two_thousand_columns_in_all_are_made_and_no_more() -> None:
    rows = ["{" + ",".join(f'"{n}":{n}' for n in range(2500)) + "}"]
    assert len(columns_of(*rows, most=2000)) == 1998
    with pytest.raises(UsageError, match="1 to 2,000"):
        columns_of("{}", most=2001)


GOOD = {"path": ["a"], "name": "data.a", "type": "int64"}


@pytest.mark.parametrize(
    "members",
    [
        [{**GOOD, "path": []}],
        [{**GOOD, "path": list("abcdef")}],
        [{**GOOD, "path": ["\ud800"]}],
        [{**GOOD, "type": "date"}],
        [GOOD, {**GOOD, "name": "data.b"}],
        [GOOD, {**GOOD, "path": ["a", "b"], "name": "data.b"}],
        [{**GOOD, "path": [str(n)], "name": f"data.{n}"} for n in range(2001)],
        [{"name": "data.a"}],
        [1],
        7,
    ],
)
def test_a_step_that_cannot_be_is_refused(members: Any) -> None:
    asked = {"columns": ["data"], "schema": None, "most": 200}
    step = {"step": "flatten", "asked": asked, "columns": [{"column": "data", "rest": "r", "members": [GOOD]}]}
    assert parse_steps([step])[0].laid[0].members[0].type == "int64"
    for odd in (
        {**step, "columns": [{"column": "data", "rest": "r", "members": members}]},
        {**step, "step": "redact"},
        {**step, "asked": {**asked, "schema": [1]}},
        {**step, "asked": {**asked, "columns": [[]]}},
        {**step, "asked": {**asked, "most": "many"}},
    ):
        with pytest.raises(ManifestError, match="a step that is not known"):
            parse_steps([odd])


@pytest.mark.parametrize(
    ("columns", "schema", "said"),
    [
        (["id"], None, "holds no JSON in the column 'id'"),
        (["nope"], None, "has no column 'nope'"),
        (["data", "data"], None, "none of them twice"),
        ([], None, "at least one column"),
        ("data", None, "not the text 'data'"),
        (["data"], {"metadata.a": "int64"}, "is of no column that is flattened"),
        (["data"], {}, "no member is named"),
        (["data"], {"data.a": "integer"}, "cannot have the type 'integer'"),
        (["data"], {"data.a": "int64", 'data."a"': "text"}, "named twice"),
        (["data"], {"data.a": "json", "data.a.b": "text"}, "lies in a member that has a column"),
        (["data"], {'data."a': "text"}, "cannot read the member"),
        (["data"], {'data."\\x"': "text"}, "cannot read the name"),
        (["data"], {"data.a.b.c.d.e.f": "text"}, "deeper than 5 levels"),
        (["data"], {'data."\\n"': "text"}, "a name that no column can have"),
        (["data"], {f"data.{n}": "text" for n in range(1999)}, "more than 2,000 columns"),
    ],
)
def test_what_cannot_be_flattened_is_refused(columns: list[str], schema: dict[str, str] | None, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        settled(EVENTS, Flatten(columns=columns, schema=schema), Found(("data",)) if schema is None else None)


def test_named_members_are_the_columns_and_no_others() -> None:
    dataset, text = dataset_of(nullable=False), '{"a":{"b":1,"c":2},"a.b":"x","":{"":true},"d":1.5}'
    schema = {"data.a.b": "int64", 'data."a.b"': "text", "data..": "bool", "data.d": "int64", "data.no": "json"}
    step, _ = settled(dataset, Flatten(columns=["data"], schema=schema), None)
    batch, counts = step.apply(batch_of(dataset, [text]))
    assert batch.drop_columns("n").to_pylist() == [
        {
            "data.a.b": 1,
            "data.a.b_2": "x",
            "data..": True,
            "data.d": None,
            "data.no": None,
            "data_rest": '{"a":{"c":2},"d":1.5}',
        }
    ]
    assert counts == {"rest_without_column": 1, "rest_other_type": 1}
