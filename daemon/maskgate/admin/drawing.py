"""Draw the log's counts in a terminal: a heat map of the week, bars, histograms. Prints; counts nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import click

from maskgate.admin import ink
from maskgate.admin.screen import counted as number_of
from maskgate.admin.screen import local
from maskgate.reasons import REASONS
from maskgate.tally import BINS, stretches

if TYPE_CHECKING:
    from maskgate.tally import Scores, Tally

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SHADES, PLAIN_SHADES = "·░▒▓█", ".-+*#"
EIGHTHS = " ▁▂▃▄▅▆▇█"
MOST_BARS = 24
"""Lines that grants and refusals over time take at most."""
LOWEST = -0.2
"""Scores below are drawn with it: no threshold is anywhere near."""
TALL = 5
"""Lines of a histogram."""
NEAR = 0.05
"""So near the threshold a visit may end otherwise on another day."""
WIDEST = 100
"""Columns a drawing takes at most."""


def draw(counted: Tally) -> None:
    """Print all of it, as wide as the terminal is."""
    total = counted.granted + counted.refused
    if not total:
        click.echo("no decision in this time; --since 2020-01-01 asks for more of the log")
        return
    wide = min(ink.columns() or 80, WIDEST)
    _say(f"{number_of(total, 'decision')}, {local(counted.first_at)} to {local(counted.last_at)}", ink.STRONG)
    for line in _summary(counted):
        _say(line)
    for heading, part in (
        ("who came when: decisions by weekday and hour", _week),
        ("granted and refused over time", _time),
        ("reasons", _reasons),
        ("who was let in most often", _people),
    ):
        click.echo()
        _say(heading, ink.STRONG)
        part(counted, wide)
    for cover, scores in counted.scores.items():
        if scores.recognised or scores.strange:
            click.echo()
            _say(f"scores of {cover} faces, and what a grant asked for", ink.STRONG)
            _histograms(scores, wide)


def _say(text: str, meaning: str | None = None) -> None:
    click.echo(ink.inked(text, meaning).rstrip(), color=ink.coloured())


def _summary(counted: Tally) -> Iterator[str]:
    total = counted.granted + counted.refused
    masked = f"; {counted.masked / counted.seen:.0%} masked" if counted.seen else ""
    yield f"{counted.granted:,} granted ({counted.granted / total:.0%}), {counted.refused:,} refused{masked}"
    if counted.median_open_ms is not None:
        yield f"half of the grants came within {counted.median_open_ms:.0f} ms of the first usable look"


def _week(counted: Tally, wide: int) -> None:
    """Print a line for each weekday and two or three columns for each hour; darker is more."""
    shades = SHADES if ink.blocks() else PLAIN_SHADES
    each = 3 if wide >= 4 + 24 * 3 else 2
    most = max(map(sum, counted.hours.values()))
    _say("    " + "".join(f"{hour:<{each * 3}}" for hour in range(0, 24, 3)), ink.FAINT)
    for day, name in enumerate(WEEKDAYS):
        cells = [_shade(sum(counted.hours.get((day, hour), (0, 0))), most, shades) * (each - 1) for hour in range(24)]
        _say(f"{name} " + " ".join(cells))
    _say(f"    {shades[0]} is none, {shades[-1]} up to {most:,} an hour of the week", ink.FAINT)


def _shade(number: int, most: int, shades: str) -> str:
    return shades[0] if not number else shades[min(4, 1 + number * 4 // (most + 1))]


def _time(counted: Tally, wide: int) -> None:
    word, spans = stretches(counted.days, MOST_BARS)
    most = max(map(sum, spans.values())) or 1
    room = wide - 11 - 18
    for day, (granted, refused) in spans.items():
        good = round(granted / most * room)
        bad = round((granted + refused) / most * room) - good
        marks = ("█", "▒") if ink.blocks() else ("#", "-")
        drawn = ink.inked(marks[0] * good, ink.GOOD) + ink.inked(marks[1] * bad, ink.BAD)
        _say(f"{day} {drawn}{' ' * (room - good - bad)} {granted:>8,} {refused:>8,}")
    _say(f"{'each ' + word:<10} {'':<{room}} {'granted':>8} {'refused':>8}", ink.FAINT)


def _reasons(counted: Tally, wide: int) -> None:
    most = max(counted.reasons.values())
    length = max(map(len, REASONS))
    for reason, number in counted.reasons.items():
        drawn = ink.inked(ink.bar(number / most, wide - length - 10), ink.GOOD if reason == "granted" else ink.BAD)
        _say(f"{reason:<{length}} {drawn} {number:>8,}")


def _people(counted: Tally, wide: int) -> None:
    if not counted.people:
        _say("nobody")
        return
    most = counted.people[0][1]
    for name, number, last in counted.people:
        named = ink.steadied(ink.padded(ink.cut(name, 20), 20))
        _say(f"{named} {ink.bar(number / most, wide - 52)} {number:>8,}  {local(last)}")


# -- scores ------------------------------------------------------------------------------------------------------------


def _histograms(scores: Scores, wide: int) -> None:
    """Print residents over refused faces on one axis, with the threshold through both."""
    room = wide - 2
    columns = round((1 - LOWEST) * BINS)
    each = max(1, -(-columns // room))
    mark = None if scores.threshold is None else round((scores.threshold - LOWEST) * BINS) // each
    for name, bins, meaning in (
        ("recognised", scores.recognised, ink.GOOD),
        ("refused as nobody's", scores.strange, ink.BAD),
    ):
        heights = _heights(bins, columns, each)
        _say(f"{name}: {sum(bins.values()):,}", ink.FAINT)
        for line in _stood_up(heights, TALL):
            drawn = [ink.inked(char, meaning) if char != " " else char for char in line]
            if mark is not None and mark < len(drawn):
                drawn[mark] = "│" if ink.blocks() else "|"
            _say("".join(drawn))
    axis = [" "] * (len(heights) + 4)
    for tenth in range(round(LOWEST * 10), 11, 2):
        at = round((tenth / 10 - LOWEST) * BINS) // each
        axis[at : at + 4] = f"{tenth / 10:<4.1f}"
    _say("".join(axis)[:wide], ink.FAINT)
    if scores.threshold is not None:
        _say(_verdict(scores, scores.threshold))


def _heights(bins: Mapping[int, int], columns: int, each: int) -> list[float]:
    """Put bins together into columns, each a share of the highest."""
    sums = [0] * -(-columns // each)
    for number, n in bins.items():
        at = number - round(LOWEST * BINS)
        sums[min(max(at, 0), columns - 1) // each] += n
    return [number / (max(sums) or 1) for number in sums]


def _stood_up(heights: list[float], lines: int) -> list[str]:
    """Draw shares as columns so many lines high; what is not nothing is seen."""
    full: Callable[[float], str] = _eighth if ink.blocks() else _whole
    steps = [max(height * lines, 0.125 if height else 0.0) for height in heights]
    return ["".join(full(step - line) for step in steps) for line in reversed(range(lines))]


def _eighth(rest: float) -> str:
    return EIGHTHS[min(max(round(rest * 8), 0), 8)]


def _whole(rest: float) -> str:
    return "#" if rest >= 0.5 else "." if rest > 0 else " "


def _verdict(scores: Scores, threshold: float) -> str:
    """Say in words whether the gate looks too strict or too lax."""
    near = NEAR
    edge = [(number / BINS, n) for number, n in scores.recognised.items()]
    barely = sum(n for score, n in edge if score < threshold + near)
    close = sum(n for number, n in scores.strange.items() if number / BINS >= threshold - near)
    known, strange = sum(scores.recognised.values()), sum(scores.strange.values())
    shares = [f"{barely / known:.0%} of the recognised"] if known else []
    shares += [f"{close / strange:.0%} of the refused"] if strange else []
    return f"threshold {threshold:.3f}; within {near} of it {', '.join(shares)}"
