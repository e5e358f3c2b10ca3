"""Put the log's counts on one page for a browser: SVG within it, both colour schemes, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from maskgate.admin import plots
from maskgate.admin.screen import local
from maskgate.reasons import REASONS
from maskgate.tally import BINS, TENTH_MS, stretches

if TYPE_CHECKING:
    from maskgate.tally import Tally

MOST_COLUMNS = 60
"""Days, weeks or months drawn side by side."""
STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 sans-serif;max-width:680px;margin:2em auto;padding:0 1em;"
    "background:#fff;color:#222}h1{font-size:1.4em}h2{font-size:1.1em;margin:2em 0 .5em}svg{max-width:100%;height:auto}"
    "td,th{padding:.1em .8em .1em 0;text-align:left;vertical-align:top}td.n{text-align:right}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}}"
)


def page(counted: Tally) -> str:
    """Return the page. Its policy forbids a browser to fetch anything, whatever a name in it looks like."""
    parts = "".join(_parts(counted)) if counted.granted + counted.refused else "<p>No decision in this time.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width"><title>maskgate stats</title>'
        f"<style>{STYLE}</style></head><body><h1>What the gate decided</h1>{parts}"
        f"<p>Made by maskgate stats on {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}.</p></body></html>\n"
    )


def _parts(counted: Tally) -> Iterator[str]:
    total = counted.granted + counted.refused
    yield f"<p>{total:,} decisions from {local(counted.first_at)} to {local(counted.last_at)}: "
    yield f"{counted.granted:,} granted, {counted.refused:,} refused"
    yield f", {counted.masked / counted.seen:.0%} of the faces masked" if counted.seen else ""
    if counted.median_open_ms is not None:
        yield f"; half of the grants came within {counted.median_open_ms:.0f} ms of the first usable look"
    yield ".</p><h2>Who came when</h2>"
    yield plots.week({key: sum(pair) for key, pair in counted.hours.items()})
    word, spans = stretches(counted.days, MOST_COLUMNS)
    yield f"<h2>Granted and refused, by {word}</h2>"
    yield plots.stacked({str(day): pair for day, pair in spans.items()}, ("granted", "refused"))
    yield "<h2>Reasons</h2><table>"
    for reason, number in counted.reasons.items():
        yield f'<tr><td class="n">{number:,}</td><td><code>{escape(reason)}</code></td>'
        yield f"<td>{escape(REASONS.get(reason, ''))}</td></tr>"
    yield "</table>"
    if counted.people:
        yield "<h2>Let in most often</h2><table>"
        for name, number, last in counted.people:
            yield f'<tr><td class="n">{number:,}</td><td><bdi>{escape(name)}</bdi></td><td>last {local(last)}</td></tr>'
        yield "</table>"
    if counted.open_ms:
        yield "<h2>From the first usable look to the grant</h2>"
        yield plots.binned({"grants": counted.open_ms}, {}, width=TENTH_MS, name="milliseconds")
    for cover, scores in counted.scores.items():
        if scores.recognised or scores.strange:
            yield f"<h2>Scores of {cover} faces, and what a grant asked for</h2>"
            marks = {} if scores.threshold is None else {f"threshold {scores.threshold:.3f}": scores.threshold}
            curves = {"recognised": scores.recognised, "refused as nobody's": scores.strange}
            yield plots.binned(curves, marks, width=1 / BINS, name="score; each to its own peak")
