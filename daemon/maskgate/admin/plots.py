"""Draw measurements as SVG: lines and bars with axes, nothing else. Opens no file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 420
LEFT, TOP, RIGHT, BOTTOM = 60, 20, 20, 50
BELOW = TOP + 40
"""Where a plot ends that has its legend above."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Okabe and Ito's, which colour-blind readers tell apart."""


def roc(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw true match rate over false match rate, the latter on a logarithmic axis, a line for each name."""
    points = [point for curve in curves.values() for point in curve]
    lowest = math.floor(math.log10(min((far for far, _ in points), default=1e-2)))
    bottom = math.floor(min((tar for _, tar in points), default=0.0) * 20) / 20
    across = _scale(lowest, 0, LEFT, WIDTH - RIGHT)
    up = _scale(bottom, 1, HEIGHT - BOTTOM, TOP)
    drawn = [_x_axis([(across(n), f"1e{n}" if n else "1") for n in range(lowest, 1)], "false match rate")]
    steps = [bottom + (1 - bottom) * n / 5 for n in range(6)]
    drawn.append(
        _y_axis([(up(step), f"{step:.0%}" if bottom < 0.9 else f"{step:.1%}") for step in steps], "true match rate")
    )
    for number, curve in enumerate(curves.values()):
        path = " ".join(f"{across(math.log10(far)):.1f},{up(tar):.1f}" for far, tar in curve)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[number % 4]}" stroke-width="2"/>')
    return _page(drawn, list(curves))


def trade(curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw refused living people (BPCER) over attacks let through (APCER), 0 to 50 %, on square-root axes."""
    ticks = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
    across = _scale(0, math.sqrt(0.5), LEFT, WIDTH - RIGHT)
    up = _scale(0, math.sqrt(0.5), HEIGHT - BOTTOM, TOP)
    drawn = [_x_axis([(across(math.sqrt(t)), f"{t:.0%}") for t in ticks], "attacks let through (APCER)")]
    drawn.append(_y_axis([(up(math.sqrt(t)), f"{t:.0%}") for t in ticks], "people refused (BPCER)"))
    for number, curve in enumerate(curves.values()):
        path = " ".join(
            f"{across(math.sqrt(min(a, 0.5))):.1f},{up(math.sqrt(min(b, 0.5))):.1f}" for a, b in _corners(curve)
        )
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[number % 4]}" stroke-width="2"/>')
    return _page(drawn, list(curves), top=True)


def _corners(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drop the points between which nothing bends."""
    kept = list(curve[:1])
    for before, point, after in zip(curve, curve[1:], curve[2:], strict=False):
        if (before[0] == point[0]) != (point[0] == after[0]) or (before[1] == point[1]) != (point[1] == after[1]):
            kept.append(point)
    return [*kept, *curve[-1:]]


def histograms(scores: Mapping[str, Any], marks: Mapping[str, float], *, bins: int = 60) -> str:
    """Draw each name's share of scores by score, every one scaled to its own peak; `marks` are thresholds."""
    import numpy as np

    low, high = -0.4, 1.0
    across, up = _scale(low, high, LEFT, WIDTH - RIGHT), _scale(0, 1, HEIGHT - BOTTOM, TOP)
    ticks = [round(low + 0.2 * n, 1) for n in range(8)]
    drawn = [_x_axis([(across(t), f"{t:.1f}") for t in ticks], "score; each curve to its own peak")]
    for number, values in enumerate(scores.values()):
        counts, edges = np.histogram(values, bins, (low, high))
        heights = counts / max(counts.max(), 1)
        middles = (edges[:-1] + edges[1:]) / 2
        path = " ".join(f"{across(x):.1f},{up(h):.1f}" for x, h in zip(middles, heights, strict=True))
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[number % 4]}" stroke-width="2"/>')
    drawn += _marked(marks, across)
    return _page(drawn, list(scores))


def week(counts: Mapping[tuple[int, int], int]) -> str:
    """Draw a square for each weekday (0 is Monday) and hour, the fuller the more, with its number when it is asked."""
    most = max(counts.values(), default=1)
    wide, high = (WIDTH - LEFT - RIGHT) / 24, 28
    drawn = []
    for day, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")):
        y = TOP + day * high
        drawn.append(f'<text x="{LEFT - 8}" y="{y + high / 2 + 4:.1f}" text-anchor="end">{name}</text>')
        for hour in range(24):
            number = counts.get((day, hour), 0)
            # The root: an hour with a tenth of the visits should not look empty.
            full = 0.06 + 0.94 * math.sqrt(number / most)
            place = f'x="{LEFT + hour * wide:.1f}" y="{y}" width="{wide - 2:.1f}" height="{high - 2}"'
            told = f"<title>{name} {hour:02}:00: {number:,}</title>"
            drawn.append(f'<rect {place} fill="{COLOURS[0]}" fill-opacity="{full:.2f}">{told}</rect>')
    end = TOP + 7 * high
    drawn += [f'<text x="{LEFT + hour * wide:.1f}" y="{end + 16}">{hour:02}:00</text>' for hour in range(0, 24, 3)]
    return _page(drawn, [], height=end + 30)


