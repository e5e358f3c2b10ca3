"""What `maskgate watch` shows: the daemon's answer and the machine's health as lines. Reads no socket and no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from maskgate.admin.ink import LEFT_TO_RIGHT

if TYPE_CHECKING:
    from maskgate.admin.terminal import Span
    from maskgate.config import Settings

LABEL = 10
"""Columns before what a line says."""
KEYS = "u unlock   l lockdown   r release   q quit"


@dataclass(frozen=True, slots=True)
class View:
    """All that is to be shown at one moment."""

    now: datetime
    """Aware, in the gate's zone."""
    daemon: Mapping[str, Any] | None
    """The answer to "watch"; None while there is none."""
    silence: str = ""
    """Why there is none."""
    celsius: float | None = None
    free_bytes: int | None = None
    said: str = ""
    """What came of the last order, or what is asked."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """The least that the settings want of a picture, by the names of `values.Quality`."""


def floor_of(settings: Settings) -> dict[str, float]:
    """Return the least that the settings want of a picture."""
    wanted = settings.quality
    return {"face_px": wanted.min_face_px, "sharpness": wanted.min_sharpness, "eyes": wanted.min_eyes}


def lines(view: View, width: int, height: int, *, plain: bool = False) -> list[list[Span]]:
    """Return the screen's lines, at most `height`; `plain` keeps to ASCII."""
    top = _head(view) + (_daemon(view.daemon, view, width, plain) if view.daemon else _silence(view, width))
    events = _events(view.daemon["events"], view.now, max(0, height - len(top) - 3)) if view.daemon else []
    body = (top + events)[: max(0, height - 1)]
    body += [[] for _ in range(height - 1 - len(body))]
    return [*body, [(view.said, "strong")] if view.said else [(KEYS, "faint")]][:height]


def _head(view: View) -> list[list[Span]]:
    clock = view.now.strftime("%a %d %b %H:%M:%S %Z")
    if view.daemon is None:
        return [[("maskgate  ", "strong"), ("no answer", "alarm"), (f"  {clock}", "")], []]
    state = view.daemon["state"]
    style = "good" if state == "armed" else "alarm" if state == "camera_failed" else "bad"
    up = f"  up {_span(view.daemon['up_s'])}  {clock}"
    return [[(f"maskgate {view.daemon['version']}  ", "strong"), (state.replace("_", " "), style), (up, "")]]


def _silence(view: View, width: int) -> list[list[Span]]:
    return [
        *([(line, "")] for line in wrap(view.silence, max(width, 10))),
        [],
        [("Asking again until it answers.", "faint")],
    ]


def _daemon(daemon: Mapping[str, Any], view: View, width: int, plain: bool) -> list[list[Span]]:
    camera, people = daemon["camera"], daemon["gallery"]
    size = f"{camera['size'][0]}x{camera['size'][1]}"
    heat = "" if view.celsius is None else f"{view.celsius:.0f} C   "
    disk = "" if view.free_bytes is None else f"{view.free_bytes / 1e9:.1f} GB free   "
    rate = f"{daemon['fps']:.0f} of {camera['fps']:g} frames a second, {size}, {camera['source']}"
    return [
        [*_label("lock"), *_lock(daemon)],
        [*_label("camera"), (rate, "")],
        [*_label("machine"), (f"{heat}{disk}{people['subjects']} people, {people['templates']} templates", "")],
        [],
        *_sighting(daemon["sighting"], view.quality, width, plain),
        *_decision(daemon["last_decision"], width, plain),
        [],
    ]


def _label(word: str) -> list[Span]:
    return [(word.ljust(LABEL), "faint")]


def _lock(daemon: Mapping[str, Any]) -> list[Span]:
    lock = daemon["lock"]
    style = {"locked": "good", "lockdown": "alarm", "fault": "alarm"}.get(lock, "bad")
    left = f" for {daemon['lock_left_s']:.0f} s" if daemon["lock_left_s"] is not None else ""
    spans: list[Span] = [(lock.replace("_", " ") + left, style), (f", relay {daemon['relay']}", "")]
    if daemon["door"] is not None:
        spans.append((f", door {daemon['door']}", ""))
    alarms = ("FIRE" if daemon["fire"] else "", "THE CASE IS OPEN" if daemon["tampered"] else "")
    return [*spans, *((f"  {words}", "alarm") for words in alarms if words)]


