"""Cursors over SQLite: every value goes where its storage class says, and what does not fit is told, never guessed."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import Cancelled, InvalidEvent, InvalidQuery, LimitReached, StorageError
from penstock.model import jsontext
from penstock.model.times import TimeUnit
from penstock.pipeline.cursor import CursorFault
from penstock.pipeline.gathering import Gather, Gathered, GatherKind, Note
from penstock.pipeline.moments import moment
from penstock.sources.connection import Connection

KINDS = GatherKind
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
ENDLESS = f"{NUMBERS}) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    connection = Connection(tmp_path_factory.mktemp("any") / "any.db", mode="rwc", busy_timeout=1)
    connection.execute("CREATE TABLE t (a, b, c)")
    connection.execute("INSERT INTO t VALUES (1, 'one', NULL), (2, 'two', 2.5), (3, 'three', x'00ff')")
    yield connection
    connection.close()


def gathered(
    store: Connection, values: Sequence[Any], kind: GatherKind, *, spelled: str = "?", **settings: Any
) -> Gathered:
    """One column of values, each bound as a parameter."""
    sql = "SELECT * FROM (VALUES " + ", ".join(f"({spelled})" for _ in values) + ")"
    with store.cursor(sql, values, columns=[Gather("v", kind, **settings)]) as cursor:
        found = cursor.take(len(values) + 1, 1 << 30)
        assert cursor.take(1, 1) is None
    assert found is not None
    found.batch.validate(full=True)
    return found


ODD = [
    None,
    5,
    -1,
    2.5,
    7.0,
    float("inf"),
    "text",
    "",
    b"\x00\xff",
    '{"a" : [1, "b c"]}',
    "null",
    "2024-02-29",
    "nul\0",
]
FITTING: dict[GatherKind, list[Any]] = {
    KINDS.INT64: [None, 5, -1],
    KINDS.FLOAT64: [None, 5.0, -1.0, 2.5, 7.0],
    KINDS.BOOL: [None],
    KINDS.TEXT: [None, "text", "", '{"a" : [1, "b c"]}', "null", "2024-02-29"],
    KINDS.JSON: [None, "5", "-1", "2.5", "7.0", '{"a":[1,"b c"]}'],
    KINDS.BINARY: [None, b"\x00\xff"],
    KINDS.DECIMAL: [None, Decimal("5.00"), Decimal("-1.00"), Decimal("2.50"), Decimal("7.00")],
}


@pytest.mark.parametrize("kind", FITTING)
def test_a_value_is_in_its_column_or_null_and_noted(store: Connection, kind: GatherKind) -> None:
    found = gathered(store, ODD, kind, precision=12, scale=2)
    values = found.batch["v"].to_pylist()
    assert [None, *(value for value in values if value is not None)] == FITTING[kind]
    noted = {*found.notes.rows(0, Note.MISFIT, Note.INFINITE, Note.JSON_NULL).to_pylist()}
    assert noted == {row for row, value in enumerate(values) if value is None} - {0}
    misfits = {misfit.row: (misfit.storage, misfit.shown) for misfit in found.misfits}
    assert misfits.get(8, ("blob", b"\x00\xff")) == ("blob", b"\x00\xff")
    assert misfits.get(4, ("real", b"7.0")) == ("real", b"7.0")


def test_a_real_without_a_fraction_is_no_integer_and_booleans_are_0_and_1(store: Connection) -> None:
    assert [m.shown for m in gathered(store, [7.0, 2**63 - 1], KINDS.INT64).misfits] == [b"7.0"]
    assert gathered(store, [0, 1, 2], KINDS.BOOL).batch["v"].to_pylist() == [False, True, None]
    exact = gathered(store, [2**53, 2**53 + 1, -(2**63), 2**63 - 1], KINDS.FLOAT64)
    assert exact.batch["v"].to_pylist() == [2.0**53, None, -(2.0**63), None]


def test_dates_are_days_that_exist(store: Connection) -> None:
    days = ["2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "0000-01-01", "2024-2-1", "2024-13-01"]
    found = gathered(store, days, KINDS.TIME, unit=TimeUnit.ISO).batch["v"].to_pylist()
    ends = [None if at is None else str(pa.scalar(at, pa.timestamp("us")).as_py().date()) for at in found]
    assert ends == [days[0], None, days[2], days[3], None, None, None]


def test_decimals_keep_their_digits_and_never_lose_one(store: Connection) -> None:
    given_ = ["1.10", "-000.5", "+7", ".25", "1e3", "12345678.9", "0.123", 0.1, 1e22, 5e-324, -2.50]
    found = gathered(store, given_, KINDS.DECIMAL, precision=9, scale=2).batch["v"].to_pylist()
    wanted = ["1.10", "-0.50", "7.00", "0.25", None, None, None, "0.10", None, None, "-2.50"]
    assert [None if each is None else str(each) for each in found] == wanted


def test_of_many_misfits_some_are_shown_and_all_are_counted(store: Connection) -> None:
    found = gathered(store, ["x" * 5000] * 250, KINDS.INT64)
    assert len(found.misfits) == 100
    assert {misfit.shown for misfit in found.misfits} == {b"x" * 1024}
    assert found.more_misfits == {0: 150}
    assert gathered(store, [1, 2], KINDS.INT64).more_misfits == {}


def test_powers_and_their_neighbours_are_spelled_as_python_spells_them(store: Connection) -> None:
    powers = [2.0**power for power in range(-1074, 1024)] + [10.0**power for power in range(-320, 309)]
    reals = [math.nextafter(real, toward) for real in powers for toward in (0.0, real, math.inf)]
    reals += [odd * 2.0**-power for power in range(15, 60) for odd in range(1, 200, 2)]  # halfway between two spellings
    reals += [85.14694213867188, 95.68527221679688, 3190.3549194335938]
    for start in range(0, len(reals), 1000):
        some = [real for real in reals[start : start + 1000] if math.isfinite(real)]
        assert gathered(store, some, KINDS.ANY).batch["v"].to_pylist() == [repr(real) for real in some]


@given(st.lists(st.floats(allow_nan=False) | st.floats(-1e7, 1e7).map(lambda real: round(real, 3)), min_size=1))
@settings(max_examples=300)
def test_reals_are_spelled_as_python_spells_them(store: Connection, reals: list[float]) -> None:
    words = {"inf": '"Infinity"', "-inf": '"-Infinity"'}
    found = gathered(store, reals, KINDS.ANY).batch["v"].to_pylist()
    assert found == [words.get(repr(real), repr(real)) for real in reals]


digits = st.integers(0, 12).map(lambda power: 10**power).flatmap(lambda top: st.integers(0, top))
numbers = st.sampled_from(["", "-", "+", "0"]).flatmap(lambda sign: digits.map(lambda number: f"{sign}{number}"))
spelled_times = st.one_of(
    st.datetimes().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(
        r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{1,10})?)?)?"
        r" ?(Z|z|[+-][0-2][0-9](:?[0-6][0-9])?)?\Z"
    ),
    numbers,
    st.tuples(numbers, numbers).map(".".join),
    st.integers(0, 10**20).map(str),
    st.text(max_size=12),
)


def _moment(text: str, unit: TimeUnit) -> tuple[int, bool] | None:
    try:
        return moment(text, unit)
    except InvalidEvent:
        return None


@given(
    st.lists(spelled_times, min_size=1, max_size=20),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 64).map(lambda bits: (1 << bits) // 3), max_size=10),
    st.lists(st.floats(allow_nan=False) | st.floats(1e9, 1e19) | st.floats(1e9, 2e9), max_size=10),
    st.sampled_from(list(TimeUnit)),
)
@settings(max_examples=500)
def test_a_time_is_what_moments_say_it_is(
    store: Connection, texts: list[str], integers: list[int], reals: list[float], unit: TimeUnit
) -> None:
    values = [*texts, *integers, *reals]
    found = gathered(store, values, KINDS.TIME, unit=unit)
    wanted = [_moment(value if isinstance(value, str) else repr(value), unit) for value in values]
    assert found.batch["v"].to_pylist() == [None if each is None else each[0] for each in wanted]
    kept = len(texts) + len(integers)
    cut = [row for row, each in enumerate(wanted) if each is not None and each[1] and row < kept]
    assert found.notes.rows(0, Note.CUT).to_pylist() == cut
    assert [misfit.row for misfit in found.misfits] == [row for row, each in enumerate(wanted) if each is None]


def test_a_time_that_is_shown_is_shown_whole(store: Connection) -> None:
    spaced = " " * 3000 + "2024-01-01"
    found = gathered(store, [spaced, "x" * 3000], KINDS.TIME)
    assert found.batch["v"].to_pylist() == [1_704_067_200_000_000, None]
    assert [(misfit.row, len(misfit.shown)) for misfit in found.misfits] == [(1, 3000)]


scraps = st.sampled_from([*'{}[],:"', " ", "\n", "1", "-", "0", ".", "e", "true", "null", '"a"', "\\", "\\ud800", "é"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.lists(scraps, max_size=8).map("".join)
        | anything.map(lambda value: json.dumps(value, indent=1))
        | anything.map(lambda value: json.dumps(value, ensure_ascii=False)),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=500)
def test_json_is_what_jsontext_takes_and_as_it_compacts_it(store: Connection, texts: list[str]) -> None:
    found = gathered(store, texts, KINDS.JSON).batch["v"].to_pylist()
    for text, value in zip(texts, found, strict=True):
        try:
            wanted = jsontext.compact(text.encode("utf-8", "surrogatepass")).decode()
        except InvalidEvent:
            wanted = "null"
        assert value == (None if wanted == "null" else wanted), text


def test_white_space_joins_nothing(store: Connection) -> None:
    texts = ["1 2", "[1 2]", "tr ue", "- 1", "1 .5", '"a" "b"', '{"a" 1}', "1\n", " [ 1 ,\t2 ] ", '["a b"]']
    kept = [None] * 7 + ["1", "[1,2]", '["a b"]']
    assert gathered(store, texts, KINDS.JSON).batch["v"].to_pylist() == kept


def test_json_is_nested_as_deeply_as_elsewhere(store: Connection) -> None:
    texts = ["[" * depth + "]" * depth for depth in (500, 501, 5000)]
    assert gathered(store, texts, KINDS.JSON).batch["v"].to_pylist() == [texts[0], None, None]


def test_any_value_becomes_a_member_or_a_text(store: Connection) -> None:
    values = [None, 5, -0.0, 'a"\n', b"\x00\xff", float("-inf")]
    kept = ["null", "5", "-0.0", r'"a\"\n"', '"AP8="', '"-Infinity"']
    assert gathered(store, values, KINDS.ANY).batch["v"].to_pylist() == kept
    found = gathered(store, values, KINDS.NAMED)
    assert found.batch["v"].to_pylist() == [None, "5", "-0.0", 'a"\n', "AP8=", "-Inf"]
    assert found.notes.counts() == {(0, Note.NUMBER): 3, (0, Note.BLOB): 1}
    broken = gathered(store, [b"\xff\x00a"], KINDS.PLAIN, spelled="CAST(? AS TEXT)")
    assert broken.batch["v"].to_pylist() == ["/wBh"]
    assert broken.notes.counts() == {(0, Note.INVALID_UTF8): 1}


def test_an_id_has_its_bounds(store: Connection) -> None:
    values = ["x" * 1024, "é" * 512, "x" * 1025, "é" * 513, "", "a\tb", "a\x7fb", None, 7, b"\x00"]
    found = gathered(store, values, KINDS.ID)
    assert found.batch["v"].to_pylist() == [*values[:2], None, None, None, None, None, None, "7", "AA=="]
    assert found.notes.rows(0, Note.MISFIT).to_pylist() == [2, 3, 5, 6]
    assert found.notes.rows(0, Note.EMPTY).to_pylist() == [4]
    assert found.notes.rows(0, Note.BLOB).to_pylist() == [9]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_blobs_are_base64(store: Connection, blobs: list[bytes]) -> None:
    assert gathered(store, blobs, KINDS.PLAIN).batch["v"].to_pylist() == [base64.b64encode(b).decode() for b in blobs]


def test_an_object_is_made_of_members_alone(store: Connection) -> None:
    columns = [Gather("data", KINDS.OBJECT, members=("a", 'b"', "c")), Gather("none", KINDS.OBJECT)]
    with store.cursor("SELECT a, b, c FROM t", columns=columns) as cursor:
        found = cursor.take(10, 1 << 20)
    assert found is not None
    wanted = [{"a": 1, 'b"': "one", "c": None}, {"a": 2, 'b"': "two", "c": 2.5}, {"a": 3, 'b"': "three", "c": "AP8="}]
    assert [json.loads(text) for text in found.batch["data"].to_pylist()] == wanted
    assert found.batch["none"].to_pylist() == ["{}"] * 3
    assert found.notes.counts(pa.array([True, True, False])) == {}
    assert found.notes.counts() == {(0, Note.BLOB): 1}


def test_rows_are_taken_by_their_number_and_by_their_bytes(store: Connection) -> None:
    sql = f"{NUMBERS} LIMIT 100) SELECT i, printf('%.*c', i, 'x') FROM n"
    columns = [Gather("i", KINDS.INT64), Gather("x", KINDS.TEXT)]
    found: list[int] = []
    with store.cursor(sql, columns=columns) as cursor:
        while (batch := cursor.take(7, 200)) is not None:
            size = sum(8 + len(text) for text in batch.batch["x"].to_pylist())
            assert batch.batch.num_rows <= 7
            assert size <= 200 or batch.batch.num_rows == 1
            found += batch.batch["i"].to_pylist()
    assert found == list(range(1, 101))


@pytest.mark.parametrize("measured", ["", ", printf('%.*c', i, 'x'), i * 0.5"])
def test_slices_hold_every_row_once_within_their_limits(store: Connection, measured: str) -> None:
    sql = f"{NUMBERS} LIMIT 200) SELECT i * 3, 500 - i, 0{measured} FROM n"
    sizes = {i * 3: 10 + (i + 8 if measured else 0) for i in range(1, 201)}
    with store.cursor(sql) as cursor:
        cuts = [cut for some in cursor.cut(9, 300, overhead=10, most=4) for cut in some]
    assert sum(cut.rows for cut in cuts) == 200
    for before, cut in zip([None, *cuts], cuts, strict=False):
        assert cut.first == (3 if before is None else before.last + 3)
        within = [size for number, size in sizes.items() if cut.first <= number <= cut.last]
        assert (cut.rows, cut.bytes) == (len(within), sum(within))
        assert cut.rows <= 9
        assert cut.bytes <= 300 or cut.rows == 1
        assert cut.places == (500 - cut.last // 3, 500 - cut.first // 3)


@pytest.mark.parametrize("numbers", ["(5), (7), (7)", "(5), (9), (7)"])
def test_a_number_that_does_not_ascend_cuts_nothing(store: Connection, numbers: str) -> None:
    with (
        store.cursor(f"SELECT column1, 0, 0 FROM (VALUES {numbers})") as cursor,
        pytest.raises(CursorFault, match="repeated: 7"),
    ):
        next(cursor.cut(2, 1000, overhead=0, most=1))


REFUSED = {
    "": "is empty",
    " -- nothing": "is empty",
    "SELECT 1; SELECT 2": "more than one statement",
    "SELECT 1; nonsense": "more than one statement",
    "INSERT INTO t VALUES (1, 2, 3)": "writes",
    "DELETE FROM t RETURNING a": "writes",
    "VACUUM INTO 'other.db'": "writes|ATTACH",
    "ATTACH 'other.db' AS other": "may not use ATTACH",
    "DETACH main": "may not use DETACH",
    "PRAGMA journal_mode": "may not use PRAGMA journal_mode",
    "SELECT name FROM pragma_database_list": "may not use PRAGMA",
    "SELECT load_extension('x')": "load_extension",
    "SELECT penstock_scan(256, 1)": "may not use the function penstock_scan",
    "SELECT a FROM t WHERE a > ?1 OR a = @other": "parameter ",
    "BEGIN": "gives no rows",
    "SELECT missing FROM t": "no such column: missing",
    "SELECT * FROM missing": "no such table: missing",
    "SELEC 1": "syntax error",
    "SELECT abs(-9223372036854775807 - 1)": "integer overflow",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_somebodys_query_is_one_that_reads(store: Connection, sql: str) -> None:
    with (
        pytest.raises(InvalidQuery, match=REFUSED[sql]),
        store.cursor(sql, columns=[Gather("v", KINDS.ANY)], guarded=True) as cursor,
    ):
        cursor.take(1, 1)
    assert store.query("SELECT count(*) AS n FROM t") == [{"n": 3}]
    assert store.query("PRAGMA data_version")  # what guards one statement guards no other


def test_somebodys_query_may_recurse_search_and_end_with_a_comment(store: Connection) -> None:
    store.execute("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(word)")
    store.execute("INSERT INTO words VALUES ('alpha beta'), ('gamma')")
    for sql in (
        "SELECT word FROM words WHERE words MATCH 'beta' ; -- found",
        f"{NUMBERS} LIMIT 3) SELECT max(i) FROM n /* top */ ; ;",
    ):
        with store.cursor(sql, columns=[Gather("v", KINDS.ANY)], guarded=True) as cursor:
            found = cursor.take(5, 1 << 20)
            assert found is not None
            assert found.batch.num_rows == 1
            assert cursor.take(5, 1) is None


def test_a_query_says_what_it_gives_before_it_is_run(store: Connection) -> None:
    store.execute('CREATE TABLE IF NOT EXISTS typed (id INTEGER, "when" DATETIME, price DECIMAL(10, 2), other)')
    with store.cursor('SELECT *, price * 2 AS "twice ü" FROM typed', guarded=True) as cursor:
        assert cursor.described == [
            ("id", "INTEGER"),
            ("when", "DATETIME"),
            ("price", "DECIMAL(10, 2)"),
            ("other", None),
            ("twice ü", None),
        ]


def test_a_query_that_never_ends_is_ended_when_its_time_is_over(store: Connection) -> None:
    connection = Connection(store.path, mode="ro", busy_timeout=1, until=time.monotonic() + 0.2)
    try:
        with (
            pytest.raises(LimitReached, match="its time was over"),
            connection.cursor(ENDLESS, columns=[Gather("n", KINDS.INT64)], guarded=True) as cursor,
        ):
            cursor.take(1, 1)
        with connection.cursor("SELECT 1", columns=[Gather("n", KINDS.INT64)]) as cursor:
            assert cursor.take(1, 1) is not None, "what is not somebody else's goes on"
    finally:
        connection.close()


def test_a_cursor_is_interrupted_from_another_thread(store: Connection) -> None:
    with store.cursor(ENDLESS, columns=[Gather("n", KINDS.INT64)]) as cursor:
        threading.Timer(0.1, store.interrupt).start()
        with pytest.raises(Cancelled, match="interrupted"):
            cursor.take(1, 1)
        with pytest.raises(Cancelled):
            cursor.take(1, 1)
    assert store.query("SELECT count(*) AS n FROM t") == [{"n": 3}]


def test_a_cursor_that_was_interrupted_gives_no_row_that_is_left(store: Connection) -> None:
    with store.cursor(f"{NUMBERS} LIMIT 100) SELECT i FROM n", columns=[Gather("n", KINDS.INT64)]) as cursor:
        assert cursor.take(10, 1 << 20) is not None
        store.interrupt()
        with pytest.raises(Cancelled, match="interrupted"):
            cursor.take(10, 1 << 20)


def test_a_cursor_that_is_open_still_ends_with_its_connection(tmp_path: Path) -> None:
    """Who closes a database last takes its log away, which no connection does whose query goes on."""
    database = tmp_path / "closing.db"
    connection = Connection(database, mode="rwc", busy_timeout=1)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t AS SELECT 1 AS a UNION ALL SELECT 2")
    with connection.cursor("SELECT a FROM t", columns=[Gather("n", KINDS.INT64)]) as cursor:
        assert cursor.take(1, 1) is not None
        assert [path.name for path in tmp_path.glob("*-wal")] == ["closing.db-wal"]
        connection.close()
        assert list(tmp_path.iterdir()) == [database]
        cursor.interrupt()
        cursor.close()


def test_text_of_a_utf_16_database_is_utf_8(tmp_path: Path) -> None:
    connection = Connection(tmp_path / "wide.db", mode="rwc", busy_timeout=1)
    connection.execute("PRAGMA encoding = 'UTF-16'")
    connection.execute("CREATE TABLE t (v)")
    connection.execute("INSERT INTO t VALUES ('grün 😀'), ('2024-01-01')")
    with connection.cursor("SELECT v, v FROM t", columns=[Gather("v", KINDS.TEXT), Gather("w", KINDS.ANY)]) as cursor:
        found = cursor.take(5, 1 << 20)
    assert found is not None
    assert found.batch["v"].to_pylist() == ["grün 😀", "2024-01-01"]
    assert found.batch["w"].to_pylist() == ['"grün 😀"', '"2024-01-01"']
    connection.close()


def test_columns_have_to_be_those_of_the_query(store: Connection) -> None:
    with (
        pytest.raises(StorageError, match="columns"),
        store.cursor("SELECT a, b FROM t", columns=[Gather("a", KINDS.ANY)]),
    ):
        pass


def test_rows_that_come_from_several_places_are_told_apart(store: Connection) -> None:
    """SQLite has the values of a row elsewhere in each part of a compound query."""
    parts = [
        "SELECT 1, 'a', 1.5",
        "SELECT a, b, NULL FROM t",
        "SELECT 9, x'00', 2.5",
        "VALUES (7, 'v', 0), (8, 'w', 1)",
    ]
    columns = [Gather(name, KINDS.ANY) for name in ("a", "b", "c")]
    with store.cursor(" UNION ALL ".join(parts), columns=columns) as cursor:
        found = cursor.take(100, 1 << 20)
    assert found is not None
    wanted = [
        ["1", '"a"', "1.5"],
        ["1", '"one"', "null"],
        ["2", '"two"', "null"],
        ["3", '"three"', "null"],
        ["9", '"AA=="', "2.5"],
        ["7", '"v"', "0"],
        ["8", '"w"', "1"],
    ]
    assert [list(row.values()) for row in found.batch.to_pylist()] == wanted