def stacked(columns: Mapping[str, tuple[int, int]], names: tuple[str, str]) -> str:
    """Draw a column for each name, of two numbers one above the other."""
    most = max(map(sum, columns.values()), default=1) or 1
    up = _scale(0, most, HEIGHT - BOTTOM, BELOW)
    wide = (WIDTH - LEFT - RIGHT) / max(len(columns), 1)
    steps = sorted({round(most * n / 4) for n in range(5)})
    drawn = [_y_axis([(up(step), f"{step:,}") for step in steps], "decisions")]
    every = -(-len(columns) // 6)
    for number, (name, (first, second)) in enumerate(columns.items()):
        x = LEFT + number * wide
        told = f"<title>{escape(name)}: {first:,} {names[0]}, {second:,} {names[1]}</title>"
        for low, high, colour in ((0, first, COLOURS[0]), (first, first + second, COLOURS[1])):
            drawn.append(
                f'<rect x="{x:.1f}" y="{up(high):.1f}" width="{max(wide - 1, 1):.1f}" height="{up(low) - up(high):.1f}"'
                f' fill="{colour}">{told}</rect>'
            )
        if number % every == 0:
            drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}">{escape(name)}</text>')
    return _page(drawn, list(names), top=True)


def binned(curves: Mapping[str, Mapping[int, int]], marks: Mapping[str, float], *, width: float, name: str) -> str:
    """Draw counts by bin (bin n is from n to n + 1 widths) as steps, every curve to its own peak; `marks` as above."""
    every = [number for bins in curves.values() for number in bins]
    low, high = min(every) * width, (max(every) + 1) * width
    ends = (min([low, *marks.values()]), max([high, *marks.values()]))
    across, up = _scale(*ends, LEFT, WIDTH - RIGHT), _scale(0, 1, HEIGHT - BOTTOM, BELOW)
    step = 5 * width * -(-(ends[1] - ends[0]) // (50 * width))
    ticks = [step * n for n in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1)]
    drawn = [_x_axis([(across(t), f"{t:.2f}" if width < 1 else f"{t:.0f}") for t in ticks], name)]
    for number, bins in enumerate(curves.values()):
        peak = max(bins.values(), default=1)
        path = "".join(
            f"M{across(n * width):.1f},{up(0):.1f}V{up(bins[n] / peak):.1f}H{across((n + 1) * width):.1f}V{up(0):.1f}"
            for n in sorted(bins)
        )
        drawn.append(f'<path d="{path}" fill="{COLOURS[number % 4]}" fill-opacity="0.6"/>')
    drawn += _marked(marks, across)
    return _page(drawn, list(curves), top=True)


def _marked(marks: Mapping[str, float], across: Any) -> list[str]:
    """Draw thresholds from top to bottom."""
    drawn = []
    for number, (name, at) in enumerate(marks.items()):
        x = across(at)
        drawn.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" class="mark"/>')
        drawn.append(f'<text x="{x + 3:.1f}" y="{TOP + 12 + 14 * number}">{escape(name)}</text>')
    return drawn


def _scale(low: float, high: float, start: float, end: float) -> Any:
    """Return a function from values to pixels."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _x_axis(ticks: Sequence[tuple[float, str]], name: str) -> str:
    y = HEIGHT - BOTTOM
    drawn = [f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>']
    for x, word in ticks:
        drawn.append(f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{TOP}" class="grid"/>')
        drawn.append(f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle">{word}</text>')
    drawn.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(name)}</text>')
    return "".join(drawn)


def _y_axis(ticks: Sequence[tuple[float, str]], name: str) -> str:
    drawn = [f'<text x="8" y="{TOP - 6}">{escape(name)}</text>']
    for y, word in ticks:
        drawn.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{word}</text>')
    return "".join(drawn)


def _page(drawn: Sequence[str], names: Sequence[str], *, top: bool = False, height: int = HEIGHT) -> str:
    """Put a legend beside what was drawn, below or at the top, in both colour schemes."""
    last = TOP + 16 * len(names) if top else HEIGHT - BOTTOM - 12
    legend = "".join(
        f'<text x="{WIDTH - RIGHT - 8}" y="{last - 16 * (len(names) - 1 - n)}" text-anchor="end" '
        f'style="fill:{COLOURS[n % 4]}">{escape(name)}</text>'
        for n, name in enumerate(names)
    )
    style = (
        "svg{background:#fff}text{font:12px sans-serif;fill:#222}line{stroke:#222}.grid{stroke:#ddd}"
        ".mark{stroke-dasharray:4 3}@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#eee}"
        "line{stroke:#eee}.grid{stroke:#333}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return f"{head}<style>{style}</style>{''.join(drawn)}{legend}</svg>\n"
