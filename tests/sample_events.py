"""Events that tests use: some fixed to the byte, many that are varied, and any that hypothesis can think of."""

from __future__ import annotations

import json
import random
import string
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from penstock import AnalyticsEvent, EventPriority
from penstock.model.event import KNOWN_TYPES

START = datetime(2026, 11, 1, tzinfo=UTC)
_LETTERS = string.printable + "äß€😀"


def uuid_of(number: int) -> str:
    """A well-formed UUID that one can recognize."""
    return f"00000000-0000-4000-8000-{number:012x}"


def fixed() -> list[AnalyticsEvent]:
    """Four events whose every byte is known, odd values among them."""
    return [
        AnalyticsEvent("feature_used", id=uuid_of(1), timestamp=START),
        AnalyticsEvent(
            'say "hi"',
            id=uuid_of(2),
            timestamp=datetime(1, 1, 1, tzinfo=UTC),
            session_id=uuid_of(0xAA),
            priority=EventPriority.CRITICAL,
            data='{"n":1.50,"t":"é\\u0000"}',
            metadata='{"os":"linux"}',
        ),
        AnalyticsEvent(
            "a, b\\c",
            id=uuid_of(3),
            timestamp=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            priority=EventPriority.LOW,
            data='{"big":123456789012345678901234567890,"a":1,"a":[]}',
        ),
        AnalyticsEvent(
            "error_occurred",
            id=uuid_of(4),
            timestamp=START + timedelta(microseconds=1),
            session_id=uuid_of(0xBB),
            priority=EventPriority.HIGH,
            data='{"e":1e400,"nested":{"x":[1,2,{}]}}',
        ),
    ]


def varied(count: int = 500, *, seed: int = 1, payload: int = 40) -> list[AnalyticsEvent]:
    """Events of all categories, priorities and a handful of sessions, in no order of time."""
    chance = random.Random(seed)
    types = [*KNOWN_TYPES, "checkout", 'été, "déjà"', "=SUM(A1)"]
    sessions = [None, *(uuid_of(number) for number in range(1, 6))]
    return [
        AnalyticsEvent(
            chance.choice(types),
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            timestamp=START + timedelta(microseconds=chance.randrange(30 * 86_400_000_000)),
            session_id=chance.choice(sessions),
            priority=EventPriority(chance.randrange(4)),
            data={
                "n": number,
                "text": "".join(chance.choices(string.printable + "äß€😀", k=chance.randrange(payload))),
            },
            metadata={"app_version": f"1.{chance.randrange(9)}"},
        )
        for number in range(count)
    ]


def bulky(count: int, size: int) -> list[AnalyticsEvent]:
    """Events of about ``size`` bytes each."""
    chance = random.Random(4)
    return [
        AnalyticsEvent(
            "été" if number % 3 else "feature_used",
            id=uuid_of(number + 1),
            timestamp=START + timedelta(seconds=number),
            session_id=uuid_of(number % 5) if number % 4 else None,
            data={"n": number, "text": chance.randbytes(size // 2).hex()},
        )
        for number in range(count)
    ]


@dataclass(frozen=True)
class Payload:
    """A JSON object as somebody might send it, and as it has to be kept."""

    sent: str
    kept: str


_BLANKS = st.sampled_from(["", "", " ", "\n", "\t", " \r\n "])
_PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=8)
_ESCAPES = st.sampled_from(
    ['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u00e9", "\\ud83d\\ude00"]
)
_STRINGS = st.lists(st.one_of(_PLAIN, _ESCAPES), max_size=3).map(lambda pieces: '"' + "".join(pieces) + '"')
_NUMBERS = st.one_of(
    st.sampled_from(
        ["0", "-0", "-0.0", "1.50", "1e400", "-1E-400", "1e+05", str(2**53 + 1), str(2**63), str(-(2**64)), "7" * 5000]
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)


@st.composite
def _values(draw: st.DrawFn, levels: int = 3) -> Payload:
    kind = draw(st.sampled_from(["text", "number", "word", "list", "object"] if levels else ["text", "number", "word"]))
    if kind == "text":
        text = draw(_STRINGS)
    elif kind == "number":
        text = draw(_NUMBERS)
    elif kind == "word":
        text = draw(st.sampled_from(["true", "false", "null"]))
    elif kind == "list":
        return _joined(draw, "[", "]", [draw(_values(levels - 1)) for _ in range(draw(st.integers(0, 3)))])
    else:
        return draw(payloads(levels - 1))
    return Payload(text, text)


@st.composite
def payloads(draw: st.DrawFn, levels: int = 3) -> Payload:
    """JSON objects of any spelling: blanks anywhere, repeated keys, odd numbers, every escape."""
    members = []
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.just('"a"'), _STRINGS))
        value = draw(_values(levels))
        blanks = draw(_BLANKS), draw(_BLANKS)
        members.append(Payload(f"{name}{blanks[0]}:{blanks[1]}{value.sent}", f"{name}:{value.kept}"))
    return _joined(draw, "{", "}", members)


def _joined(draw: st.DrawFn, opening: str, closing: str, items: list[Payload]) -> Payload:
    blanks = [draw(_BLANKS) for _ in range(2 * len(items) + 1)]
    sent = ",".join(blanks[2 * i] + item.sent + blanks[2 * i + 1] for i, item in enumerate(items))
    return Payload(opening + sent + blanks[-1] + closing, opening + ",".join(item.kept for item in items) + closing)


_TYPES = st.one_of(
    st.sampled_from(sorted(KNOWN_TYPES)),
    st.sampled_from(['"', ",", " ", "=1+1", "null", "\\", "a\u2028b", "NULL", "'", "x" * 200, "ünï", "😀"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
)
_MOMENTS = st.one_of(
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from([datetime.min, datetime.max, datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2026, 11, 1)]),
)
#: What an id or a session may be: any text but for its bounds, which is 1 to 1,024 bytes without control characters.
ids = st.one_of(
    st.sampled_from(
        ["s42", "7", "192.0.2.7", "a,b", '"', "null", "NULL", " ", "=1+1", "\\", "\u2028", "x" * 1024, "é" * 512]
    ),
    st.uuids().map(str),
    st.uuids().map(lambda value: str(value).upper()),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
)


@st.composite
def events(draw: st.DrawFn) -> AnalyticsEvent:
    """Any event that the model allows."""
    return AnalyticsEvent(
        draw(_TYPES),
        id=draw(ids),
        timestamp=draw(_MOMENTS),
        session_id=draw(st.none() | ids),
        priority=draw(st.sampled_from(EventPriority)),
        data=draw(payloads()).sent,
        metadata=draw(payloads(1)).sent,
    )


def distinct(minimum: int = 0, maximum: int = 12) -> st.SearchStrategy[list[AnalyticsEvent]]:
    """Lists of events whose ids differ."""
    return st.lists(events(), min_size=minimum, max_size=maximum, unique_by=lambda event: event.id)


def shape(text: str | bytes) -> object:
    """A JSON text as a value that keeps what parsers lose: spelling of numbers, order and repetition of keys."""
    return json.loads(
        text,
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
        object_pairs_hook=lambda pairs: ("object", tuple(pairs)),
    )
