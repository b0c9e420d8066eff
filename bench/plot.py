"""The plot of a run: events per second of full exports as bars, grouped by output. SVG, for light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from figures import US, Results, case_of, middle, ratio, seconds
from peers import OUTPUTS, TITLES

_WIDTH, _LEFT, _RIGHT = 760, 108, 220
_BAR, _GAP, _TOP, _FOOT = 15, 16, 62, 34
_COLOURS = ("#4c78a8", "#72a0c8", "#8f8f8f", "#b279a2", "#9d755d", "#7a9a4f", "#5a9e9a", "#a0a0c8")
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600 }
.note { fill: #57606a }
.grid { stroke: #8b949e; stroke-opacity: .35 }
.us { fill: #d9730d }
.lost { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9ea7b3 }
  .us { fill: #f0883e }
}
"""


def plot(results: Results) -> str:
    """The whole picture."""
    groups, box = list(_groups(results)), results["machine"]
    fastest = max((rate for _, bars in groups for _, rate, _ in bars), default=1.0)
    step = _step(fastest)
    scale = (_WIDTH - _LEFT - _RIGHT) / fastest
    height = _TOP + sum(len(bars) * _BAR + _GAP for _, bars in groups) + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' role="img" aria-label="Events per second of full exports">',
        f"<style>{_STYLE}</style>",
        _text(12, 22, f"Full exports of {results['events']:,} events: events per second, longer is faster", "title"),
        _text(12, 40, f"{box['cpu']}, {box['cores']} cores; {results['date']}. ✗ is faster than Penstock.", "note"),
    ]
    at = 0.0
    while at <= fastest:
        x = _LEFT + at * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height - _FOOT}"/>')
        parts.append(_text(x, height - _FOOT + 16, _rate(at), "note", "middle"))
        at += step
    y = _TOP
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(results["peers"])}
    for output, bars in groups:
        parts.append(_text(12, y + 11, TITLES[output], "group"))
        for name, rate, label in bars:
            fill = 'class="us"' if name == US else f'fill="{colours[name]}"'
            width = max(rate * scale, 1)
            parts.append(f'<rect {fill} x="{_LEFT}" y="{y + 1}" width="{width:.1f}" height="{_BAR - 3}" rx="2"/>')
            lost = "lost" if label.endswith("✗") else "note"
            parts.append(_text(_LEFT + width + 5, y + 11, label, lost))
            y += _BAR
        y += _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _groups(results: Results) -> Iterator[tuple[str, list[tuple[str, float, str]]]]:
    """For each output its bars: engine, events per second, label."""
    for output in OUTPUTS:
        case = case_of(results, output)
        bars = []
        for name, title in {US: "Penstock", **results["peers"]}.items():
            took, found = middle(case, name), ratio(case, name)
            if case is None or took is None:
                continue
            lost = found is not None and found.value < 1
            bars.append((name, case["count"] / took, f"{title}  {seconds(took)}" + " ✗" * lost))
        if bars:
            yield output, bars


def _step(most: float) -> float:
    """A round distance between grid lines, for three to seven of them."""
    size = 1.0
    while most / size > 7:
        for factor in (2, 2.5, 2):
            size *= factor
            if most / size <= 7:
                break
    return size


def _rate(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value else "0"


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
