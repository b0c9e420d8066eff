"""Mappings settled against the shape of a table: what is found by name, what has to be said, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import InvalidMapping
from penstock.model.times import TimeUnit
from penstock.sources.tables.mapping import adopt
from penstock.sources.tables.table import Shape

NEEDED = {"timestamp": "created_at", "event_type": "name"}


def shape(*columns: str, **given: Any) -> Shape:
    """A table with these columns, ``id`` its INTEGER PRIMARY KEY unless another key is given."""
    facts: dict[str, Any] = {
        "name": "hits",
        "columns": columns,
        "rowid": "rowid",
        "key": "id",
        "autoincrement": False,
        "indexed": frozenset(),
        "uniques": frozenset(),
        "sha256": "0" * 64,
    }
    return Shape(**{**facts, **given})


PLAIN = shape("id", "name", "created_at", "path", "ms")


def test_an_integer_primary_key_is_seq_and_not_the_id() -> None:
    adoption = adopt(PLAIN, NEEDED)

    assert adoption.fields == {"event_type": "name", "timestamp": "created_at", "seq": "id"}
    assert (adoption.numbering.seq, adoption.numbering.checked, adoption.numbering.place) == ("`id`", False, None)
    assert adoption.rest == ("path", "ms")
    assert adoption.describe()["ids"] == "table:seq"
    assert adoption.describe()["order"] == "primary key, assumed"


def test_the_key_is_the_id_as_well_when_the_mapping_says_so() -> None:
    adoption = adopt(PLAIN, {**NEEDED, "id": "ID"})

    assert adoption.fields["id"] == adoption.fields["seq"] == "id"
    assert adoption.describe()["ids"] == "column, unique"


def test_autoincrement_needs_no_assumption() -> None:
    adoption = adopt(shape("id", "name", "created_at", autoincrement=True), NEEDED)

    assert adoption.describe()["order"] == "primary key, autoincrement"


def test_fields_find_columns_of_their_own_name_without_case() -> None:
    columns = ("pk", "ID", "Event_Type", "TIMESTAMP", "Session_Id", "priority", "DATA", "metadata", "category", "x")
    adoption = adopt(shape(*columns, key="pk", uniques=frozenset({frozenset({"ID"})})), {})

    assert adoption.fields == {
        "id": "ID",
        "category": "category",
        "event_type": "Event_Type",
        "timestamp": "TIMESTAMP",
        "session_id": "Session_Id",
        "priority": "priority",
        "data": "DATA",
        "metadata": "metadata",
        "seq": "pk",
    }
    assert adoption.rest == ("x",)
    assert adoption.describe()["ids"] == "column, unique"


def test_none_leaves_a_column_of_the_fields_name_to_data() -> None:
    adoption = adopt(shape("id", "event_type", "timestamp", "priority"), {"priority": ":none"})

    assert "priority" not in adoption.fields
    assert adoption.rest == ("priority",)


def test_names_fold_ascii_letters_only() -> None:
    adoption = adopt(shape("id", "name", "created_at", "É", "é"), {**NEEDED, "session_id": "é"})

    assert adoption.fields["session_id"] == "é"
    assert adoption.rest == ("É",)


@pytest.mark.parametrize("unit", list(TimeUnit))
def test_units_stand_behind_the_column(unit: TimeUnit) -> None:
    adoption = adopt(PLAIN, {**NEEDED, "timestamp": f"Created_At:{unit}", "received_at": "ms:us"})

    assert adoption.fields["timestamp"] == "created_at"
    assert adoption.units == {"timestamp": unit, "received_at": TimeUnit.US}
    assert adoption.describe()["units"] == {"timestamp": str(unit), "received_at": "us"}


def test_a_column_that_is_called_like_a_unit_or_none_is_the_column() -> None:
    adoption = adopt(shape("id", "a:ms", "a", ":none"), {"timestamp": "a:ms", "event_type": ":none"})

    assert adoption.fields["timestamp"] == "a:ms"
    assert adoption.fields["event_type"] == ":none"
    assert adoption.units["timestamp"] is TimeUnit.AUTO


def test_two_fields_may_share_a_column() -> None:
    adoption = adopt(PLAIN, {**NEEDED, "received_at": "created_at", "session_id": "name"})

    assert adoption.rest == ("path", "ms")


def test_without_any_number_rowid_is_the_order() -> None:
    adoption = adopt(shape("name", "created_at", "rowid", key=None, rowid="_rowid_"), NEEDED)

    assert (adoption.numbering.seq, adoption.numbering.checked) == ("_rowid_", False)
    assert "seq" not in adoption.fields
    assert adoption.describe()["order"] == "rowid, assumed"
    assert adoption.rest == ("rowid",)


def test_a_mapped_seq_is_checked_and_found_by_row_number_unless_it_has_an_index() -> None:
    mapping = {**NEEDED, "seq": "n"}
    bare = adopt(shape("id", "name", "created_at", "n"), mapping)
    indexed = adopt(shape("id", "name", "created_at", "n", indexed=frozenset({"n"})), mapping)

    assert (bare.numbering.seq, bare.numbering.checked, bare.numbering.place) == ("`n`", True, "rowid")
    assert (indexed.numbering.checked, indexed.numbering.place) == (True, None)
    assert bare.describe()["order"] == "mapped column, assumed"
    assert bare.fields["id"] == "id"


def test_a_column_called_seq_counts_only_if_it_is_unique_and_there_is_no_key() -> None:
    columns = ("seq", "name", "created_at")

    assert "seq" in adopt(shape(*columns, key=None), NEEDED).rest
    assert adopt(shape(*columns, key=None, uniques=frozenset({frozenset({"seq"})})), NEEDED).numbering.seq == "`seq`"
    assert "seq" in adopt(shape("id", *columns, uniques=frozenset({frozenset({"seq"})})), NEEDED).rest
    assert (
        adopt(
            shape(*columns, key=None, uniques=frozenset({frozenset({"seq"})})), {**NEEDED, "seq": ":none"}
        ).numbering.seq
        == "rowid"
    )


def test_a_table_without_rowid_goes_by_its_key() -> None:
    adoption = adopt(shape("id", "name", "created_at", rowid=None, indexed=frozenset({"id"})), NEEDED)

    assert (adoption.numbering.seq, adoption.numbering.checked, adoption.numbering.place) == ("`id`", True, None)


@pytest.mark.parametrize(
    ("mapping", "said", "hinted"),
    [
        ({"event_type": "name"}, "'timestamp'", "id, name, created_at, path, ms"),
        ({"timestamp": "created_at"}, "'event_type'", "--map event_type=COLUMN"),
        ({**NEEDED, "timestamp": ":none"}, "'timestamp'", "its columns are"),
        ({**NEEDED, "timestamp": "createdat"}, "no column 'createdat'", "did you mean 'created_at'?"),
        ({**NEEDED, "timestamp": "createdat:ms"}, "no column 'createdat:ms'", "did you mean 'created_at'?"),
        ({**NEEDED, "event_type": "name:ms"}, "no column 'name:ms'", "did you mean 'name'?"),
        ({**NEEDED, "timestamp": "created_at:min"}, "unknown unit 'min'", ":ms"),
        ({**NEEDED, "session_id": ""}, "no column ''", "its columns are"),
        ({**NEEDED, "session_id": "x\x00\ud800"}, "no column", "its columns are"),
    ],
)
def test_refusals_name_what_is_missing_and_what_there_is(mapping: dict[str, str], said: str, hinted: str) -> None:
    with pytest.raises(InvalidMapping) as caught:
        adopt(PLAIN, mapping)

    assert said in caught.value.message
    assert hinted in str(caught.value.hint)


def test_rows_without_any_number_come_as_they_come() -> None:
    adoption = adopt(shape("a", "name", "created_at", key=None, rowid=None), NEEDED)

    assert adoption.numbering is None
    assert adoption.describe()["order"] == "as it came, assumed"


def test_a_constant_is_text_in_quotes_and_no_column() -> None:
    adoption = adopt(PLAIN, {"timestamp": "created_at", "event_type": "'it''s, new'"})

    assert (adoption.sql("event_type"), adoption.sql("timestamp")) == ("'it''s, new'", "`created_at`")
    assert adoption.rest == ("name", "path", "ms")
    quoted = adopt(shape("'x'", "created_at"), {"timestamp": "created_at", "event_type": "'x'"})
    assert quoted.sql("event_type") == "`'x'`"
    with pytest.raises(InvalidMapping, match="seq cannot be a constant"):
        adopt(PLAIN, {**NEEDED, "seq": "'1'"})


def test_long_lists_of_columns_are_cut() -> None:
    with pytest.raises(InvalidMapping) as caught:
        adopt(shape(*(f"c{number}" for number in range(2000))), {})

    assert str(caught.value.hint).endswith("c39 and 1960 more")
