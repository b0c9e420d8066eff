"""Where a row stands in the order of arrival: at a number, or, where rows are ordered by other values, at a key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, TypeAlias

from penstock.model import claims

#: A number or a :class:`Key`, each source's own: whoever is given one compares it with others of that source, no more.
#: Every number lies below every key, so that one stands for the beginning.
Arrival: TypeAlias = Any
#: Below every number that a row can have, and every key.
BEGINNING = -(1 << 63) - 1


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """The values by which a row is ordered, as they are stored: numbers or texts, those of one column of one kind.

    Keys are compared as SQLite compares rows of values under its binary collation.
    """

    columns: tuple[str, ...]
    values: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.values == other.values

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, Key) and self._ranked < other._ranked

    @property
    def _ranked(self) -> tuple[tuple[bool, Any], ...]:
        return tuple((isinstance(value, str), value) for value in self.values)

    def __hash__(self) -> int:
        return hash(self.values)

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {json.dumps(value, ensure_ascii=False)}"
            for name, value in zip(self.columns, self.values, strict=False)
        )


def above(arrival: Arrival) -> Arrival:
    """The first place behind that of a row, whether a row has it or not."""
    return Key(arrival.columns, (*arrival.values, "")) if isinstance(arrival, Key) else arrival + 1


def below(arrival: Arrival) -> Arrival:
    """A place that lies before that of a row, and behind that of any row before it, if it is the first of all."""
    return 0 if isinstance(arrival, Key) else arrival - 1


def said(arrival: Arrival) -> str:
    """What it is called in a message."""
    return str(arrival) if isinstance(arrival, Key) else f"arrival number {arrival}"


def arrival_json(arrival: Arrival) -> dict[str, Any]:
    """As a manifest records it."""
    if isinstance(arrival, Key):
        return {"at": dict(zip(arrival.columns, map(_value_json, arrival.values), strict=True))}
    return {"seq": arrival}


def horizon(arrival: Arrival) -> Any:
    """As a manifest's ``source`` tells it."""
    return arrival_json(arrival) if isinstance(arrival, Key) else arrival


def parse_arrival(raw: Mapping[str, Any]) -> Arrival:
    """Read what :func:`arrival_json` wrote. Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
    if "at" not in raw:
        return claims.integer(raw["seq"])
    values = claims.members(raw["at"])
    if not values:
        raise ValueError("a key without a column")
    return Key(tuple(values), tuple(map(_parse_value, values.values())))


def _value_json(value: Any) -> Any:
    """Manifests have no numbers but integers."""
    return {"real": repr(value)} if isinstance(value, float) else value


def _parse_value(raw: Any) -> Any:
    if isinstance(raw, dict):
        value = float(claims.text(raw["real"]))
        if not math.isfinite(value):
            raise ValueError(f"no value of a key: {raw!r}")
        return value
    return claims.text(raw) if isinstance(raw, str) else claims.integer(raw)
