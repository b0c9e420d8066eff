"""What is said of a value that does not fit: the value itself, and the unit by which a number would be a time."""

from __future__ import annotations

import json

from penstock.model import times
from penstock.model.times import TimeUnit
from penstock.pipeline.gathering import Misfit

#: Of a value in a message; and the years that a number is expected to mean when a unit is proposed.
_SHOWN = 60
_LIKELY = (times.to_micros(times.EPOCH.replace(year=1980)), times.to_micros(times.EPOCH.replace(year=2100)))
WORDS = {
    TimeUnit.S: "seconds",
    TimeUnit.MS: "milliseconds",
    TimeUnit.US: "microseconds",
    TimeUnit.NS: "nanoseconds",
}


def shown(misfit: Misfit) -> str:
    """The value, the beginning of a long one."""
    if misfit.storage == "blob":
        return f"x'{misfit.shown[: _SHOWN // 2].hex()}'"
    text = misfit.shown.decode("utf-8", "backslashreplace")
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return json.dumps(short, ensure_ascii=False) if misfit.storage == "text" else short


def proposed_unit(value: str) -> TimeUnit | None:
    """The unit by which a number is a time of our days."""
    number = float(value)
    micros = {TimeUnit.S: number * 1e6, TimeUnit.MS: number * 1e3, TimeUnit.US: number, TimeUnit.NS: number / 1e3}
    return next((unit for unit in WORDS if _LIKELY[0] <= micros[unit] < _LIKELY[1]), None)
