"""Everything about one event: what each look gave, what was needed, how long it took, whose rule, which networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from maskgate.admin import ink
from maskgate.admin.screen import cell, local
from maskgate.admin.when import ago
from maskgate.admin.why import sentence

if TYPE_CHECKING:
    from maskgate.store import Event

BAR = 24
"""Columns of a bar."""
PICTURE = 64
"""Columns of a picture: 24 lines high, so that it can be seen whole."""
LOOKS = {"at_ms": "after ms", "scores": "score", "margins": "margin", "masks": "masked", "live": "live"}
"""What is noted of each look, by its name in the event's detail: the heading it is shown under."""
STAGES = ("motion", "detect", "refine", "align", "judge", "embed", "liveness", "match")
"""The stages of a look in their order."""


def story(event: Event, started: Event | None, *, picture: bool) -> dict[str, Any]:
    """Gather all that is known of an event, as JSON values; `started` is the daemon's start before it."""
    from dataclasses import asdict

    detail = event.detail
    ran = {} if started is None else {key: started.detail.get(key) for key in ("version", "runtime", "models")}
    return {
        "event": asdict(event),
        "why": sentence(event),
        "looks": looks_of(detail),
        "needs": detail.get("needs"),
        "stages_ms": detail.get("ms"),
        "rule": detail.get("rule"),
        "model": detail.get("model"),
        "ran": ran,
        "picture": picture,
    }


def looks_of(detail: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn the lists of a decision's detail into an object for each look; none for what noted no looks."""
    lists = {name: detail[name] for name in LOOKS if isinstance(detail.get(name), list)}
    if "scores" not in lists:
        return []
    return [{name: values[i] for name, values in lists.items() if i < len(values)} for i in range(len(lists["scores"]))]


def tell(told: dict[str, Any], event: Event) -> None:
    """Print it for a person."""
    click.echo(told["why"])
    click.echo()
    for label, value in _lines(told, event):
        click.echo(f"{ink.inked(f'{label:<10}', ink.FAINT)}{value}", color=ink.coloured())
    if told["looks"]:
        click.echo()
        _tell_looks(told["looks"], event)
    if told["stages_ms"]:
        click.echo()
        _tell_stages(told["stages_ms"])


def tell_picture(jpeg: bytes, how: str) -> None:
    """Draw the picture that was kept, if this is a terminal or it is asked for in so many words."""
    if how == "off" or (how == "auto" and ink.columns() is None):
        return
    from maskgate.admin import canvas
    from maskgate.pixels import image_of

    chosen = canvas.WAYS.get(how) or canvas.best_way()
    click.echo()
    click.echo(canvas.drawn(image_of(jpeg), min(ink.columns() or 80, PICTURE), chosen), color=True)


def _lines(told: dict[str, Any], event: Event) -> Iterator[tuple[str, str]]:
    """What stands in lines of a label and a value."""
    detail = event.detail
    yield "event", f"{event.id}, {event.kind}" + (f", {event.reason}" if event.reason else "")
    yield "time", f"{local(event.at)} here, {event.at} UTC, {ago(event.at, datetime.now(UTC))}"
    if event.actor:
        yield "by", event.actor
    yield from _measured(event)
    if told["needs"]:
        yield "needed", _needs(told["needs"])
    if "usable_to_decision_ms" in detail:
        yield "took", f"{detail['usable_to_decision_ms']} ms from the first usable look, {detail.get('frames')} looks"
    if told["rule"] or detail.get("terms"):
        yield "rule", ", ".join(str(word) for word in (told["rule"], detail.get("terms")) if word)
    for name, (says, value) in _cues(detail):
        yield "cue", f"{name} says {says}" + ("" if value is None else f" ({cell(value)})")
    yield from _networks(told)
    if told["picture"]:
        yield "picture", f"kept; `maskgate log snapshot {event.id} FILE` writes it"
    rest = {key: value for key, value in detail.items() if key not in _TOLD}
    for key, value in rest.items():
        yield key, str(value)


_TOLD = {*LOOKS, "needs", "ms", "usable_to_decision_ms", "frames", "rule", "terms", "cue", "cues", "model", "models"}
"""Of the detail, what is told in words of its own."""


def _cues(detail: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, float | None]]]:
    for name, answer in (detail.get("cues") or {}).items():
        if isinstance(answer, list) and len(answer) == 2:
            yield name, (answer[0], answer[1])


def _measured(event: Event) -> Iterator[tuple[str, str]]:
    """What the sighting that counts gave, against what was needed."""
    needs = event.detail.get("needs") or {}
    for label, value, limit in (
        ("score", event.score, event.threshold),
        ("margin", event.margin, needs.get("margin")),
        ("live", event.live, needs.get("live")),
        ("masked", event.masked, None),
    ):
        if value is not None:
            said = f"{cell(value)}" + (f" of {cell(float(limit))}" if limit else "")
            yield label, f"{said:<15}  {ink.bar(value, BAR)}".rstrip()


def _needs(needs: Mapping[str, Any]) -> str:
    words = {"bare": "score {:.3f} bare", "masked": "{:.3f} masked", "margin": "margin {:.3f}", "live": "live {:.3f}"}
    said = [form.format(needs[name]) for name, form in words.items() if needs.get(name)]
    return ", ".join([*said, f"{needs['agree']} looks in a row"] if "agree" in needs else said)


def _networks(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Which networks judged, and which program ran them."""
    ran = told["ran"]
    if ran.get("version"):
        yield "program", f"maskgate {ran['version']}, {ran.get('runtime')}"
    models = ran.get("models") or {}
    for role, digest in models.items():
        yield "network", f"{role} {str(digest)[:16]}"
    if told["model"] and not str(models.get("embedder", "")).startswith(told["model"]):
        yield "network", f"embedder {told['model']}"


def _tell_looks(looks: list[dict[str, Any]], event: Event) -> None:
    """Print a line for each look, its score as a bar with the threshold in it."""
    needs = event.detail.get("needs") or {}
    heads = [f"{head:>10}" for name, head in LOOKS.items() if name in looks[0]]
    click.echo(ink.inked("look" + "".join(heads) + "  score | needed", ink.FAINT), color=ink.coloured())
    for number, look in enumerate(looks, 1):
        masked = (look.get("masks") or 0.0) >= 0.5
        limit = needs.get("masked" if masked else "bare", event.threshold)
        numbers = "".join(f"{_short(look.get(name)):>10}" for name in LOOKS if name in looks[0])
        reached = limit is not None and look["scores"] is not None and look["scores"] >= limit
        drawn = ink.inked(_marked(look["scores"], limit), ink.GOOD if reached else ink.BAD)
        click.echo(f"{number:>4}{numbers}  {drawn}", color=ink.coloured())


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else cell(value)


def _marked(score: float | None, limit: float | None) -> str:
    """Draw a score as a bar from 0 to 1, with a mark where it was to reach."""
    drawn = list(ink.bar(score or 0.0, BAR))
    if limit is not None and 0 <= limit < 1:
        drawn[int(limit * BAR)] = "|"
    return "".join(drawn)


def _tell_stages(stages: Mapping[str, float]) -> None:
    """Print how long each stage of a look took at the mean."""
    click.echo(ink.inked("stage          ms, the mean of the looks", ink.FAINT), color=ink.coloured())
    longest = max(stages.values(), default=0.0) or 1.0
    for stage in sorted(stages, key=lambda stage: STAGES.index(stage) if stage in STAGES else len(STAGES)):
        took = stages[stage]
        click.echo(f"{stage:<10}{took:>7.1f}  {ink.bar(took / longest, BAR)}".rstrip())
