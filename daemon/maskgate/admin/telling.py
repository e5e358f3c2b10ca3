"""An event of the log as one line: for a person, as JSON, as CSV. Prints; reads no log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from maskgate.admin import ink
from maskgate.admin.screen import cell, json_line, local
from maskgate.admin.when import ago

if TYPE_CHECKING:
    from maskgate.store import Event

Tell: TypeAlias = "Callable[[Event], None]"

WORD, WHO = 8, 14
"""Columns of what happened and of to whom."""


def json_teller(event: Event) -> None:
    """Print an event for a script."""
    json_line(asdict(event))


def csv_teller() -> Tell:
    """Print the heading of a CSV file; return what prints an event as its row."""
    import json

    from maskgate.store import Event

    tell = csv_rows([field.name for field in fields(Event)])

    def row(event: Event) -> None:
        values = asdict(event)
        tell(values | {"detail": json.dumps(values["detail"], ensure_ascii=False)})

    return row


def csv_rows(columns: list[str]) -> Callable[[dict[str, Any]], None]:
    """Print the heading of a CSV file; return what prints a row."""
    import csv

    rows = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    rows.writeheader()
    return lambda values: rows.writerow(values) and None


def text_teller(times: str, last_id: int) -> Tell:
    """Return what prints an event for a person; `times` are "exact", "ago" or "both".

    On a terminal a line is cut off where the terminal ends, and what matters less stands further right; elsewhere
    everything is told.
    """
    id_width = max(5, len(str(last_id)))
    most = ink.columns()

    def tell(event: Event) -> None:
        click.echo(line_of(event, times=times, id_width=id_width, most=most), color=ink.coloured())

    return tell


def line_of(event: Event, *, times: str, id_width: int, most: int | None) -> str:
    """Word an event in one line, of `most` columns at most."""
    stamps = {"exact": local(event.at) or "", "ago": f"{ago(event.at, datetime.now(UTC)):>12}"}
    when = "  ".join(stamps.values()) if times == "both" else stamps[times]
    head = f"{event.id:>{id_width}}  {when}  "
    word = {None: event.kind, True: "GRANTED", False: "refused"}[event.granted]
    who = event.subject or ("stranger" if event.kind == "decision" else "")
    named = ink.padded(ink.cut(who, WHO) if most else who, WHO)
    room = None if most is None else most - ink.width(head)
    body = f"{word:<{WORD}}  {ink.steadied(named) + '  ' if who else ''}" + _fitting(event, room, WORD + 2, named)
    body = body.rstrip() if room is None else ink.cut(body.rstrip(), room)
    word = ink.cut(word, max(room, 1)) if room is not None else word
    meaning = {None: ink.STRONG if _alarms(event) else None, True: ink.GOOD, False: ink.BAD}[event.granted]
    return head + ink.inked(word, meaning) + body[len(word) :]


def _fitting(event: Event, room: int | None, before: int, named: str) -> str:
    """Say why, as far as it fits: no number is cut in two, but the first is always there."""
    words = list(_why(event))
    left = None if room is None else room - before - (ink.width(named) + 2 if named.strip() else 0)
    while left is not None and len(words) > 1 and ink.width(", ".join(words)) > left:
        words.pop()
    return ", ".join(words)


def _alarms(event: Event) -> bool:
    """Tell whether somebody should look at what is no decision."""
    return event.kind in ("attack_suspected", "forced_open", "held_open", "tamper", "fire", "fault", "camera_failed")


def _why(event: Event) -> Iterator[str]:
    """Say why, what matters most first: a decision's reason and numbers, who made a change, what a fault was."""
    if event.kind != "decision":
        yield from _given(event)
        return
    if not event.granted:
        yield event.reason or ""
    if event.score is not None:
        yield f"{cell(event.score)} of {cell(event.threshold)}"
    if event.masked is not None and event.masked >= 0.5:
        yield "masked"
    if event.margin is not None:
        yield f"margin {cell(event.margin)}"
    if event.live is not None:
        cue = event.detail.get("cue")
        yield f"live {cell(event.live)}" + (f" ({cue})" if cue else "")


def _given(event: Event) -> Iterator[str]:
    """Word what an order or a change came with."""
    for_s, reason = event.detail.get("for_s"), event.detail.get("reason")
    given = [
        f"for {for_s:.0f} s" if isinstance(for_s, (int, float)) else "",
        str(reason or ""),
        "withheld" if event.detail.get("withheld") else "",
    ]
    words = ", ".join(filter(None, given))
    if event.actor:
        yield f"by {event.actor}" + (f": {words}" if words else "")
    elif words or event.detail.get("error"):
        yield words or str(event.detail["error"])
