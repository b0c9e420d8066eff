"""CSV as the world writes it: other readers agree on the fields, and what cannot be a record spoils itself alone."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ingest_splitting import Dribble

from loading import MICROS, load, quarantined, stored
from penstock.loading.mapping import FieldMap
from penstock.loading.spreadsheet import Shape, read_csv
from penstock.loading.tables import TableReader

HEAD = "event_type,timestamp,"
LEAD = "seen,2026-11-01T12:00:00Z,"


def events(place: Path, text: str | bytes, **given: Any) -> list[dict[str, Any]]:
    """The data of the events of a CSV that is good from end to end."""
    result = load(place, text.encode() if isinstance(text, str) else text, "in.csv", **given)
    assert result.quarantined == 0, quarantined(result)
    return [json.loads(event["data"]) for event in stored(place / "events.db")]


def test_foreign_columns_become_text_in_data_and_empty_fields_null(tmp_path: Path) -> None:
    found = events(tmp_path, f'{HEAD}n,s,t\n{LEAD}05,"a ""b"", c",\n{LEAD},"",1.50\n')

    assert found == [{"n": "05", "s": 'a "b", c', "t": None}, {"n": None, "s": "", "t": "1.50"}]
    assert [event["timestamp"] for event in stored(tmp_path / "events.db")] == [MICROS, MICROS]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, end: str, mark: str) -> None:
    rows = ["event_type,timestamp,note,", "seen,2026-11-01,x,", '"seen",2026-11-01 12:00,"y\nz",', ",,,", "", ",,,"]
    text = "\ufeff" + end.join(row.replace(",", mark) for row in rows)

    assert events(tmp_path, text) == [{"note": "x"}, {"note": "y\nz"}]


def test_blank_lines_before_the_header_are_no_header(tmp_path: Path) -> None:
    result = load(tmp_path, f"\ufeff\n\r\n{HEAD}n\n{LEAD}1\nbad\n".encode(), "in.csv")

    assert result.inserted == 1
    assert quarantined(result)[0]["line"] == 5


def test_columns_without_a_name_are_kept_where_they_hold_something(tmp_path: Path) -> None:
    assert events(tmp_path, f",{HEAD},\n0,{LEAD}a,\n1,{LEAD},b\n") == [
        {"column_1": "0", "column_4": "a"},
        {"column_1": "1", "column_5": "b"},
    ]


def test_our_own_columns_hold_what_they_mean_and_empty_means_missing(tmp_path: Path) -> None:
    text = f'{HEAD}id,session_id,category,priority,data,metadata,more\n{LEAD}"","",,"3","{{""a"": 1.50}}",,x\n'

    assert events(tmp_path, text) == [{"a": 1.5, "more": "x"}]
    event = stored(tmp_path / "events.db")[0]
    assert (event["data"], event["priority"], event["session_id"]) == ('{"a":1.50,"more":"x"}', 3, None)


def test_columns_can_be_mapped_by_their_whole_name(tmp_path: Path) -> None:
    text = "what,when,user.name\nseen,1793534400,ann\n"

    assert events(tmp_path, text, mapping={"event_type": "what", "timestamp": "when"}) == [{"user.name": "ann"}]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f"{LEAD}1,2", "the fields do not fit the header: 4 fields instead of 3"),
        ("seen", "the fields do not fit the header: 1 fields instead of 3"),
        (f"{LEAD}a\x00b", "a raw NUL"),
        ("seen,never,x", "timestamp cannot be read: not an RFC 3339 time: 'never'"),
        (",2026-11-01,x", "event_type is missing"),
        ("feature_used,,x", "timestamp is missing"),
    ],
)
def test_a_bad_record_spoils_itself_alone(tmp_path: Path, bad: str, reason: str) -> None:
    result = load(tmp_path, f'{HEAD}n\n{LEAD}"two\nlines"\n\n{bad}\n{LEAD}"mult\niline"\n{LEAD}z'.encode(), "in.csv")

    assert [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")] == [
        "two\nlines",
        "mult\niline",
        "z",
    ]
    (entry,) = quarantined(result)
    assert (entry["line"], entry["reason"], entry["raw"]) == (5, reason, bad)


@pytest.mark.parametrize("after", [f"{LEAD}y\n{LEAD}z\n", f"{LEAD}y\r\n{LEAD}z"])
def test_a_quote_that_is_never_closed_spoils_its_line_alone(tmp_path: Path, after: str) -> None:
    result = load(tmp_path, f'{HEAD}n\n{LEAD}x\n{LEAD}"open\n{after}'.encode(), "in.csv")

    assert [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")] == ["x", "y", "z"]
    (entry,) = quarantined(result)
    assert (entry["line"], entry["reason"], entry["raw"]) == (3, "a quoted field is not closed", f'{LEAD}"open')


def test_a_record_that_is_not_utf8_is_kept_in_base64(tmp_path: Path) -> None:
    result = load(
        tmp_path, f"{HEAD}n\n{LEAD}\xff\n{LEAD}é\n".encode("latin-1").replace(b"\xe9", "é".encode()), "in.csv"
    )

    assert [json.loads(event["data"])["n"] for event in stored(tmp_path / "events.db")] == ["é"]
    assert [(entry["line"], "raw_base64" in entry) for entry in quarantined(result)] == [(2, True)]


def test_a_stray_quote_inside_a_field_is_just_a_quote(tmp_path: Path) -> None:
    assert events(tmp_path, f'{HEAD}n\n{LEAD}5" pipe\n{LEAD}"a"b\n') == [{"n": '5" pipe'}, {"n": "ab"}]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"a,b,a\n1,2,3\n", "the header has the name 'a' twice"),
        (b'"a,b\n1,2\n', "the CSV header is not one record"),
        (b"a,\xff\n1,2\n", "the CSV header is not UTF-8"),
        ("event_type,timestamp\n".encode("utf-16-le"), "the CSV header holds a NUL; it may be UTF-16"),
    ],
)
def test_a_header_that_names_no_columns_leaves_the_file_unread(tmp_path: Path, text: bytes, detail: str) -> None:
    result = load(tmp_path, text, "in.csv")

    assert (result.records, result.quarantined) == (1, 1)
    assert quarantined(result)[0]["reason"].startswith(f"the file is damaged: {detail}")


@pytest.mark.parametrize("text", [b"", b"\n", b"\n\r\n\r", b"event_type,timestamp", b"event_type,timestamp\n\n,\n"])
def test_no_records_are_no_records(tmp_path: Path, text: bytes) -> None:
    assert load(tmp_path, text, "in.csv").records == 0


cells = st.text(st.sampled_from('ab",;\n\r é'), max_size=4)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=5), st.integers(1, 9), st.booleans())
def test_fields_are_those_that_another_writer_wrote(rows: list[list[str]], size: int, crlf: bool) -> None:
    target = io.StringIO(newline="")
    writer = csv.writer(target, lineterminator="\r\n" if crlf else "\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["one", "two"])
    writer.writerows(rows)
    tables = TableReader(fields=FieldMap(), unit="line")

    found = []
    for portion in read_csv(Dribble(target.getvalue().encode(), size), tables, limit=1 << 30):
        assert not portion.rejects
        assert portion.rows is not None
        assert portion.rows.extra is not None
        found += [json.loads(text) for text in portion.rows.extra.to_pylist()]

    assert found == [{"one": one, "two": two} for one, two in rows if one or two]


def taken_apart(text: str, *, size: int, limit: int) -> list[tuple[int, bytes, bool]]:
    """Every record of a CSV in order: its line, its text, and whether it can be a row."""
    found: list[tuple[int, bytes, bool]] = []
    tables = TableReader(fields=FieldMap(), unit="line")
    for portion in read_csv(Dribble(text.encode(), size), tables, limit=limit):
        rows = portion.rows
        here = [(reject.number, reject.raw, False) for reject in portion.rejects]
        here += [] if rows is None else [(*rows.locate(row), True) for row in range(len(rows))]
        found += sorted(here)
    return found


@given(st.lists(st.text(st.sampled_from('a",\n'), max_size=8), max_size=6), st.integers(1, 9), st.integers(2, 9))
def test_no_byte_of_any_text_at_all_is_lost(rows: list[str], size: int, limit: int) -> None:
    text = "\n".join(["x,y", *rows])

    found = taken_apart(text, size=size, limit=limit)

    numbers = [number for number, _, _ in found]
    assert numbers == sorted(set(numbers))
    for number, raw, _ in found:
        assert text.split("\n")[number - 1].startswith(raw.decode().split("\n")[0])
    assert b"".join(raw for _, raw, _ in found).count(b"a") == "".join(rows).count("a")


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_records_over_the_limit_are_told_and_the_others_come(size: int) -> None:
    long = '"' + "x\n" * 20 + '",1'
    text = f"a,b\n1,2\n{long}\n3,4\n{'y' * 50}\n5,6\n"

    assert taken_apart(text, size=size, limit=len(long)) == [
        (2, b"1,2", True),
        (3, long.encode(), True),
        (24, b"3,4", True),
        (25, b"y" * 50, False),
        (26, b"5,6", True),
    ]


def test_a_block_of_whole_records_is_found_in_one_step() -> None:
    shape = Shape(b",")

    found = shape.many.match(b'a,"b\n"\r\nc\rd,"')

    assert found is not None
    assert found[0] == b'a,"b\n"\r\nc\r'
