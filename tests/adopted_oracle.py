"""What an adopted table has to become, worked out row by row in plain Python from what SQLite says is stored.

Nothing here is shared with the product but the event model itself. A table is written and read with the standard
library's SQLite, which has closed it again before the product opens it.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from penstock import EventCategory, EventPriority, ExportFilter
from penstock.errors import InvalidEvent
from penstock.model import jsontext, times
from penstock.model.event import KNOWN_TYPES, check_event_type
from sample_events import shape

Stored = tuple[str, Any]


@dataclass(frozen=True)
class Text:
    """Bytes that are stored as TEXT, whatever they are."""

    raw: bytes


@dataclass(frozen=True)
class Found:
    """Rows as events, and what has to be counted."""

    rows: list[dict[str, Any]]
    counts: dict[str, int]


@dataclass
class _Row:
    """One event in the making; ``timestamp`` and ``event_type`` stay ``None`` where there is none."""

    stored: dict[str, Stored]
    notes: Counter[str] = field(default_factory=Counter)


def write_table(path: Path, create: str, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Make a table and close the file again."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(create)
        for row in rows:
            places = ", ".join("CAST(? AS TEXT)" if isinstance(value, Text) else "?" for value in row)
            values = [value.raw if isinstance(value, Text) else value for value in row]
            connection.execute(f"INSERT INTO {table} VALUES ({places})", values)


def read_table(path: Path, table: str, columns: Sequence[str], seq: str) -> list[tuple[int, dict[str, Stored]]]:
    """What is stored, by ``seq``: each value with its storage class; text and blobs as bytes."""
    chosen = [
        f"typeof({name}), CASE WHEN typeof({name}) IN ('text', 'blob') THEN CAST({name} AS BLOB) ELSE {name} END"
        for name in columns
    ]
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"SELECT {seq}, {', '.join(chosen)} FROM {table} ORDER BY {seq}").fetchall()
    return [
        (values[0], dict(zip(columns, zip(values[1::2], values[2::2], strict=True), strict=True))) for values in found
    ]


def expected(
    stored: Sequence[tuple[int, dict[str, Stored]]], table: str, mapping: dict[str, str], filter: ExportFilter
) -> Found:
    """Every rule of adoption once more. ``mapping`` names every field that has a column, and nothing else."""
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for seq, values in stored:
        if filter.limit is not None and len(rows) == filter.limit:
            break
        row = _Row(values)
        event = _event(row, seq, table, mapping)
        if not _may_match(event, filter):
            continue
        if event["timestamp"] is None:
            counts["skipped_bad_timestamp"] += 1
        elif event["event_type"] is None:
            counts["skipped_bad_event_type"] += 1
        elif not _is_id(event["id"]):
            counts["skipped_bad_id"] += 1
        elif not _is_id(event["session_id"]):
            counts["skipped_bad_session_id"] += 1
        else:
            rows.append(event)
            counts += row.notes
    return Found(rows, dict(counts))


def _event(row: _Row, seq: int, table: str, mapping: dict[str, str]) -> dict[str, Any]:
    def value(name: str) -> Stored:
        return row.stored[mapping[name]] if name in mapping else ("null", None)

    moment = _moment(value("timestamp"), row, "coerced_timestamp_precision")
    event_type = _event_type(value("event_type"), row)
    received = _moment(value("received_at"), row, "coerced_received_at_precision")
    if received is None and value("received_at")[0] != "null":
        row.notes["coerced_received_at"] += 1
    own, session = (_own_text(value(name), row) for name in ("id", "session_id"))
    row.notes["coerced_empty_id"] += own == ""
    row.notes["coerced_empty_session_id"] += session == ""
    members = [(name, _member(stored, row)) for name, stored in row.stored.items() if name not in mapping.values()]
    return {
        "id": own or f"{table}:{seq}",
        "category": _category(event_type, value("category"), row),
        "event_type": event_type,
        "timestamp": moment,
        "session_id": session or None,
        "priority": _priority(value("priority"), row),
        "data": _payload(value("data"), "data", members, row),
        "metadata": _payload(value("metadata"), "metadata", [], row),
        "seq": seq,
        "received_at": moment if received is None else received,
    }


def _is_id(text: str | None) -> bool:
    return text is None or (
        len(text.encode()) <= 1024 and not any(unicodedata.category(letter) == "Cc" for letter in text)
    )


def _moment(stored: Stored, row: _Row, note: str) -> int | None:
    kind, value = stored
    if kind == "integer":
        return _epoch(str(value), row, note)
    if kind == "real":
        for power, scale in ((9, 6), (12, 3), (15, 0), (18, -3)):
            if 10**power <= value < 10 ** (power + 1):
                return int(Decimal(repr(value)).scaleb(scale).to_integral_value(ROUND_HALF_EVEN))
        return None
    if kind != "text":
        return None
    try:
        text = value.decode().strip()
        if re.fullmatch(r"[+-]?[0-9]{1,30}(\.[0-9]{0,40})?", text):
            return _epoch(text, row, note)
        moment = times.parse_timestamp(text)
    except (UnicodeDecodeError, InvalidEvent):
        return None
    if re.search(r"[.,][0-9]{6}[0-9]*[1-9]", text):
        row.notes[note] += 1
    return moment


def _epoch(text: str, row: _Row, note: str) -> int | None:
    whole, _, fraction = text.partition(".")
    shift = {10: 6, 13: 3, 16: 0, 19: -3}.get(len(whole)) if re.fullmatch("[1-9][0-9]*", whole) else None
    if shift is None:
        return None
    digits = (fraction + "0" * 6)[:60]
    exact = int(whole + digits) * 10 ** (3 + shift)
    micros, rest = divmod(exact, 10 ** (3 + len(digits)))
    if rest:
        row.notes[note] += 1
    if fraction and Fraction(rest, 10 ** (3 + len(digits))) + Fraction(micros % 2, 10**99) > Fraction(1, 2):
        micros += 1
    return micros


def _event_type(stored: Stored, row: _Row) -> str | None:
    kind, value = stored
    if kind in ("integer", "real"):
        row.notes["coerced_event_type_number"] += 1
        return _number(stored)
    try:
        return check_event_type(value.decode()) if kind == "text" else None
    except (UnicodeDecodeError, InvalidEvent):
        return None


def _number(stored: Stored) -> str:
    """A number as text; of a real, whatever gives the same real back is right."""
    kind, value = stored
    return str(value) if kind == "integer" else {"inf": "Inf", "-inf": "-Inf"}.get(repr(value), f"real {value!r}")


def _category(event_type: str | None, stored: Stored, row: _Row) -> str:
    implied = KNOWN_TYPES.get(event_type or "")
    given = stored[1].decode("utf-8", "replace") if stored[0] == "text" else None
    known = given if given in set(EventCategory) else None
    category = str(implied or known or "custom")
    if stored[0] != "null" and given != category:
        row.notes["coerced_category"] += 1
    return category


def _priority(stored: Stored, row: _Row) -> str:
    kind, value = stored
    if kind == "null":
        return "normal"
    text = value.decode("utf-8", "replace").strip().lower() if kind == "text" else str(value) if kind != "blob" else ""
    name = ("low", "normal", "high", "critical")[int(text[0])] if re.fullmatch(r"[0-3](\.0)?", text) else text
    if name in ("low", "normal", "high", "critical"):
        return name
    row.notes["coerced_priority"] += 1
    return "normal"


def _own_text(stored: Stored, row: _Row) -> str | None:
    kind, value = stored
    if kind == "null":
        return None
    return _spelled(value, kind == "blob", row) if kind in ("text", "blob") else _number(stored)


def _spelled(value: bytes, blob: bool, row: _Row) -> str:
    try:
        if not blob:
            return value.decode()
        row.notes["coerced_blob"] += 1
    except UnicodeDecodeError:
        row.notes["coerced_invalid_utf8"] += 1
    return base64.b64encode(value).decode()


def _member(stored: Stored, row: _Row) -> Any:
    """A member of ``data`` as :func:`sample_events.shape` gives it."""
    kind, value = stored
    if kind == "null":
        return None
    if kind in ("text", "blob"):
        return _spelled(value, kind == "blob", row)
    text = _number(stored)
    if text in ("Inf", "-Inf"):
        row.notes["coerced_infinity"] += 1
        return text + "inity"
    return ("number", text)


def _payload(stored: Stored, name: str, members: list[tuple[str, Any]], row: _Row) -> Any:
    own = list(_own_payload(stored, name, row)[1])
    taken = {key for key, _ in own}
    for member, value in members:
        free = member
        while free in taken or (free != member and free in [each for each, _ in members]):
            free += "_column"
        taken |= {free} if free != member else set()
        row.notes["coerced_member_name"] += free != member
        own.append((free, value))
    return ("object", tuple(own))


def _own_payload(stored: Stored, name: str, row: _Row) -> Any:
    kind, value = stored
    if kind == "null":
        return ("object", ())
    raw = value if kind in ("text", "blob") else _number(stored).encode()
    if kind == "real" and raw.startswith(b"real"):
        row.notes[f"coerced_{name}_not_object"] += 1
        return ("object", ((name, ("number", raw.decode())),))
    try:
        whole: Any = shape(jsontext.compact(raw))
        if isinstance(whole, tuple) and whole[0] == "object":
            return whole
        if kind != "blob":
            row.notes[f"coerced_{name}_not_object"] += 1
            return ("object", ((name, whole),))
    except InvalidEvent:
        pass
    notes = row.notes.copy()
    text = _spelled(raw, kind == "blob", row)
    if row.notes == notes:
        row.notes[f"coerced_{name}_not_json"] += 1
    return ("object", ((name, text),))


def _may_match(event: dict[str, Any], filter: ExportFilter) -> bool:
    """:meth:`ExportFilter.matches` for an event; a row that is none is only left out for what is known of it."""
    moment, event_type = event["timestamp"], event["event_type"]
    return (
        (filter.start_micros is None or moment is None or moment >= filter.start_micros)
        and (filter.end_micros is None or moment is None or moment < filter.end_micros)
        and (filter.categories is None or event_type is None or event["category"] in filter.categories)
        and (filter.event_types is None or event_type in filter.event_types)
        and (filter.session_id is None or event["session_id"] == filter.session_id)
        and (filter.priority is None or EventPriority.parse(event["priority"]) >= EventPriority.parse(filter.priority))
    )


def same_reals(found: Any, wanted: Any) -> bool:
    """Equality of shapes in which ``real X`` stands for every text that reads as the float X, to the last bit."""
    if isinstance(wanted, str) and wanted.startswith("real ") and isinstance(found, str):
        return json.dumps(json.loads(found)) == json.dumps(float(wanted[5:]))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(same_reals(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, (tuple, list)) and isinstance(found, (tuple, list)):
        return len(wanted) == len(found) and all(same_reals(*pair) for pair in zip(found, wanted, strict=True))
    return bool(found == wanted)
