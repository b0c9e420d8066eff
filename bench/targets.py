"""The targets, and what a run says about each: met, at least 80 % of it, missed, or not measured.

They are meant for 5,000,000 events on two cores. Ratios are of median wall times, with the sync of the output counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from figures import FLOOR, US, Results, case_of, middle, ratio, seconds, shares, times
from peers import OUTPUTS, PEERS, TITLES

#: How many times as long a peer must take at least.
AGAINST = {
    "ndjson": {"duckdb": 2.0, "sqlite3": 2.0, "dlt": 20.0},
    "ndjson.gz": {"duckdb": 10.0, "sqlite3": 5.0, "dlt": 20.0},
    "ndjson.zst": {"duckdb": 2.5},
    "csv": {"duckdb": 1.6, "sqlite3": 1.6, "dlt": 5.0},
    "csv.gz": {"duckdb": 8.0, "sqlite3": 4.0},
    "parquet": {"duckdb": 2.0, "dlt": 2.0},
}
_FLOOR = {"ndjson": 2.5, "csv": 2.5}
_LARGER = 1.15
_COMPRESSED = ("ndjson.gz", "ndjson.zst", "csv.gz", "parquet")
_PROOFS, _PROOFS_GOAL = 0.35, 0.20
_PEAK_MIB = 256
_RANGE_SHARE = 0.03
_RATES = {"arrow-checked": 250_000, "ingest": 250_000, "normal": 10_000, "full": 2_000}
_STARTUP = {"help": ("penstock --help", 0.150), "ten": ("penstock export of 10 events", 0.600)}
_FLATTENED = 2.0
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target. ``attained`` is the share of it that was reached, 1 and more is all; ``None`` was not measured."""

    name: str
    target: str
    measured: str
    attained: float | None

    @property
    def mark(self) -> str:
        if self.attained is None:
            return "– not measured"
        if self.attained >= 1:
            return "✓ met"
        return "≈ at least 80 %" if self.attained >= _NEAR else "✗ missed"


def against(results: Results, output: str, peer: str) -> Verdict | None:
    """The target of one output against one peer; ``None`` where there is none."""
    wanted = AGAINST.get(output, {}).get(peer)
    if wanted is None:
        return None
    found = ratio(case_of(results, output), peer)
    name = f"{TITLES[output]} against {PEERS[peer].title}"
    return Verdict(name, f"≥ {wanted:g}×", str(found or ""), found.value / wanted if found else None)


def others(results: Results) -> Iterator[Verdict]:
    """Against every peer without a target of its own: faster, in each output."""
    for peer, title in results["peers"].items():
        for output in OUTPUTS:
            found = ratio(case_of(results, output), peer)
            if found is not None and AGAINST.get(output, {}).get(peer) is None:
                yield Verdict(f"{TITLES[output]} against {title}", "faster", str(found), found.value)


def further(results: Results) -> Iterator[Verdict]:
    """The targets that are not about a peer's time."""
    yield from _floors(results)
    yield from _sizes(results)
    yield from _proofs(results)
    yield _peak(results)
    yield _range(results)
    yield from _rates(results)
    yield _flattened(results)
    for key, (name, limit) in _STARTUP.items():
        took = results.get("startup", {}).get(key, {}).get("median")
        text = f"{took * 1000:.0f} ms" if took else ""
        yield Verdict(name, f"≤ {limit * 1000:.0f} ms", text, limit / took if took else None)


def _floors(results: Results) -> Iterator[Verdict]:
    for output, limit in _FLOOR.items():
        found = ratio(case_of(results, output), US, to=FLOOR)
        name = f"{TITLES[output]}, distance to the floor"
        yield Verdict(name, f"≤ {limit:g}×", str(found or ""), limit / found.value if found else None)


def _sizes(results: Results) -> Iterator[Verdict]:
    """Against the smallest output of any peer."""
    for output in _COMPRESSED:
        case = case_of(results, output)
        ours = middle(case, US, "bytes")
        sizes = {title: middle(case, peer, "bytes") for peer, title in results["peers"].items()}
        theirs = {title: size for title, size in sizes.items() if size}
        name, wanted = f"{TITLES[output]}, size against the smallest", f"≤ {_LARGER:g}×"
        if not ours or not theirs:
            yield Verdict(name, wanted, "", None)
            continue
        smallest = min(theirs, key=lambda title: theirs[title])
        factor = ours / theirs[smallest]
        yield Verdict(name, wanted, f"{times(factor)} ({smallest})", _LARGER / factor)


def _proofs(results: Results) -> Iterator[Verdict]:
    for overhead in results.get("overheads", ()):
        share = shares(overhead).get("all off")
        goal = "; the goal is met" if share is not None and share <= _PROOFS_GOAL else ""
        yield Verdict(
            f"{TITLES[overhead['output']]}, proofs' share of the time",
            f"< {_PROOFS:.0%}, goal {_PROOFS_GOAL:.0%}",
            "" if share is None else f"{max(share, 0):.0%}{goal}",
            None if share is None else _PROOFS / max(share, 0.001),
        )


def _peak(results: Results) -> Verdict:
    peaks = [peak for output in OUTPUTS if (peak := middle(case_of(results, output), US, "peak_mib")) is not None]
    highest = max(peaks, default=None)
    text = f"{highest:.0f} MiB" if highest else ""
    return Verdict("peak memory, highest of all outputs", f"< {_PEAK_MIB} MiB", text, highest and _PEAK_MIB / highest)


def _range(results: Results) -> Verdict:
    whole, part = (middle(case_of(results, "ndjson", rows), US) for rows in ("full", "range"))
    start = results.get("startup", {}).get("ten", {}).get("median")
    name, wanted = "NDJSON of a 1 % time range beyond start-up, of the whole", f"< {_RANGE_SHARE:.0%}"
    if whole is None or part is None or start is None or whole <= start:
        return Verdict(name, wanted, "", None)
    share = max((part - start) / (whole - start), 0.0)
    text = f"{share:.1%} ({seconds(part)} of {seconds(whole)}, {seconds(start)} each to start)"
    return Verdict(name, wanted, text, _RANGE_SHARE / max(share, 0.001))


def _flattened(results: Results) -> Verdict:
    walls = results.get("flattened", {})
    plain, flat = walls.get("plain"), walls.get("flattened")
    factor = median(flat) / median(plain) if plain and flat else None
    text = f"{times(factor)} ({seconds(median(flat))}, at most {walls['peak_mib']} MiB)" if factor else ""
    return Verdict(
        "Parquet of flattened payloads, of the unflattened", f"≤ {_FLATTENED:g}×", text, factor and _FLATTENED / factor
    )


def _rates(results: Results) -> Iterator[Verdict]:
    for row in results.get("appends", ()):
        wanted = _RATES.get(row["kind"])
        if wanted is None:
            continue
        rate = row["events"] / row["seconds"] if "seconds" in row else None
        text = f"{rate:,.0f}/s" if rate else str(row.get("failed", ""))
        yield Verdict(f"append: {row['title']}", f"≥ {wanted:,}/s", text, rate / wanted if rate else None)