def _sighting(seen: Mapping[str, Any] | None, floor: Mapping[str, float], width: int, plain: bool) -> list[list[Span]]:
    """Say what the camera sees, and how good the picture is: the worst of what counts, against what is wanted."""
    if seen is None:
        return [[*_label("seen"), ("nobody", "")], []]
    shares = {name: seen["quality"][name] / least for name, least in floor.items() if least > 0}
    worst = min(shares, key=shares.__getitem__, default="")
    words = ", ".join(seen["faults"]).replace("_", " ") or "good"
    said = f"{words}, {seen['quality']['face_px']:.0f} px" + (f", least {worst.replace('_', ' ')}" if worst else "")
    return [
        [*_label("seen"), (f"somebody, {'masked' if seen['masked'] >= 0.5 else 'bare'}", "")],
        [*_label("quality"), (_bar(min(shares.values(), default=0.0), 1.0, 2.0, width, plain), ""), (f"  {said}", "")],
    ]


def _decision(last: Mapping[str, Any] | None, width: int, plain: bool) -> list[list[Span]]:
    """Say the last decision, with a bar for each number it went by."""
    if last is None:
        return [[*_label("decision"), ("none yet", "")]]
    sign = ("+" if plain else "✓") if last["granted"] else ("x" if plain else "✗")
    words = f"{sign} {last['reason'].replace('_', ' ')}"
    who = f"  {last['subject']}{LEFT_TO_RIGHT}" if last["subject"] else ""
    shown: list[list[Span]] = [
        [
            *_label("decision"),
            (words, "good" if last["granted"] else "bad"),
            (who, "strong"),
            (f"  {_span(last['ago_s'])} ago", "faint"),
        ]
    ]
    for word, value, mark in (("score", last["score"], last["threshold"]), ("liveness", last["live"], None)):
        if value is not None:
            needs = f"  needs {mark:.3f}" if mark is not None else ""
            shown.append([*_label(word), (_bar(value, mark, 1.0, width, plain), ""), (f"  {value:.3f}{needs}", "")])
    return shown


def _bar(value: float, mark: float | None, most: float, width: int, plain: bool) -> str:
    """Draw a value from 0 to `most`, with a stroke at what is wanted."""
    cells = max(10, min(40, width - LABEL - 34))
    full, empty, stroke = "#.|" if plain else "█░│"
    filled = round(max(0.0, min(1.0, value / most)) * cells)
    if mark is None:
        return full * filled + empty * (cells - filled)
    at = min(cells - 2, round(max(0.0, mark / most) * cells))
    # However near: it passes the stroke if it is enough, and only then.
    filled = max(filled, at + 2) if value >= mark else min(filled, at)
    drawn = full * filled + empty * (cells - filled)
    return drawn[:at] + stroke + drawn[at + 1 :]


def _events(events: Sequence[Mapping[str, Any]], now: datetime, most: int) -> list[list[Span]]:
    """Show the newest events, newest first."""
    if not events or most < 1:
        return []
    return [[("last events", "faint")], *(_event(event, now) for event in list(reversed(events))[:most])]


def _event(event: Mapping[str, Any], now: datetime) -> list[Span]:
    at = datetime.fromisoformat(event["at"]).astimezone(now.tzinfo)
    when = at.strftime("%H:%M:%S" if at.date() == now.date() else "%d %b   ")
    word = (event["reason"] or event["kind"]).replace("_", " ")
    style = "" if event["granted"] is None else "good" if event["granted"] else "bad"
    who = event["subject"] or (f"by {event['actor']}" if event["actor"] else "")
    score = f"  {event['score']:.3f}" if event["score"] is not None else ""
    return [(f"{when}  ", "faint"), (word.ljust(18), style), (f"  {who}{LEFT_TO_RIGHT}{score}", "")]


def _span(seconds: float) -> str:
    """Word a length of time so that it changes seldom: 42 s, 5 min, 3 h, 12 d."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
