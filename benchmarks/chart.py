"""Draw results as SVG: ratios as bars on a logarithmic axis, and what costs do as sizes grow.

Plain text, no library. Colours follow the reader's choice of light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.growth import LINES, SIZES
from benchmarks.measure import LIBRARIES
from benchmarks.report import Results, number, ratio_of, rows_with_figures

__all__ = ["growth_chart", "ratio_chart"]

STYLE = """
  svg { color-scheme: light dark; }
  text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .small { font-size: 11px; fill: #59636e; }
  .ground { fill: #ffffff; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .even { stroke: #59636e; stroke-width: 1.5; }
  .ahead { fill: #1a7f5a; }
  .behind { fill: #c4632a; }
  .other { fill: none; stroke: #24292f; stroke-width: 1.5; }
  .goal { stroke: #8250df; stroke-width: 2.5; }
  .curve { fill: none; stroke: #0969da; stroke-width: 2; }
  .point { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    .ground { fill: #0d1117; }
    .grid { stroke: #2f353d; }
    .even { stroke: #9198a1; }
    .ahead { fill: #3fb68b; }
    .behind { fill: #e5884f; }
    .other { stroke: #e6edf3; }
    .goal { stroke: #b48cf5; }
    .curve { stroke: #58a6ff; }
    .point { fill: #58a6ff; }
  }
"""

BAR = 20  # from one bar to the next
LEFT, RIGHT, TOP, BOTTOM = 400, 70, 84, 30
WIDTH = 960

PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 300, 170, 3


def _picture(width: float, height: float, title: str, inside: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(title)}">'
    )
    ground = f'<rect class="ground" width="{width:g}" height="{height:g}"/>'
    parts = [head, f"<style>{STYLE}</style>", ground, _text(16, 26, title, "title"), *inside]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    kinds = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kinds} text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def ratio_chart(results: Results, workloads: Sequence[str], other: Results) -> str:
    """Return a bar for each compared row: how many times the best peer's figure ours is."""
    rows = [(row, ratio_of(results, row)) for row in rows_with_figures(results, workloads)]
    bars = [(row, ratio) for row, ratio in rows if ratio is not None and ratio > 0]
    others = [ratio_of(other, row) or 1.0 for row, _ in bars]
    goals = [row.goal_ratio or 1.0 for row, _ in bars]
    seen = [ratio for _, ratio in bars] + others + goals + [0.5, 2.0]
    low = math.floor(math.log10(min(ratio for ratio in seen if ratio > 0)) * 2) / 2
    high = math.ceil(math.log10(max(seen)) * 2) / 2
    height = TOP + len(bars) * BAR + BOTTOM

    def across(ratio: float) -> float:
        share = (math.log10(min(max(ratio, 10**low), 10**high)) - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    inside = [_text(16, 46, "Bars to the left of 1: Cytosol is the fastest or smallest.", "small")]
    inside += _ratio_legend()
    bottom = height - BOTTOM
    for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100):
        if low <= math.log10(tick) <= high:
            x = across(tick)
            inside.append(_line(x, TOP - 6, x, bottom, "even" if tick == 1 else "grid"))
            inside.append(_text(x, bottom + 16, f"{tick:g}×", "small", "middle"))
    main = ""
    for number_, ((row, ratio), in_other) in enumerate(zip(bars, others, strict=True)):
        y = TOP + number_ * BAR
        if row.workload != main:
            main = row.workload
            inside.append(_text(16, y + 12, main, "small"))
        inside.append(_text(56, y + 12, row.what))
        start, end = sorted((across(1), across(ratio)))
        kind = "ahead" if ratio <= 1 else "behind"
        inside.append(
            f'<rect class="{kind}" x="{start:.1f}" y="{y + 2:.1f}" '
            f'width="{max(end - start, 1):.1f}" height="{BAR - 7}" rx="2"/>'
        )
        inside.append(_text(WIDTH - 12, y + 12, f"{ratio:.2f}", "", "end"))
        if ratio_of(other, row) is not None:
            inside.append(
                f'<circle class="other" cx="{across(in_other):.1f}" cy="{y + 8.5:.1f}" r="4"/>'
            )
        if row.goal_ratio is not None:
            x = across(row.goal_ratio)
            inside.append(_line(x, y, x, y + BAR - 3, "goal"))
    return _picture(WIDTH, height, "Cytosol divided by the best live peer, lower is better", inside)


def _ratio_legend() -> list[str]:
    x = 470
    return [
        f'<rect class="behind" x="{x}" y="37" width="18" height="10" rx="2"/>',
        _text(x + 26, 46, "shape 1", "small"),
        f'<circle class="other" cx="{x + 96}" cy="42" r="4"/>',
        _text(x + 108, 46, "shape 2", "small"),
        _line(x + 176, 35, x + 176, 49, "goal"),
        _text(x + 186, 46, "goal", "small"),
    ]


def growth_chart(results: Results) -> str:
    """Return a small picture for each line of the costs by size; each axis begins at zero."""
    panels = []
    for line, what in LINES.items():
        figures = [(size, results.figure(f"{line}.{size}", LIBRARIES[0])) for size in SIZES]
        points = [(size, value) for size, value in figures if value is not None]
        if points:
            panels.append((what, points))
    rows = math.ceil(len(panels) / COLUMNS)
    inside = [_text(16, 46, "µs of one op; flat is what it should be", "small")]
    for place, (what, points) in enumerate(panels):
        left = 16 + place % COLUMNS * (PANEL_WIDTH + 12)
        inside += _panel(left, 64 + place // COLUMNS * PANEL_HEIGHT, what, points)
    width = 32 + COLUMNS * (PANEL_WIDTH + 12)
    return _picture(width, 72 + rows * PANEL_HEIGHT, "Costs by size", inside)


def _panel(left: float, top: float, what: str, points: Sequence[tuple[int, float]]) -> list[str]:
    first, last = left + 34, left + PANEL_WIDTH - 26
    ceiling, floor = top + 24, top + PANEL_HEIGHT - 36
    highest = max(value for _, value in points) * 1.15 or 1.0
    steps = math.log10(SIZES[-1] / SIZES[0])
    where = [
        (
            first + math.log10(size / SIZES[0]) / steps * (last - first),
            floor - value / highest * (floor - ceiling),
        )
        for size, value in points
    ]
    drawn = [_text(left, top + 12, what), _line(first, floor, last, floor, "even")]
    for size in SIZES:
        x = first + math.log10(size / SIZES[0]) / steps * (last - first)
        label = f"{size // 1_000_000}M" if size >= 1_000_000 else f"{size // 1_000}k"
        drawn += [
            _line(x, ceiling, x, floor, "grid"),
            _text(x, floor + 15, label, "small", "middle"),
        ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
    drawn.append(f'<polyline class="curve" points="{path}"/>')
    for (x, y), (_, value) in zip(where, points, strict=True):
        drawn.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        drawn.append(_text(x, y - 7, number(value), "small", "middle"))
    return drawn
